"""What every record is."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

HyperparameterValue = bool | int | float | str
Hyperparameters = dict[str, HyperparameterValue]
Direction = Literal["min", "max"]
FailureKind = Literal["error", "given_up", "diverged", "timed_out", "killed"]


class Record(BaseModel):
    """A frozen record. NaN and infinities are kept, as the strings JSON lacks numbers for."""

    # Readers accept fields that a later version added; writers are checked by mypy.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    def to_json(self) -> bytes:
        """Indented UTF-8 JSON with a final newline."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    def to_json_line(self) -> bytes:
        """One line of UTF-8 JSON with a final newline."""
        return (self.model_dump_json() + "\n").encode()
