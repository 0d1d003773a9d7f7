"""Checks of what the `data` section says of images and TFRecord files; see `job.spec.checks`."""

from collections.abc import Iterator

from job.spec.drafts import Check, Finding, check
from job.spec.fields import listed, nearest
from job.spec.model import JobSpec
from job.spec.sections import STORED_DTYPES, DataSpec, RecordField
from job.spec.sources import FOLDER_KINDS, source_kind

_IMAGE_ENCODINGS = ("png", "jpeg")
_OF_IMAGES = ("image_size", "image_channels", "skip_damaged")


def is_image(field: RecordField) -> bool:
    """Whether a feature holds image files."""
    return field.encoding in _IMAGE_ENCODINGS


def features_of(data: DataSpec) -> tuple[str, ...]:
    """The features of TFRecord files to predict from."""
    return data.features or tuple(name for name in data.record if name != data.target)


@check("data.source", "data.format", "data.split_folders")
def split_folders_have_a_use(spec: JobSpec) -> Iterator[Finding]:
    """What is said of folders would be ignored in silence where there are none."""
    kind = source_kind(spec.data)
    if spec.data.split_folders != "auto" and kind is not None and kind not in FOLDER_KINDS:
        yield Finding(("data", "split_folders"), "needs data.source to be a folder or prefix, with data.format")


@check("data.source", "data.format", "data.record", *(f"data.{field}" for field in _OF_IMAGES))
def image_fields_have_a_use(spec: JobSpec) -> Iterator[Finding]:
    """What is said of images would be ignored in silence where there are none."""
    data, default, kind = spec.data, DataSpec(), source_kind(spec.data)
    if kind in {None, "images"} or (kind == "tfrecord" and any(map(is_image, data.record.values()))):
        return
    for field in _OF_IMAGES:
        if getattr(data, field) != getattr(default, field):
            yield Finding(("data", field), "needs images: data.format: images, or a png or jpeg of data.record")


@check("data.source", "data.format", "data.record", "data.target", "data.features")
def records_are_described(spec: JobSpec) -> Iterator[Finding]:
    """Nothing but the spec says what TFRecord files hold, and what of it to learn."""
    data, kind = spec.data, source_kind(spec.data)
    if kind != "tfrecord":
        if data.record and kind is not None:
            yield Finding(("data", "record"), "needs data.source to be a .tfrecord file", shows_value=False)
        return
    if not data.record:
        yield Finding(("data", "record"), "expected what each record holds, by name", shows_value=False)
        return
    message = _problem_of_target(data)
    if message is not None:
        yield Finding(("data", "target"), message, shows_value=data.target is not None)
    for position, name in enumerate(data.features or ()):
        if name not in data.record:
            yield Finding(("data", "features", position), _unknown(data, name))
    if not features_of(data) and data.target in data.record:
        yield Finding(("data", "record"), "expected a feature to predict from besides the target", shows_value=False)


def _problem_of_target(data: DataSpec) -> str | None:
    if data.target is None:
        return f"expected one of {listed(tuple(data.record), 'or')}"
    if data.target not in data.record:
        return _unknown(data, data.target)
    return "expected a number or text to predict, and this is an image" if is_image(data.record[data.target]) else None


def _unknown(data: DataSpec, name: str) -> str:
    close = nearest(name, data.record)
    hint = f"; did you mean {close}?" if close else ""
    return f"data.record has no {name!r}{hint}"


@check("data.record", "data.target", "data.features")
def record_fields_are_whole(spec: JobSpec) -> Iterator[Finding]:
    """An encoding decides which dtypes there are, and who says the shape."""
    for name, field in spec.data.record.items():
        path = ("data", "record", name)
        if is_image(field):
            if field.dtype not in {None, "uint8"}:
                yield Finding((*path, "dtype"), "expected uint8, which images are")
            if field.shape:
                yield Finding((*path, "shape"), "is said by data.image_size and data.image_channels for images")
        elif field.dtype is None:
            yield Finding((*path, "dtype"), "missing; expected what the values are", shows_value=False)
        elif field.encoding == "none" and field.dtype not in STORED_DTYPES:
            message = (
                f"expected {listed(STORED_DTYPES, 'or')}, which is all that records have lists of; or encoding: raw"
            )
            yield Finding((*path, "dtype"), message)
        elif field.encoding == "raw" and field.dtype == "string":
            yield Finding((*path, "dtype"), "expected the dtype of the numbers that the bytes hold")


@check("data.source", "data.format", "data.record", "data.target", "data.features")
def features_make_one_row(spec: JobSpec) -> Iterator[Finding]:
    """Several features are joined to one row of numbers; an array or an image stands alone."""
    data = spec.data
    if source_kind(data) != "tfrecord":
        return
    names = [name for name in features_of(data) if name in data.record]
    for name in names:
        field = data.record[name]
        path = ("data", "features", names.index(name)) if data.features else ("data", "record", name)
        if field.dtype == "string" and not is_image(field):
            yield Finding(path, "texts cannot be predicted from: leave it out of data.features", shows_value=False)
        elif len(names) > 1 and (is_image(field) or len(field.shape) > 1):
            message = "expected to stand alone in data.features: only single values and lists of numbers are joined"
            yield Finding(path, message, shows_value=False)


FILE_CHECKS: tuple[Check, ...] = (
    split_folders_have_a_use,
    image_fields_have_a_use,
    records_are_described,
    record_fields_are_whole,
    features_make_one_row,
)
