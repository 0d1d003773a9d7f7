"""Specs that nobody would write: each ends with 0, 2 or 10, and never with a traceback.

`--fuzz N` draws N of them; `make test-fuzz` many.
"""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job.cli import main
from job.spec import JobSpec
from job.spec.document import parse_document

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
SPECS = [JobSpec().document(), *(parse_document(path.read_text(), source=path.name) for path in EXAMPLES)]
NASTY = [
    None, True, "", " ", "\0", "a" * 5000, "s3://", "s3://b/../..", "{", 0, -1, 1, 2**31, 2**63, 10**30, 10**11, 0.0,
    -0.0, 1e-300, 1e-308, 1e308, 5e-324, [], {}, [[]], [None], {"": 1}, {"type": "int"}, [0] * 300, "1" * 400, "-1s",
    {"type": "float", "min": 1e-308, "max": 1e308, "step": 1e-300}, {"type": "int", "min": 0, "max": 10**18},
    {"type": "float", "min": 0, "max": 1, "step": 1e-300},
    {"type": "float", "min": 1e-300, "max": 1, "sampling": "log"},
]  # fmt: skip


def places(document, path=()):
    """Every place in a document."""
    yield path
    children = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in children:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from list(places(value, (*path, key)))[1:]


@st.composite
def mutated(draw):
    """One of the examples with a few values replaced, moved, deleted or added."""
    document = copy.deepcopy(draw(st.sampled_from(SPECS)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([one for one in places(document) if one] or [()]))
        if not path:
            break
        holder = document
        for step in path[:-1]:
            holder = holder[step]
        kind = draw(st.sampled_from(["replace", "replace", "replace", "delete", "add"]))
        if kind == "delete":
            del holder[path[-1]]
        elif kind == "add" and isinstance(holder, dict):
            name = draw(st.sampled_from(["units", "hidden_layers", "batch_size", "novelty", "type", "max_trials"]))
            holder[name] = copy.deepcopy(draw(st.sampled_from(NASTY)))
        else:
            holder[path[-1]] = copy.deepcopy(draw(st.sampled_from(NASTY)))
    return document


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def test_a_mutated_spec_is_taken_or_refused(folder, pytestconfig, capsys, monkeypatch):
    """By `validate` and `plan` alike: what the one takes the other can count."""
    monkeypatch.chdir(folder)

    @settings(
        max_examples=pytestconfig.getoption("--fuzz"),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(mutated())
    def try_one(document):
        Path("spec.json").write_text(json.dumps(document))
        codes = [main([command, "--spec", "spec.json"], {}) for command in ("validate", "plan")]
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err, said.err
        assert set(codes) <= {0, 2, 10}, said.err

    try_one()
