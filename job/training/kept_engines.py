"""Compiled epochs that outlive their trial, for the next one whose graph is the same.

Building, tracing and compiling a model costs up to a second, as much as its epochs where rungs are short. A promoted
trial's graph is its parent's, and trials that differ in the learning rate alone share theirs: that is a variable. What
a graph computes with are variables; all of them are set to the new model's, so that the answer is the new model's.
"""

from collections import OrderedDict
from collections.abc import Hashable

import keras

from job.training.checkpoint import model_variables
from job.training.epochs import CompiledEpochs

_COUNT = 8
_BYTES = 128 * 2**20


class KeptEngines:
    """The engines of a process's last trials, those used last kept longest."""

    def __init__(self) -> None:
        self._engines: OrderedDict[Hashable, CompiledEpochs] = OrderedDict()

    def take(self, key: Hashable, model: keras.Model) -> CompiledEpochs | None:
        """The engine kept under this key, its model now equal to `model`, which is built and compiled; or None."""
        engine = self._engines.get(key)
        if engine is None:
            return None
        sources, targets = model_variables(model), model_variables(engine.model)
        if [(v.shape, v.dtype) for v in sources] != [(v.shape, v.dtype) for v in targets]:
            del self._engines[key]
            return None
        for source, target in zip(sources, targets, strict=True):
            target.assign(source.value)
        self._engines.move_to_end(key)
        return engine

    def keep(self, key: Hashable, engine: CompiledEpochs) -> None:
        """Keep an engine, and let go of those used longest ago."""
        self._engines[key] = engine
        while len(self._engines) > 1 and (len(self._engines) > _COUNT or self._bytes() > _BYTES):
            self._engines.popitem(last=False)

    def _bytes(self) -> int:
        return sum(
            int(v.value.dtype.size) * int(v.value.shape.num_elements())
            for engine in self._engines.values()
            for v in model_variables(engine.model)
        )
