"""The `model` section."""

from typing import Literal

from job.spec.sections.section import Section


class ModelSpec(Section):
    """What is built from hyperparameters."""

    builder: Literal["linear", "mlp", "cnn"] = "mlp"
    """The built-in builder: `linear` and `mlp` for rows of any shape, `cnn` for images."""
