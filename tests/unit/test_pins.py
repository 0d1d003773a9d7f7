"""Which version of an object is read, and that what is noted of it is what was read."""

import pytest

from job.data.pins import ObjectPins
from job.errors import ObjectNotFoundError, StoreError
from job.records import SourceObject
from job.store import ListedObject, LocalStore

FIELD = "source/a.png"


class Replaced(LocalStore):
    """A directory whose object is replaced, so many times, right before it is read; it counts what it is asked."""

    def __init__(self, root, times=0):
        super().__init__(root)
        self.times = times
        self.asked = []

    def get(self, key):
        self.asked.append("get")
        self._replace(key)
        return super().get(key)

    def get_file(self, key, path, *, version=None):
        self._replace(key)
        return super().get_file(key, path, version=version)

    def stat(self, key):
        self.asked.append("stat")
        return super().stat(key)

    def _replace(self, key):
        if self.times:
            self.times -= 1
            self.put(key, f"version {self.times} to come".encode())


class OtherEtags(Replaced):
    """A server whose listing has other etags than its objects."""

    def list(self, prefix=""):
        for entry in super().list(prefix):
            yield ListedObject(entry.key, entry.size, entry.modified, "listed")


@pytest.fixture
def fetched(tmp_path):
    def fetch(store, *, is_listed, pins=None):
        pins = pins or ObjectPins()
        listed = next(entry for entry in store.list() if entry.key == "a.png") if is_listed else None
        if listed is not None and listed.etag is None:
            listed = ListedObject(listed.key, listed.size, listed.modified, LocalStore.stat(store, "a.png").etag)
        pins.fetch(FIELD, "s3://b/a.png", store, "a.png", tmp_path / "copy", listed=listed)
        return (tmp_path / "copy").read_bytes(), pins.read[FIELD]

    return fetch


@pytest.fixture
def store(tmp_path):
    LocalStore(tmp_path / "store").put("a.png", b"first")
    return Replaced(tmp_path / "store")


@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "alone"])
def test_what_is_noted_is_what_was_read(store, fetched, is_listed):
    """Size and etag of an object, whichever way it was found."""
    data, noted = fetched(store, is_listed=is_listed)
    assert data == b"first"
    assert noted == SourceObject(location="s3://b/a.png", size=5, etag=LocalStore.stat(store, "a.png").etag)


def test_a_small_listed_object_is_one_request(store, fetched):
    """Of a hundred thousand images most of the time goes into requests."""
    fetched(store, is_listed=True)
    assert store.asked == ["get"]


def test_an_object_replaced_since_it_was_listed_is_refused(store, fetched):
    """The others of its prefix may be old or new ones: what would be trained on, nobody could tell."""
    store.times = 1
    with pytest.raises(StoreError, match="was replaced while the data was read"):
        fetched(store, is_listed=True)


def test_an_object_replaced_while_it_is_read_is_read_again(store, fetched):
    """Alone it is what it is by now: what is noted is what was read."""
    store.times = 1
    data, noted = fetched(store, is_listed=False)
    assert data == b"version 0 to come"
    assert noted.etag == LocalStore.stat(store, "a.png").etag


def test_an_object_replaced_again_and_again_is_refused(store, fetched):
    """A transient failure: the same command may succeed once it is all there."""
    store.times = 10
    with pytest.raises(StoreError, match="was replaced") as caught:
        fetched(store, is_listed=False)
    assert caught.value.exit_code == 20


def test_a_listing_may_have_etags_of_its_own(store, tmp_path, fetched):  # noqa: ARG001 - it makes the object
    """Only a listing that has changed says that an object was replaced."""
    data, _ = fetched(OtherEtags(tmp_path / "store"), is_listed=True)
    assert data == b"first"


def test_an_object_that_is_gone_is_not_there(store, fetched):
    """Deleted, not replaced: the error says so."""
    store.delete("a.png")
    with pytest.raises(ObjectNotFoundError):
        fetched(store, is_listed=False)
