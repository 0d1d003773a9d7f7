"""How many trials run at a time, for machines of all sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.resources import Resources
from job.slots import slot_count, worker_memory
from job.spec import JobSpec

GIBIBYTE = 2**30


def slots(spec=None, *, cores=8, memory=64 * GIBIBYTE, gpus=(), prepared_bytes=0):
    return slot_count(
        JobSpec.model_validate(spec or {}), Resources(cores=cores, memory=memory, gpus=gpus), prepared_bytes
    )


@pytest.mark.parametrize(
    ("spec", "machine", "expected"),
    [
        pytest.param({}, {}, 8, id="one per core"),
        pytest.param({"resources": {"threads_per_trial": 3}}, {}, 2, id="cores over threads"),
        pytest.param({"resources": {"executor": "inline"}}, {}, 1, id="inline"),
        pytest.param({"limits": {"max_concurrent_trials": 3}}, {"cores": 1}, 3, id="as told"),
        pytest.param({}, {"memory": 3 * GIBIBYTE}, 2, id="memory"),
        pytest.param({}, {"memory": GIBIBYTE // 2}, 1, id="never none"),
        pytest.param({}, {"cores": 64}, 22, id="configurations"),
        pytest.param({"search": {"algorithm": "random", "max_trials": 5}}, {}, 5, id="few trials"),
        pytest.param({"search": {"algorithm": "bayesian", "lag": 2}}, {}, 3, id="proposals wait"),
        pytest.param({"resources": {"trials_per_gpu": 3}}, {"gpus": ("0", "1"), "cores": 2}, 6, id="GPUs"),
    ],
)
def test_auto_takes_what_the_machine_allows(spec, machine, expected):
    """Cores, memory, GPUs, the number of trials and the algorithm each bound the slots; a number is taken as told."""
    assert slots(spec, **machine) == expected


@given(cores=st.integers(1, 256), gibibytes=st.integers(1, 512), rows=st.integers(0, 8 * GIBIBYTE))
def test_the_slots_fit_in_memory(cores, gibibytes, rows):
    """However large the rows, there is a slot; more than one only where all of them fit."""
    found = slots(cores=cores, memory=gibibytes * GIBIBYTE, prepared_bytes=rows)
    assert 1 <= found <= cores
    assert found == 1 or found * worker_memory(rows) < gibibytes * GIBIBYTE
