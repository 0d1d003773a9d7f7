"""What a spec may say of the user's own code."""

import pytest

from job.errors import SpecError
from job.plan import make_plan, plan_document, plan_tables, tables_as_text
from job.resolve import resolve_spec
from job.settings import read_settings
from job.spec import JobSpec
from job.spec.overrides import parse_assignment


@pytest.fixture
def problems(tmp_path, monkeypatch):
    """All that is wrong with a spec given by assignments, in a folder with a module and a zip."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text("")
    (tmp_path / "extra.zip").write_text("")
    (tmp_path / "extra").mkdir()

    def run(*sets, environ=None):
        try:
            resolve_spec(read_settings(environ or {}), overrides=[parse_assignment(text) for text in sets])
        except SpecError as error:
            return {problem.path: problem.message for problem in error.problems}
        return {}

    return run


@pytest.mark.parametrize(
    "sets",
    [
        ("model.source=model.py",),
        ("model.source=model.py", "model.function=make", "model.files=extra", f"model.sha256={'a' * 64}"),
        ("model.source=model.py", "model.files=extra.zip", f"model.files_sha256={'a' * 64}"),
        ("model.source=s3://bucket/model.py", "model.files=s3://bucket/extra/"),
        ("model.source=package.module:make",),
        ("data.source=model.py", "data.function=load"),
        ("data.source=package.module:load",),
        ("model.source=model.py", "space.anything=3", "search.objective={name: val_own, direction: min}"),
        ("model.source=model.py", "search.algorithm=grid"),
    ],
)
def test_what_can_be_said(problems, sets):
    """Files, objects, and installed functions; extra files as a folder, a prefix or a zip."""
    assert problems(*sets) == {}


@pytest.mark.parametrize(
    ("sets", "path", "words"),
    [
        (("model.source=model.py", "model.builder=mlp"), "model.builder", "keep one of the two"),
        (("model.builder=null",), "model.builder", "or a model.source"),
        (("model.source=model.txt",), "model.source", "expected a Python file"),
        (("model.source=absent.py",), "model.source", "there is no such file"),
        (("model.source=gs://bucket/model.py",), "model.source", "is not supported"),
        (("model.source=s3://key:secret@bucket/model.py",), "model.source", "credentials are never in a URL"),
        (("model.function=make",), "model.function", "needs a model.source"),
        ((f"model.sha256={'a' * 64}",), "model.sha256", "needs a model.source"),
        (("model.source=model.py", "model.sha256=abc"), "model.sha256", "64 hexadecimal digits"),
        (("model.source=model.py", "model.function=a.b"), "model.function", "the name of a function"),
        (("model.source=model.py", f"model.files_sha256={'a' * 64}"), "model.files_sha256", "needs model.files"),
        (("model.source=model.py", "model.files=absent"), "model.files", "there is no such"),
        (("model.source=model.py", "model.files=model.py"), "model.files", "expected a folder"),
        (("model.source=a.b:c", "model.function=d"), "model.function", "which names the function"),
        (("model.source=a.b:c", "model.files=extra"), "model.files", "is installed"),
        (("data.function=load",), "data.function", "needs a data.source"),
        (("data.source=model.py", "data.test_source=model.py"), "data.test_source", "its function returns x_test"),
        (("model.source=model.py", "search.objective=val_own"), "search.objective", "expected {name, direction}"),
        (("model.source=model.py", "training.metrics=[auc]"), "training.metrics", "compiled with its metrics"),
        (
            ("model.source=model.py", "space.a={type: boolean, parent_name: b, parent_values: [1]}"),
            "space.a.parent_name",
            "its code decides",
        ),
    ],
)
def test_what_cannot_be_meant(problems, sets, path, words):
    """Each is reported at its field, before anything runs."""
    found = problems(*sets)
    assert words in found[path]
    assert list(found) == [path]


def test_the_environment_names_code(problems):
    """`JOB_MODEL__SOURCE` stands in for a document; no builder has to be taken back."""
    assert problems(environ={"JOB_MODEL__SOURCE": "model.py", "JOB_MODEL__FUNCTION": "make"}) == {}
    assert problems(environ={"JOB_MODEL__SOURCE": "model.txt"}).keys() == {"model.source"}


def test_a_plan_says_that_the_space_is_in_the_code():
    """Nothing is run for it: of a grid not even the number of trials is known."""
    spec = JobSpec.model_validate({"model": {"source": "model.py"}, "space": {"units": [8, 16]}})
    text = tables_as_text(plan_tables(make_plan(spec)))
    assert "build_model of model.py" in text
    assert "Space (declared in model.py; the spec narrows it)" in text
    assert "30, " in text
    grid = JobSpec.model_validate({"model": {"source": "model.py"}, "search": {"algorithm": "grid"}})
    plan = make_plan(grid)
    assert "every point of the space, which the model's code declares" in tables_as_text(plan_tables(plan))
    document = plan_document(plan)
    assert document["search"]["trials"] is None
    assert document["space"]["declared_in"] == "model.py"


def test_a_spec_with_code_reads_back():
    """The resolved document makes an equal spec, with the same hash."""
    spec = JobSpec.model_validate({"model": {"source": "model.py", "sha256": "a" * 64}})
    again = JobSpec.model_validate(spec.document())
    assert again == spec
    assert again.hash() == spec.hash()
    assert spec.model.builder is None
