"""How much disk a run's scratch folder will need, worked out before anything is read or trained.

An estimate from above where it can be made: what is not known yet is None, and is looked at again once it is.
"""

import ast
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from job.spaces.sizes import largest_weights
from job.spec import JobSpec
from job.spec.datasets import DATASETS

_LABEL_BYTES = 8
_FLOAT_BYTES = 4
# Each weight, and Adam's two moments of it.
_VALUES_PER_WEIGHT = 3
# A lineage's last and best epoch; of a fold, the last.
_CHECKPOINTS_PER_LINEAGE = 2
# The search's best trial, which is kept, and the retraining's one lineage.
_BEST = _RETRAINING = 1
_NUMBER_BYTES = 8
# `.npy` format 1 has a header length of two bytes, later ones of four; before it, a magic string and a version.
_MAGIC_BYTES = 6
_MAX_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class DataShape:
    """What is known of the rows: of all splits together.

    Attributes:
        input_shape: of one row.
        item_bytes: of one value as it is in the source.
        outputs: how many numbers a model answers with: one per class, or one; None where that is not known.
    """

    rows: int
    input_shape: tuple[int, ...]
    item_bytes: int
    outputs: int | None

    @property
    def values(self) -> int:
        """Numbers in one row."""
        return math.prod(self.input_shape)


@dataclass(frozen=True, slots=True)
class DiskNeeds:
    """Bytes of scratch space.

    Attributes:
        data: while the data is prepared; None where its size is not known.
        checkpoints: of all trials that may have one at the same time; None where the model's size is not known.
        kept_data: what is left of `data` while trials run.
    """

    data: int | None
    checkpoints: int | None
    kept_data: int = 0

    @property
    def total(self) -> int | None:
        """The most at any time; None where it is not known."""
        if self.data is None or self.checkpoints is None:
            return None
        return max(self.data, self.kept_data + self.checkpoints)

    @property
    def known(self) -> int:
        """As much as is known to be needed."""
        return max(self.data or 0, self.kept_data + (self.checkpoints or 0))


def disk_needs(spec: JobSpec, trials_at_a_time: int, shape: DataShape | None) -> DiskNeeds:
    """What a run will need.

    Args:
        spec: what it does.
        trials_at_a_time: how many trials run at a time.
        shape: the data's; None where it is not known.
    """
    if shape is None:
        return DiskNeeds(data=None, checkpoints=None)
    raw = shape.rows * (shape.values * shape.item_bytes + _LABEL_BYTES)
    prepared = shape.rows * shape.values * _FLOAT_BYTES
    weights = largest_model(spec, shape)
    return DiskNeeds(
        # The arrays as they are in the source, then divided into splits, then once more as floats.
        data=raw + max(raw, prepared),
        kept_data=raw + prepared,
        checkpoints=(
            None
            if weights is None
            else weights * _VALUES_PER_WEIGHT * _FLOAT_BYTES * _checkpoint_count(spec, trials_at_a_time)
        ),
    )


def known_shape(spec: JobSpec) -> DataShape | None:
    """What can be known of the data without reading it: built-in sets, and local `.npz` files by their headers."""
    dataset = DATASETS.get(spec.data.source)
    if dataset is not None:
        are_bytes = dataset.library == "keras.datasets" and dataset.task == "classification"
        item_bytes = 1 if are_bytes else _NUMBER_BYTES
        return DataShape(dataset.rows + (dataset.test_rows or 0), dataset.shape, item_bytes, dataset.classes or 1)
    if "://" in spec.data.source:
        return None
    return _shape_of_npz(Path(spec.data.source).expanduser())


def largest_model(spec: JobSpec, shape: DataShape) -> int | None:
    """Weights of the largest model of the space; None where that is not known."""
    builder = spec.built_in
    if builder is None or shape.outputs is None or not builder.takes_rows_of(shape.input_shape):
        return None
    return largest_weights(builder, spec.space, shape.input_shape, shape.outputs)


def _checkpoint_count(spec: JobSpec, trials_at_a_time: int) -> int:
    """Checkpoints that exist at a time: a rung's, as long as one of them may be promoted, and those under way."""
    waiting, executions = 0, spec.search.executions_per_trial * (spec.data.folds or 1)
    if spec.can_plan:
        rungs = (bracket.rungs for _, bracket in spec.planned().runs() if len(bracket.rungs) > 1)
        waiting = max((of_bracket[0].size for of_bracket in rungs), default=0)
    lineages = executions * (waiting + trials_at_a_time + _BEST) + _RETRAINING
    return (_CHECKPOINTS_PER_LINEAGE if spec.data.folds is None else 1) * lineages


def _shape_of_npz(path: Path) -> DataShape | None:
    """The shape of the inputs of a file, from its headers; None where they cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.startswith("x")]
            headers = [_header(archive.open(member)) for member in members]
        for member, (item_bytes, shape) in zip(members, headers, strict=True):
            if min(shape, default=0) < 0 or item_bytes * math.prod(shape) > member.file_size:
                return None
        shapes = [shape for _, shape in headers]
        return DataShape(
            rows=sum(shape[0] for shape in shapes),
            input_shape=shapes[0][1:],
            item_bytes=max(item_bytes for item_bytes, _ in headers),
            outputs=None,
        )
    except (
        OSError,
        EOFError,
        ValueError,
        SyntaxError,
        IndexError,
        KeyError,
        TypeError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
    ):
        # The data's own reader says what is wrong with it.
        return None


def _header(member: IO[bytes]) -> tuple[int, tuple[int, ...]]:
    """Bytes per value and shape of an array, by the header of the `.npy` format; NumPy would take longer to import."""
    with member:
        magic = member.read(_MAGIC_BYTES + 2)
        length = int.from_bytes(member.read(2 if magic[_MAGIC_BYTES] == 1 else 4), "little")
        header = ast.literal_eval(member.read(min(length, _MAX_HEADER_BYTES)).decode("latin-1").strip())
    return int(header["descr"][2:]), tuple(int(size) for size in header["shape"])
