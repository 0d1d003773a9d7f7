"""Early stopping's arithmetic against Keras's own, and its state over rungs."""

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.training.checkpoint import LineageState
from job.training.stopping import EarlyStopping

SCORES = st.lists(st.integers(-8, 8).map(lambda tenths: tenths / 8), min_size=1, max_size=20)


class Recipient:
    """As much of a model as Keras's callback touches."""

    stop_training = False


def stopped_by_keras(scores, patience, min_delta, direction):
    callback = keras.callbacks.EarlyStopping("score", min_delta=min_delta, patience=patience, mode=direction)
    callback.set_model(Recipient())
    callback.on_train_begin()
    for epoch, score in enumerate(scores):
        callback.on_epoch_end(epoch, {"score": score})
        if callback.model.stop_training:
            return epoch + 1
    return None


def stopped_by_ours(scores, patience, min_delta, direction):
    stopping = EarlyStopping(patience, min_delta)
    state = LineageState(epoch=0)
    for epoch, score in enumerate(scores):
        state = stopping.after_epoch(state, score, direction)
        if state.stopped:
            return epoch + 1
    return None


@settings(max_examples=200, deadline=None)
@given(SCORES, st.integers(1, 4), st.sampled_from([0.0, 0.125, 0.5]), st.sampled_from(["min", "max"]))
def test_stops_where_keras_would(scores, patience, min_delta, direction):
    """Whatever the scores, a lineage stops after the epoch that Keras's callback stops after, or never."""
    arguments = (scores, patience, min_delta, direction)
    assert stopped_by_ours(*arguments) == stopped_by_keras(*arguments)


@pytest.mark.parametrize("direction", ["min", "max"])
def test_a_stopped_lineage_stays_stopped(direction):
    """No later score revives a lineage that has stopped."""
    stopping = EarlyStopping(1)
    state = LineageState(epoch=3, stopped=True)
    for score in (1.0, 2.0, 0.0):
        state = stopping.after_epoch(state, score, direction)
        assert state.stopped
