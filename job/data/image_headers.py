"""What the first bytes of a PNG or JPEG file say of the image. Decodes nothing.

Sources: PNG (Portable Network Graphics) Specification, section 11.2.1; ITU-T T.81 (JPEG), annex B; CIPA DC-008 (Exif),
section 4.6.
"""

import struct
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
_GREY, _INKS = 1, 4
_BYTE_BITS, DEEP_BITS = 8, 16
_EXIF_MARKER, _EXIF_SIGNATURE = 0xE1, b"Exif\0\0"
_ORIENTATION, _UPRIGHT, _TURNS = 0x0112, 1, 8
# Of the first directory; cameras write a dozen entries.
_EXIF_BYTES = 4096
# How other files begin that are found among images, and what they are.
_OTHERS = (
    (b"GIF8", "a GIF file"),
    (b"BM", "a BMP file"),
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (b"version https://git-lfs", "a pointer of Git LFS, whose file was not fetched"),
    (b"<", "a text, such as a web page"),
    (b"{", "a text"),
)


# Resized, each pixel takes 16 bytes of memory for a moment; the largest cameras' images have 150 million.
MOST_PIXELS = 200_000_000


class NoImageError(ValueError):
    """Bytes that begin as no PNG or JPEG file does."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What is known of an image before it is decoded.

    Attributes:
        height, width: in pixels.
        channels: 1 where it is grey, 3 in colour; transparency left out.
        bits: of each channel, 8 (or fewer, which decoders widen) or 16.
        is_of_inks: whether its colours are those of print (CMYK).
        is_turned: whether the camera notes in EXIF that it is to be shown turned or mirrored.
    """

    kind: Literal["png", "jpeg"]
    height: int
    width: int
    channels: int
    bits: int = _BYTE_BITS
    is_of_inks: bool = False
    is_turned: bool = False


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
    raise NoImageError(_what_it_is(start) if start else "it is empty")


def _what_it_is(start: bytes) -> str:
    found = next((name for beginning, name in _OTHERS if start.startswith(beginning)), None)
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        found = "a WebP file"
    elif start[4:8] == b"ftyp":
        found = "a file such as HEIC, AVIF or MP4"
    return f"it is {found}; PNG or JPEG is expected" if found else "it is neither a PNG nor a JPEG file"


def _png(start: bytes) -> ImageHeader:
    if len(start) < _PNG_HEADER_BYTES or start[12:16] != b"IHDR" or start[25] not in _PNG_CHANNELS:
        raise NoImageError("its PNG header is damaged")
    width, height = int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
    bits = DEEP_BITS if start[24] == DEEP_BITS else _BYTE_BITS
    return _checked(ImageHeader("png", height, width, _PNG_CHANNELS[start[25]], bits))


def _jpeg(file: BinaryIO) -> ImageHeader:
    is_turned = False
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
            if frame[0] != _BYTE_BITS:
                raise NoImageError(f"it is a JPEG file of {frame[0]} bits per channel; save it as PNG of 16 bits")
            channels = 1 if frame[5] == _GREY else 3
            return _checked(
                ImageHeader("jpeg", height, width, channels, is_of_inks=frame[5] == _INKS, is_turned=is_turned)
            )
        after = file.tell() + max(length - 2, 0)
        if marker == _EXIF_MARKER:
            is_turned = is_turned or _is_turned(file.read(min(max(length - 2, 0), _EXIF_BYTES)))
        file.seek(after)


def _is_turned(exif: bytes) -> bool:
    """Whether the first directory of EXIF data names an orientation other than upright."""
    if not exif.startswith(_EXIF_SIGNATURE):
        return False
    tiff = exif[len(_EXIF_SIGNATURE) :]
    order = ">" if tiff.startswith(b"MM") else "<"
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for number in range(entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * number)
            if tag == _ORIENTATION:
                return bool(_UPRIGHT < value <= _TURNS)
    except struct.error:
        # Damaged notes are no damaged image.
        pass
    return False


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
    if header.height * header.width > MOST_PIXELS:
        size = f"{header.height} x {header.width}"
        raise NoImageError(f"it has {size} pixels, more than the {MOST_PIXELS:,} that are read of an image")
    return header
