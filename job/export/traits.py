"""What layers are made of, in words: to say where a loaded model is another one than that which was saved."""

import hashlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from job.export.request import Traits
from job.export.saved_model import layers_of

_PLAIN = (bool, int, float, str, bytes, type(None))
_SHOWN = 4
_LONGEST = 80


def traits_of(model: keras.Model) -> Traits:
    """Return, for every layer, its configuration, its plain attributes, and a digest of each variable."""
    return tuple((f"{layer.name} ({type(layer).__name__})", dict(_traits(layer))) for layer in layers_of(model))


def differences(model: keras.Model, loaded: Traits | None) -> list[str]:
    """Say in which layers a loaded model differs from the one that was saved, and what their configurations forget."""
    if loaded is None:
        return _forgotten(model)
    ours = traits_of(model)
    if len(ours) != len(loaded):
        return [f"the loaded model has {len(loaded)} layers instead of {len(ours)}"]
    found = []
    for (name, mine), (_, other) in zip(ours, loaded, strict=True):
        changed = [
            f"{key} is {_short(other.get(key, 'missing'))} instead of {_short(mine.get(key, 'missing'))}"
            for key in sorted({*mine, *other})
            if mine.get(key) != other.get(key)
        ]
        if changed:
            found.append(f"layer {name}: {'; '.join(changed[:_SHOWN])}")
    return [*found[:_SHOWN], *_forgotten(model)]


def _traits(layer: keras.Layer) -> Iterator[tuple[str, str]]:
    try:
        config = layer.get_config()
    except Exception:  # noqa: BLE001 - the user's own, which may raise anything
        config = {}
    for key, value in config.items():
        yield f"config {key}", repr(value)
    for key, value in vars(layer).items():
        # Keras counts calls and objects in private attributes of its own.
        if not key.startswith("_") and key not in config and key not in {"name", "built"} and _is_plain(value):
            yield key, repr(value)
    for variable in layer.variables:
        content = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        yield f"variable {variable.path}", hashlib.sha256(content.tobytes()).hexdigest()[:12]


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    if isinstance(value, dict):
        return all(_is_plain(one) for pair in value.items() for one in pair)
    return isinstance(value, _PLAIN)


def _forgotten(model: keras.Model) -> list[str]:
    """What a class of the user's takes and its `get_config` does not give."""
    found: dict[str, None] = {}
    for layer in layers_of(model):
        kind = type(layer)
        if kind.__module__.split(".", 1)[0] == "keras":
            continue
        try:
            known = set(layer.get_config())
        except Exception:  # noqa: BLE001 - likewise
            found[f"{kind.__name__}.get_config raises an error"] = None
            continue
        taken: dict[str, Any] = dict(list(inspect.signature(kind.__init__).parameters.items())[1:])
        lost = [
            name
            for name, one in taken.items()
            if name not in known and one.kind not in {one.VAR_POSITIONAL, one.VAR_KEYWORD}
        ]
        if lost:
            found[f"{kind.__name__}.get_config forgets {', '.join(lost)}, which its __init__ takes"] = None
    return list(found)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
