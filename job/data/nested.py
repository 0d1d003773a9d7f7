"""Arrays, or dictionaries, lists and tuples of them: what a Keras model takes and gives. Without TensorFlow."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

Nested: TypeAlias = Any


def map_leaves(change: Callable[[Any], Any], tree: Nested) -> Nested:
    """The same structure with every leaf changed; None stays."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: map_leaves(change, part) for name, part in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(map_leaves(change, part) for part in tree)
    return change(tree)


def as_tuples(tree: Nested) -> Nested:
    """Return the same structure with tuples in place of lists, which TensorFlow's data sets take for one tensor."""
    if isinstance(tree, dict):
        return {name: as_tuples(part) for name, part in tree.items()}
    return tuple(as_tuples(part) for part in tree) if isinstance(tree, list | tuple) else tree


def leaves(tree: Nested) -> Iterator[Any]:
    """Every leaf that is not None, in order."""
    if isinstance(tree, dict):
        for part in tree.values():
            yield from leaves(part)
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from leaves(part)
    elif tree is not None:
        yield tree


def row_count(tree: Nested) -> int:
    """How many rows the first leaf has."""
    return len(next(leaves(tree)))
