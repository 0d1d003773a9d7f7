"""The hyperparameters of learning, which every built-in builder has."""

from job.spaces.declaration import Condition, Hyperparameter
from job.spaces.entries import AnyEntry, ChoiceEntry, FixedEntry, Scalar

OPTIMIZERS = ("adagrad", "adam", "adamax", "adamw", "lion", "nadam", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "exponential")
# Of these at most one may clip: Keras takes no two of them.
CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")

# The tutorial's: 1e-2, 1e-3 or 1e-4 (TensorFlow, "Introduction to the Keras Tuner").
TUTORIAL_LEARNING_RATES = ChoiceEntry(type="choice", values=(1e-2, 1e-3, 1e-4))


def fixed(value: Scalar) -> FixedEntry:
    """A builder's constant."""
    return FixedEntry(type="fixed", value=value)


def count(name: str, default: int, meaning: str, *, minimum: int = 1, maximum: int | None = None) -> Hyperparameter:
    """A whole number that is not searched by default."""
    return Hyperparameter(name, fixed(default), int, meaning, minimum=minimum, maximum=maximum)


def penalty(name: str, meaning: str, entry: AnyEntry | None = None) -> Hyperparameter:
    """A regularisation factor; 0 is none."""
    return Hyperparameter(name, entry or fixed(0.0), float, meaning, minimum=0.0)


def _share(name: str, default: float, meaning: str, needs: Condition) -> Hyperparameter:
    return Hyperparameter(name, fixed(default), float, meaning, minimum=0.0, maximum=0.999, needs=needs)


def learning(rates: ChoiceEntry = TUTORIAL_LEARNING_RATES) -> tuple[Hyperparameter, ...]:
    """What every builder can be given of how it learns; searched by default are the learning rates alone."""
    sgd = Condition("optimizer", ("sgd",))
    return (
        Hyperparameter("learning_rate", rates, float, "the optimizer's learning rate", minimum=0.0, exclusive=True),
        Hyperparameter("optimizer", fixed("adam"), str, "Keras's optimizer of this name", choices=OPTIMIZERS),
        Hyperparameter(
            "learning_rate_schedule",
            fixed("constant"),
            str,
            "how the learning rate falls from step to step, over `search.max_epochs` epochs",
            choices=SCHEDULES,
        ),
        Hyperparameter(
            "learning_rate_end",
            fixed(0.01),
            float,
            "the share of the learning rate that is left after `search.max_epochs` epochs",
            minimum=0.0,
            maximum=1.0,
            exclusive=True,
            needs=Condition("learning_rate_schedule", ("cosine", "exponential")),
        ),
        Hyperparameter(
            "warm_up",
            fixed(0.0),
            float,
            "the share of all steps over which the learning rate first rises from 0",
            minimum=0.0,
            maximum=0.9,
        ),
        _share("momentum", 0.9, "the share of its last step that `sgd` keeps", sgd),
        Hyperparameter("nesterov", fixed(value=False), bool, "whether `sgd` uses Nesterov's momentum", needs=sgd),
        _share("rmsprop_momentum", 0.0, "the same for `rmsprop`", Condition("optimizer", ("rmsprop",))),
        Hyperparameter(
            "weight_decay",
            fixed(0.004),
            float,
            "what `adamw` takes off every weight in a step, times the learning rate",
            minimum=0.0,
            needs=Condition("optimizer", ("adamw",)),
        ),
        count("batch_size", 32, "rows per training step"),
        penalty("clipnorm", "the norm that each weight's gradient is cut to; 0 for none"),
        penalty("global_clipnorm", "the norm that all gradients together are cut to; 0 for none"),
        penalty("clipvalue", "the value that each part of a gradient is cut to; 0 for none"),
    )
