"""From hyperparameters to a compiled model, as a function of a seed."""

import functools
import inspect
from collections.abc import Callable

import keras
import keras_tuner

from job.models import TunableModel
from job.records import Hyperparameters
from job.training.own_fit import OwnFit

# Keras seeds Python, NumPy and TensorFlow at once, and takes 32 bits.
_SEED_LIMIT = 2**32
# What `fit` is always handed.
_HP_AND_MODEL = 2


def build_model(hypermodel: TunableModel, values: Hyperparameters, seed: int) -> keras.Model:
    """A compiled model with these hyperparameters, its initial weights a function of the seed alone."""
    # Clearing forgets the precision that is set around a build, too.
    policy = keras.config.dtype_policy()
    keras.backend.clear_session(free_memory=False)
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(seed % _SEED_LIMIT)
    return hypermodel.build(_as_hyperparameters(values))


def own_fit(hypermodel: keras_tuner.HyperModel, values: Hyperparameters) -> Callable[[keras.Model], OwnFit] | None:
    """For each model, the `fit` of a HyperModel that overrides it; None where none does."""
    if type(hypermodel).fit is keras_tuner.HyperModel.fit:
        return None
    parameters = getattr(hypermodel, "fit_parameters", None)
    if parameters is None:
        parameters = dict(list(inspect.signature(hypermodel.fit).parameters.items())[_HP_AND_MODEL:])
    return lambda model: OwnFit(functools.partial(hypermodel.fit, _as_hyperparameters(values), model), parameters)


def _as_hyperparameters(values: Hyperparameters) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return hp
