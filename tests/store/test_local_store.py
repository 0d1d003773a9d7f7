"""What is particular to a store in a directory: files, locks, permissions, and writers that die."""

import errno
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import ANY

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from job.errors import AccessError, PreconditionFailedError, StoreError
from job.store import ListedObject, open_store
from job.store.keys import is_key
from job.store.local import LocalStore

NOBODY = 65534


def files_under(folder: Path) -> list[str]:
    """Every file in the folder except the store's lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".tuning-job-lock")
    return sorted(str(path.relative_to(folder)) for path in files)


@contextmanager
def without_root_rights() -> Iterator[None]:
    """Root may do anything; tests of permissions run as nobody where they would run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@given(key=st.text(min_size=1, max_size=60) | st.from_regex(r"[a-c./]{1,12}", fullmatch=True), data=st.binary())
@settings(max_examples=150, deadline=None)
def test_any_key_round_trips_or_is_refused(key, data):
    """Whatever a key looks like, it is refused, or its object comes back and is the only file in the root."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/root")
        if not is_key(key):
            with pytest.raises(ValueError, match=r"cannot be an object's key"):
                store.put(key, data)
            assert files_under(Path(folder)) == []
            return
        store.put(key, data)
        assert store.get(key).data == data
        assert list(store.list()) == [ListedObject(key, len(data), ANY)]
        assert files_under(Path(folder)) == [f"root/{key}"]


class StoreMachine(RuleBasedStateMachine):
    """A LocalStore and a dictionary that must agree after any sequence of calls."""

    keys = st.sampled_from(["a", "b/a", "b/c/a", "b/c/b", "c-"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = LocalStore(Path(self.folder.name) / "root")
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(key=keys, data=st.binary(max_size=4))
    def put(self, key, data):
        self.store.put(key, data)
        self.model[key] = data

    @rule(key=keys, data=st.binary(max_size=4))
    def put_if_absent(self, key, data):
        if key in self.model:
            with pytest.raises(PreconditionFailedError):
                self.store.put_if_absent(key, data)
        else:
            self.store.put_if_absent(key, data)
            self.model[key] = data

    @rule(key=keys, read_key=keys, data=st.binary(max_size=4))
    def replace_if_match(self, key, read_key, data):
        info = self.store.stat(read_key)
        etag = info.etag if info else "none"
        if key in self.model and self.model[key] == self.model.get(read_key):
            self.store.replace_if_match(key, data, etag)
            self.model[key] = data
        else:
            with pytest.raises(PreconditionFailedError):
                self.store.replace_if_match(key, data, etag)

    @rule(key=keys)
    def delete(self, key):
        self.store.delete(key)
        self.model.pop(key, None)

    @rule(prefix=st.sampled_from(["", "a", "b", "b/", "b/c", "b/c/", "d"]))
    def list_prefix(self, prefix):
        expected = [
            ListedObject(key, len(self.model[key]), ANY) for key in sorted(self.model) if key.startswith(prefix)
        ]
        assert list(self.store.list(prefix)) == expected

    @invariant()
    def same_content(self):
        for key, data in self.model.items():
            assert self.store.get(key).data == data


StoreMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestStoreAgainstDictionary = StoreMachine.TestCase


def test_opening_creates_nothing(tmp_path):
    """The directory is made by the first write, not by opening, reading, listing or deleting."""
    store = open_store(str(tmp_path / "a" / "b"))
    store.stat("key")
    list(store.list())
    store.delete("key")
    assert list(tmp_path.iterdir()) == []

    store.put("key", b"")

    assert files_under(tmp_path) == ["a/b/key"]


def test_published_files_may_be_read_by_others(local_store, tmp_path):
    """The umask decides about permissions, as for any file that the user makes."""
    before = os.umask(0o022)
    try:
        local_store.put("key", b"")
    finally:
        os.umask(before)

    assert (tmp_path / "store" / "key").stat().st_mode & 0o777 == 0o644


def test_what_killed_writers_left_is_hidden(local_store, tmp_path):
    """Temporary files of a killed writer are neither listed nor readable, and disturb no write."""
    local_store.put("folder/key", b"data")
    (tmp_path / "store" / "folder" / ".tuning-job-0123456789abcdef.tmp").write_bytes(b"half")

    assert list(local_store.list()) == [ListedObject("folder/key", 4, ANY)]
    with pytest.raises(ValueError, match="reserved"):
        local_store.get("folder/.tuning-job-0123456789abcdef.tmp")


WRITER = """
import sys
from job.store import open_store
store = open_store(sys.argv[1])
for number in range(10_000):
    store.put("folder/key", bytes([number % 256]) * 2_000_000)
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_a_whole_object(local_store):
    """After SIGKILL in the middle of overwriting, the object is one of its versions, whole, and alone."""
    for last_line in range(1, 6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, local_store.url], stdout=subprocess.PIPE, text=True
        ) as process:
            for _ in range(last_line):
                assert process.stdout.readline()
            process.kill()
        data = local_store.get("folder/key").data
        assert len(data) == 2_000_000
        assert len(set(data)) == 1
        assert list(local_store.list()) == [ListedObject("folder/key", 2_000_000, ANY)]
        local_store.put("folder/key", b"goes on")
        assert local_store.get("folder/key").data == b"goes on"


def test_readers_never_see_a_part_of_a_write(local_store, tmp_path):
    """While a writer overwrites in a loop, every read gives one whole version."""
    sizes = {b"a": 1_000_000, b"b": 10}
    local_store.put("key", b"a" * sizes[b"a"])
    done = threading.Event()
    torn = []

    def read_on():
        while not done.is_set():
            local_store.get_file("key", tmp_path / "copy")
            versions = [local_store.get("key").data, (tmp_path / "copy").read_bytes()]
            torn.extend(seen for seen in versions if seen != seen[:1] * sizes[seen[:1]])

    reader = threading.Thread(target=read_on)
    reader.start()
    for letter in (b"b", b"a") * 50:
        local_store.put("key", letter * sizes[letter])
    done.set()
    reader.join()

    assert torn == []


RACER = """
import sys
from job.errors import PreconditionFailedError
from job.store import open_store
store, name = open_store(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
won = 0
for number in range(20):
    try:
        store.put_if_absent(f"key-{number}", name.encode())
        won += 1
    except PreconditionFailedError:
        pass
    while True:
        counter = store.get("counter")
        try:
            store.replace_if_match("counter", b"%d" % (int(counter.data) + 1), counter.etag)
            break
        except PreconditionFailedError:
            pass
print(won)
"""


def test_processes_exclude_each_other(local_store):
    """Of processes that create the same keys one wins each, and their compare-and-swaps lose no increment."""
    local_store.put("counter", b"0")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, local_store.url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    outputs = [racer.communicate(timeout=120)[0] for racer in racers]

    assert sum(int(output) for output in outputs) == 20
    assert local_store.get("counter").data == b"80"


@pytest.mark.parametrize("rival", ["put", "delete"])
def test_a_swap_never_undoes_a_write_that_it_did_not_see(local_store, rival):
    """Whichever comes first, a plain `put` or `delete` outlasts a conditional write of what was there before."""
    for _ in range(200):
        local_store.put("key", b"read")
        etag = local_store.get("key").etag
        barrier = threading.Barrier(2)

        def swap(barrier=barrier, etag=etag):
            barrier.wait()
            with suppress(PreconditionFailedError):
                local_store.replace_if_match("key", b"swapped", etag)

        swapper = threading.Thread(target=swap)
        swapper.start()
        barrier.wait()
        if rival == "put":
            local_store.put("key", b"put")
        else:
            local_store.delete("key")
        swapper.join()

        assert [local_store.get(entry.key).data for entry in local_store.list()] == ([b"put"] if rival == "put" else [])


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_a_file_cannot_be_the_root(tmp_path, root):
    """Where the root is a file, or lies below one, every method raises AccessError naming it."""
    (tmp_path / "file").write_bytes(b"")
    store = open_store(str(tmp_path / root))

    for action in (
        lambda: store.get("key"),
        lambda: store.get_file("key", tmp_path / "download"),
        lambda: store.stat("key"),
        lambda: store.put("key", b""),
        lambda: store.put_if_absent("key", b""),
        lambda: store.replace_if_match("key", b"", "etag"),
        store.list,
        lambda: store.delete("key"),
    ):
        with pytest.raises(AccessError, match=f"{tmp_path}/file is a file"):
            action()


def test_a_key_below_an_object_is_refused(local_store):
    """A directory cannot hold `a` and `a/b`: the second is a StoreError that says why, in either order."""
    local_store.put("a", b"")
    local_store.put("c/d", b"")

    with pytest.raises(StoreError, match="a folder on its way is a file"):
        local_store.put("a/b", b"")
    for write in (local_store.put, local_store.put_if_absent):
        with pytest.raises(AccessError, match="it is a folder"):
            write("c", b"")
    assert [entry.key for entry in local_store.list()] == ["a", "c/d"]


def test_missing_permission_is_an_access_error(local_store, tmp_path):
    """A directory that may not be written and a file that may not be read raise AccessError with the path."""
    local_store.put("key", b"secret")
    (tmp_path / "store" / "key").chmod(0)
    (tmp_path / "store").chmod(0o555)
    try:
        with without_root_rights():
            with pytest.raises(AccessError, match=r"cannot read .*/store/key: Permission denied"):
                local_store.get("key")
            with pytest.raises(AccessError, match=r"cannot write .*/store/new: Permission denied"):
                local_store.put("new", b"")
    finally:
        (tmp_path / "store").chmod(0o755)


def test_a_write_that_fails_half_way_leaves_nothing(local_store, tmp_path):
    """Where the system stops a write, the old object stays, no other file does, and StoreError says why."""
    local_store.put("key", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreError, match=r"cannot write .*/store/key: File too large"):
            local_store.put("key", b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert local_store.get("key").data == b"old"
    assert files_under(tmp_path / "store") == ["key"]


def test_a_full_disk_is_named(local_store, tmp_path, monkeypatch):
    """A disk that is full, as file systems that allocate late report it at the sync, is a clear StoreError."""

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="no space is left"):
            local_store.put("key", b"data")
    assert files_under(tmp_path) == []


def test_links_to_folders_are_followed_and_circles_end(local_store, tmp_path):
    """Runs that live on another disk behind a link are listed, and a link to a folder above adds nothing."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "key").write_bytes(b"12")
    local_store.put("folder/own", b"")
    (tmp_path / "store" / "folder" / "linked").symlink_to(elsewhere)
    (tmp_path / "store" / "folder" / "circle").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "broken").symlink_to(tmp_path / "nowhere")

    assert [entry.key for entry in local_store.list()] == ["folder/linked/key", "folder/own"]
    local_store.put("folder/linked/key", b"written through")
    assert (elsewhere / "key").read_bytes() == b"written through"


def test_the_remains_of_deleted_objects_can_be_removed(local_store, tmp_path):
    """Empty folders and unfinished files go; folders with objects stay, and so does what lies beside them."""
    for key in ("a/deleted/x", "a/b/kept", "beside/y"):
        local_store.put(key, b"x")
    local_store.delete("a/deleted/x")
    (tmp_path / "store/a/deleted/.tuning-job-1.tmp").write_bytes(b"half")
    (tmp_path / "store/beside/.tuning-job-2.tmp").write_bytes(b"half")
    for _ in range(2):
        local_store.remove_remains("a")
        assert files_under(tmp_path / "store") == ["a/b/kept", "beside/.tuning-job-2.tmp", "beside/y"]
        assert not (tmp_path / "store/a/deleted").exists()
    local_store.delete("a/b/kept")
    local_store.remove_remains("a")
    assert not (tmp_path / "store/a").exists()
    local_store.remove_remains("never/was")
    assert [entry.key for entry in local_store.list()] == ["beside/y"]
