"""Folders of images: a folder for each class, decoded and resized once."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from job.data.arrays import SourceArray, map_array, write_array
from job.data.image_decoding import (
    DecodedImages,
    ImageArray,
    PixelType,
    decode_images,
    depth_note,
    pixel_type,
)
from job.data.image_headers import DEEP_BITS, ImageHeader, NoImageError, read_image_header
from job.data.pins import ObjectPins
from job.data.source_files import SourceFile, copies_in, source_files
from job.data.source_rows import LabelledRows, Sources
from job.data.split_folders import files_of_splits, holder
from job.disk import require_space
from job.errors import DataError
from job.resources import available_resources
from job.spec import DataSpec

# By how a name ends, in small letters. What is in a file goes by its first bytes.
_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
_SHOWN = 10
# Decoded, then divided into splits; only then is the first copy deleted.
_COPIES = 2


@dataclass(frozen=True, slots=True)
class _Images:
    """Images of one split: their files, and the class of each."""

    files: tuple[SourceFile, ...]
    classes: tuple[str, ...]

    def without(self, names: Collection[str]) -> "_Images":
        """The images but those of these names."""
        kept = [number for number, file in enumerate(self.files) if file.shown not in names]
        return _Images(tuple(self.files[number] for number in kept), tuple(self.classes[number] for number in kept))


def read_images(spec: DataSpec, folder: Path, pins: ObjectPins) -> Sources:
    """Read folders of class folders as arrays of shape (images, height, width, channels), uint8 or uint16.

    A class is a folder at the top, and its name; images may lie deeper in it. Where the folders at the top are the
    splits (see `job.data.split_folders`), they hold the class folders.

    Args:
        spec: what to read, how large images are to be, and how many damaged ones may be left out.
        folder: where to.
        pins: which versions to read; told of what is read.

    Raises:
        DataError: there are no classes, too many images are damaged, or sizes differ and none is asked for.
        AccessError, StoreError: the object store refuses or fails, or there is too little room on the disk.
        OSError: `folder` cannot be written.
    """
    notes: list[str] = []
    with ExitStack() as opened:

        def files_of(location: str, field: str) -> tuple[SourceFile, ...]:
            copies = opened.enter_context(copies_in(folder, field))
            return source_files(location, field=field, suffixes=(), folder=copies, pins=pins)

        splits = files_of_splits(spec, files_of, _is_image, notes)
        images = {split: _class_folders(files, notes) for split, files in splits.items()}
        images, headers = _decoded(images, spec, folder, notes)
    misnamed = [name for name, header in headers.items() if _KINDS[Path(name).suffix.lower()] != header.kind]
    if misnamed:
        notes.append(f"{len(misnamed)} images are of the other format than their names say, such as {misnamed[0]}")
    turned = [name for name, header in headers.items() if header.is_turned]
    if turned:
        notes.append(
            f"{len(turned)} images are noted in EXIF as turned or mirrored, which is not applied, such as {turned[0]}"
        )
    rows = {split: _rows(split, one, folder) for split, one in images.items()}
    return Sources(rows["train"], rows.get("validation"), rows.get("test"), tuple(notes))


def _is_image(file: SourceFile) -> bool:
    return file.suffix in _KINDS


def _class_folders(files: Sequence[SourceFile], notes: list[str]) -> _Images:
    images = list(filter(_is_image, files))
    place = holder(files)
    if not images:
        raise DataError(f"{place}: there are no PNG or JPEG files (.png, .jpg, .jpeg)")
    loose = [file for file in images if len(file.parts) == 1]
    if loose:
        raise DataError(
            f"{loose[0].shown} lies in no class folder: a folder is expected for each class, called like it",
            advice="Put each image into the folder of its class: photos/cat/1.png, photos/dog/1.png.",
        )
    others = [file for file in files if not _is_image(file)]
    if others:
        notes.append(f"{len(others)} files that are no PNG or JPEG are not used, such as {others[0].shown}")
    empty = {file.parts[0] for file in others if len(file.parts) > 1} - {file.parts[0] for file in images}
    if empty:
        raise DataError(f"{place}: folder {min(empty)!r} holds no PNG or JPEG file; leave it out, or convert its files")
    return _Images(tuple(images), tuple(file.parts[0] for file in images))


def _decoded(
    images: dict[str, _Images], spec: DataSpec, folder: Path, notes: list[str]
) -> tuple[dict[str, _Images], dict[str, ImageHeader]]:
    """Write the arrays of all images that are whole; those images, and their headers by name."""
    headers, damaged = _headers(images.values())
    if not headers:
        _refuse(damaged, spec)
    while True:
        whole = {split: one.without(damaged) for split, one in images.items()}
        size = spec.image_size or _common_size(headers)
        found = _decode(whole, size, _channels(spec, headers), pixel_type(_deep(headers)), folder)
        names = {file.path: file.shown for one in images.values() for file in one.files}
        damaged |= {names[one.file]: one.reason for one in found.damaged}
        if len(damaged) > spec.skip_damaged:
            _refuse(damaged, spec)
        if not found.damaged:
            break
        # What was decoded has gaps; without these files it has none.
        headers = {name: header for name, header in headers.items() if name not in damaged}
    for split, one in images.items():
        lost = set(one.classes) - set(whole[split].classes)
        if lost:
            raise DataError(f"{holder(one.files)}: every image of folder {min(lost)!r} is damaged: {_listed(damaged)}")
    notes += _notes_on_images(spec, headers, size, found.brightest)
    if damaged:
        notes.append(f"{_listed(damaged)}: left out (data.skip_damaged)")
    return whole, headers


def _headers(splits: Iterable[_Images]) -> tuple[dict[str, ImageHeader], dict[str, str]]:
    """What every file says of its image, by the file's name; and what is wrong with those that say nothing."""
    headers: dict[str, ImageHeader] = {}
    damaged: dict[str, str] = {}
    for images in splits:
        for file in images.files:
            try:
                with file.path.open("rb") as opened:
                    headers[file.shown] = read_image_header(opened)
            except (NoImageError, OSError) as error:
                damaged[file.shown] = str(error)
    return headers, damaged


def _refuse(damaged: Mapping[str, str], spec: DataSpec) -> NoReturn:
    allowed = f", more than data.skip_damaged {spec.skip_damaged} allows" if spec.skip_damaged else ""
    raise DataError(
        f"{_listed(damaged)}{allowed}",
        advice=f"Remove these files, or replace them; data.skip_damaged: {len(damaged)} leaves them out.",
    )


def _listed(damaged: Mapping[str, str]) -> str:
    shown = "; ".join(f"{name} ({damaged[name]})" for name in sorted(damaged)[:_SHOWN])
    more = f" and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
    count = "1 image is" if len(damaged) == 1 else f"{len(damaged)} images are"
    return f"{count} damaged: {shown}{more}"


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


def _grey(headers: dict[str, ImageHeader]) -> int:
    return sum(header.channels == 1 for header in headers.values())


def _deep(headers: dict[str, ImageHeader]) -> int:
    return sum(header.bits == DEEP_BITS for header in headers.values())


def _channels(spec: DataSpec, headers: dict[str, ImageHeader]) -> int:
    if spec.image_channels != "auto":
        return spec.image_channels
    return 1 if _grey(headers) == len(headers) else 3


def _notes_on_images(
    spec: DataSpec, headers: dict[str, ImageHeader], size: tuple[int, int], brightest: int
) -> Iterator[str]:
    resized = sum((header.height, header.width) != size for header in headers.values())
    yield f"{len(headers)} images of {size[0]} x {size[1]} pixels, {resized} of them resized"
    if spec.image_channels == "auto" and 0 < _grey(headers) < len(headers):
        yield f"{_grey(headers)} of {len(headers)} images are grey and become coloured (data.image_channels)"
    try:
        note = depth_note(_deep(headers), len(headers), brightest)
    except ValueError as error:
        deep = next(name for name, header in headers.items() if header.bits == DEEP_BITS)
        raise DataError(f"{error}, such as {deep}", advice="Bring all images to one depth.") from error
    if note is not None:
        yield note


def _decode(
    images: dict[str, _Images], size: tuple[int, int], channels: int, dtype: PixelType, folder: Path
) -> DecodedImages:
    total = sum(len(one.files) for one in images.values())
    require_space(folder, _COPIES * total * size[0] * size[1] * channels * np.dtype(dtype).itemsize)
    arrays = [
        ImageArray(target=_target(folder, split), files=tuple(file.path for file in one.files))
        for split, one in images.items()
    ]
    threads = available_resources().cores
    return decode_images(arrays, size=size, channels=channels, dtype=dtype, threads=threads, folder=folder)


def _rows(split: str, images: _Images, folder: Path) -> LabelledRows:
    place = holder(images.files)
    x, y = _target(folder, split), folder / f"classes-{split}.npy"
    classes = np.array(images.classes)
    return LabelledRows(
        SourceArray(place, "images", map_array(x), x),
        SourceArray(place, "class folders", write_array(y, classes.dtype, classes.shape, [classes]), y),
    )


def _target(folder: Path, split: str) -> Path:
    return folder / f"images-{split}.npy"
