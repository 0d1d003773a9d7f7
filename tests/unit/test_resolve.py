"""From what the user gave to a spec: where documents come from, what wins, and whether places can be reached."""

import io
import json
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

from job.errors import AccessError, SpecError
from job.resolve import check_access, require_access, resolve_run_id, resolve_spec, storage_options
from job.settings import read_settings
from job.spec.overrides import parse_assignment
from job.store import open_store


def resolve(environ=None, *, spec=None, sets=(), **options):
    overrides = [parse_assignment(text) for text in sets]
    return resolve_spec(read_settings(environ or {}), spec=spec, overrides=overrides, **options)


def problem_lines(error):
    return str(error.value).splitlines()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """A fresh bucket; this process uses the server."""
    for name, value in s3_server.environment.items():
        if name.startswith(("AWS_", "NO_PROXY")):
            monkeypatch.setenv(name, value)
    import boto3  # noqa: PLC0415 - the rest of this folder does without

    name = f"resolve-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("spec.yaml", "name: nightly\nsearch: {max_epochs: 27}\n"),
        ("spec.json", '{"name": "nightly", "search": {"max_epochs": 27}}'),
        ("spec.toml", "name = 'nightly'\n[search]\nmax_epochs = 27\n"),
        ("spec", "name: nightly\nsearch: {max_epochs: 27}\n"),
    ],
)
def test_a_document_comes_from_a_file_or_is_given_itself(tmp_path, monkeypatch, name, text):
    """A file by --spec or JOB_SPEC, the text itself, and standard input all read the same."""
    path = tmp_path / name
    path.write_text(text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    found = [
        resolve(spec=str(path)),
        resolve({"JOB_SPEC": str(path)}),
        resolve({"JOB_SPEC": f"file://{path}"}),
        resolve({"JOB_SPEC": text}),
        resolve(spec="-"),
    ]
    assert {(spec.name, spec.search.max_epochs) for spec in found} == {("nightly", 27)}


def test_one_field_is_a_document():
    """A single line of YAML or TOML needs no file."""
    assert resolve(spec="name: nightly").name == resolve(spec="name = 'nightly'").name == "nightly"


def test_set_wins_over_the_environment_over_the_document_over_the_default(tmp_path):
    """Each source overrides the next, field by field."""
    path = tmp_path / "spec.yaml"
    path.write_text("{seed: 1, name: document, search: {max_epochs: 11, factor: 4}}")
    environ = {"JOB_SPEC": str(path), "JOB_NAME": "environment", "JOB_SEARCH__MAX_EPOCHS": "12"}
    spec = resolve(environ, sets=["search.max_epochs=13"])
    assert (spec.search.max_epochs, spec.name, spec.search.factor, spec.seed) == (13, "environment", 4, 1)
    assert spec.search.min_epochs == 1
    assert resolve(environ, spec="seed: 5").seed == 5


def test_environment_variables_alone_make_a_full_spec():
    """Without any document, variables set every kind of field."""
    spec = resolve(
        {
            "JOB_NAME": "nightly",
            "JOB_OUTPUT": "s3://bucket/runs",
            "JOB_DATA__SOURCE": "s3://bucket/x.npz",
            "JOB_SPACE": "{units: [32, 64]}",
            "JOB_SPACE__LEARNING_RATE": "1e-3",
            "JOB_LIMITS__TIMEOUT": "2h",
            "JOB_STORAGE__TAGS__team": "vision",
        }
    )
    assert (spec.name, spec.output, spec.data.source) == ("nightly", "s3://bucket/runs", "s3://bucket/x.npz")
    assert spec.space["units"].values == (32, 64)
    assert spec.space["learning_rate"].value == 0.001
    assert spec.storage.tags == {"team": "vision"}


def test_a_runs_spec_json_can_be_run_again(tmp_path):
    """The stored spec of a run, hash included, is a document that resolves to the same spec."""
    spec = resolve(sets=["space.units.max_value=128"])
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"spec_hash": spec.hash(), **spec.document()}))
    assert resolve(spec=str(path)) == spec


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "expected a text in UTF-8"), (b"x" * (1024 * 1024 + 1), "expected a spec of at most 1024 KiB")],
)
def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path, content, message):
    """A wrong path, to an archive for instance, is an error of the spec."""
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        resolve(spec=str(path))


def test_a_long_line_is_a_document():
    """A document longer than any file's name is not looked for on disk."""
    assert resolve(spec=f"name: x  # {'y' * 5000}").name == "x"
    with pytest.raises(SpecError, match=r"^--spec: the file .{,100} cannot be read: File name too long$"):
        resolve(spec="y" * 5000)


@pytest.fixture
def short_path():
    """A folder whose name messages quote whole, wherever pytest has its own."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


def test_a_missing_document_is_named_with_what_asked_for_it(short_path):
    """The message has the path, and whether --spec or JOB_SPEC gave it."""
    with pytest.raises(SpecError, match=r"^--spec: there is no file .*nope\.yaml"):
        resolve(spec=str(short_path / "nope.yaml"))
    with pytest.raises(SpecError, match=r"^JOB_SPEC: the file .* cannot be read: Is a directory"):
        resolve({"JOB_SPEC": str(short_path)})


def test_local_inputs_must_exist(short_path, monkeypatch):
    """Every missing file is reported by its field; paths are relative to the current folder."""
    monkeypatch.chdir(short_path)
    (short_path / "there.npz").touch()
    (short_path / "folder.npz").mkdir()
    sets = [
        "data.source=there.npz",
        "data.validation_source=folder.npz",
        f"data.test_source=file://{short_path}/gone.npz",
    ]
    with pytest.raises(SpecError) as error:
        resolve(sets=sets)
    assert problem_lines(error) == [
        'data.validation_source: expected a file, and this is none (found "folder.npz") [from --set]',
        f'data.test_source: there is no such file (found "file://{short_path}/gone.npz") [from --set]',
    ]
    assert resolve(sets=sets[:1]).data.source == "there.npz"
    assert resolve(sets=sets, with_local_files=False).data.validation_source == "folder.npz"


@pytest.mark.parametrize("run_id", ["night-1", "17529384650", "a.b_c", "x" * 128])
def test_a_run_id_is_one_segment_of_a_key(run_id):
    """Names of Kubernetes Jobs and ids of workflow runs are run ids; the argument wins over the variable."""
    settings = read_settings({"JOB_RUN_ID": run_id})
    assert resolve_run_id(settings, None) == run_id
    assert resolve_run_id(settings, "other") == "other"
    assert resolve_run_id(read_settings({}), None) is None


@pytest.mark.parametrize("run_id", ["a/b", "..", "-x", "a b", "x" * 129, "."])
def test_what_is_no_run_id_is_refused(run_id):
    """A run id that would make other keys than its own is an error that names where it came from."""
    with pytest.raises(SpecError, match=r"^JOB_RUN_ID: expected 1 to 128"):
        resolve_run_id(read_settings({"JOB_RUN_ID": run_id}), None)
    with pytest.raises(SpecError, match=r"^--run-id: expected 1 to 128"):
        resolve_run_id(read_settings({}), run_id)


def test_storage_options_are_the_specs():
    """Encryption, key, class, tags and part size reach the store."""
    spec = resolve(
        spec="{output: 's3://bucket/x', storage: {encryption: sse-kms, kms_key: k, tags: {a: b}, part_size: 8MiB, "
        "storage_class: STANDARD_IA}}"
    )
    options = storage_options(spec)
    assert (options.encryption, options.kms_key, options.storage_class) == ("sse-kms", "k", "STANDARD_IA")
    assert (dict(options.tags), options.part_bytes) == ({"a": "b"}, 8 * 1024**2)
    assert storage_options(resolve()).is_default


def test_access_to_a_writable_directory_leaves_no_object(tmp_path):
    """The probe object is written and deleted again."""
    spec = resolve(sets=[f"output={tmp_path}/runs"])
    assert check_access(spec) == ()
    assert list(open_store(f"{tmp_path}/runs").list()) == []


def test_an_output_that_is_a_file_is_reported(tmp_path):
    """Where the output cannot be written, the problem names the field and the place."""
    (tmp_path / "runs").touch()
    problems = check_access(resolve(sets=[f"output={tmp_path}/runs"]))
    assert [problem.problem.path for problem in problems] == ["output"]


def test_a_spec_and_its_data_in_s3_are_found(bucket):
    """A spec by URL resolves, and its inputs and output can be reached."""
    store = open_store(bucket)
    store.put("specs/nightly.yaml", f"{{data: {{source: '{bucket}/x.npz'}}, output: '{bucket}/runs'}}".encode())
    store.put("x.npz", b"not read here")
    spec = resolve(spec=f"{bucket}/specs/nightly.yaml")
    assert check_access(spec) == ()
    assert [info.key for info in store.list()] == ["specs/nightly.yaml", "x.npz"]
    with pytest.raises(SpecError, match=r"^JOB_SPEC: there is no object "):
        resolve({"JOB_SPEC": f"{bucket}/specs/weekly.yaml"})


def test_everything_that_cannot_be_reached_is_reported_together(bucket):
    """A missing object and a missing bucket come in one error, each by its field path."""
    spec = resolve(
        sets=[
            f"data.source={bucket}/x.npz",
            "data.test_source=s3://no-such-bucket/t.npz",
            "output=s3://no-such-bucket/runs",
        ]
    )
    assert [problem.problem.path for problem in check_access(spec)] == ["data.source", "data.test_source", "output"]
    with pytest.raises(SpecError) as error:
        require_access(spec)
    assert [line.split(":")[0] for line in problem_lines(error)] == ["data.source", "data.test_source", "output"]


def test_refused_credentials_are_an_access_error(bucket, monkeypatch):
    """Where the store refuses, and nothing is missing, the error is the store's refusal."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    spec = resolve(sets=[f"output={bucket}/runs"])
    with pytest.raises(AccessError, match=r"^output: "):
        require_access(spec)
    with pytest.raises(AccessError):
        resolve(spec=f"{bucket}/spec.yaml")


@pytest.mark.parametrize("spec", ["", " \n", "# emptied\n", "---\n"])
def test_an_emptied_spec_is_refused_wherever_it_comes_from(tmp_path, spec):
    """In the variable, in a file of any format, and by --spec: only no document at all is the quickstart."""
    given = [{"JOB_SPEC": spec}] if spec.strip() != "---" else []
    for suffix in ("", ".yaml", ".json", ".toml"):
        if suffix in {".json", ".toml"} and spec.strip():
            continue
        path = tmp_path / f"spec{suffix}"
        path.write_text(spec)
        given.append({"JOB_SPEC": str(path)})
    for environ in given:
        with pytest.raises(SpecError, match="the document is empty"):
            resolve(environ)
    assert resolve({}).name == "quickstart"
