"""What is published: the trained core behind layers that take rows as they are in the source."""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any, Literal

import keras

from job.data import Preparation, Rescaling, Standardisation
from job.data.nested import Nested
from job.records import Signature, TensorSignature


def publishable_model(core: keras.Model, preparation: Preparation) -> keras.Model:
    """A model that takes raw rows: preparation as plain Keras layers, then the trained core.

    It shares the core's weights and is compiled with its loss and metrics, so that it evaluates as it is.
    Its optimizer is a stand-in: Keras cannot load a compiled model without one, warns on loading one whose state
    is missing, and Adam's state would triple the file. To train on, compile it anew.

    Args:
        core: compiled and trained on prepared rows (float32); a functional or sequential model.
        preparation: what training did to the raw rows.
    """
    inputs, rows = preparation_layers(preparation)
    # The core's layers in a model of their own: saving the core itself would take its optimizer's state along.
    layers = keras.Model(core.inputs, core.outputs, name=core.name)
    outputs = keras.tree.map_structure(_as_float32, layers(rows))
    model = keras.Model(inputs, outputs, name=core.name)
    configuration = keras.saving.deserialize_keras_object(_published(core.get_compile_config()))
    model.compile(
        optimizer=keras.optimizers.SGD(),
        loss=configuration["loss"],
        loss_weights=configuration["loss_weights"],
        metrics=configuration["metrics"],
        weighted_metrics=configuration["weighted_metrics"],
    )
    return model


def _published(configuration: dict[str, Any]) -> dict[str, Any]:
    """What a core was compiled with, without its optimizer and without metrics of this job's own.

    A published model loads without this package; `job.evaluation` computes the others from predictions.
    """
    kept = {
        field: [metric for metric in metrics if not _is_ours(metric)]
        for field in ("metrics", "weighted_metrics")
        if isinstance(metrics := configuration.get(field), list)
    }
    return configuration | {"optimizer": None} | kept


def _is_ours(serialized: object) -> bool:
    if not isinstance(serialized, dict):
        return False
    return str(serialized.get("module")).split(".")[0] == __name__.split(".")[0]


@singledispatch
def preparation_layers(preparation: Preparation) -> tuple[Nested, Nested]:
    """Inputs that take raw rows, nested as these are, and the prepared tensors that plain Keras layers make of them."""
    raise TypeError(f"no layers are known for {type(preparation).__name__}")


@preparation_layers.register
def _(preparation: Rescaling) -> tuple[Nested, Nested]:
    inputs = keras.Input(preparation.input_shape, dtype=preparation.input_dtype, name="rows")
    # Rescaling by 1 still casts: the core must not be handed the source's own dtype.
    scale = 1.0 if preparation.scale is None else preparation.scale
    return inputs, keras.layers.Rescaling(scale, dtype="float32", name="rescale")(inputs)


@preparation_layers.register
def _(preparation: Standardisation) -> tuple[Nested, Nested]:
    inputs = keras.Input(preparation.input_shape, dtype=preparation.input_dtype, name="rows")
    scale, offset = list(preparation.scale), list(preparation.offset)
    return inputs, keras.layers.Rescaling(scale, offset=offset, dtype="float32", name="standardize")(inputs)


def _as_float32(output: keras.KerasTensor) -> keras.KerasTensor:
    """A core of mixed precision answers in 16 bits, which callers and exports should not have to know."""
    if output.dtype in {"float16", "bfloat16"}:
        return keras.layers.Activation("linear", dtype="float32")(output)
    return output


def signature_of(
    model: keras.Model,
    class_names: Sequence[str] | None,
    output_kind: Literal["logits", "probabilities", "values"],
) -> Signature:
    """The names, shapes and dtypes that a caller of the published model needs."""
    return Signature(
        inputs=tuple(_tensor(tensor) for tensor in model.inputs),
        outputs=tuple(_tensor(tensor) for tensor in model.outputs),
        class_names=None if class_names is None else tuple(class_names),
        output_kind=output_kind,
    )


def _tensor(tensor: keras.KerasTensor) -> TensorSignature:
    return TensorSignature(name=tensor.name, shape=tuple(tensor.shape), dtype=str(tensor.dtype))
