"""Rows larger than memory: the order of windows, reading by position, and epochs over them."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.training.engine import open_engine
from job.training.epochs import epoch_order
from job.training.fit import FitEpochs
from job.training.rows import DeviceRows
from job.training.stream import StreamedEpochs
from job.training.windows import WindowOrder, WindowReader, WindowShape, reader_of

ROWS, WIDTH, BATCH = 1000, 3, 16


def numbers_read(order):
    """The row numbers that an epoch sees, window after window."""
    rows = DeviceRows(np.arange(order.shape.rows), None)
    reader = WindowReader(rows, order.shape)
    return [reader.read(order, window)[0] for window in range(order.shape.windows)]


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 7), st.integers(1, 6), st.integers(1, 5), st.integers(0, 3))
def test_an_epoch_sees_every_row_once(rows, batch, batches, blocks, epoch):
    """Whatever the shape each row comes once, and all windows but the last hold whole batches."""
    order = WindowOrder(WindowShape(rows, batch * batches, blocks), seed=5, epoch=epoch)
    windows = numbers_read(order)
    assert sorted(np.concatenate(windows).tolist()) == list(range(rows))
    assert all(len(window) == order.shape.window_rows for window in windows[:-1])


def test_the_order_depends_on_lineage_and_epoch_alone():
    """One seed and epoch give one order; another of either gives another; validation keeps the rows' own."""
    shape = WindowShape(ROWS, 2 * BATCH, 3)

    def seen(*which):
        return np.concatenate(numbers_read(WindowOrder(shape, *which))).tolist()

    assert seen(1, 0) == seen(1, 0)
    assert len({tuple(seen(1, 0)), tuple(seen(1, 1)), tuple(seen(2, 0))}) == 3
    assert seen() == list(range(ROWS))


def test_windows_mix_blocks_from_all_over():
    """A window holds blocks from everywhere, and shuffles their rows."""
    first = numbers_read(WindowOrder(WindowShape(ROWS, 20, 5), 1, 0))[0]
    assert first.max() - first.min() > ROWS / 3
    assert not np.array_equal(first, np.sort(first))
    assert len(np.unique(first // 20)) == 5


@pytest.mark.parametrize("part", [slice(None), slice(100, 700), slice(3, None)])
def test_mapped_files_are_read_by_position(tmp_path, part):
    """What is read of a file, or of a part of it, is what the mapping shows."""
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    leaf = np.asarray(mapped[part])
    assert np.array_equal(reader_of(leaf)(7, 400), mapped[part][7:400])
    assert np.array_equal(reader_of(mapped[10:][part])(1, 9), mapped[10:][part][1:9])


def test_chosen_rows_are_read_alone():
    """Of rows of which only some are meant, those are read."""
    chosen = np.flatnonzero(np.arange(ROWS) % 3 == 0)
    rows = DeviceRows(np.arange(ROWS), None)
    reader = WindowReader(rows, WindowShape(len(chosen), BATCH, 2))
    reader._numbers = chosen  # noqa: SLF001 - as the rows of a fold have it
    order = WindowOrder(WindowShape(len(chosen), BATCH, 2), 0, 0)
    seen = np.concatenate([reader.read(order, window)[0] for window in range(order.shape.windows)])
    assert sorted(seen.tolist()) == chosen.tolist()


def model_of():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"], weighted_metrics=["accuracy"])
    return model


@pytest.fixture
def rows(tmp_path):
    """Rows in files, with weights."""
    x = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
    leaves = {"x": x, "y": (x[:, 0] > 0).astype(np.int64), "w": np.linspace(0, 2, ROWS).astype(np.float32)}
    for name, values in leaves.items():
        np.save(tmp_path / f"{name}.npy", values)
    return DeviceRows(*(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in leaves))


def weights_of(engine):
    return [variable.numpy() for variable in engine.model.variables + engine.model.optimizer.variables]


def assert_alike(one, other):
    for ours, theirs in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of a few batches, so that a small set has several."""
    shape = WindowShape(ROWS, 2 * BATCH, 3)
    monkeypatch.setattr(WindowShape, "of", classmethod(lambda cls, rows, *_: cls(rows, 2 * BATCH, 3)))
    return shape


@pytest.mark.usefixtures("small_windows")
def test_streamed_epochs_are_those_of_resident_rows_in_the_same_order(rows):
    """Window after window gives the weights and metrics of one loop over all rows, and so does `fit`."""
    stream = StreamedEpochs(model_of(), rows, rows, BATCH)
    fit = FitEpochs(model_of(), rows, rows, BATCH, streamed=True)
    resident = FitEpochs(model_of(), rows, rows, BATCH)
    for epoch in range(2):
        order = stream.order(3, epoch)
        assert order == fit.order(3, epoch)
        expected = resident.train(np.concatenate(numbers_read(order))) | resident.validate()
        for engine in (stream, fit):
            logs = engine.train(engine.order(3, epoch)) | engine.validate()
            assert logs == pytest.approx(expected, rel=1e-4)
    assert_alike(stream, resident)
    assert_alike(fit, resident)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("make", [StreamedEpochs, FitEpochs])
@pytest.mark.parametrize("stop", [1, 6, 7, 55])
def test_an_epoch_goes_on_within_a_window(rows, make, stop):
    """An epoch left after any step and gone on with from there ends as one trained straight through."""

    class Left(Exception):  # noqa: N818 - no error
        pass

    def leave(step):
        if step >= stop:
            raise Left

    settings = {"streamed": True} if make is FitEpochs else {}
    straight, parted = (make(model_of(), rows, None, BATCH, **settings) for _ in range(2))
    expected = straight.train(straight.order(3, 0))
    steps = []

    def between(step):
        steps.append(step)
        leave(step)

    with pytest.raises(Left):
        parted.train(parted.order(3, 0), between=between)
    logs = parted.train(parted.order(3, 0), first_step=steps[-1])
    assert logs == pytest.approx(expected, rel=1e-5)
    assert_alike(parted, straight)


def test_rows_that_do_not_fit_are_streamed(rows):
    """The engine for rows beyond a third of the memory reads them window after window."""
    engine = open_engine(model_of, rows, rows, BATCH, memory=2 * rows.size)
    assert isinstance(engine, StreamedEpochs)
    small = open_engine(model_of, rows, rows, BATCH, memory=6 * rows.size)
    assert np.array_equal(small.order(1, 0), epoch_order(1, 0, ROWS))
