"""The `model` section."""

from typing import Literal

from job.spec.sections.section import Section


class ModelSpec(Section):
    """What is built from hyperparameters."""

    builder: Literal["mlp", "cnn"] = "mlp"
    """The built-in builder: `mlp` for rows of any shape, `cnn` for images."""
