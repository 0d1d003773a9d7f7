"""Whether a saved model needs code that Keras does not have."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras

# Losses and metrics that are plain functions are saved by their name alone.
_FUNCTION_MODULES = ("activations", "initializers", "losses", "metrics", "ops", "regularizers", "constraints")
_KERAS = "keras"


def needs_code(model: keras.Model) -> bool:
    """Whether `model.keras` loads only where the user's own classes and functions are at hand.

    Goes by what would be saved: of every class and function the module, and whether Keras has one of that name.
    """
    return any(True for _ in custom_names(model))


def custom_names(model: keras.Model) -> Iterator[str]:
    """The names of what a saved model refers to and Keras does not have."""
    yield from _custom_names(json.loads(json.dumps(keras.saving.serialize_keras_object(model), default=str)))


def _custom_names(part: object) -> Iterator[str]:
    if isinstance(part, Mapping):
        name = part.get("class_name")
        if name == "__lambda__":
            yield "a lambda"
        # Only what Keras has serialised has all of these.
        if isinstance(name, str) and "config" in part and "module" in part:
            if name == "function":
                yield from _custom_function(part)
            elif not _is_kerass(part["module"]):
                yield name
        for value in part.values():
            yield from _custom_names(value)
    elif isinstance(part, list):
        for value in part:
            yield from _custom_names(value)


def _custom_function(part: Mapping[str, Any]) -> Iterator[str]:
    name = str(part["config"])
    places = [getattr(keras, module) for module in _FUNCTION_MODULES]
    if not _is_kerass(part["module"]) and not any(hasattr(place, name) for place in places):
        yield name


def _is_kerass(module: object) -> bool:
    return isinstance(module, str) and module.split(".", 1)[0] == _KERAS
