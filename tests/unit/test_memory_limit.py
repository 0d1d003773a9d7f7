"""How much memory a process may use: that of its own control group and of those around it."""

import os

import pytest

from job import resources
from job.resources import memory_limit

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups as files: what is written for a path, and which group the process is in."""
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    monkeypatch.setattr(resources, "_MEMORY_LIMITS", (tmp_path / "memory.max",))
    monkeypatch.setattr(resources, "_OWN_GROUPS", tmp_path / "own")

    def write(own, limits):
        (tmp_path / "own").write_text(own)
        for path, limit in limits.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f"{limit}\n")

    return write


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        pytest.param("0::/\n", {"memory.max": 3000}, 3000, id="a container's own root"),
        pytest.param("0::/jobs/one\n", {"jobs/one/memory.max": 5000, "jobs/memory.max": 4000}, 4000, id="nested, v2"),
        pytest.param(
            "8:pids:/x\n4:memory:/jobs\n",
            {"memory/jobs/memory.limit_in_bytes": 6000, "memory/x/memory.limit_in_bytes": 1},
            6000,
            id="v1",
        ),
        pytest.param("0::/jobs\n", {"jobs/memory.max": "max"}, PHYSICAL, id="no limit"),
        pytest.param("0::/elsewhere\n", {}, PHYSICAL, id="a group that cannot be seen"),
    ],
)
def test_the_least_limit_counts(groups, own, limits, expected):
    """Of all limits that hold for the process the least one is what it may use."""
    groups(own, limits)
    assert memory_limit() == expected
