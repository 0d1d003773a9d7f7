"""Optimizers, schedules, clipping, normalisation, penalties: how models learn; and that promotion changes nothing."""

from dataclasses import replace

import keras
import keras_tuner
import numpy as np
import pytest

from job import stages
from job.models import BUILDER_CLASSES, BuiltInHyperModel, Span
from job.models.learning import WarmUp, optimizer_of
from job.records import TrialRequest
from job.search.executors import open_executor
from job.search.trial_plan import trial_plan
from job.spaces import BUILDERS
from job.spaces.learning import OPTIMIZERS
from job.spec import JobSpec
from job.target import Target
from job.training.checkpoint import LineageState, model_variables, read_state, restore_checkpoint, take_checkpoint
from job.training.epochs import CompiledEpochs, epoch_order
from job.training.kept_engines import KeptEngines
from job.training.rows import DeviceRows
from job.training.trial import TrialSetting, best_checkpoint, last_checkpoint, run_trial

THREE_CLASSES = Target("classification", ("a", "b", "c"))
SPAN = Span(rows=108, epochs=10)
RUNGS = ((0, 2), (2, 4), (4, 10))
DEFAULTS = {"learning_rate": 0.01, "units": 8}
# Searched by the linear builder, a constant of the others.
NO_PENALTY = {"l2": 0.0}


def hypermodel(space, builder="mlp", span=SPAN):
    entries = JobSpec.model_validate({"space": space}).space
    return BUILDER_CLASSES[builder](entries, input_shape=(4, 4), target=THREE_CLASSES, span=span)


def values_of(builder="mlp", **values):
    return BUILDERS[builder].constants() | DEFAULTS | NO_PENALTY | values


def rates(span=SPAN, **values):
    """The learning rate of every step of the span, and of a few after it."""
    rate = optimizer_of(values_of(**values), span).learning_rate
    steps = span.steps(values_of(**values)["batch_size"])
    schedule = optimizer_of(values_of(**values), span)._learning_rate  # noqa: SLF001 - the rate property is of one step
    assert rate is not None
    return np.array([float(schedule(step)) for step in range(steps + 3)])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_keras_own(name):
    """Its name is that of Keras's class, and the learning rate reaches it."""
    optimizer = optimizer_of(values_of(optimizer=name), None)
    assert type(optimizer).__name__.lower() == name
    assert type(optimizer).__module__.startswith("keras.")
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_what_an_optimizer_alone_has_reaches_it():
    """Momentum and Nesterov's reach sgd, a momentum of its own rmsprop, decay adamw, and clipping any."""
    sgd = optimizer_of(values_of(optimizer="sgd", momentum=0.5, nesterov=True, clipnorm=1.0), None)
    assert (sgd.momentum, sgd.nesterov, sgd.clipnorm, sgd.global_clipnorm, sgd.clipvalue) == (0.5, True, 1, None, None)
    assert optimizer_of(values_of(optimizer="rmsprop", rmsprop_momentum=0.3), None).momentum == 0.3
    assert optimizer_of(values_of(optimizer="adamw", weight_decay=0.1), None).weight_decay == 0.1
    assert optimizer_of(values_of(optimizer="nadam", global_clipnorm=2.0), None).global_clipnorm == 2.0


def test_a_cosine_falls_to_its_end_over_the_span():
    """From the learning rate to its share, lowest at the last step, where it stays."""
    found = rates(learning_rate_schedule="cosine", learning_rate_end=0.1)
    assert found[0] == pytest.approx(0.01)
    assert (np.diff(found[:41]) < 0).all()
    assert found[20] == pytest.approx(0.01 * (0.1 + 0.9 / 2))
    assert found[40:] == pytest.approx([0.001] * 3)


def test_an_exponential_falls_by_the_same_factor_in_every_step():
    """And has its share left after the span."""
    found = rates(learning_rate_schedule="exponential", learning_rate_end=0.1)
    assert found[40] == pytest.approx(0.001)
    assert found[1:] / found[:-1] == pytest.approx(0.1 ** (1 / 40))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
def test_a_warm_up_comes_before_any_schedule(schedule):
    """A quarter of the steps rises evenly to the learning rate, the rest is the schedule's, to the same end."""
    found = rates(warm_up=0.25, learning_rate_schedule=schedule, learning_rate_end=0.1)
    assert found[:10] == pytest.approx(np.arange(1, 11) / 10 * 0.01)
    assert found[10] == pytest.approx(0.01)
    assert found[40] == pytest.approx(0.01 if schedule == "constant" else 0.001)


def test_a_warm_up_reads_back_from_its_configuration():
    """As Keras needs it to copy what a model is compiled with."""
    schedule = WarmUp(0.1, 5, keras.optimizers.schedules.CosineDecay(0.1, 20))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert [float(again(step)) for step in range(30)] == [float(schedule(step)) for step in range(30)]


def test_a_schedule_needs_to_know_its_span():
    """Without one there is no telling where it ends."""
    with pytest.raises(ValueError, match="needs a span"):
        optimizer_of(values_of(learning_rate_schedule="cosine"), None)


def test_a_batch_normalised_layer_has_no_bias_and_its_activation_last():
    """Dense or convolution, normalisation, activation."""
    hp = keras_tuner.HyperParameters()
    hp.values = {"units": 8, "learning_rate": 0.01, "batch_normalization": True, "dropout": 0.5}
    space = {"batch_normalization": True, "dropout": 0.5}
    model = hypermodel(space).build(hp)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Flatten", "Dense", "BatchNormalization", "Activation", "Dropout", "Dense"]
    assert not model.layers[1].use_bias
    assert model.layers[-1].use_bias
    kinds = [type(layer).__name__ for layer in hypermodel(space, "cnn").build(hp).layers]
    assert kinds[1:5] == ["Conv2D", "BatchNormalization", "Activation", "MaxPooling2D"]


@pytest.mark.parametrize("builder", BUILDERS)
def test_penalties_are_on_all_weights_but_biases(builder):
    """L1 and L2 are added to the loss, of every layer's kernel."""
    model = hypermodel({}, builder).build_from(values_of(builder, l1=0.01, l2=0.1))
    kernels = [v.numpy() for v in model.trainable_variables if v.path.endswith("kernel")]
    expected = sum(0.01 * np.abs(kernel).sum() + 0.1 * (kernel**2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    assert not hypermodel({}, builder).build_from(values_of(builder)).losses


def test_layers_have_units_of_their_own_where_they_are_given():
    """`units_2` is the second layer's, and `units` the others'."""
    model = hypermodel({"units_2": 4, "hidden_layers": 3}).build_from(values_of(hidden_layers=3, units_2=4))
    assert [layer.units for layer in model.layers[1:]] == [8, 4, 8, 3]
    hp = keras_tuner.HyperParameters()
    hp.values = {"units": 16, "learning_rate": 0.01, "hidden_layers": 2}
    space = {"hidden_layers": [1, 2], "units_2": {"type": "choice", "values": [4, 5], "parent_name": "learning_rate",
             "parent_values": [0.001]}}  # fmt: skip
    # Switched off by a condition of the spec's, it leaves its place to what all share.
    assert [layer.units for layer in hypermodel(space).build(hp).layers[1:]] == [16, 16, 3]


def test_linear_has_no_hidden_layer():
    """Logits straight from the inputs."""
    model = hypermodel({}, "linear").build_from(values_of("linear"))
    assert [type(layer).__name__ for layer in model.layers] == ["Flatten", "Dense"]


@pytest.fixture
def setting(dataset, tmp_path):
    return TrialSetting(
        hypermodel=hypermodel({}),
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective="val_loss",
        direction="min",
        checkpoints=tmp_path / "checkpoints",
    )


def request_for(rung, values, *, index=0, rungs=RUNGS, seed=11):
    from_epoch, to_epoch = rungs[rung]
    return TrialRequest(
        trial_id=f"h0-b2-i{index:03d}-r{rung}",
        hyperparameters=values,
        iteration=0,
        bracket=2,
        index=index,
        rung=rung,
        parent=f"h0-b2-i{index:03d}-r{rung - 1}" if rung else None,
        from_epoch=from_epoch,
        to_epoch=to_epoch,
        seed=seed,
    )


def arrays_of(path):
    with np.load(path) as entries:
        return {name: entries[name] for name in entries.files if name != "state"}


LINEAGES = {
    "cosine with warm-up": {"learning_rate_schedule": "cosine", "warm_up": 0.2},
    "exponential with warm-up": {"learning_rate_schedule": "exponential", "warm_up": 0.1},
    "warm-up alone": {"warm_up": 0.3},
    "sgd with Nesterov's momentum": {"optimizer": "sgd", "nesterov": True, "clipnorm": 0.5},
    "normalised, with dropout": {"batch_normalization": True, "dropout": 0.3, "l1": 1e-4, "l2": 1e-3},
    "clipped together": {"global_clipnorm": 0.1, "optimizer": "adamw"},
    "clipped by value": {"clipvalue": 0.01, "optimizer": "rmsprop", "rmsprop_momentum": 0.5},
    **{name: {"optimizer": name} for name in ("adagrad", "adamax", "lion", "nadam")},
}


COMPILED = ("cosine with warm-up", "sgd with Nesterov's momentum", "normalised, with dropout")


@pytest.mark.parametrize(
    ("name", "compile_mode"), [*((name, "never") for name in LINEAGES), *((name, "always") for name in COMPILED)]
)
def test_promotion_equals_training_straight_through(setting, name, compile_mode):
    """2, then 4, then 10 epochs end as 10 do, to the last bit: weights, optimizer, averages, place in a schedule."""
    given = LINEAGES[name]
    values = DEFAULTS | given
    model = hypermodel({key: [value] for key, value in given.items()})
    # Engines are kept, as in a search, to trace each model once.
    setting = replace(setting, hypermodel=model, compile_mode=compile_mode, kept=KeptEngines())
    records = [run_trial(request_for(rung, values), setting) for rung in range(len(RUNGS))]
    whole = run_trial(request_for(0, values, index=1, rungs=((0, 10),)), setting)
    assert [record.error for record in (*records, whole)] == [None] * 4
    assert [logs for record in records for logs in record.executions[0].epochs] == list(whole.executions[0].epochs)
    for kind in (last_checkpoint, best_checkpoint):
        first, second = (arrays_of(kind(setting.checkpoints, r.trial_id)) for r in (records[-1], whole))
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)
    assert read_state(last_checkpoint(setting.checkpoints, whole.trial_id)).epoch == 10


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_kept_engine_serves_every_optimizer(setting, tmp_path, name):
    """Taken up by another seed and another learning rate, an engine gives what a new one would."""
    space = {"optimizer": name}
    setting = replace(setting, hypermodel=hypermodel(space), compile_mode="never")
    requests = [
        request_for(0, {"units": 8, "learning_rate": rate, "optimizer": name}, index=index, seed=index)
        for index, rate in enumerate((0.01, 0.1))
    ]
    keeping = replace(setting, checkpoints=tmp_path / "kept", kept=KeptEngines())
    for request in requests:
        new, kept = run_trial(request, setting), run_trial(request, keeping)
        assert new.executions == kept.executions
        paths = [last_checkpoint(one.checkpoints, request.trial_id) for one in (setting, keeping)]
        first, second = map(arrays_of, paths)
        assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("other", [{"learning_rate": 0.1}, {"warm_up": 0.5}, {"learning_rate_schedule": "constant"}])
def test_a_schedule_is_part_of_the_graph(setting, tmp_path, other):
    """Trials whose schedules differ share no engine, and their answers are those of new engines."""
    space = {"learning_rate_schedule": ["cosine", "constant"], "warm_up": [0.1, 0.5]}
    setting = replace(setting, hypermodel=hypermodel(space), compile_mode="never")
    values = DEFAULTS | {"learning_rate_schedule": "cosine", "warm_up": 0.1}
    keeping = replace(setting, checkpoints=tmp_path / "kept", kept=KeptEngines())
    for index, one in enumerate((values, values | other)):
        request = request_for(0, one, index=index)
        assert run_trial(request, setting).executions == run_trial(request, keeping).executions
    keys = {setting.hypermodel.graph_key(one) for one in (values, values | other)}
    assert len(keys) == 2


def test_a_constant_learning_rate_is_not_part_of_the_graph():
    """All else is."""
    model = hypermodel({"l2": [0.0, 0.1], "momentum": [0.0, 0.9], "optimizer": ["adam", "sgd"]})
    one = {"units": 8, "learning_rate": 0.1, "l2": 0.0, "optimizer": "sgd", "momentum": 0.9}
    assert model.graph_key(one) == model.graph_key(one | {"learning_rate": 0.01})
    assert len({model.graph_key(one | other) for other in ({}, {"l2": 0.1}, {"momentum": 0.0}, {"units": 9})}) == 4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checkpoint_holds_all_that_an_optimizer_keeps(name):
    """Every variable that the optimizer has anywhere is among those that are stored."""
    model = hypermodel({}).build_from(values_of(optimizer=name))
    stored = {id(variable) for variable in model_variables(model)}
    own = [value for value in vars(model.optimizer).values() if isinstance(value, keras.Variable)]
    assert own
    assert {id(variable) for variable in own} <= stored


class _LeftError(Exception):
    pass


def test_an_epoch_left_in_its_middle_goes_on_in_its_schedule(setting, tmp_path):
    """Sixteen steps, a checkpoint, and the rest in another process's engine: the weights of an epoch in one go."""
    values = values_of(learning_rate_schedule="cosine", warm_up=0.2, optimizer="sgd", nesterov=True, batch_size=4)
    order = epoch_order(0, 0, setting.train.count)

    def engine():
        keras.utils.set_random_seed(0)
        return CompiledEpochs(hypermodel({}).build_from(values), setting.train, setting.validation, 4, "never")

    whole, begun, resumed = engine(), engine(), engine()
    logs = whole.train(order)

    def leave(step):
        take_checkpoint(begun.model, LineageState(epoch=0, step=step)).write(tmp_path / "left.npz")
        raise _LeftError

    with pytest.raises(_LeftError):
        begun.train(order, between=leave)
    state = restore_checkpoint(tmp_path / "left.npz", resumed.model)
    assert 0 < state.step < 27
    assert resumed.train(order, first_step=state.step) == logs
    for one, other in zip(model_variables(whole.model), model_variables(resumed.model), strict=True):
        assert np.array_equal(one.numpy(), other.numpy())


def test_retraining_runs_through_the_schedule_as_the_search_did(dataset, tmp_path, monkeypatch):
    """It falls over the search's own steps; over `retrain.epochs` epochs of all rows where that is a number."""
    spans = []
    monkeypatch.setattr(BuiltInHyperModel, "scheduled_over", lambda self, span: spans.append(span) or self)
    search = {"algorithm": "random", "max_trials": 1, "max_epochs": 3}
    for epochs in ("auto", 5):
        spec = JobSpec.model_validate(
            {
                "search": search,
                "resources": {"executor": "inline"},
                "retrain": {"epochs": epochs, "tolerance": 1000.0},
                "space": {"units": 8, "learning_rate": 0.01, "learning_rate_schedule": "cosine"},
            }
        )
        plan = trial_plan(spec, dataset, tmp_path / str(epochs))
        with open_executor(spec, plan, log_fields={}) as executor:
            result = stages.search(spec, plan, executor, known={}, store_record=lambda _: None, console=None)
        stages.retrain(spec, dataset, plan, result)
        assert plan.hypermodel()._span == Span(108, 3)  # noqa: SLF001 - what is not told again stays
    assert spans == [Span(135, 5)]
