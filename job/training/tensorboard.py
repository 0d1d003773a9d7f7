"""Epoch metrics for TensorBoard, written without the tensorboard package."""

from pathlib import Path
from types import TracebackType
from typing import Self

import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import SummaryMetadata

# What marks a value as a scalar for the viewer; `tf.summary.scalar` exists only where tensorboard is installed.
_SCALAR = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))


class EpochSummaries:
    """One trial's event file in `folder/<trial_id>`; without a folder nothing is written."""

    def __init__(self, folder: Path | None, trial_id: str) -> None:
        self._writer = None if folder is None else tf.summary.create_file_writer(str(folder / trial_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, epoch: int, logs: dict[str, float]) -> None:
        """Write the metrics of one epoch (from 1)."""
        if self._writer is None:
            return
        with self._writer.as_default(step=epoch):
            for name, value in logs.items():
                tf.summary.write(name, tf.constant(value, tf.float32), metadata=_SCALAR)
