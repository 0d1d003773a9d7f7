"""What a Keras model predicts for rows, computed alike wherever it is asked."""

import keras
import numpy as np
import tensorflow as tf

from job.data.arrays import AnyArray
from job.data.nested import Nested, as_tuples, map_leaves, row_count

# The same on both sides of a comparison: a model may look at the other rows of its batch.
BATCH_ROWS = 64


def predictions(model: keras.Model, x: Nested) -> list[AnyArray]:
    """Return what a model answers to rows, as `predict` would, leaf by leaf.

    On the processor and without compiling: only another model answers otherwise, not another compiler or device.

    Args:
        model: whatever its kind.
        x: rows, nested as its inputs.
    """
    with tf.device("CPU:0"):
        parts = [_answer(model, x, first) for first in range(0, row_count(x), BATCH_ROWS)]
    return [np.concatenate(leaves) for leaves in zip(*parts, strict=True)]


def _answer(model: keras.Model, x: Nested, first: int) -> list[AnyArray]:
    batch = as_tuples(map_leaves(lambda leaf: leaf[first : first + BATCH_ROWS], x))
    answer = model.predict_step((keras.tree.map_structure(tf.convert_to_tensor, batch),))
    return [np.asarray(keras.ops.convert_to_numpy(leaf)) for leaf in keras.tree.flatten(answer)]
