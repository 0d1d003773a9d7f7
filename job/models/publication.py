"""What is published: the trained core behind layers that take rows as they are in the source."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any, Literal

import keras

from job.data import Preparation, Rescaling, Standardisation
from job.data.as_is import AsIs
from job.data.nested import Nested, leaves, map_leaves
from job.logs import get_logger
from job.records import Signature, TensorSignature


def publishable_model(
    core: keras.Model, preparation: Preparation, custom_objects: Mapping[str, Any] | None = None
) -> keras.Model:
    """A model that takes raw rows: preparation as plain Keras layers, then the trained core.

    It has the core's weights and is compiled with its loss and metrics, so that it evaluates as it is; where a loss or
    metric of the user's own cannot be made anew, without any.
    Its optimizer is a stand-in: Keras cannot load a compiled model without one, warns on loading one whose state
    is missing, and Adam's state would triple the file. To train on, compile it anew.

    Args:
        core: compiled and trained on prepared rows (float32).
        preparation: what training did to the raw rows.
        custom_objects: the user's own classes and functions by name.
    """
    with keras.saving.custom_object_scope(dict(custom_objects or {})):
        inputs, rows = preparation_layers(preparation)
        if not core.built:
            # An untrained one, tried before the search, may not know its inputs yet.
            core(rows)
        # The core's layers in a model of their own: saving the core itself would take its optimizer's state along.
        layers = _layers_of(core) if is_graph(core) else _copy_of(core, rows)
        outputs = keras.tree.map_structure(_as_float32, layers(rows))
        model = keras.Model(inputs, _named_as(core, outputs), name=core.name)
        _compile_alike(model, core)
    return model


def is_graph(core: keras.Model) -> bool:
    """Whether a model is a graph of layers (functional or sequential), and calling it follows that."""
    graphs = (keras.Sequential, keras.src.models.Functional)
    return isinstance(core, graphs) and type(core).call in {graph.call for graph in graphs}


def _layers_of(core: keras.Model) -> keras.Model:
    if isinstance(core, keras.Sequential):
        return keras.Model(core.inputs, core.outputs, name=core.name)
    # As nested as the model's own author made them.
    return keras.Model(core.input, core.output, name=core.name)


def _copy_of(core: keras.Model, rows: Nested) -> keras.Model:
    """A subclassed model's like, not compiled, with its weights; the model itself where it cannot be made anew."""
    try:
        copy = type(core).from_config(core.get_config())
        copy(rows)
        copy.set_weights(core.get_weights())
    except Exception as error:  # noqa: BLE001 - the user's own class may raise anything
        get_logger().warning(
            "the model cannot be made anew from its configuration: it is published with its optimizer's state",
            model=type(core).__name__,
            reason=f"{type(error).__name__}: {error}",
        )
        return core
    return copy


def _named_as(core: keras.Model, outputs: Nested) -> Nested:
    """Several outputs under the core's names, by which its losses and metrics may be told apart."""
    names = getattr(core, "output_names", None)
    if not isinstance(outputs, list | tuple) or names is None or len(set(names)) != len(outputs):
        return outputs
    return type(outputs)(keras.layers.Identity(name=name)(output) for name, output in zip(names, outputs, strict=True))


def _compile_alike(model: keras.Model, core: keras.Model) -> None:
    saved = _published(core.get_compile_config() or {})
    fields = ("loss", "loss_weights", "metrics", "weighted_metrics")
    try:
        settings = {name: keras.saving.deserialize_keras_object(saved.get(name)) for name in fields}
        model.compile(optimizer=keras.optimizers.SGD(), **settings)
    except Exception as error:  # noqa: BLE001 - likewise
        get_logger().warning(
            "the model is published without its loss and metrics, which cannot be made anew",
            reason=f"{type(error).__name__}: {error}",
        )
        model.compile(optimizer=keras.optimizers.SGD())


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
def _(preparation: AsIs) -> tuple[Nested, Nested]:
    inputs = map_leaves(lambda one: keras.Input(one.shape, dtype=one.dtype, name=one.name), preparation.inputs)
    casts = iter([one.is_cast for one in leaves(preparation.inputs)])
    cast = keras.layers.Rescaling
    return inputs, map_leaves(lambda one: cast(1.0, dtype="float32")(one) if next(casts) else one, inputs)


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
