"""Retraining, the choice of what is published, and its evaluation. Real training on small images."""

import json
import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from job.data import load_dataset
from job.errors import SearchFailedError
from job.evaluation import evaluate
from job.models import publishable_model
from job.models.builders import MlpHyperModel
from job.records import Execution, SearchResult, SearchTotals, TrialRecord, TrialRequest
from job.retrain import Retraining, TrainedModel
from job.retrain.winner import winner_of
from job.search.oracle import Address
from job.seeds import derive_seed
from job.spec import DataSpec, RetrainSpec
from job.spec.sections import WeightedObjective
from job.target import Target
from job.training.checkpoint import identity_of, restore_checkpoint
from job.training.epochs import DeviceRows
from job.training.trial import TrialSetting, best_checkpoint, build_model, last_checkpoint, run_trial
from job.training.trial_setting import ExecutionPlace

THREE_CLASSES = Target("classification", ("a", "b", "c"))
ADDRESS = Address(0, 2, 0, 0)
SEED = 4
VALUES = {"units": 32, "learning_rate": 0.01}
# Takes any retraining that has not diverged.
LOOSE = 1000.0


@pytest.fixture(scope="module")
def hypermodel():
    return MlpHyperModel({}, input_shape=(4, 4), target=THREE_CLASSES)


@pytest.fixture
def searched(dataset, hypermodel, tmp_path):
    """A search whose best trial was really trained: its result, and the folder with its checkpoints."""
    setting = TrialSetting(
        hypermodel=hypermodel,
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective="val_loss",
        direction="min",
        checkpoints=tmp_path,
    )
    best = run_trial(
        TrialRequest(
            trial_id=ADDRESS.trial_id,
            hyperparameters=VALUES,
            iteration=0,
            bracket=2,
            index=0,
            rung=0,
            parent=None,
            from_epoch=0,
            to_epoch=5,
            seed=ADDRESS.lineage_seed(SEED),
        ),
        setting,
    )
    return result_of(best), tmp_path


def result_of(best: TrialRecord, direction="min", objective="val_loss") -> SearchResult:
    totals = SearchTotals(
        algorithm="hyperband",
        objective=objective,
        direction=direction,
        planned_trials=1,
        planned_epochs=5,
        trials=1,
        failed_trials=0,
        epochs=5,
    )
    return SearchResult(best=best, trials=(best,), totals=totals)


@pytest.fixture
def retraining(dataset, hypermodel, searched):
    result, checkpoints = searched

    def make(**spec):
        return Retraining(
            hypermodel=hypermodel,
            dataset=dataset,
            result=result,
            spec=RetrainSpec(**spec),
            seed=SEED,
            checkpoints=checkpoints,
        )

    return make


def weights(trained):
    return [variable.numpy().tobytes() for variable in trained.model.trainable_variables]


def validation_loss(trained, dataset):
    rows = dataset.validation
    return trained.model.evaluate(rows.x, rows.y, verbose=0, return_dict=True)["loss"]


def test_retrains_on_all_but_the_test_split(retraining, searched):
    """By default all rows but the test split's are used, for as many steps as the winner took, from its own seed."""
    description = retraining(tolerance=LOOSE).run().description
    best = searched[0].best
    assert (description.origin, description.trained_on) == ("retrain", "train_and_validation")
    assert description.epochs == best.best_epoch
    assert description.steps == best.best_epoch * 4
    assert description.seed == ADDRESS.lineage_seed(SEED)
    assert description.validation_score is None
    (attempt,) = description.attempts
    assert (attempt.seed, attempt.steps, attempt.shortfall) == (description.seed, description.steps, None)
    assert description.winner.validation == best.score


def test_validation_rows_are_trained_on(retraining, dataset):
    """The model is that of an epoch over training and validation rows together, and not over training rows alone."""
    both = retraining(epochs=1, tolerance=LOOSE).run()
    seed = both.description.seed
    model = build_model(retraining().hypermodel, VALUES, seed)
    order = np.random.Generator(np.random.Philox(derive_seed(seed, "epoch order", 0))).permutation(135)
    rows = dataset.preparation.prepare(np.concatenate([dataset.train.x, dataset.validation.x]))
    labels = np.concatenate([dataset.train.y, dataset.validation.y])
    model.fit(rows[order], labels[order], batch_size=32, shuffle=False, verbose=0)
    for fitted, published in zip(model.trainable_variables, both.model.trainable_variables, strict=True):
        np.testing.assert_allclose(fitted.numpy(), published.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("spec", [{}, {"on": "train", "seeds": 2}])
def test_retraining_repeats_itself(retraining, spec):
    """The same search and seed publish the same weights and the same description."""
    first, second = (retraining(**spec).run() for _ in range(2))
    assert weights(first) == weights(second)
    assert first.description == second.description


def test_epochs_may_be_given(retraining):
    """`retrain.epochs` replaces the best trial's epoch count."""
    assert retraining(epochs=3, tolerance=LOOSE).run().description.epochs == 3


def test_the_best_candidate_by_validation_is_published(retraining, searched, dataset):
    """With `on: train` the best of the search's model and every fresh seed is published, and it is said which."""
    retraining = retraining(on="train", seeds=3, epochs=4)
    candidates = list(retraining._candidates(*retraining._rows()))  # noqa: SLF001 - to compare what is chosen with what there was
    assert [candidate.description.origin for candidate in candidates] == ["search"] + ["retrain"] * 3
    assert len({candidate.description.seed for candidate in candidates}) == 4
    scores = [candidate.description.validation_score for candidate in candidates]
    for candidate, score in zip(candidates, scores, strict=True):
        published = publishable_model(candidate.core, dataset.preparation)
        assert validation_loss(
            TrainedModel(published, candidate.description, candidate.core), dataset
        ) == pytest.approx(score, rel=1e-5)
    trained = retraining.run()
    expected = candidates[scores.index(min(scores))].description
    assert trained.description == expected
    assert expected.trained_on == "train"
    assert validation_loss(trained, dataset) == pytest.approx(min(scores), rel=1e-5)
    assert searched[0].best.score == scores[0]


def test_the_searchs_own_model_wins_ties_and_comes_from_its_checkpoint(retraining, searched, dataset):
    """Where no retrained model is better, the search's best epoch is published, with its seed and epoch count."""
    best = searched[0].best
    result = result_of(best.model_copy(update={"score": 0.0}))
    trained = replace(retraining(on="train", epochs=1), result=result).run()
    description = trained.description
    assert (description.origin, description.epochs) == ("search", best.best_epoch)
    assert description.seed == ADDRESS.lineage_seed(SEED)
    assert validation_loss(trained, dataset) == pytest.approx(best.score, rel=1e-5)


def test_a_lost_checkpoint_of_the_search_is_trained_anew(retraining, searched):
    """Where the best trial's checkpoint is gone, its lineage is trained again to the same weights."""
    result = result_of(searched[0].best.model_copy(update={"score": 0.0}))
    retraining = replace(retraining(on="train", epochs=1), result=result)
    from_checkpoint = retraining.run()
    best_checkpoint(searched[1], ADDRESS.trial_id).unlink()
    assert weights(retraining.run()) == weights(from_checkpoint)


def diverging(searched):
    best = searched[0].best.model_copy(update={"hyperparameters": VALUES | {"learning_rate": 1e30}})
    return result_of(best)


def test_a_diverged_retraining_counts_as_worse(retraining, searched):
    """Where every training on all rows diverges, the search's own model is published, and it is said why."""
    trained = as_trained(replace(retraining(attempts=2), result=diverging(searched))).run()
    description = trained.description
    assert (description.origin, description.trained_on) == ("search", "train")
    assert ["diverged" in attempt.shortfall for attempt in description.attempts] == [True, True]
    assert weights(trained) == weights(published_winner(searched, retraining()))


def as_trained(retraining):
    """Make the winner's checkpoint say that it is of what the result, made up for a test, says of the winner."""
    winner = winner_of(retraining.result, retraining.dataset, seed=SEED, checkpoints=retraining.checkpoints)
    with np.load(winner.checkpoint) as entries:
        arrays = dict(entries)
    state = json.loads(bytes(arrays["state"])) | {
        "identity": identity_of(winner.seed, retraining.result.best.hyperparameters, retraining.provenance),
        "best_epoch": winner.epoch,
        "best_score": winner.score,
    }
    np.savez(winner.checkpoint, **arrays | {"state": np.frombuffer(json.dumps(state).encode(), np.uint8)})
    return retraining


@pytest.mark.parametrize("changed", [{"identity": "beef"}, {"best_epoch": 99}, {"best_score": -1.0}])
def test_a_checkpoint_of_something_else_is_not_published(retraining, searched, changed):
    """One of another run, rung or epoch in the winner's place: the winner is trained anew, to the same weights."""
    expected = weights(published_winner(searched, retraining()))
    path = best_checkpoint(searched[1], ADDRESS.trial_id)
    with np.load(path) as entries:
        arrays = {name: entries[name] for name in entries.files}
    state = json.loads(bytes(arrays["state"])) | changed
    others = {name: np.zeros_like(array) for name, array in arrays.items()}
    np.savez(path, **others | {"state": np.frombuffer(json.dumps(state).encode(), np.uint8)})
    again = retraining()
    winner = winner_of(again.result, again.dataset, seed=SEED, checkpoints=again.checkpoints)
    core = again._winners_model(winner, *again._rows())  # noqa: SLF001 - by chance another one may be published
    assert [variable.numpy().tobytes() for variable in core.trainable_variables] == expected


def published_winner(searched, retraining):
    core = build_model(retraining.hypermodel, VALUES, 0)
    restore_checkpoint(best_checkpoint(searched[1], ADDRESS.trial_id), core)
    return TrainedModel(publishable_model(core, retraining.dataset.preparation), None, core)


def test_without_a_checkpoint_a_diverging_winner_is_a_failed_search(retraining, searched):
    """Nothing is left to publish where the search's own model is gone and diverges when it is trained anew."""
    best_checkpoint(searched[1], ADDRESS.trial_id).unlink()
    with pytest.raises(SearchFailedError, match="diverged when it was trained anew"):
        replace(retraining(attempts=1), result=diverging(searched)).run()


def test_diverged_candidates_are_passed_over(retraining, searched):
    """With `on: train` a diverged candidate is never published, not even where its accuracy is better."""
    best = diverging(searched).best.model_copy(update={"score": 0.0})
    result = result_of(best, direction="max", objective="val_accuracy")
    trained = as_trained(replace(retraining(on="train", seeds=2), result=result)).run()
    assert trained.description.origin == "search"
    assert all(
        math.isfinite(value) for variable in trained.model.trainable_variables for value in variable.numpy().flat
    )


def published_core(dataset, hypermodel):
    core = build_model(hypermodel, VALUES, 1)
    core.fit(dataset.prepared_train, dataset.train.y, epochs=3, verbose=0)
    return publishable_model(core, dataset.preparation)


def test_evaluation_scores_the_raw_test_rows(dataset, hypermodel):
    """Loss and accuracy are the model's own on the test split, and agree with its confusion matrix."""
    model = published_core(dataset, hypermodel)
    evaluation = evaluate(model, dataset)
    test = dataset.test
    assert evaluation.scores == pytest.approx(model.evaluate(test.x, test.y, verbose=0, return_dict=True), rel=1e-5)
    matrix = np.array(evaluation.report["confusion_matrix"])
    assert evaluation.report["scores"] == evaluation.scores
    assert evaluation.report["rows"] == matrix.sum() == 15
    assert matrix.trace() / 15 == pytest.approx(evaluation.scores["accuracy"])


def test_the_confusion_matrix_agrees_with_the_per_class_scores(dataset, hypermodel):
    """Rows are true classes, columns predicted ones; precision, recall, f1 and counts follow from them."""
    report = evaluate(published_core(dataset, hypermodel), dataset).report
    matrix = np.array(report["confusion_matrix"])
    assert 0 < matrix.trace() < matrix.sum()
    assert matrix.sum(axis=1).tolist() == np.bincount(dataset.test.y, minlength=3).tolist()
    assert list(report["per_class"]) == report["class_names"] == ["0", "1", "2"]
    for number, scores in enumerate(report["per_class"].values()):
        predicted, actual, hits = matrix[:, number].sum(), matrix[number].sum(), matrix[number, number]
        precision, recall = hits / max(predicted, 1), hits / max(actual, 1)
        assert scores["precision"] == pytest.approx(precision)
        assert scores["recall"] == pytest.approx(recall)
        assert scores["f1"] == pytest.approx(2 * precision * recall / (precision + recall) if hits else 0.0)
        assert scores["rows"] == actual


def test_classes_may_have_any_names_and_no_rows(tmp_path, hypermodel):
    """A class called `accuracy`, and one that the test split lacks and nobody predicts, are reported like others."""
    names = np.array(["accuracy", "macro avg", "rare"])
    y = np.repeat(names, [30, 30, 30])
    x = np.random.default_rng(0).integers(0, 256, (90, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "train.npz", x=x, y=y)
    np.savez(tmp_path / "test.npz", x=x[:40], y=y[:40])
    dataset = load_dataset(
        DataSpec(source=str(tmp_path / "train.npz"), test_source=str(tmp_path / "test.npz")), seed=0, scratch=tmp_path
    )
    model = publishable_model(build_model(hypermodel, VALUES, 0), dataset.preparation)
    model.trainable_variables[-1].assign([0.0, 0.0, -1e6])
    report = evaluate(model, dataset).report
    assert [scores["rows"] for scores in report["per_class"].values()] == [30, 10, 0]
    assert report["per_class"]["rare"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 0}
    assert set(report["per_class"]) == set(names)


def test_the_trial_was_trained_for_real(searched):
    """What the other tests build on: the best trial completed five epochs and learned something."""
    best = searched[0].best
    assert isinstance(best.executions[0], Execution)
    assert len(best.executions[0].epochs) == 5
    assert best.score < math.log(3)
    assert keras.backend.backend() == "tensorflow"


def test_of_several_seeds_the_best_one_may_be_published(dataset, hypermodel, tmp_path):
    """With `on: train` the search's own candidate is its best execution, from its checkpoint or trained anew."""
    setting = TrialSetting(
        hypermodel=hypermodel,
        train=DeviceRows.place(dataset.prepared_train, dataset.train.y),
        validation=DeviceRows.place(dataset.prepared_validation, dataset.validation.y),
        objective="objective",
        direction="min",
        checkpoints=tmp_path,
        executions=3,
        terms=(
            WeightedObjective(name="val_loss", direction="min"),
            WeightedObjective(name="val_accuracy", direction="max", weight=0.1),
        ),
    )
    wanted = TrialRequest(
        trial_id=ADDRESS.trial_id,
        hyperparameters=VALUES,
        iteration=0,
        bracket=2,
        index=0,
        rung=0,
        parent=None,
        from_epoch=0,
        to_epoch=4,
        seed=ADDRESS.lineage_seed(SEED),
    )
    result = result_of(run_trial(wanted, setting), objective="objective")
    scores = [min(logs["objective"] for logs in one.epochs) for one in result.best.executions]
    best = scores.index(min(scores))
    retrained = Retraining(
        hypermodel=hypermodel,
        dataset=dataset,
        result=result,
        spec=RetrainSpec(on="train", epochs=1),
        seed=SEED,
        checkpoints=tmp_path,
        terms=setting.terms,
    )
    kept = retrained.run()
    assert (kept.description.origin, kept.description.validation_score) == ("search", min(scores))
    assert kept.description.seed == ExecutionPlace(best, None, is_only=False).seed(wanted.seed)
    best_checkpoint(tmp_path, f"{wanted.trial_id}.e{best}").unlink()
    assert weights(retrained.run()) == weights(kept)


def test_the_searchs_own_model_is_published_where_every_retraining_is_worse(retraining, searched):
    """One epoch instead of five is worse from every seed: the winner's checkpoint is published, and it is said why."""
    perfect = searched[0].best.executions[0].epochs
    logs = (*perfect[:-1], perfect[-1] | {"val_loss": -1.0})
    best = searched[0].best.model_copy(update={"executions": (Execution(epochs=logs),), "score": -1.0})
    trained = replace(retraining(attempts=2), result=result_of(best)).run()
    description = trained.description
    assert (description.origin, description.trained_on, description.epochs) == ("search", "train", 5)
    assert [attempt.seed for attempt in description.attempts] == [
        ADDRESS.lineage_seed(SEED),
        derive_seed(SEED, "retrain", 1),
    ]
    assert all("on the validation rows" in attempt.shortfall for attempt in description.attempts)
    assert weights(trained) == weights(published_winner(searched, retraining()))


def test_a_finished_attempt_is_not_trained_again(retraining, searched):
    """Started again after its first attempt, a retraining comes to the same weights and the same account of them."""
    first = retraining(tolerance=LOOSE).run()
    assert last_checkpoint(searched[1], "retrain-0").exists()
    again = retraining(tolerance=LOOSE).run()
    assert weights(again) == weights(first)
    assert again.description == first.description
