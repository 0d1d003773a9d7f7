"""What every section of the spec is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen part of the spec that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
