"""The hash that `keras.layers.Hashing` puts strings into bins by: FarmHash's Fingerprint64, without TensorFlow.

Source: `farmhashna::Hash64` of FarmHash 1.1 (Geoff Pike, MIT licence), of which `Fingerprint64` is another name.
"""

_WORD = (1 << 64) - 1
_K0 = 0xC3A5C85C97CB3127
_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F


def fingerprint64(text: bytes) -> int:
    """The hash of some bytes, from 0 to 2**64 - 1."""
    length = len(text)
    if length <= 16:  # noqa: PLR2004 - the lengths that the algorithm tells apart
        return _up_to_16(text)
    if length <= 32:  # noqa: PLR2004
        return _17_to_32(text)
    if length <= 64:  # noqa: PLR2004
        return _33_to_64(text)
    return _over_64(text)


def _fetch64(text: bytes, position: int) -> int:
    return int.from_bytes(text[position : position + 8], "little")


def _fetch32(text: bytes, position: int) -> int:
    return int.from_bytes(text[position : position + 4], "little")


def _rotated(value: int, shift: int) -> int:
    return ((value >> shift) | (value << (64 - shift))) & _WORD


def _shift_mixed(value: int) -> int:
    return value ^ (value >> 47)


def _hash_of_16(u: int, v: int, factor: int) -> int:
    a = ((u ^ v) * factor) & _WORD
    a ^= a >> 47
    b = ((v ^ a) * factor) & _WORD
    b ^= b >> 47
    return (b * factor) & _WORD


def _up_to_16(text: bytes) -> int:
    length = len(text)
    if length >= 8:  # noqa: PLR2004 - two overlapping words
        factor = (_K2 + length * 2) & _WORD
        a = (_fetch64(text, 0) + _K2) & _WORD
        b = _fetch64(text, length - 8)
        c = (_rotated(b, 37) * factor + a) & _WORD
        d = ((_rotated(a, 25) + b) * factor) & _WORD
        return _hash_of_16(c, d, factor)
    if length >= 4:  # noqa: PLR2004 - two overlapping half words
        factor = (_K2 + length * 2) & _WORD
        return _hash_of_16((length + (_fetch32(text, 0) << 3)) & _WORD, _fetch32(text, length - 4), factor)
    if length > 0:
        y = text[0] + (text[length >> 1] << 8)
        z = length + (text[length - 1] << 2)
        return (_shift_mixed((y * _K2 & _WORD) ^ (z * _K0 & _WORD)) * _K2) & _WORD
    return _K2


def _17_to_32(text: bytes) -> int:
    length = len(text)
    factor = (_K2 + length * 2) & _WORD
    a = (_fetch64(text, 0) * _K1) & _WORD
    b = _fetch64(text, 8)
    c = (_fetch64(text, length - 8) * factor) & _WORD
    d = (_fetch64(text, length - 16) * _K2) & _WORD
    return _hash_of_16(
        (_rotated((a + b) & _WORD, 43) + _rotated(c, 30) + d) & _WORD,
        (a + _rotated((b + _K2) & _WORD, 18) + c) & _WORD,
        factor,
    )


def _33_to_64(text: bytes) -> int:
    length = len(text)
    factor = (_K2 + length * 2) & _WORD
    a = (_fetch64(text, 0) * _K2) & _WORD
    b = _fetch64(text, 8)
    c = (_fetch64(text, length - 8) * factor) & _WORD
    d = (_fetch64(text, length - 16) * _K2) & _WORD
    y = (_rotated((a + b) & _WORD, 43) + _rotated(c, 30) + d) & _WORD
    z = _hash_of_16(y, (a + _rotated((b + _K2) & _WORD, 18) + c) & _WORD, factor)
    e = (_fetch64(text, 16) * factor) & _WORD
    f = _fetch64(text, 24)
    g = ((y + _fetch64(text, length - 32)) * factor) & _WORD
    h = ((z + _fetch64(text, length - 24)) * factor) & _WORD
    return _hash_of_16(
        (_rotated((e + f) & _WORD, 43) + _rotated(g, 30) + h) & _WORD,
        (e + _rotated((f + a) & _WORD, 18) + g) & _WORD,
        factor,
    )


def _weak_hash_of_32(text: bytes, position: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_fetch64(text, position + 8 * number) for number in range(4))
    a = (a + w) & _WORD
    b = _rotated((b + a + z) & _WORD, 21)
    c = a
    a = (a + x + y) & _WORD
    b = (b + _rotated(a, 44)) & _WORD
    return (a + z) & _WORD, (b + c) & _WORD


def _over_64(text: bytes) -> int:
    seed = 81
    length = len(text)
    x, y = seed, (seed * _K1 + 113) & _WORD
    z = (_shift_mixed((y * _K2 + 113) & _WORD) * _K2) & _WORD
    v, w = (0, 0), (0, 0)
    x = (x * _K2 + _fetch64(text, 0)) & _WORD
    end = ((length - 1) // 64) * 64
    last64 = end + ((length - 1) & 63) - 63
    for position in range(0, end, 64):
        x = (_rotated((x + y + v[0] + _fetch64(text, position + 8)) & _WORD, 37) * _K1) & _WORD
        y = (_rotated((y + v[1] + _fetch64(text, position + 48)) & _WORD, 42) * _K1) & _WORD
        x ^= w[1]
        y = (y + v[0] + _fetch64(text, position + 40)) & _WORD
        z = (_rotated((z + w[0]) & _WORD, 33) * _K1) & _WORD
        v = _weak_hash_of_32(text, position, (v[1] * _K1) & _WORD, (x + w[0]) & _WORD)
        w = _weak_hash_of_32(text, position + 32, (z + w[1]) & _WORD, (y + _fetch64(text, position + 16)) & _WORD)
        z, x = x, z
    factor = (_K1 + ((z & 0xFF) << 1)) & _WORD
    w = ((w[0] + ((length - 1) & 63)) & _WORD, w[1])
    v = ((v[0] + w[0]) & _WORD, v[1])
    w = ((w[0] + v[0]) & _WORD, w[1])
    x = (_rotated((x + y + v[0] + _fetch64(text, last64 + 8)) & _WORD, 37) * factor) & _WORD
    y = (_rotated((y + v[1] + _fetch64(text, last64 + 48)) & _WORD, 42) * factor) & _WORD
    x ^= (w[1] * 9) & _WORD
    y = (y + v[0] * 9 + _fetch64(text, last64 + 40)) & _WORD
    z = (_rotated((z + w[0]) & _WORD, 33) * factor) & _WORD
    v = _weak_hash_of_32(text, last64, (v[1] * factor) & _WORD, (x + w[0]) & _WORD)
    w = _weak_hash_of_32(text, last64 + 32, (z + w[1]) & _WORD, (y + _fetch64(text, last64 + 16)) & _WORD)
    z, x = x, z
    return _hash_of_16(
        (_hash_of_16(v[0], w[0], factor) + _shift_mixed(y) * _K0 + z) & _WORD,
        (_hash_of_16(v[1], w[1], factor) + x) & _WORD,
        factor,
    )
