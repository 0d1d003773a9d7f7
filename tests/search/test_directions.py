"""Which way metrics are better: one table, held to the Keras that is installed."""

import keras
import pytest
from keras.src.losses import ALL_OBJECTS as LOSSES
from keras.src.metrics import ALL_OBJECTS as METRIC_OBJECTS
from keras.src.utils.naming import to_snake_case

from job.errors import SpecError
from job.spec.metrics import METRICS, direction_of
from job.spec.model import JobSpec
from job.spec.objectives import known_objective
from job.spec.validation import validate_document

# What these mean depends on what they are given; the last three only hold others.
MUST_BE_STATED = {"mean", "sum", "loss_function_wrapper", "metric", "mean_metric_wrapper"}


def names_of_keras():
    """Every name that a metric or loss of Keras's is logged by: of classes, of functions, and short ones."""
    yield from (to_snake_case(one.__name__) for one in METRIC_OBJECTS | LOSSES)
    for module in (keras.metrics, keras.losses):
        yield from (name for name in dir(module) if name.islower() and not name.startswith("_"))
    yield from ("mae", "mse", "mape", "msle", "acc", "bce", "ce", "kld", "crossentropy", "logcosh", "loss")


NAMES = sorted(set(names_of_keras()) - {"get", "serialize", "deserialize"} - MUST_BE_STATED)


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_of_keras_has_a_direction(name):
    """Or it is one that must be stated."""
    assert direction_of(name) in {"min", "max"}


def logged_name(metric):
    """The name that a metric of Keras's logs by where none is given."""
    arguments = {
        "BinaryIoU": {},
        "IoU": {"num_classes": 2, "target_class_ids": [0]},
        "MeanIoU": {"num_classes": 2},
        "OneHotIoU": {"num_classes": 2, "target_class_ids": [0]},
        "OneHotMeanIoU": {"num_classes": 2},
        "PrecisionAtRecall": {"recall": 0.5},
        "RecallAtPrecision": {"precision": 0.5},
        "SensitivityAtSpecificity": {"specificity": 0.5},
        "SpecificityAtSensitivity": {"sensitivity": 0.5},
    }
    return metric(**arguments.get(metric.__name__, {})).name


@pytest.mark.parametrize(
    "metric",
    sorted(
        (one for one in METRIC_OBJECTS if one.__name__ not in {"Metric", "MeanMetricWrapper", "Mean", "Sum"}), key=str
    ),
    ids=lambda metric: metric.__name__,
)
def test_what_keras_logs_is_known(metric):
    """By the very name, of validation rows, and of the second metric of that name."""
    keras.utils.clear_session()
    name = logged_name(metric)
    assert direction_of(name) in {"min", "max"}
    assert (
        direction_of(f"val_{name}")
        == direction_of(f"val_{name}_1")
        == direction_of(f"weighted_{name}")
        == direction_of(name)
    )


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("val_mae", "min"),
        ("val_accuracy", "max"),
        ("loss", "min"),
        ("val_auc_2", "max"),
        ("val_top_5_accuracy", "max"),
        ("val_cosine_similarity", "max"),
        ("false_positives", "min"),
        ("val_negative_mae", None),
        ("val_head_accuracy", None),
        ("my_loss", None),
        ("mean", None),
        ("", None),
    ],
)
def test_what_is_known_is_known_by_its_whole_name(name, direction):
    """What only ends like a known name may be anything."""
    assert direction_of(name) == direction


def test_built_in_metrics_read_the_same_table():
    """There is no second one."""
    assert {metric.name: metric.direction for metrics in METRICS.values() for metric in metrics} == {
        metric.name: direction_of(metric.name) for metrics in METRICS.values() for metric in metrics
    }


@pytest.mark.parametrize("task", ["auto", "classification", "regression"])
def test_a_model_of_ones_own_is_judged_by_the_metric_whatever_the_task(task):
    """`val_mae` is better the less it is."""
    spec = JobSpec.model_validate(
        {"model": {"source": "m.py"}, "data": {"source": "d.py", "task": task}, "search": {"objective": "val_mae"}}
    )
    objective = known_objective(spec.data, spec.search, built_in=False)
    assert objective is not None
    assert objective.direction == "min"


@pytest.mark.parametrize("name", ["val_head_loss", "val_my_score", "negative_mae"])
def test_an_unknown_metric_must_state_its_direction(name):
    """Exit code 10, by its field; with a direction it is taken."""
    document = {"model": {"source": "m.py"}, "data": {"source": "d.py"}, "search": {"objective": name}}
    with pytest.raises(SpecError, match=r"search\.objective: expected \{name, direction\}") as caught:
        validate_document(document, {})
    assert caught.value.exit_code == 10
    validate_document(document | {"search": {"objective": {"name": name, "direction": "max"}}}, {})
