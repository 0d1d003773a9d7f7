"""What the first bytes of a PNG or JPEG file say of the image. Decodes nothing.

Sources: PNG (Portable Network Graphics) Specification, section 11.2.1; ITU-T T.81 (JPEG), annex B.
"""

from dataclasses import dataclass
from typing import BinaryIO, Literal

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8"
_PNG_HEADER_BYTES = 26
# By colour type: grey, RGB, palette, grey and alpha, RGB and alpha. Without alpha, which training has no use for.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}
# Start of frame, of every coding that there is; among them lie three markers of another kind.
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a length.
_JPEG_BARE = {0x01, *range(0xD0, 0xDA)}
_JPEG_FRAME_BYTES = 6
_GREY = 1


class NoImageError(ValueError):
    """Bytes that begin as no PNG or JPEG file does."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """An image's size in pixels, and whether it is grey (1 channel) or in colour (3), transparency left out."""

    kind: Literal["png", "jpeg"]
    height: int
    width: int
    channels: int


def read_image_header(file: BinaryIO) -> ImageHeader:
    """Read the header; the file is left somewhere behind it.

    Raises:
        NoImageError: it is no PNG or JPEG file, or is cut short.
    """
    start = file.read(_PNG_HEADER_BYTES)
    if start.startswith(_PNG_SIGNATURE):
        return _png(start)
    if start.startswith(_JPEG_SIGNATURE):
        file.seek(len(_JPEG_SIGNATURE))
        return _jpeg(file)
    raise NoImageError("it is empty" if not start else "it is neither a PNG nor a JPEG file")


def _png(start: bytes) -> ImageHeader:
    if len(start) < _PNG_HEADER_BYTES or start[12:16] != b"IHDR" or start[25] not in _PNG_CHANNELS:
        raise NoImageError("its PNG header is damaged")
    width, height = int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
    return _checked(ImageHeader("png", height, width, _PNG_CHANNELS[start[25]]))


def _jpeg(file: BinaryIO) -> ImageHeader:
    while True:
        marker = _next_marker(file)
        if marker in _JPEG_BARE:
            continue
        length = int.from_bytes(file.read(2), "big")
        if marker in _JPEG_FRAMES:
            frame = file.read(_JPEG_FRAME_BYTES)
            if len(frame) < _JPEG_FRAME_BYTES:
                raise NoImageError("its JPEG header is cut short")
            height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
            return _checked(ImageHeader("jpeg", height, width, 1 if frame[5] == _GREY else 3))
        file.seek(max(length - 2, 0), 1)


def _next_marker(file: BinaryIO) -> int:
    byte = file.read(1)
    while byte and byte != b"\xff":
        byte = file.read(1)
    while byte == b"\xff":
        byte = file.read(1)
    if not byte:
        raise NoImageError("its JPEG header is cut short")
    return byte[0]


def _checked(header: ImageHeader) -> ImageHeader:
    if not header.height or not header.width:
        raise NoImageError("its header says that it has no pixels")
    return header
