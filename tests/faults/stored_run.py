"""What a run has left in a bucket, and whether two runs gave the same answer."""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

# What may differ between two runs of the same spec and seed.
_OF_THE_RUN = ("checksum", "seconds", "worker", "attempts", "token")


@dataclass(frozen=True)
class StoredRun:
    """All objects of one run, by key relative to it."""

    objects: dict[str, bytes]

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest; a KeyError where the run is not published."""
        return json.loads(self.objects["manifest.json"])

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """Trial records by id, without what is particular to the run."""
        found = {}
        for key, data in self.objects.items():
            if key.startswith("trials/"):
                record = {name: value for name, value in json.loads(data).items() if name not in _OF_THE_RUN}
                found[record["trial_id"]] = record
        return found

    def artifact(self, name: str) -> bytes:
        """An artifact that the manifest names, wherever this run's start has put it."""
        (key,) = (key for key in self.manifest["artifacts"] if key == name or key.endswith(f"/{name}"))
        return self.objects[key]

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The arrays of the published model, by path; the file itself embeds a date."""
        with zipfile.ZipFile(io.BytesIO(self.artifact("model/model.keras"))) as archive:
            content = io.BytesIO(archive.read("model.weights.h5"))
        arrays = {}
        with h5py.File(content) as file:
            file.visititems(
                lambda path, node: arrays.update({path: node[()]}) if isinstance(node, h5py.Dataset) else None
            )
        return arrays


def stored_run(s3: Any, bucket: str, prefix: str) -> StoredRun:
    """Read a run's objects; `prefix` ends with `/`."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return StoredRun({key.removeprefix(prefix): s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys})


def assert_complete(run: StoredRun) -> None:
    """There is one manifest, and every artifact that it names exists with the size and SHA-256 it states."""
    assert [key for key in run.objects if key.rpartition("/")[2] == "manifest.json"] == ["manifest.json"]
    artifacts = run.manifest["artifacts"]
    wrong = {
        name: stated
        for name, stated in artifacts.items()
        if name not in run.objects
        or (len(run.objects[name]), hashlib.sha256(run.objects[name]).hexdigest()) != (stated["size"], stated["sha256"])
    }
    assert not wrong, wrong
    assert "failure.json" not in run.objects
    assert run.artifact("model/model.keras")


def assert_same_answer(run: StoredRun, expected: StoredRun) -> None:
    """The same trial records, best hyperparameters, scores and weights, to the last bit."""
    assert run.records == expected.records
    for name in ("best_hyperparameters", "scores", "search", "data"):
        assert run.manifest[name] == expected.manifest[name], name
    weights, wanted = run.weights, expected.weights
    assert weights.keys() == wanted.keys()
    assert wanted
    different = [path for path in wanted if not np.array_equal(weights[path], wanted[path])]
    assert not different, different
