"""What every ObjectStore promises (job/store/protocol.py), checked on a directory and on real S3 servers."""

import hashlib
import random
import resource
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from unittest.mock import ANY

import pytest

from job.errors import ObjectNotFoundError, PreconditionFailedError, StoreError
from job.store import ListedObject, StoredFile

RACERS = 8

AWKWARD_KEYS = [
    "sp ace/two  spaces",
    "plus+plus",
    "per%41cent%",
    "query?x=1&y#fragment",
    "quotes'\"<>;",
    "colon:star*tilde~",
    ".hidden/..dots/...",
    "trailing.",
    "ünï/日本語/😀",
    "decomposed/e\u0301",
    "/".join(["deep"] * 40),
    "x" * 255,
]

BAD_KEYS = [
    "",
    "/absolute",
    "trailing/",
    "a//b",
    "..",
    "../outside",
    "a/../../outside",
    "a/./b",
    ".",
    "back\\slash",
    "new\nline",
    "nul\0",
    "lone\ud800surrogate",
    "a/.tuning-job-reserved",
    "x" * 256,
    "/".join(["x" * 200] * 6),
]


def keys(store, prefix=""):
    return [entry.key for entry in store.list(prefix)]


def race(action):
    """Call `action(i)` in RACERS threads at the same moment; the results, exceptions of lost races included."""
    barrier = Barrier(RACERS)

    def run(number):
        barrier.wait()
        try:
            return action(number)
        except PreconditionFailedError as error:
            return error

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(run, range(RACERS)))


@pytest.mark.parametrize("data", [b"", b"text", bytes(range(256)) * 500, b"\r\n\0\xff"], ids=len)
def test_get_returns_what_was_put(store, data):
    """Any bytes come back as they were written."""
    store.put("folder/object", data)

    assert store.get("folder/object").data == data


@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_awkward_keys_are_ordinary_keys(store, key):
    """Spaces, signs that URLs treat specially, Unicode and depth make no difference."""
    store.put(key, b"data")

    assert store.get(key).data == b"data"
    assert keys(store) == [key]
    assert store.stat(key).key == key
    store.delete(key)
    assert keys(store) == []


def test_put_replaces(store):
    """The last write is what a reader sees."""
    store.put("key", b"a much longer first version")
    store.put("key", b"second")

    assert store.get("key").data == b"second"
    assert list(store.list()) == [ListedObject("key", 6, ANY)]


@pytest.mark.parametrize("key", ["missing", "folder/missing", "folder", "folder/object/below"])
def test_what_is_not_there_is_not_found(store, tmp_path, key):
    """A missing object, and a folder of objects, raise ObjectNotFoundError naming the key."""
    store.put("folder/object", b"data")
    path = tmp_path / "download"

    with pytest.raises(ObjectNotFoundError, match=key):
        store.get(key)
    with pytest.raises(ObjectNotFoundError, match=key):
        store.get_file(key, path)
    assert store.stat(key) is None
    assert not path.exists()


def test_stat_tells_size_and_etag(store):
    """The size is the object's, and the etag is the one that `get` gives."""
    store.put("key", b"12345")

    info = store.stat("key")

    assert (info.key, info.size, info.etag) == ("key", 5, store.get("key").etag)


def test_another_content_has_another_etag(store):
    """A change of content changes the etag, even at the same size."""
    store.put("key", b"one")
    first = store.get("key").etag
    store.put("key", b"two")

    assert store.get("key").etag != first


def test_put_if_absent_writes_where_there_is_nothing(store):
    """The first conditional write is an ordinary one."""
    store.put_if_absent("folder/key", b"data")

    assert store.get("folder/key").data == b"data"


def test_put_if_absent_leaves_what_is_there(store):
    """A lost race raises PreconditionFailedError and changes nothing."""
    store.put("key", b"first")

    with pytest.raises(PreconditionFailedError, match="key exists already"):
        store.put_if_absent("key", b"second")
    assert store.get("key").data == b"first"


def test_a_deleted_object_is_absent(store):
    """After `delete`, `put_if_absent` succeeds again."""
    store.put_if_absent("key", b"first")
    store.delete("key")
    store.put_if_absent("key", b"second")

    assert store.get("key").data == b"second"


def test_one_of_racing_creators_wins(atomic_store):
    """Of threads that create the same key exactly one succeeds, and the object is its own, whole."""

    def create(number):
        atomic_store.put_if_absent("key", b"%d" % number * 100_000)
        return number

    results = race(create)

    winners = [result for result in results if isinstance(result, int)]
    assert len(winners) == 1
    assert atomic_store.get("key").data == b"%d" % winners[0] * 100_000
    assert keys(atomic_store) == ["key"]


def test_replace_if_match_replaces_what_was_read(store):
    """With the etag of the current content the write goes through, again and again."""
    store.put("key", b"0")
    for version in range(1, 4):
        store.replace_if_match("key", b"%d" % version, store.get("key").etag)

    assert store.get("key").data == b"3"


def test_replace_if_match_refuses_a_stale_etag(store):
    """An object that has changed since it was read is left alone."""
    store.put("key", b"first")
    stale = store.get("key").etag
    store.put("key", b"other")

    with pytest.raises(PreconditionFailedError, match="key has changed"):
        store.replace_if_match("key", b"mine", stale)
    assert store.get("key").data == b"other"


def test_replace_if_match_refuses_a_deleted_object(store):
    """An object that no longer exists counts as changed, and is not made anew."""
    store.put("key", b"first")
    etag = store.get("key").etag
    store.delete("key")

    with pytest.raises(PreconditionFailedError, match="key"):
        store.replace_if_match("key", b"mine", etag)
    assert keys(store) == []


def test_one_of_racing_replacers_wins(atomic_store):
    """Of threads that replace the same version exactly one succeeds."""
    atomic_store.put("key", b"start")
    etag = atomic_store.get("key").etag

    def replace(number):
        atomic_store.replace_if_match("key", b"%d" % number, etag)
        return number

    winners = [result for result in race(replace) if isinstance(result, int)]

    assert len(winners) == 1
    assert atomic_store.get("key").data == b"%d" % winners[0]


# Not where answers are lost: a swap that was carried out, and replaced before its author could look, counts as lost.
@pytest.mark.parametrize("atomic_store", ["local", "s3"], indirect=True)
def test_no_increment_is_lost(atomic_store):
    """Read, add one, compare and swap: threads that repeat it until they succeed lose no addition."""
    atomic_store.put("counter", b"0")

    def increment(_):
        while True:
            current = atomic_store.get("counter")
            try:
                return atomic_store.replace_if_match("counter", b"%d" % (int(current.data) + 1), current.etag)
            except PreconditionFailedError:
                continue

    race(increment)

    assert atomic_store.get("counter").data == b"%d" % RACERS


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["a-b/x", "a.b", "a/b/c", "a/bc", "a/d", "a0", "é"]),
        ("a", ["a-b/x", "a.b", "a/b/c", "a/bc", "a/d", "a0"]),
        ("a/", ["a/b/c", "a/bc", "a/d"]),
        ("a/b", ["a/b/c", "a/bc"]),
        ("a/b/", ["a/b/c"]),
        ("a/b/c", ["a/b/c"]),
        ("a/b/c/", []),
        ("z", []),
        ("some", []),
    ],
)
def test_list_takes_any_beginning_of_a_key(store, prefix, expected):
    """A prefix is a string that need not end where a folder does."""
    for key in ["é", "a0", "a/d", "a/bc", "a/b/c", "a.b", "a-b/x"]:
        store.put(key, b"123")

    found = sorted(store.list(prefix), key=lambda entry: entry.key)
    assert found == [ListedObject(key, 3, ANY) for key in sorted(expected)]


def test_list_of_a_new_store_is_empty(store):
    """Where nothing was written yet, nothing is listed."""
    assert keys(store) == []
    assert keys(store, "folder/") == []


@pytest.mark.parametrize(
    ("prefix", "expected"), [("", ["a", "b"]), ("a/", ["c", "d-e", "d.e"]), ("a/c/", []), ("nothing/", []), ("b/", [])]
)
def test_list_folders_names_one_level(store, prefix, expected):
    """Only what keys go on below is named, once each and sorted, and nothing of what is deeper down or beside it."""
    for key in ("a/d-e/x", "a/c/1", "a/c/2", "a/d.e/deep/er", "a/object", "b/object", "object"):
        store.put(key, b"123")
    assert list(store.list_folders(prefix)) == expected


@pytest.mark.parametrize("prefix", ["a", "/", "../", "a//"])
def test_list_folders_takes_whole_folders_only(store, prefix):
    """A prefix without a `/` at its end, or one that is no key's, is a ValueError at once."""
    with pytest.raises(ValueError, match=r"folder|cannot"):
        store.list_folders(prefix)


def test_list_goes_beyond_one_page(store):
    """All of more than a thousand objects are listed (S3 gives them a thousand at a time)."""
    expected = [f"many/{number:04}" for number in range(1100)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, b""), expected))

    assert keys(store, "many/") == expected


def test_delete_removes_one_object(store):
    """Only the named object goes; deleting it again, or what never was, is no error."""
    store.put("folder/a", b"")
    store.put("folder/ab", b"")
    for _ in range(2):
        store.delete("folder/a")
    store.delete("folder")
    store.delete("never/was")

    assert keys(store) == ["folder/ab"]


@pytest.mark.parametrize("size", [0, 1, 8 * 1024 * 1024, 20_000_001])
def test_files_go_up_and_come_down(store, tmp_path, size):
    """Files from none to several parts arrive whole, and both ways tell their true size and SHA-256."""
    content = random.Random(size).randbytes(size)  # noqa: S311 - test data
    source, download = tmp_path / "source", tmp_path / "download"
    source.write_bytes(content)
    expected = StoredFile(size, hashlib.sha256(content).hexdigest())

    assert store.put_file("folder/file", source) == expected
    assert store.get_file("folder/file", download) == expected
    assert download.read_bytes() == content
    assert store.get("folder/file").data == content
    assert store.stat("folder/file").size == size


def test_get_file_replaces_a_file_and_leaves_no_other(store, tmp_path):
    """A download takes the place of what had its name; a failed one leaves that as it was."""
    store.put("key", b"new")
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "file").write_bytes(b"old")

    with pytest.raises(ObjectNotFoundError):
        store.get_file("missing", folder / "file")
    assert (folder / "file").read_bytes() == b"old"
    store.get_file("key", folder / "file")
    assert (folder / "file").read_bytes() == b"new"
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.usefixtures("abandoned_connections")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("size", [1_000_000, 20_000_000])
def test_a_download_without_room_leaves_nothing(store, tmp_path, size):
    """Where the system stops the writing of a download, StoreError names the file, and none is left."""
    store.put("key", b"x" * size)
    folder = tmp_path / "downloads"
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreError, match=r"downloads/file.*: File too large"):
            store.get_file("key", folder / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(folder.iterdir()) == []


def test_a_missing_local_file_is_the_callers_mistake(store, tmp_path):
    """Uploading a file that is not there is a FileNotFoundError, not a failure of the store."""
    with pytest.raises(FileNotFoundError):
        store.put_file("key", tmp_path / "missing")
    assert keys(store) == []


@pytest.mark.parametrize("key", BAD_KEYS, ids=lambda key: ascii(key)[:24])
def test_bad_keys_are_refused(store, tmp_path, key):
    """What cannot be a key in every store is a ValueError in each, whatever is to be done with it."""
    source = tmp_path / "source"
    source.write_bytes(b"data")
    for action in (
        lambda: store.get(key),
        lambda: store.get_file(key, tmp_path / "download"),
        lambda: store.stat(key),
        lambda: store.put(key, b""),
        lambda: store.put_file(key, source),
        lambda: store.put_if_absent(key, b""),
        lambda: store.replace_if_match(key, b"", "etag"),
        lambda: store.delete(key),
    ):
        with pytest.raises(ValueError, match="cannot be an object's key"):
            action()


@pytest.mark.parametrize("prefix", ["/a", "../", "a//", "a/../b", "back\\slash", "nul\0"])
def test_bad_prefixes_are_refused(store, prefix):
    """A prefix that no key can begin with is a ValueError at once, not at the first iteration."""
    with pytest.raises(ValueError, match="cannot"):
        store.list(prefix)


def test_threads_may_share_a_store(store):
    """Many threads that use one store each get their own objects back."""

    def round_trip(number):
        store.put(f"folder{number % 5}/{number}", b"%d" % number * 1000)
        return store.get(f"folder{number % 5}/{number}").data

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(round_trip, range(100)))

    assert results == [b"%d" % number * 1000 for number in range(100)]
