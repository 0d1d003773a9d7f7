"""The user's own data as a `Dataset`: whatever nests, and whatever their model alone knows how to learn."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job.data.arrays import AnyArray, SourceArray, fingerprint
from job.data.as_is import AsIs, InputSpec, is_wide
from job.data.dataset import Dataset, Split
from job.data.folds import FoldFile, Folds, random_folds, stratified_folds, write_folds
from job.data.inputs import check_alike
from job.data.labels import class_codes, read_labels
from job.data.nested import Nested, leaves, map_leaves
from job.data.own_arrays import OwnPart
from job.data.own_files import OwnRows, mapped, prepare_files, write_split
from job.data.preparation import Origin, Preparation, layout_notes, pixel_hint
from job.data.row_files import RowFiles
from job.data.source_rows import LabelledRows, Sources
from job.data.splits import UndrawableError, draw_random, draw_stratified
from job.data.standardisation import array_preparation
from job.data.targets import class_values, decide_task, encode_targets, scale_notes, with_scale
from job.errors import DataError
from job.redaction import redact_text
from job.spec import DataSpec
from job.spec.sections import DEFAULT_TEST_FRACTION, DEFAULT_VALIDATION_FRACTION
from job.target import Target, Task

_NO_NAME = re.compile(r"[^A-Za-z0-9_]+")
_NUMBERS = "biuf"
_MATRIX = 2


def plain_sources(parts: Mapping[str, OwnPart], spec: DataSpec) -> Sources | None:
    """Sources like those of an `.npz` file, where one array of numbers has one target per row; None otherwise."""
    if not all(_is_plain(part, spec) for part in parts.values()):
        return None
    pairs = {name: LabelledRows(part.x, part.y) for name, part in parts.items()}
    return Sources(pairs["train"], pairs.get("validation"), pairs.get("test"), unused_fractions(parts, spec))


def unused_fractions(parts: Mapping[str, OwnPart], spec: DataSpec) -> tuple[str, ...]:
    """Return what the log should say of shares to draw where the code gives the rows."""
    given = {"validation": spec.validation_fraction, "test": spec.test_fraction}
    return tuple(
        f"data.{name}_fraction {fraction} is not used: the code gives these rows"
        for name, fraction in given.items()
        if fraction is not None and name in parts
    )


def _is_plain(part: OwnPart, spec: DataSpec) -> bool:
    return part.sample_weight is None and _is_matrix(part.x) and _is_plain_target(part.y, spec)


def _is_matrix(x: Nested) -> bool:
    return isinstance(x, SourceArray) and x.values.ndim >= _MATRIX and x.values.dtype.kind in _NUMBERS


def _is_plain_target(y: Nested, spec: DataSpec) -> bool:
    """One value per row; one-hot rows are for the user's own model to say, unless the task is stated."""
    if not isinstance(y, SourceArray):
        return False
    return y.values.size == len(y.values) or (spec.task == "classification" and y.values.ndim == _MATRIX)


def own_parts(sources: Sources) -> dict[str, OwnPart]:
    """What files hold, for a model of the user's own."""
    pairs = {"train": sources.train, "validation": sources.validation, "test": sources.test}
    return {name: OwnPart(rows.x, rows.y) for name, rows in pairs.items() if rows is not None}


def nested_dataset(  # noqa: PLR0913 - what a data set is made of
    parts: Mapping[str, OwnPart],
    spec: DataSpec,
    *,
    seed: int,
    folder: Path,
    origin: Origin = "own",
    own_model: bool = True,
    leaning: Task | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """A data set in the shapes and types that the source has.

    For a model of the user's own targets stay as they are, but for strings, which become class numbers; floating-point
    numbers become float32, as Keras casts them.

    Args:
        parts: from `read_own_arrays` or `own_parts`.
        spec: how to divide them.
        seed: draws the splits.
        folder: where arrays are written to; those of `parts` are deleted.
        origin: what is known of the inputs.
        own_model: whether the user's own model is to learn it; a built-in builder takes class numbers alone.
        leaning: see `decide_task`.
        notes: what the log should say of how they were read.

    Raises:
        DataError: parts differ from one another, or cannot be divided.
    """
    _check_alike(parts)
    target, rows, found = _encode(parts, spec, own_model=own_model, leaning=leaning)
    stratified = target.class_names is not None and spec.split != "random"
    if spec.split == "stratified" and not stratified:
        raise DataError("data.split: stratified needs classes", advice="Leave data.split out, or set it to random.")
    for name, fraction in (
        ("test", spec.test_fraction or DEFAULT_TEST_FRACTION),
        ("validation", spec.validation_fraction or DEFAULT_VALIDATION_FRACTION),
    ):
        if name == "validation" and spec.folds is not None:
            # Nothing is kept apart; rows that the code gives are divided with the others.
            rows.setdefault(name, _chosen(rows["train"], np.zeros(0, np.int64)))
        elif name not in rows:
            rows["train"], rows[name] = _draw(rows["train"], name, fraction, seed, stratified=stratified)
    source = redact_text(spec.source)
    digest = fingerprint(_named(parts))
    both = write_split(folder, "train_and_validation", rows["train"], rows["validation"])
    test = write_split(folder, "test", rows["test"])
    train_rows = both.split.rows if spec.folds is not None else rows["train"].count
    if target.task == "regression":
        target = with_scale(target, both.split.y[:train_rows].reshape(-1))
    for _, array in _named_sources(parts):
        array.path.unlink()
    preparation, reasons = _preparation(spec, both.split.x, train_rows, origin)
    prepared_files = prepare_files(folder, both, preparation)
    return Dataset(
        train_and_validation=both.split,
        test=test.split,
        train_rows=train_rows,
        prepared=map_leaves(mapped, prepared_files),
        files=RowFiles(
            x=prepared_files,
            y=both.y_files,
            sample_weight=both.weight_file,
            train_rows=train_rows,
            folds=_write_folds(spec, both.split, target, seed, folder) if spec.folds is not None else None,
        ),
        preparation=preparation,
        target=target,
        fingerprint=digest,
        source=source,
        notes=(*notes, *found, *scale_notes(target), *reasons),
    )


def _write_folds(spec: DataSpec, rows: Split, target: Target, seed: int, folder: Path) -> FoldFile:
    count = spec.folds or 1

    def divide() -> Folds:
        if target.class_names is None or spec.split == "random":
            return random_folds(rows.rows, count, seed=seed)
        return stratified_folds(class_codes(rows.y, target), count, seed=seed)

    return write_folds(divide, count, redact_text(spec.source), folder)


def _encode(
    parts: Mapping[str, OwnPart], spec: DataSpec, *, own_model: bool, leaning: Task | None
) -> tuple[Target, dict[str, OwnRows], tuple[str, ...]]:
    """The target, each part's rows with targets as a model gets them, and notes."""
    if not all(_is_plain_target(part.y, spec) for part in parts.values()):
        if spec.task != "auto":
            raise DataError(
                f"data.task is {spec.task}, which needs one target per row; {redact_text(spec.source)} gives others",
                advice="Leave data.task out: the model knows what to learn.",
            )
        rows = {name: OwnRows(part, map_leaves(_as_given, part.y), None) for name, part in parts.items()}
        return Target("custom"), rows, ()
    others = [name for name in parts if name != "train"]
    train = parts["train"].y
    encoded = encode_targets(decide_task(train, spec.task, leaning), train, [parts[name].y for name in others])
    by_part = {"train": encoded.train, **dict(zip(others, encoded.others, strict=True))}
    is_class = encoded.target.task == "classification"
    is_encoded = not own_model or train.values.dtype.kind in "SU"
    rows = {
        name: OwnRows(part, by_part[name] if is_encoded else _as_given(part.y), by_part[name] if is_class else None)
        for name, part in parts.items()
    }
    target = encoded.target
    if is_class and not is_encoded:
        # Of one-hot rows it is the columns that occur.
        target = replace(target, class_values=class_values(np.unique(read_labels(train).values)))
    return target, rows, encoded.notes


def _as_given(leaf: SourceArray) -> AnyArray:
    return leaf.values.astype(np.float32) if is_wide(leaf.values) else np.asarray(leaf.values)


def _check_alike(parts: Mapping[str, OwnPart]) -> None:
    train = parts["train"]
    for name, part in parts.items():
        for ours, theirs in ((train.x, part.x), (train.y, part.y)):
            if _structure(ours) != _structure(theirs):
                raise DataError(f"the {name} rows are nested otherwise than the training rows: {_structure(theirs)}")
            for one, other in zip(leaves(ours), leaves(theirs), strict=True):
                # Strings are as wide as the widest of them: that is no difference.
                if not {one.values.dtype.kind, other.values.dtype.kind} <= {"U"}:
                    check_alike(one, other)


def _structure(tree: Nested) -> Nested:
    return map_leaves(lambda _: "array", tree)


def _draw(rows: OwnRows, name: str, fraction: float, seed: int, *, stratified: bool) -> tuple[OwnRows, OwnRows]:
    try:
        if stratified and rows.codes is not None:
            draw = draw_stratified(rows.codes, fraction, seed=seed, purpose=name)
        else:
            draw = draw_random(rows.count, fraction, seed=seed, purpose=name)
    except UndrawableError as error:
        raise DataError(
            f"no {name} split with data.{name}_fraction {fraction}: {error}",
            advice="Give more rows, another fraction, or the rows themselves.",
        ) from error
    return _chosen(rows, draw.kept), _chosen(rows, draw.drawn)


def _chosen(rows: OwnRows, chosen: NDArray[np.int64]) -> OwnRows:
    return OwnRows(
        rows.part,
        map_leaves(lambda leaf: leaf[chosen], rows.y),
        None if rows.codes is None else rows.codes[chosen],
        chosen if rows.chosen is None else rows.chosen[chosen],
    )


def _named_sources(parts: Mapping[str, OwnPart]) -> Iterator[tuple[str, SourceArray]]:
    for name, part in parts.items():
        for leaf in leaves([part.x, part.y, part.sample_weight]):
            yield f"{name} {leaf.name}", leaf


def _named(parts: Mapping[str, OwnPart]) -> Iterator[tuple[str, AnyArray]]:
    for name, leaf in _named_sources(parts):
        yield name, leaf.values


def _preparation(spec: DataSpec, x: Nested, train_rows: int, origin: Origin) -> tuple[Preparation, tuple[str, ...]]:
    is_numbers = isinstance(x, np.ndarray) and x.ndim >= _MATRIX and x.dtype.kind in _NUMBERS
    if is_numbers and (origin == "images" or spec.rescale not in {"auto", "none"}):
        preparation, reason = array_preparation(spec.rescale, x[:train_rows], origin)
        return preparation, (reason,)
    if spec.rescale not in {"auto", "none"}:
        raise DataError(f"data.rescale is for one array of numbers; {redact_text(spec.source)} gives other inputs")
    names = _unique_names()
    inputs = _with_names(x, "", lambda name, leaf: InputSpec(names(name), tuple(leaf.shape[1:]), _dtype_name(leaf)))
    hint = pixel_hint(x[:train_rows]) if is_numbers and spec.rescale == "auto" else None
    reason = f"inputs are left as they are: {hint or 'the model knows them'}"
    return AsIs(inputs), (reason, *(layout_notes(x.shape[1:]) if is_numbers else ()))


def _dtype_name(leaf: AnyArray) -> str:
    return "string" if leaf.dtype.kind in "SU" else leaf.dtype.name


def _with_names(tree: Nested, name: str, change: Callable[[str, Any], Any]) -> Nested:
    if isinstance(tree, dict):
        return {key: _with_names(part, f"{name}_{key}" if name else str(key), change) for key, part in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [_with_names(part, f"{name or 'input'}_{index}", change) for index, part in enumerate(tree)]
        return type(tree)(parts)
    return change(name or "rows", tree)


def _unique_names() -> Callable[[str], str]:
    """Makes names that Keras takes, each another."""
    taken: set[str] = set()

    def unique(name: str) -> str:
        plain = _NO_NAME.sub("_", name).strip("_") or "rows"
        candidate, number = plain, 1
        while candidate in taken:
            candidate, number = f"{plain}_{number}", number + 1
        taken.add(candidate)
        return candidate

    return unique
