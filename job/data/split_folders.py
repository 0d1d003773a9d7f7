"""Folders called like splits, at the top of a source that is a folder or prefix."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from job.data.source_files import SourceFile
from job.errors import DataError
from job.redaction import redact_text
from job.spec import DataSpec
from job.spec.fields import listed

Files = tuple[SourceFile, ...]

# In small letters.
_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_SHOWN = 10


def files_of_splits(
    spec: DataSpec, read: Callable[[str, str], Files], is_data: Callable[[SourceFile], bool], notes: list[str]
) -> dict[str, Files]:
    """Return the files of each split that files give, `relative` to its folder; `train` is always among them.

    Args:
        spec: names the sources, and says whether folders called like splits are splits.
        read: gives the files of a location that a field of `data` names.
        is_data: whether a file holds rows; others lie beside them.
        notes: told what was taken for what, and what is not used.

    Raises:
        DataError: it is not clear which folders are splits; or what `read` raises.
    """
    splits = _by_split(spec, read(spec.source, "source"), is_data, notes)
    for split, location, fraction in (
        ("validation", spec.validation_source, spec.validation_fraction),
        ("test", spec.test_source, spec.test_fraction),
    ):
        if location is not None:
            if split in splits:
                place = redact_text(spec.source)
                notes.append(f"folder {split} of {place} is not used: data.{split}_source takes its place")
            splits[split] = read(location, f"{split}_source")
        if fraction is not None and split in splits:
            files = splits[split]
            place = files[0].shown if len(files) == 1 else holder(files)
            notes.append(f"data.{split}_fraction {fraction} is not used: {place} gives these rows")
    return splits


def holder(files: Sequence[SourceFile]) -> str:
    """Return what messages call the folder that holds these files."""
    return files[0].shown.removesuffix(files[0].relative).rstrip("/") or files[0].shown


def _by_split(
    spec: DataSpec, files: Files, is_data: Callable[[SourceFile], bool], notes: list[str]
) -> dict[str, Files]:
    if spec.split_folders is False:
        return {"train": files}
    place, top = holder(files), _in_folders(files)
    named = {folder: _SPLITS[folder.lower()] for folder in top if folder.lower() in _SPLITS}
    beside = [file for file in files if len(file.parts) == 1 or file.parts[0] not in named]
    if spec.split_folders == "auto":
        if not named:
            _refuse_deeper_splits(place, top)
            return {"train": files}
        _refuse_unclear(place, named, sorted({file.parts[0] for file in beside if is_data(file)}))
    if "train" not in named.values():
        found = f"; those called like splits are {listed(tuple(named), 'and')}" if named else ""
        raise DataError(
            f"{place}: there is no folder called train{found}",
            advice="data.split_folders: false takes folders for what they are without regard to their names.",
        )
    notes.append(f"folders of {place} are splits (data.split_folders): {_in_words(named)}")
    if beside:
        shown = listed(sorted({file.parts[0] for file in beside})[:_SHOWN], "and")
        notes.append(f"{len(beside)} files beside the splits of {place} are not used: {shown}")
    splits: dict[str, list[SourceFile]] = {}
    for folder, split in named.items():
        splits.setdefault(split, []).extend(
            replace(file, relative=file.relative.removeprefix(f"{folder}/")) for file in top[folder]
        )
    return {split: tuple(found) for split, found in splits.items()}


def _in_folders(files: Sequence[SourceFile], depth: int = 0) -> dict[str, list[SourceFile]]:
    """The files that lie in folders, by the folder's name at a depth."""
    folders: dict[str, list[SourceFile]] = {}
    for file in files:
        if len(file.parts) > depth + 1:
            folders.setdefault(file.parts[depth], []).append(file)
    return folders


def _in_words(named: dict[str, str]) -> str:
    return ", ".join(folder if folder == split else f"{folder} ({split})" for folder, split in named.items())


def _refuse_unclear(place: str, named: dict[str, str], others: Collection[str]) -> None:
    """Refuse one split among other folders, and two folders for one split."""
    splits = set(named.values())
    advice = "data.split_folders: true takes folders called like splits for splits, and false none."
    for split in sorted(splits):
        folders = [folder for folder, of in named.items() if of == split]
        if len(folders) > 1:
            message = f"{place}: folders {listed(folders, 'and')} are both called like the {split} split"
            raise DataError(message, advice=f"{advice} With true their rows are joined; or leave one of them out.")
    if others and (len(splits) == 1 or "train" not in splits):
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        # Without one called train nothing is left to train on.
        to_be_split = "leaves the others out" if "train" in splits else "needs one called train to hold the others"
        raise DataError(
            f"{place}: {listed(tuple(named), 'and')} may be a split, or one among "
            f"{listed(sorted(others)[:_SHOWN], 'and')}{more}: folders called like splits are splits where train lies "
            "beside validation or test",
            advice=f"{advice} As a split it {to_be_split}.",
        )


def _refuse_deeper_splits(place: str, top: dict[str, list[SourceFile]]) -> None:
    """Refuse splits within classes, and a source that is one folder too high: both would mix the splits."""
    for folder, files in top.items():
        inner = [name for name in _in_folders(files, depth=1) if name.lower() in _SPLITS]
        splits = {_SPLITS[name.lower()] for name in inner}
        if "train" in splits and len(splits) > 1:
            raise DataError(
                f"{place}: folder {folder!r} holds folders {listed(inner, 'and')}, which are called like splits: these "
                "are expected at the top of data.source",
                advice=f"data.source: {place}/{folder} has them at the top; data.split_folders: false takes them for "
                "folders like any other.",
            )
