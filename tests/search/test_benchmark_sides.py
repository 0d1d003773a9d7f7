"""Both sides of the benchmark do the same work: the same models, and the same configurations in the first rungs."""

import importlib
from pathlib import Path

import keras_tuner
import pytest
from keras_tuner.engine.trial import TrialStatus

from job.models import BUILDER_CLASSES
from job.resolve import resolve_spec
from job.settings import read_settings
from job.spec.overrides import parse_assignment
from job.target import Target

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CASES = ("dense", "dropout", "conv")
SEED = 3


@pytest.fixture
def script(monkeypatch):
    """Imports one of the benchmark's scripts, which find each other in their own folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def spec_of(script, case, *settings):
    overrides = [parse_assignment(setting) for setting in (*script("tutorial").CASES[case], *settings)]
    return resolve_spec(read_settings({}), overrides=overrides)


def unnamed(thing):
    """What a layer or an optimizer is, without the name that Keras numbers."""
    return type(thing), {name: value for name, value in thing.get_config().items() if name != "name"}


def configuration(model):
    return [unnamed(layer) for layer in model.layers]


def settings_of(model):
    """How a model is compiled."""
    compiled = model.get_compile_config()
    # Without row weights both kinds of metrics are the same.
    metrics = [*(compiled["metrics"] or ()), *(compiled["weighted_metrics"] or ())]
    return compiled["loss"], metrics, unnamed(model.optimizer)


def test_the_cases_are_those_of_bare_keras_tuner(script):
    """Every case has a model on either side."""
    assert script("bare").HIDDEN_LAYERS.keys() == script("tutorial").CASES.keys() == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_both_sides_build_the_same_model(script, case):
    """Layer by layer and compiled alike, the job's model is that of the tutorial's script."""
    values = {"units": 96, "learning_rate": 1e-3}
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    bare = script("bare").model_builder(case)(hp)
    spec = spec_of(script, case)
    target = Target("classification", tuple("0123456789"))
    hypermodel = BUILDER_CLASSES[spec.model.builder](spec.space, input_shape=(28, 28), target=target)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    job = hypermodel.build(hp)
    assert configuration(job) == configuration(bare)
    assert settings_of(job) == settings_of(bare)
    assert job.count_params() == bare.count_params()
    assert hypermodel.batch_size(values) == 32


@pytest.mark.parametrize("case", CASES)
def test_the_draws_are_what_the_job_tries(script, simulate, case):
    """Whatever scores the trials get, a search's first rungs hold the configurations that were foretold."""
    spec = spec_of(script, case, f"seed={SEED}")
    draws = script("draws").job_draws(spec)
    assert {bracket: len(rung) for bracket, rung in draws.items()} == {2: 12, 1: 6, 0: 4}
    simulation = simulate(spec=spec, slots=3, seed=SEED)
    simulation.run()
    tried = {}
    for record in sorted(simulation.stored, key=lambda record: record.index):
        if record.rung == 0:
            searched = {name: record.hyperparameters[name] for name in ("units", "learning_rate")}
            tried.setdefault(record.bracket, []).append(searched)
    assert tried == draws


def run_oracle(oracle, score):
    """KerasTuner's own loop without the training: its trials in the order of their creation."""
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 32, 512, step=32)
    hp.Choice("learning_rate", [1e-2, 1e-3, 1e-4])
    oracle.update_space(hp)
    trials = []
    while (trial := oracle.create_trial("tuner0")).status == TrialStatus.RUNNING:
        oracle.update_trial(trial.trial_id, {"val_accuracy": score(trial.hyperparameters.values)})
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
        trials.append(trial.hyperparameters.values)
    return trials


@pytest.fixture
def oracle(tmp_path):
    """Makes a Hyperband oracle that keeps its files in an empty folder, as a tuner would set it up."""

    def make(kind, *draws):
        made = kind(*draws, objective=keras_tuner.Objective("val_accuracy", "max"), max_epochs=10, factor=3, seed=SEED)
        made._set_project_dir(tmp_path, kind.__name__)  # noqa: SLF001 - as KerasTuner's tuners do
        made.verbose = 0
        return made

    return make


def test_bare_keras_tuner_tries_what_it_is_given(script, oracle):
    """Each bracket's first rung is the given one, and the better of it are promoted over KerasTuner's own rungs."""
    draws = script("draws").job_draws(spec_of(script, "dense", f"seed={SEED}"))
    trials = run_oracle(oracle(script("bare").GivenDraws, draws), lambda values: values["units"] / 1000)
    tried = {}
    for values in trials:
        if values["tuner/round"] == 0:
            tried.setdefault(values["tuner/bracket"], []).append(values)
    assert script("first_rungs").first_rungs(tried) == draws
    promoted = sorted(
        values["units"] for values in trials if values.get("tuner/trial_id") and values["tuner/round"] == 1
    )
    best = {bracket: sorted((values["units"] for values in rung), reverse=True) for bracket, rung in draws.items()}
    assert promoted == sorted(best[2][:4] + best[1][:2])


def test_given_draws_change_nothing_but_the_draws(script, oracle):
    """Given what it would have drawn itself, KerasTuner's oracle proposes the same trials, one by one."""

    def score(values):
        return (values["units"] * 7 + values["learning_rate"] * 1e5) % 997 / 997

    own = run_oracle(oracle(keras_tuner.oracles.HyperbandOracle), score)
    draws = {}
    for values in own:
        if values["tuner/round"] == 0:
            draws.setdefault(values["tuner/bracket"], []).append(
                {name: values[name] for name in ("units", "learning_rate")}
            )
    assert run_oracle(oracle(script("bare").GivenDraws, draws), score) == own


def test_the_tuner_is_the_tutorials(script, tmp_path):
    """With and without given configurations it is KerasTuner's Hyperband tuner with the same settings."""
    make_tuner = script("bare").make_tuner
    own = make_tuner("dense", None, epochs=10, seed=SEED, folder=str(tmp_path / "own"))
    given = make_tuner("dense", {2: [], 1: [], 0: []}, epochs=10, seed=SEED, folder=str(tmp_path / "given"))
    assert isinstance(given, keras_tuner.Hyperband)
    for name in ("objective", "max_epochs", "factor", "seed", "hyperband_iterations", "max_retries_per_trial"):
        assert getattr(given.oracle, name) == getattr(own.oracle, name)
    assert given.executions_per_trial == own.executions_per_trial
    assert [entry.name for entry in given.oracle.get_space().space] == ["units", "learning_rate"]
