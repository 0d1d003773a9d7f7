"""What a TFRecord's records hold: the entries of `data.record`."""

from typing import Annotated, Literal

from pydantic import Field

from job.spec.sections.section import Section

STORED_DTYPES = ("int64", "float32", "string")
"""What `tf.train.Example` has lists of."""


class RecordField(Section):
    """One feature of each record (a `tf.train.Example`)."""

    encoding: Literal["none", "raw", "png", "jpeg"] = "none"
    """How it is stored: `none` as a list of numbers or texts, `raw` as the bytes of an array (little-endian, C order),
    `png` and `jpeg` as an image file's bytes."""
    dtype: (
        Literal[
            "string",
            "int64",
            "float32",
            "float64",
            "float16",
            "uint8",
            "uint16",
            "uint32",
            "int8",
            "int16",
            "int32",
        ]
        | None
    ) = None
    """What the values are: `int64`, `float32` or `string` of a list; of `raw` bytes any but `string`. Images are
    `uint8`."""
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(), strict=False)
    """Of one record; empty for a single value. Images take theirs from `data.image_size` and `data.image_channels`."""
