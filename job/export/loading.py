"""The process that loads published models as a reader would: `python -m job.export.loading FOLDER`.

`keras.saving.load_model(path, safe_mode=True)` and nothing of the user's; only where that fails, with the user's code.
See `job.export.proof`. Nothing of this package's own models is imported, which a reader does not have either.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from job.child_process import end_with_parent
from job.data.arrays import AnyArray
from job.export.comparison import UnlikeError, greatest_difference
from job.own_code import OwnCode, load_module, objects_by_name

REQUEST, ANSWERS, NOISE = "loading.json", "loaded.jsonl", "loading.txt"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Candidate(_Message):
    """A file, and the `.npz` file with what the trained model answers, by the outputs' places; None if it is random."""

    file: str
    expected: str | None


class LoadingRequest(_Message):
    """Files to load; `rows.npz` beside them holds raw rows by the inputs' places.

    Attributes:
        code: the user's own; None for a built-in model.
    """

    candidates: tuple[Candidate, ...]
    code: OwnCode | None


class Loaded(_Message):
    """What became of one file.

    Attributes:
        problem: why it is no use; None where it answers.
        difference: how far its answers are from the trained model's; None where they were not compared.
        needs_code: whether it loads only with the user's code.
    """

    problem: str | None = None
    difference: float | None = None
    needs_code: bool = False


def main(folder: Path) -> None:
    """Answer the request in a folder, a line for each file."""
    end_with_parent()
    request = LoadingRequest.model_validate_json((folder / REQUEST).read_bytes())
    rows = np.load(folder / "rows.npz", allow_pickle=False)
    for candidate in request.candidates:
        answer = _answer(folder, candidate, [rows[str(number)] for number in range(len(rows.files))], request.code)
        with (folder / ANSWERS).open("a", encoding="utf-8") as file:
            file.write(answer.model_dump_json() + "\n")


def _answer(folder: Path, candidate: Candidate, rows: list[AnyArray], code: OwnCode | None) -> Loaded:
    needs_code = False
    try:
        model = _load(folder / candidate.file)
    except Exception as error:  # noqa: BLE001 - Keras raises what it likes for what it does not know
        if code is None:
            return Loaded(problem=f"keras.saving.load_model refuses it: {_line(error)}")
        needs_code = True
        try:
            load_module(code)
            model = _load(folder / candidate.file, objects_by_name(code), safe_mode=False)
        except Exception as second:  # noqa: BLE001 - likewise
            return Loaded(problem=f"it does not load, not even with its code at hand: {_line(second)}", needs_code=True)
    try:
        found = predictions(model, rows)
        if candidate.expected is None:
            return Loaded(needs_code=needs_code)
        stored = np.load(folder / candidate.expected, allow_pickle=False)
        expected = {number: stored[number] for number in stored.files}
        return Loaded(difference=greatest_difference(found, expected), needs_code=needs_code)
    except UnlikeError as error:
        return Loaded(problem=f"it answers otherwise: {error}", needs_code=needs_code)
    except Exception as error:  # noqa: BLE001 - likewise
        return Loaded(problem=f"it loads, and cannot predict: {_line(error)}", needs_code=needs_code)


def _load(file: Path, custom_objects: dict[str, Any] | None = None, *, safe_mode: bool = True) -> Any:  # noqa: ANN401 - a Keras model
    keras = importlib.import_module("keras")
    return keras.saving.load_model(file, custom_objects=custom_objects, safe_mode=safe_mode)


def predictions(model: Any, rows: list[AnyArray]) -> dict[str, AnyArray]:  # noqa: ANN401 - likewise
    """Return a published model's answers to raw rows, given by the inputs' places; by the outputs' places."""
    keras, tf = importlib.import_module("keras"), importlib.import_module("tensorflow")
    structure = getattr(model, "_inputs_struct", model.inputs[0] if len(model.inputs) == 1 else list(model.inputs))
    tensors = [tf.constant(leaf) for leaf in rows]
    with tf.device("CPU:0"):
        answers = keras.tree.flatten(model(keras.tree.pack_sequence_as(structure, tensors), training=False))
    return {str(number): np.asarray(answer) for number, answer in enumerate(answers)}


def _line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:400]}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
