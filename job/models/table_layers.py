"""The preparation of a table's columns as plain Keras layers and operations, which load without any code of ours.

They survive `keras.saving.load_model` in safe mode, `model.export` to a SavedModel, and what tf2onnx makes of that
(hashing does not: ONNX has no such operation).
"""

from collections.abc import Sequence

import keras
import numpy as np

from job.data.tables.preparation import NumberColumn, StringColumn, TablePreparation
from job.models.publication import preparation_layers


@preparation_layers.register
def table_layers(preparation: TablePreparation) -> tuple[dict[str, keras.KerasTensor], keras.KerasTensor]:
    """One input of shape (1,) per column, by name: float32 with NaN for missing values, or strings with '' for them."""
    numbers = {column.input: _input(column, "float32") for column in preparation.numbers}
    strings = {column.input: _input(column, "string") for column in preparation.strings}
    prepared: list[keras.KerasTensor] = []
    if numbers:
        prepared += _numbers(preparation, list(numbers.values()))
    prepared += [_encoded(column, tensor) for column, tensor in zip(preparation.strings, strings.values(), strict=True)]
    return {**numbers, **strings}, _side_by_side(prepared, "prepare_rows")


def _input(column: NumberColumn | StringColumn, dtype: str) -> keras.KerasTensor:
    return keras.Input((1,), name=column.input, dtype=dtype)


def _numbers(preparation: TablePreparation, inputs: Sequence[keras.KerasTensor]) -> list[keras.KerasTensor]:
    fill, mean, scale = preparation.constants()
    raw = _side_by_side(inputs, "prepare_numbers")
    missing = keras.ops.isnan(raw)
    known = keras.ops.where(missing, np.broadcast_to(fill, (1, len(fill))).copy(), raw)
    parts = [(known - mean) * scale]
    indicated = preparation.indicated
    if indicated:
        parts.append(keras.ops.take(keras.ops.cast(missing, "float32"), np.array(indicated, dtype=np.int32), axis=-1))
    return parts


def _encoded(column: StringColumn, tensor: keras.KerasTensor) -> keras.KerasTensor:
    name = f"prepare_{column.input}"
    if column.bins:
        layer = keras.layers.Hashing(column.bins, mask_value="", output_mode="one_hot", dtype="float32", name=name)
        return layer(tensor)
    lookup = keras.layers.StringLookup(
        vocabulary=list(column.vocabulary),
        mask_token=None,
        oov_token=_no_value_of(column.vocabulary),
        num_oov_indices=1,
        output_mode="one_hot",
        dtype="float32",
        name=name,
    )
    encoded = lookup(tensor)
    # The layer has no way to encode a value as nothing; its place for other values comes first.
    return encoded if column.unknown else encoded[:, 1:]


def _no_value_of(vocabulary: Sequence[str]) -> str:
    """What Keras calls other values, which must be none of the vocabulary's."""
    token = "[UNK]"  # noqa: S105 - no secret
    while token in vocabulary:
        token += "_"
    return token


def _side_by_side(tensors: Sequence[keras.KerasTensor], name: str) -> keras.KerasTensor:
    if len(tensors) == 1:
        return tensors[0]
    return keras.layers.Concatenate(dtype="float32", name=name)(list(tensors))
