"""The `model` section."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from job.spec.code import IDENTIFIER_PATTERN, SHA256_PATTERN
from job.spec.quantities import InWords
from job.spec.sections.section import Section

Identifier = Annotated[str, Field(pattern=IDENTIFIER_PATTERN), InWords("the name of a function or class")]
Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN), InWords("64 hexadecimal digits in small letters")]

DEFAULT_MODEL_FUNCTION = "build_model"


class ModelSpec(Section):
    """What is built from hyperparameters: a built-in builder's model, or one of your own."""

    builder: Literal["linear", "mlp", "cnn"] | None = "mlp"
    """The built-in builder: `linear` and `mlp` for rows of any shape, `cnn` for images. None where `source` is given,
    which takes its place."""
    source: str | None = Field(default=None, min_length=1)
    """Your own model: a Python file as a path or `s3://` URL, or `package.module:function` of an installed package. It
    runs with the job's rights. See [Your own model](own-model.md)."""
    function: Identifier = DEFAULT_MODEL_FUNCTION
    """What to call in the file: a function `build_model(hp)` that returns a compiled Keras model, or a
    `keras_tuner.HyperModel`: a subclass or an instance."""
    sha256: Sha256 | None = None
    """The SHA-256 that the file must have; other code is not run."""
    files: str | None = Field(default=None, min_length=1)
    """Extra files to lay beside the file: a folder, an `s3://` prefix, or a `.zip` file of either."""
    files_sha256: Sha256 | None = None
    """The SHA-256 that the `.zip` file must have; of a folder or prefix, that of its listing."""

    @model_validator(mode="before")
    @classmethod
    def _source_replaces_the_default_builder(cls, data: object) -> object:
        if isinstance(data, Mapping) and data.get("source") is not None and "builder" not in data:
            return {**data, "builder": None}
        return data
