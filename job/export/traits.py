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
        return [f"the loaded model has {len(loaded)} layers instead of {len(ours)}", *_forgotten(model)]
    found = []
    for (name, mine), (_, other) in zip(ours, loaded, strict=True):
        changed = [
            f"{key} is {_short(other[key])} instead of {_short(mine[key])}"
            for key in mine.keys() & other.keys()
            if mine[key] != other[key]
        ]
        if changed:
            found.append(f"layer {name}: {'; '.join(sorted(changed)[:_SHOWN])}")
    found = [*found[:_SHOWN], *_forgotten(model)]
    own = {type(layer).__name__: None for layer in layers_of(model) if not _is_kerass(type(layer))}
    if own and not found:
        found = [f"no argument or variable differs: {', '.join(own)} must keep something else"]
    return found


def _traits(layer: keras.Layer) -> Iterator[tuple[str, str]]:
    try:
        config = layer.get_config()
    except Exception:  # noqa: BLE001 - the user's own, which may raise anything
        config = {}
    # What a graph is made of is told layer by layer.
    if not isinstance(layer, keras.Model):
        for key, value in config.items():
            yield f"config {key}", repr(value)
    if not _is_kerass(type(layer)):
        for key, value in vars(layer).items():
            if not key.startswith("_") and key not in config and key not in {"name", "built"} and _is_plain(value):
                yield key, repr(value)
    # Those of a layer of layers are told by these; where numbers are drawn from moves on whenever they are.
    inner = {id(variable) for one in layers_of(layer) for variable in one.variables}
    for number, variable in enumerate(layer.variables):
        if id(variable) not in inner and variable.name != "seed_generator_state":
            content = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
            digest = hashlib.sha256(content.tobytes()).hexdigest()[:12]
            yield f"variable {number} ({variable.name})", f"{variable.shape} {digest}"


def _is_kerass(kind: type) -> bool:
    return kind.__module__.split(".", 1)[0] == "keras"


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
        if _is_kerass(kind):
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
