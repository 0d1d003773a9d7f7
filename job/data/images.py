"""Folders of images: a folder for each class, decoded and resized once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from job.data.arrays import SourceArray, map_array, write_array
from job.data.image_decoding import ImageArray, decode_images
from job.data.image_headers import ImageHeader, NoImageError, read_image_header
from job.data.pins import ObjectPins
from job.data.source_files import SourceFile, copies_in, files_by_split, source_files
from job.data.source_rows import LabelledRows, Sources
from job.disk import require_space
from job.errors import DataError
from job.resources import available_resources
from job.spec import DataSpec

_SUFFIXES = (".png", ".jpg", ".jpeg")
_SHOWN = 10
# Decoded, then divided into splits; only then is the first copy deleted.
_COPIES = 2


@dataclass(frozen=True, slots=True)
class _Images:
    """Images of one split: their files, and the class of each."""

    files: tuple[SourceFile, ...]
    classes: tuple[str, ...]


def read_images(spec: DataSpec, folder: Path, pins: ObjectPins) -> Sources:
    """Read folders of class folders as uint8 arrays of shape (images, height, width, channels).

    A class is a folder at the top, and its name; images may lie deeper in it. Where the folders at the top are called
    `train` and `validation` or `test`, they are the splits, and hold the class folders.

    Args:
        spec: what to read, and how large images are to be.
        folder: where to.
        pins: which versions to read; told of what is read.

    Raises:
        DataError: there are no classes, an image is damaged, or sizes differ and none is asked for.
        AccessError, StoreError: the object store refuses or fails, or there is too little room on the disk.
        OSError: `folder` cannot be written.
    """
    notes: list[str] = []
    with ExitStack() as opened:

        def files_of(location: str, field: str) -> tuple[SourceFile, ...]:
            copies = opened.enter_context(copies_in(folder, field))
            return source_files(location, field=field, suffixes=(), folder=copies, pins=pins)

        own = files_of(spec.source, "source")
        splits = dict(files_by_split(own) or {"train": own})
        for split, location in (("validation", spec.validation_source), ("test", spec.test_source)):
            if location is not None:
                if split in splits:
                    notes.append(f"folder {split} of {spec.source} is not used: data.{split}_source takes its place")
                splits[split] = files_of(location, f"{split}_source")
        images = {split: _class_folders(files, notes) for split, files in splits.items()}
        headers = _headers(images.values())
        size = spec.image_size or _common_size(headers)
        channels = _channels(spec, headers, notes)
        rows = _decode(images, size, channels, folder)
    resized = sum((header.height, header.width) != size for header in headers.values())
    notes.append(f"{len(headers)} images of {size[0]} x {size[1]} pixels, {resized} of them resized")
    for split, fraction in (("validation", spec.validation_fraction), ("test", spec.test_fraction)):
        if fraction is not None and split in rows:
            notes.append(f"data.{split}_fraction {fraction} is not used: {rows[split].x.file} gives these rows")
    return Sources(rows["train"], rows.get("validation"), rows.get("test"), tuple(notes))


def _class_folders(files: Sequence[SourceFile], notes: list[str]) -> _Images:
    images = [file for file in files if file.suffix in _SUFFIXES]
    place = _holder(files)
    if not images:
        raise DataError(f"{place}: there are no PNG or JPEG files (.png, .jpg, .jpeg)")
    loose = [file for file in images if len(file.parts) == 1]
    if loose:
        raise DataError(
            f"{loose[0].shown} lies in no class folder: a folder is expected for each class, called like it",
            advice="Put each image into the folder of its class: photos/cat/1.png, photos/dog/1.png.",
        )
    others = [file for file in files if file.suffix not in _SUFFIXES]
    if others:
        notes.append(f"{len(others)} files that are no PNG or JPEG are not used, such as {others[0].shown}")
    empty = {file.parts[0] for file in others if len(file.parts) > 1} - {file.parts[0] for file in images}
    if empty:
        raise DataError(f"{place}: folder {min(empty)!r} holds no PNG or JPEG file; leave it out, or convert its files")
    return _Images(tuple(images), tuple(file.parts[0] for file in images))


def _holder(files: Sequence[SourceFile]) -> str:
    """What messages call the folder that holds these files."""
    return files[0].shown.removesuffix(files[0].relative).rstrip("/")


def _headers(splits: Iterable[_Images]) -> dict[str, ImageHeader]:
    """What every file says of its image, by the file's name."""
    headers: dict[str, ImageHeader] = {}
    damaged: list[tuple[str, str]] = []
    for images in splits:
        for file in images.files:
            try:
                with file.path.open("rb") as opened:
                    headers[file.shown] = read_image_header(opened)
            except (NoImageError, OSError) as error:
                damaged.append((file.shown, str(error)))
    _refuse(damaged)
    return headers


def _refuse(damaged: Sequence[tuple[str, str]]) -> None:
    if not damaged:
        return
    shown = "; ".join(f"{name} ({reason})" for name, reason in damaged[:_SHOWN])
    more = f" and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
    count = "1 image is" if len(damaged) == 1 else f"{len(damaged)} images are"
    raise DataError(f"{count} damaged: {shown}{more}", advice="Remove these files, or replace them.")


def _common_size(headers: dict[str, ImageHeader]) -> tuple[int, int]:
    sizes = Counter((header.height, header.width) for header in headers.values())
    if len(sizes) == 1:
        return next(iter(sizes))
    least, most = min(sizes), max(sizes)
    (height, width), count = sizes.most_common(1)[0]
    raise DataError(
        f"the images have {len(sizes)} different sizes, from {least[0]} x {least[1]} to {most[0]} x {most[1]} (height "
        f"x width): data.image_size must say which one they are brought to",
        advice=f"data.image_size: [{height}, {width}] is the most frequent one ({count} of {len(headers)} images).",
    )


def _channels(spec: DataSpec, headers: dict[str, ImageHeader], notes: list[str]) -> int:
    grey = sum(header.channels == 1 for header in headers.values())
    if spec.image_channels != "auto":
        return spec.image_channels
    channels = 1 if grey == len(headers) else 3
    if 0 < grey < len(headers):
        notes.append(f"{grey} of {len(headers)} images are grey and become coloured (data.image_channels)")
    return channels


def _decode(images: dict[str, _Images], size: tuple[int, int], channels: int, folder: Path) -> dict[str, LabelledRows]:
    total = sum(len(one.files) for one in images.values())
    require_space(folder, _COPIES * total * size[0] * size[1] * channels)
    arrays = [
        ImageArray(target=_target(folder, split), files=tuple(file.path for file in one.files))
        for split, one in images.items()
    ]
    threads = available_resources().cores
    damaged = decode_images(arrays, size=size, channels=channels, threads=threads, folder=folder)
    names = {file.path: file.shown for one in images.values() for file in one.files}
    _refuse([(names[one.file], one.reason) for one in damaged])
    return {split: _rows(split, one, folder) for split, one in images.items()}


def _rows(split: str, images: _Images, folder: Path) -> LabelledRows:
    place = _holder(images.files)
    x, y = _target(folder, split), folder / f"classes-{split}.npy"
    classes = np.array(images.classes)
    return LabelledRows(
        SourceArray(place, "images", map_array(x), x),
        SourceArray(place, "class folders", write_array(y, classes.dtype, classes.shape, [classes]), y),
    )


def _target(folder: Path, split: str) -> Path:
    return folder / f"images-{split}.npy"
