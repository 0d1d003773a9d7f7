"""A Keras model as a SavedModel whose serving signature takes raw rows by the names of the inputs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from job.data.arrays import AnyArray
from job.data.nested import Nested
from job.export.naming import serving_names
from job.export.predicting import predictions
from job.records import TensorSignature

# TensorFlow Serving's name of the signature that is used where none is asked for.
SIGNATURE = "serving_default"
_SIXTEEN_BITS = {"float16", "bfloat16"}


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model with names for its inputs and outputs, which every format shares.

    Attributes:
        model: functional or sequential; takes raw rows.
        inputs, outputs: in the order of the flattened structures of `model`.
    """

    model: keras.Model
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]

    @classmethod
    def of(cls, model: keras.Model) -> "ServedModel":
        """Name inputs and outputs: by the keys of dictionaries; otherwise by Keras's names, and `output_0` and on."""
        inputs = serving_names(_names(_input_structure(model), [one.name for one in model.inputs]), otherwise="input")
        numbered = [f"output_{index}" for index in range(len(model.outputs))]
        outputs = serving_names(_names(_output_structure(model), numbered), inputs, otherwise="output")
        return cls(
            model,
            tuple(_tensor(name, one) for name, one in zip(inputs, model.inputs, strict=True)),
            tuple(_tensor(name, one) for name, one in zip(outputs, model.outputs, strict=True)),
        )

    def serve(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Predict; rows and predictions by the names of inputs and outputs."""
        predicted = keras.tree.flatten(self.model(self._nested(rows), training=False))
        return {one.name: value for one, value in zip(self.outputs, predicted, strict=True)}

    def predict(self, rows: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Predict on the processor, which is where exports are checked: a GPU may round otherwise."""
        return self.by_name(predictions(self.model, self._nested(rows)))

    def by_name(self, predicted: Sequence[AnyArray]) -> dict[str, AnyArray]:
        """Predictions, leaf by leaf, by the names of the outputs."""
        return {one.name: value for one, value in zip(self.outputs, predicted, strict=True)}

    def _nested(self, rows: Mapping[str, Any]) -> Nested:
        return keras.tree.pack_sequence_as(_input_structure(self.model), [rows[one.name] for one in self.inputs])

    def rows_by_name(self, x: Nested) -> dict[str, AnyArray]:
        """Raw rows, nested as the model's inputs, as its serving signature takes them."""
        leaves = keras.tree.flatten(x)
        return {one.name: _as_input(np.asarray(leaf), one) for one, leaf in zip(self.inputs, leaves, strict=True)}

    @property
    def computes_in_16_bits(self) -> bool:
        """Whether a layer of it does."""
        return bool(_in_16_bits(self.model))

    def write(self, folder: Path) -> None:
        """Write the SavedModel; `folder` is made, or replaced."""
        serve = tf.function(lambda **rows: self.serve(rows))
        serve.get_concrete_function(
            **{one.name: tf.TensorSpec(one.shape, one.dtype, name=one.name) for one in self.inputs}
        )
        archive = keras.export.ExportArchive()
        archive.track(self.model)
        archive.add_endpoint(SIGNATURE, serve)
        archive.write_out(str(folder), verbose=False)

    @contextmanager
    def in_32_bits(self) -> Iterator[None]:
        """Let the model compute in float32 for a while: ONNX's and TFLite's runtimes lack operations in 16 bits.

        Weights of mixed precision are float32 as it is.
        """
        kept = [(layer, layer.dtype_policy) for layer in _in_16_bits(self.model)]
        for layer, _ in kept:
            layer.dtype_policy = "float32"
        try:
            yield
        finally:
            for layer, policy in kept:
                layer.dtype_policy = policy


def layer_names(model: keras.Model) -> list[tuple[str, str]]:
    """Name and class of every layer, the outermost first."""
    return [(layer.name, type(layer).__name__) for layer in layers_of(model)]


def layers_of(model: keras.Layer) -> list[keras.Layer]:
    """Every layer of a model or layer, the outermost first."""
    # Keras's own walk over layers of layers; `Model.layers` stops at the first.
    return list(model._flatten_layers(include_self=False))  # noqa: SLF001


def _in_16_bits(model: keras.Model) -> list[keras.Layer]:
    return [
        layer
        for layer in layers_of(model)
        if layer.compute_dtype in _SIXTEEN_BITS and layer.variable_dtype == "float32"
    ]


def _input_structure(model: keras.Model) -> Nested:
    # Functional models keep the structure that they were made with under this name alone; `inputs` is flat.
    return getattr(model, "_inputs_struct", model.inputs[0] if len(model.inputs) == 1 else list(model.inputs))


def _output_structure(model: keras.Model) -> Nested:
    return getattr(model, "_outputs_struct", model.outputs[0] if len(model.outputs) == 1 else list(model.outputs))


def _names(structure: Nested, otherwise: list[str]) -> list[str]:
    """The keys of a dictionary, in the order of its flattened leaves; other names where it is none."""
    if not isinstance(structure, dict):
        return otherwise
    paths = [path for path, _ in keras.tree.flatten_with_path(structure)]
    return ["_".join(map(str, path)) for path in paths]


def _tensor(name: str, tensor: keras.KerasTensor) -> TensorSignature:
    return TensorSignature(name=name, shape=tuple(tensor.shape), dtype=str(tensor.dtype))


def _as_input(rows: AnyArray, one: TensorSignature) -> AnyArray:
    """Rows with the axis of one value that inputs of a table have, and in the input's dtype."""
    if rows.ndim == len(one.shape) - 1 and one.shape[-1] == 1:
        rows = rows[..., np.newaxis]
    return rows if one.dtype == "string" else rows.astype(one.dtype)
