"""The `data` section."""

from typing import Annotated, Literal

from pydantic import Field

from job.spec.quantities import InWords
from job.spec.sections.columns import DEFAULT_HASH_BINS, DEFAULT_VOCABULARY_SIZE, LARGEST_ENCODING, ColumnSpec
from job.spec.sections.model import Identifier, Sha256
from job.spec.sections.records import RecordField
from job.spec.sections.section import Section

DEFAULT_VALIDATION_FRACTION = 0.2
DEFAULT_TEST_FRACTION = 0.1
DEFAULT_DATA_FUNCTION = "load_data"


class DataSpec(Section):
    """Where the rows come from and how they are split."""

    source: str = Field(default="digits", min_length=1)
    """A built-in data set (`digits`, `mnist`, `fashion_mnist`, `cifar10`, `cifar100`, `boston_housing`,
    `california_housing`); an `.npz` file as a path or `s3://` URL, with `x` and `y`, or `x_train`, `y_train`,
    `x_test`, `y_test`, and optionally `x_validation`, `y_validation`; a table: a `.csv`, `.csv.gz` or `.parquet`
    file; a `.tfrecord` or `.tfrecord.gz` file; or a folder or prefix of such files, or of class folders of images
    (`format`)."""
    format: Literal["auto", "npz", "csv", "parquet", "images", "tfrecord", "python"] = "auto"
    """What `source`, `validation_source` and `test_source` hold. `auto` goes by how the name ends; of a folder or
    prefix it must be said."""
    split_folders: Literal["auto"] | bool = "auto"
    """Of a folder or prefix: whether the folders at its top that are called `train` (or `training`), `validation`
    (`valid`, `val`, `dev`) and `test` (`testing`), in any case, are the splits. `auto` takes them for splits where
    `train` lies beside another, or alone; one of them among other folders is an error. `true` leaves out
    what lies beside them, and `false` takes them for folders like any other, such as classes."""
    skip_damaged: int = Field(default=0, ge=0)
    """Of images: how many damaged ones may be left out. The log names them; where there are more, the job ends and
    names them."""
    function: Identifier = DEFAULT_DATA_FUNCTION
    """With code of your own as the source (a Python file, or `package.module:function`), what to call: it returns the
    arrays. See [Your own data](own-model.md#your-own-data)."""
    sha256: Sha256 | None = None
    """The SHA-256 that the Python file must have; other code is not run."""
    files: str | None = Field(default=None, min_length=1)
    """Extra files to lay beside the Python file: a folder, an `s3://` prefix, or a `.zip` file."""
    files_sha256: Sha256 | None = None
    """The SHA-256 that the `.zip` file must have; of a folder or prefix, that of its listing."""
    validation_source: str | None = Field(default=None, min_length=1)
    """Rows to validate on, instead of a share of the source's: an `.npz` file with `x` and `y`, or a table."""
    validation_fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of the training rows to validate on; 0.2 where nothing else gives the validation rows."""
    folds: int | None = Field(default=None, ge=2)
    """Cross-validation: every configuration is trained so many times, each time scored on another part of the rows that
    are not the test split's. Its score is the mean."""
    test_source: str | None = Field(default=None, min_length=1)
    """Rows to test on, instead of a share of the source's: an `.npz` file with `x` and `y`, or a table."""
    test_fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of all rows to test on; 0.1 where nothing else gives the test rows."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the targets are for. `auto` takes strings, booleans, one-hot rows and whole numbers that number classes for
    a classification, and other numbers for a regression; the log says which."""
    split: Literal["auto", "stratified", "random", "group", "time"] = "auto"
    """How fractions are drawn: `stratified` takes every class in proportion, `random` each row alike; of a table,
    `group` keeps the rows of a `group` together, and `time` tests on the last rows by `time` and validates on those
    before them. `auto` is `group` or `time` where such a column is named, else `stratified` for a classification and
    `random` for a regression. What is drawn is seeded."""
    rescale: Literal["auto", "standardize", "none"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    """What inputs are divided by, in training and inside the published model. `auto` brings to [0, 1] what is surely
    pixels: image files, built-in sets of images, and with a built-in builder arrays of bytes (uint8) that have height
    and width. It leaves everything else as it is, and says so; `standardize` gives each feature of arrays of rank 2
    mean 0 and standard deviation 1."""
    image_size: (
        Annotated[
            tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]],
            Field(strict=False),
            InWords("a list of two whole numbers of at least 1: height and width"),
        ]
        | None
    ) = None
    """Of images: the height and width that they are resized to, once; what the published model takes. Needed where not
    all images are of one size."""
    image_channels: Literal["auto", 1, 3] = "auto"
    """Of images: 1 makes them grey, 3 coloured; `auto` is 1 where all are grey. Transparency is left out."""
    record: dict[str, RecordField] = Field(default_factory=dict)
    """Of TFRecord files: what each record holds, by name:
    `{image: {encoding: png}, label: {dtype: int64}}`. What is not named is not read."""
    target: str | None = Field(default=None, min_length=1)
    """Of a table: the column to predict; of TFRecord files, the feature."""
    features: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    """Of a table: the columns to predict from; all others where nothing is said. `group`, `time` and `weight` are among
    them only where they are named here. Of TFRecord files: the features of `record` to predict from; several are joined
    to one row, in this order."""
    exclude: tuple[str, ...] = Field(default=(), strict=False)
    """Of a table: columns to leave out, of all others."""
    weight: str | None = Field(default=None, min_length=1)
    """Of a table: a column that says how much each row counts, in training and in every metric: numbers from 0."""
    group: str | None = Field(default=None, min_length=1)
    """Of a table: a column whose equal values belong together (a patient, a shop): no group is in two splits."""
    time: str | None = Field(default=None, min_length=1)
    """Of a table: a column of dates, times or numbers that orders the rows for `split: time`."""
    columns: dict[str, ColumnSpec] = Field(default_factory=dict)
    """Of a table: what single columns are and how they are encoded, by name:
    `{zip: {type: string, encoding: hashing, hash_bins: 32}}`."""
    delimiter: Annotated[str, InWords("one character")] = Field(default=",", min_length=1, max_length=1)
    """Of CSV files: what stands between values."""
    text_encoding: Annotated[str, InWords("the name of a text encoding, such as utf-8, latin-1 or cp1252")] = Field(
        default="utf-8", min_length=1
    )
    """Of CSV files: how their text is encoded."""
    decimal: Literal[".", ","] = "."
    """Of a table: what stands before the fraction of numbers that are texts."""
    thousands: Annotated[str, InWords("one character")] | None = Field(default=None, min_length=1, max_length=1)
    """Of a table: what stands between groups of three digits of numbers that are texts."""
    date_format: str | None = Field(default=None, min_length=1)
    """Of a table: how dates are written that are texts, such as `%d.%m.%Y`; ISO 8601 where nothing is said."""
    missing_values: tuple[str, ...] = Field(default=(), strict=False)
    """Of CSV files: texts that stand for a missing value in every column. An empty text always does; in columns of
    numbers, booleans and dates so do `NA`, `N/A`, `NaN`, `nan`, `NULL`, `null`, `None`, `?` and `-`."""
    missing: Literal["impute", "reject"] = "impute"
    """Of a table: whether missing values of features are replaced, or end the job with an error that names them. Of
    targets, weights, groups and times none may be missing."""
    impute: Literal["mean", "median"] = "mean"
    """Of a table: what takes the place of a missing number, computed over the training rows. Missing strings are a
    value of their own."""
    indicate_missing: bool = True
    """Of a table: whether a column of numbers that has missing values in the training rows is joined by one that says
    where."""
    drop_duplicates: bool = False
    """Of a table: whether of rows that agree in all features and the target only the first is used, so that none is in
    two splits. The log says how many there are either way."""
    encoding: Literal["vocabulary", "hashing"] = "vocabulary"
    """Of a table: how strings become numbers. `vocabulary` has a column for each of the most frequent values of the
    training rows; `hashing` takes any value, and different ones may share a column. ONNX has no hashing."""
    vocabulary_size: int = Field(default=DEFAULT_VOCABULARY_SIZE, ge=1, le=LARGEST_ENCODING)
    """Of a table: how many values of a column of strings are told apart; the rest shares one more."""
    hash_bins: int = Field(default=DEFAULT_HASH_BINS, ge=3, le=LARGEST_ENCODING)
    """Of a table: how many columns hashing makes of one; the first is for missing values."""
