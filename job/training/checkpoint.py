"""A checkpoint: every variable of a model and its optimizers, and how far the lineage has come.

`Model.save_weights` leaves out the state of seed generators (dropout, augmentation); restoring every variable makes
2 + 4 epochs equal 6 straight ones to the last bit.

Checkpoints are a cache: training anew from epoch 0 gives the same weights. So they are not forced to the disk
(a killed process loses nothing, a machine that loses power may), and what cannot be read counts as gone.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from job.records import Hyperparameters

_STATE = "state"
_METRIC = "metric"


class CheckpointError(ValueError):
    """A checkpoint cannot be used: it cannot be read, or is of another architecture."""


@dataclass(frozen=True, slots=True)
class LineageState:
    """How far a lineage has come.

    Attributes:
        epoch: completed epochs.
        best_score, best_epoch: the best objective so far and the epoch (from 1) it was reached at.
        reference, stalled: early stopping's own best objective, and for how many epochs nothing has beaten it.
        stopped: the lineage trains no further, in no rung.
        step: batches done of the epoch that was under way; 0 between epochs.
        logs: the metrics of this rung's epochs so far.
        identity: of what is trained (see `identity_of`): a checkpoint of something else is not used.
    """

    epoch: int
    best_score: float | None = None
    best_epoch: int | None = None
    reference: float | None = None
    stalled: int = 0
    stopped: bool = False
    step: int = 0
    logs: tuple[dict[str, float], ...] = ()
    identity: str = ""


def identity_of(seed: int, values: Hyperparameters, provenance: str) -> str:
    """What a lineage trains: its seed, its hyperparameters, and what the run is made from, hashed."""
    # Runs that an earlier version has begun have no provenance, nor has what is in their checkpoints.
    trained = [seed, values, *([provenance] if provenance else [])]
    return hashlib.sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's variables, copied, with the lineage's state.

    Attributes:
        arrays: every variable that training carries from epoch to epoch.
        metrics: the metrics' own variables, inside an epoch; none between epochs.
    """

    arrays: tuple[npt.NDArray[Any], ...]
    state: LineageState
    metrics: tuple[npt.NDArray[Any], ...] = ()

    def write(self, path: Path) -> None:
        """Write to `path` (an `.npz`), whole or not at all."""
        entries: dict[str, Any] = {str(index): array for index, array in enumerate(self.arrays)}
        entries |= {f"{_METRIC}{index}": array for index, array in enumerate(self.metrics)}
        entries[_STATE] = np.frombuffer(json.dumps(asdict(self.state)).encode(), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        with temporary.open("wb") as file:
            np.savez(file, **entries)
        temporary.replace(path)


def last_checkpoint(folder: Path, trial_id: str) -> Path:
    """The checkpoint that a promotion continues from."""
    return folder / f"{trial_id}.last.npz"


def best_checkpoint(folder: Path, trial_id: str) -> Path:
    """The checkpoint of the lineage's best epoch so far."""
    return folder / f"{trial_id}.best.npz"


def execution_name(trial_id: str, index: int, fold: int | None) -> str:
    """What stands for the trial's id in the names of the checkpoints of one of its several trainings."""
    return f"{trial_id}.e{index}" if fold is None else f"{trial_id}.e{index}f{fold}"


def checkpoints_of(folder: Path, trial_id: str, kind: str = "*") -> list[Path]:
    """The checkpoints of a trial that there are, of all its trainings, by name; of one kind, `last` or `best`."""
    return sorted({*folder.glob(f"{trial_id}.{kind}.npz"), *folder.glob(f"{trial_id}.e*.{kind}.npz")})


def take_checkpoint(model: keras.Model, state: LineageState) -> Checkpoint:
    """Copy all variables: training goes on with the originals."""
    metrics = _copies(model.metrics_variables) if state.step else ()
    return Checkpoint(_copies(model_variables(model)), state, metrics)


def _copies(variables: Sequence[Any]) -> tuple[npt.NDArray[Any], ...]:
    return tuple(variable.value.numpy().copy() for variable in variables)


def share_checkpoint(source: Path, target: Path) -> None:
    """Make `target` the same checkpoint as `source`, which may be deleted before it."""
    temporary = _temporary(target)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        # Not every file system has hard links.
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def read_state(path: Path) -> LineageState:
    """The state alone. Raises CheckpointError."""
    return _read(path)[1]


def restore_checkpoint(path: Path, model: keras.Model, identity: str | None = None) -> LineageState:
    """Put a checkpoint's variables into a built and compiled model of the same architecture.

    Args:
        path: the checkpoint.
        model: what to restore.
        identity: of the training that the checkpoint must be of; None takes any.

    Raises:
        CheckpointError: the checkpoint is of another training or architecture, or cannot be read; the model is as
            before.
    """
    entries, state = _read(path, with_arrays=True)
    if identity is not None and state.identity != identity:
        raise CheckpointError(f"checkpoint {path.name} is of another training")
    variables = model_variables(model)
    metrics = model.metrics_variables if state.step else []
    names = [*map(str, range(len(variables))), *(f"{_METRIC}{index}" for index in range(len(metrics)))]
    targets = [*variables, *metrics]
    if set(names) != entries.keys() or any(
        entries[name].shape != tuple(target.shape) for name, target in zip(names, targets, strict=True)
    ):
        raise CheckpointError(f"checkpoint {path.name} holds a model of another architecture")
    for name, target in zip(names, targets, strict=True):
        target.assign(entries[name])
    return state


def _read(path: Path, *, with_arrays: bool = False) -> tuple[dict[str, npt.NDArray[Any]], LineageState]:
    try:
        # NumPy leaves a file open that it cannot read. Every entry of the archive carries a checksum that is checked.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as entries:
            names = [name for name in entries.files if name != _STATE] if with_arrays else []
            state = json.loads(bytes(entries[_STATE]))
            return {name: entries[name] for name in names}, LineageState(**state | {"logs": tuple(state["logs"])})
    # One changed byte makes zipfile, zlib, lzma and NumPy raise errors of a dozen kinds, RuntimeError among them.
    except Exception as error:
        raise CheckpointError(f"checkpoint {path.name} cannot be read: {error}") from error


def model_variables(model: keras.Model) -> list[Any]:
    """Each variable once: the model's, its optimizer's, and those of optimizers that a custom model keeps besides."""
    # An optimizer that is not built has no variables yet, and Keras would restore none.
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    others = [value for _, value in sorted(vars(model).items()) if isinstance(value, keras.optimizers.Optimizer)]
    found = [*model.variables, *(v for optimizer in (model.optimizer, *others) for v in optimizer.variables)]
    return list({id(variable): variable for variable in found}.values())


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
