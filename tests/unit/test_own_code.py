"""The user's own code: fetched, checked, unpacked, loaded and blamed, all without TensorFlow."""

import hashlib
import stat
import sys
import types
import uuid
import zipfile
from pathlib import Path

import pytest

from job.data import ObjectPins
from job.errors import DataError, ModelCodeError
from job.own_code import CodeSource, describe, fetch_code, load_object
from job.own_code.extra_files import MAX_FILES

MODULE = "def build_model(hp):\n    return hp\n"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A module's text as fetched code, with what lies beside it."""
    monkeypatch.chdir(tmp_path)

    def fetch(text=MODULE, *, pins=None, function="build_model", folder="code", **fields):
        Path("model.py").write_text(text)
        source = CodeSource("model", "model.py", function, **fields)
        return fetch_code(source, tmp_path / folder, pins or ObjectPins())

    return fetch


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_code_is_copied_and_its_digest_is_noted(model):
    """What runs is a copy; `inputs.json` gets its SHA-256."""
    pins = ObjectPins()
    code = model(pins=pins)
    Path("model.py").write_text("changed")
    assert code.file.read_text() == MODULE
    assert code.sha256 == sha256(MODULE)
    assert pins.read["model.source"].sha256 == sha256(MODULE)
    assert load_object(code)(3) == 3


def test_code_of_another_digest_is_not_run(model):
    """The digest that the spec gives is compared before anything runs."""
    text = "raise AssertionError('it ran')\n"
    with pytest.raises(ModelCodeError, match=f"its SHA-256 is {sha256(text)}, expected {sha256(MODULE)}") as caught:
        model(text, sha256=sha256(MODULE))
    assert caught.value.exit_code == 11
    model(sha256=sha256(MODULE))


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("location", ["absent.py", "folder"])
def test_code_that_is_not_there_is_told(location):
    """A missing file, or a folder in its place, by the name that the spec has."""
    Path("folder").mkdir()
    with pytest.raises(ModelCodeError, match=location):
        fetch_code(CodeSource("model", location, "f"), Path("code"), ObjectPins())


@pytest.mark.usefixtures("model")
def test_code_is_fetched_from_s3_in_the_version_that_the_run_started_with(s3_server, monkeypatch, tmp_path):
    """A module, and the files under a prefix, each pinned by itself."""
    for name, value in s3_server.environment.items():
        if name.startswith(("AWS_", "NO_PROXY")):
            monkeypatch.setenv(name, value)
    import boto3  # noqa: PLC0415 - the rest of this folder does without

    client, bucket = boto3.client("s3"), f"code-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="m/model.py", Body=b"from own_s3_layers import WORD as build_model\n")
    client.put_object(Bucket=bucket, Key="m/extra/own_s3_layers.py", Body=b"WORD = 'hello'\n")
    client.put_object(Bucket=bucket, Key="m/extra/data/words.txt", Body=b"a b")
    pins = ObjectPins()
    files = f"s3://{bucket}/m/extra/"
    source = CodeSource("model", f"s3://{bucket}/m/model.py", "build_model", files=files)
    code = fetch_code(source, tmp_path / "code", pins)
    assert load_object(code) == "hello"
    assert (code.root / "data" / "words.txt").read_text() == "a b"
    assert {"model.source", "model.files", "model.files/own_s3_layers.py"} <= pins.read.keys()
    with pytest.raises(ModelCodeError, match="no objects under this prefix"):
        fetch_code(CodeSource("model", source.source, "f", files=f"s3://{bucket}/none/"), tmp_path / "b", ObjectPins())
    with pytest.raises(ModelCodeError, match="no such object"):
        fetch_code(CodeSource("model", f"s3://{bucket}/no.py", "f"), tmp_path / "b", ObjectPins())


def test_files_of_a_folder_lie_beside_the_module(model):
    """Modules beside it are imported by their names, other files are found by the module's own place."""
    folder = Path("extra")
    (folder / "own_package").mkdir(parents=True)
    (folder / "own_package" / "__init__.py").write_text("from pathlib import Path\n")
    (folder / "words.txt").write_text("hello")
    (folder / "model.py").write_text("text")
    text = (
        "from pathlib import Path\nimport own_package\n"
        "def build_model(hp):\n    return (Path(__file__).parent / 'words.txt').read_text()\n"
    )
    with pytest.raises(ModelCodeError, match=r"extra holds another model\.py than model\.source"):
        model(text, files="extra")
    (folder / "model.py").write_text(text)
    code = model(text, files="extra")
    assert load_object(code)(None) == "hello"


def listing(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files]
    return sha256("".join(lines))


def test_the_digest_of_a_folder_is_that_of_its_listing(model):
    """It is what `sha256sum` prints of the files in order; another file among them is found."""
    Path("extra").mkdir()
    Path("extra/a.txt").write_text("a")
    model(files="extra", files_sha256=listing("extra"))
    expected = listing("extra")
    Path("extra/b.txt").write_text("b")
    with pytest.raises(ModelCodeError, match=r"the listing of extra is not the code that model\.files_sha256 means"):
        model(files="extra", files_sha256=expected)


def archive(*entries, name="extra.zip"):
    """A zip of (name, content, mode) entries."""
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as written:
        for path, content, mode in entries:
            info = zipfile.ZipInfo(path)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            written.writestr(info, content)
    return name


def test_a_zip_is_unpacked_beside_the_module(model):
    """Folders in it stay folders."""
    name = archive(("own_zip/__init__.py", "WORD = 'zipped'\n", 0o644), ("a/b.txt", "b", 0o644))
    digest = hashlib.sha256(Path(name).read_bytes()).hexdigest()
    code = model("from own_zip import WORD as build_model\n", files=name, files_sha256=digest)
    assert load_object(code) == "zipped"
    assert (code.root / "a" / "b.txt").read_text() == "b"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (("../outside.py", "x", 0o644), "leads out of its folder"),
        (("/etc/outside.py", "x", 0o644), "leads out of its folder"),
        (("a/../../outside.py", "x", 0o644), "leads out of its folder"),
        (("a\\..\\outside.py", "x", 0o644), "leads out of its folder"),
        (("C:/outside.py", "x", 0o644), "leads out of its folder"),
        (("link", "/etc/passwd", stat.S_IFLNK | 0o777), "links are not unpacked"),
        (("pipe", "", stat.S_IFIFO | 0o644), "links are not unpacked"),
    ],
)
def test_a_zip_writes_nowhere_else(model, tmp_path, entry, words):
    """Absolute paths, paths that climb, links and pipes are refused; nothing lies outside of the folder."""
    with pytest.raises(ModelCodeError, match=words):
        model(files=archive(entry))
    assert not list(tmp_path.parent.rglob("outside.py"))


def test_a_zip_may_not_hold_too_much(model, monkeypatch):
    """A small archive that unpacks to very much, and one of very many files, are refused."""
    with pytest.raises(ModelCodeError, match="holds more than"):
        model(files=archive(*((f"f{number}", "", 0o644) for number in range(MAX_FILES + 1))))
    monkeypatch.setattr("job.own_code.extra_files.MAX_BYTES", 1000)
    with pytest.raises(ModelCodeError, match="holds more than"):
        model(files=archive(("zeros", "0" * 2000, 0o644)))


def test_a_file_that_is_no_zip_is_told(model):
    """What cannot be unpacked is named."""
    Path("extra.zip").write_text("no zip")
    with pytest.raises(ModelCodeError, match=r"extra\.zip cannot be unpacked"):
        model(files="extra.zip")


def test_links_in_a_folder_are_not_followed(model):
    """A link could lead to what the job may read and nobody means to copy."""
    Path("extra").mkdir()
    Path("extra/link").symlink_to("/etc/passwd")
    with pytest.raises(ModelCodeError, match="links are not followed"):
        model(files="extra")


@pytest.mark.parametrize("word", ["words.txt", "words.py"])
def test_a_folder_beside_it_may_have_the_name_of_a_mere_folder(model, tmp_path, monkeypatch, word):
    """Where the job starts there often is a folder `data`, which Python could import; that is in nobody's way."""
    (tmp_path / "start" / "data").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "start")
    Path("extra/data").mkdir(parents=True)
    Path("extra/data", word).write_text("")
    code = model(files="extra")
    load_object(code)
    assert (code.root / "data" / word).exists()


def test_a_folder_beside_it_may_have_the_name_of_a_folder_that_was_imported(model, monkeypatch):
    """A folder without `__init__.py` that something has imported hides no module, and is hidden by none."""
    imported = types.ModuleType("my_words")
    imported.__path__ = []
    monkeypatch.setitem(sys.modules, "my_words", imported)
    Path("extra/my_words").mkdir(parents=True)
    Path("extra/my_words/words.py").write_text("")
    assert callable(load_object(model(files="extra")))


def test_a_module_beside_it_may_not_have_the_name_of_another(model):
    """It would never be imported, or be in the way of what is installed."""
    Path("extra").mkdir()
    Path("extra/json.py").write_text("")
    with pytest.raises(ModelCodeError, match=r"json\.py beside model\.py has the name of another module"):
        load_object(model(files="extra"))


def test_a_module_is_run_once_in_a_process(model):
    """Loading it again gives the same classes, also by way of pickle; another file is another module."""
    text = "class Mine:\n    pass\n\ndef build_model(hp):\n    return Mine\n"
    code = model(text)
    assert load_object(code) is load_object(code)
    other = model(text + "# changed\n", folder="other")
    assert load_object(other) is not load_object(code)
    assert load_object(code)(0).__module__ == code.module
    assert code.module in sys.modules


def test_a_failed_load_leaves_nothing_behind(model):
    """A module that raised is not taken for loaded the next time."""
    code = model("import no_such_thing\n")
    for _ in range(2):
        with pytest.raises(ModelCodeError, match=r"model\.py, line 1: ModuleNotFoundError"):
            load_object(code)
    assert code.module not in sys.modules


def test_an_installed_function_is_found_by_its_name(tmp_path, monkeypatch):
    """`package.module:function` is imported under its own name, its digest checked before."""
    package = tmp_path / "own_installed"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "models.py").write_text("def make(hp):\n    return hp['missing']\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = CodeSource("model", "own_installed.inner.models:make", "make")
    with pytest.raises(ModelCodeError, match="is not the code"):
        fetch_code(CodeSource("model", source.source, "make", sha256="0" * 64), tmp_path / "x", ObjectPins())
    assert "own_installed" not in sys.modules
    code = fetch_code(source, tmp_path / "x", ObjectPins())
    function = load_object(code)
    with pytest.raises(KeyError) as caught:
        function({})
    expected = "own_installed/inner/models.py, line 2, in make: KeyError: 'missing'\n    return hp['missing']"
    assert describe(caught.value, code) == expected
    with pytest.raises(ModelCodeError, match=r"no module named own_installed\.other is installed"):
        fetch_code(CodeSource("model", "own_installed.other:make", "make"), tmp_path / "x", ObjectPins())


def test_the_last_of_the_users_own_lines_is_named(model):
    """Of all frames the last in their code, also where it lies beside the module, and where the cause has it."""
    Path("extra").mkdir()
    Path("extra/own_deep.py").write_text("import json\n\ndef parse():\n    return json.loads('{')\n")
    code = model("import own_deep\n\ndef build_model(hp):\n    return own_deep.parse()\n", files="extra")
    function = load_object(code)
    with pytest.raises(ValueError, match="Expecting") as caught:
        function(None)
    assert describe(caught.value, code).startswith("own_deep.py, line 4, in parse: JSONDecodeError: Expecting")
    outer = RuntimeError("around it")
    outer.__cause__ = caught.value
    assert describe(outer, code).startswith("own_deep.py, line 4, in parse: RuntimeError: around it")


def test_the_mistake_of_data_code_is_a_data_error(tmp_path):
    """The same of `data.source` ends with exit code 12."""
    (tmp_path / "data.py").write_text("import no_such_thing\n")
    code = fetch_code(CodeSource("data", str(tmp_path / "data.py"), "load_data"), tmp_path / "code", ObjectPins())
    with pytest.raises(DataError, match=r"data\.py, line 1: ModuleNotFoundError"):
        load_object(code)
