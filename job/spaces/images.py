"""The sides of images on their way through the `cnn` builder's layers."""

from dataclasses import dataclass

# Max pooling of 2 by 2, Keras's default.
_POOL = 2

Sides = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """One convolution and the pooling after it: what each spans, and the sides of what they leave."""

    kernel: Sides
    pool: Sides
    left: Sides


def after_convolutions(sides: Sides, layers: int, kernel_size: int) -> list[Window]:
    """What each of these convolutions, with its pooling, spans and leaves; no window is larger than what it is laid on.

    Args:
        sides: height and width of the images.
        layers: how many convolutions there are.
        kernel_size: rows and columns of their filters.
    """
    windows = []
    for _ in range(layers):
        kernel = _within(sides, kernel_size)
        sides = (sides[0] - kernel[0] + 1, sides[1] - kernel[1] + 1)
        pool = _within(sides, _POOL)
        sides = (sides[0] // pool[0], sides[1] // pool[1])
        windows.append(Window(kernel, pool, sides))
    return windows


def _within(sides: Sides, size: int) -> Sides:
    """A window of this size, no larger than what it is laid on."""
    return min(size, sides[0]), min(size, sides[1])
