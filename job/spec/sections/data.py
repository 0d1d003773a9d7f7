"""The `data` section."""

from typing import Annotated, Literal

from pydantic import Field

from job.spec.sections.section import Section

DEFAULT_VALIDATION_FRACTION = 0.2
DEFAULT_TEST_FRACTION = 0.1


class DataSpec(Section):
    """Where the rows come from and how they are split."""

    source: str = Field(default="digits", min_length=1)
    """A built-in data set (`digits`, `mnist`, `fashion_mnist`, `cifar10`, `cifar100`, `boston_housing`,
    `california_housing`), or an `.npz` file as a path or `s3://` URL, with `x` and `y`, or `x_train`, `y_train`,
    `x_test`, `y_test`, and optionally `x_validation`, `y_validation`."""
    validation_source: str | None = Field(default=None, min_length=1)
    """An `.npz` file with `x` and `y` to validate on, instead of a share of the rows."""
    validation_fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of the training rows to validate on; 0.2 where nothing else gives the validation rows."""
    folds: int | None = Field(default=None, ge=2)
    """Cross-validation: every configuration is trained so many times, each time scored on another part of the rows that
    are not the test split's. Its score is the mean."""
    test_source: str | None = Field(default=None, min_length=1)
    """An `.npz` file with `x` and `y` to test on, instead of a share of the rows."""
    test_fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of all rows to test on; 0.1 where nothing else gives the test rows."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the targets are for. `auto` takes strings, booleans, one-hot rows and whole numbers that number classes for
    a classification, and other numbers for a regression; the log says which."""
    split: Literal["auto", "stratified", "random"] = "auto"
    """How fractions are drawn: `stratified` takes every class in proportion, `random` each row alike. `auto` is
    `stratified` for a classification and `random` for a regression. All are seeded."""
    rescale: Literal["auto", "none"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    """What inputs are divided by, in training and inside the published model. `auto` brings images to [0, 1]
    and leaves tables alone."""
