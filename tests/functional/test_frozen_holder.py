"""A holder that is frozen at a request, while another one takes over and publishes, changes nothing when it wakes.

`make test-freeze` stops it at every place; the suite at a few.
"""

import json
import os
import re
import signal
import threading
from dataclasses import dataclass, field

from faults.proxy import faulty_network
from faults.run_process import RunProcess
from faults.stored_run import assert_complete, stored_run

from job.cli import main

PREFIX = "tuning/frozen/runs/one/"
LATEST = "tuning/frozen/latest.json"
# Method, what the key ends with, and which of these requests it is.
PLACES = [
    ("PUT", r"model/model\.keras", 1),
    ("PUT", r"checkpoints/[^/]*\.best\.npz", 2),
    ("PUT", r"trials/[^/]*\.json", 2),
    ("PUT", r"summary\.md", 1),
    ("PUT", r"manifest\.json", 1),
    ("PUT", r"inputs\.json", 1),
    ("PUT", r"lease\.json", 3),
    ("PUT", r"attempts/[^/]*\.json", 1),
    ("DELETE", r"attempts/[^/]*\.json", 1),
    ("PUT", r"trials/[^/]*\.json", 1),
    ("PUT", r"checkpoints/[^/]*\.last\.npz", 1),
    ("PUT", r"metrics\.json", 1),
    ("PUT", r"best_hyperparameters\.json", 1),
    ("PUT", r"trials\.jsonl", 1),
    ("PUT", r"logs/job-[^/]*\.jsonl", 2),
    ("PUT", r"latest\.json", 1),
    ("DELETE", r"checkpoints/[^/]*\.npz", 1),
]


def places(config):
    """Each place twice: with the request carried out before the freeze, and held up until the holder wakes."""
    cases = [(*place, held) for place in PLACES for held in (True, False)]
    asked = config.getoption("--freezes")
    return cases if asked == 0 else cases[:asked]


def pytest_generate_tests(metafunc):
    if "held" in metafunc.fixturenames:
        cases = places(metafunc.config)
        ids = [f"{method} {key} {number} {'held' if held else 'done'}" for method, key, number, held in cases]
        metafunc.parametrize(("method", "key", "number", "held"), cases, ids=ids)


@dataclass
class Freezer:
    """Stops a process at its n-th request of a kind; a request that is held goes on when the process does."""

    method: str
    key: re.Pattern
    number: int
    held: bool
    process: RunProcess | None = None
    seen: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    woken: threading.Event = field(default_factory=threading.Event)
    counting: threading.Lock = field(default_factory=threading.Lock)

    def before(self, method, path):
        """See FaultyNetwork."""
        if method == self.method and self.key.search(path.partition("?")[0]):
            with self.counting:
                self.seen += 1
                is_it = self.seen == self.number
            if is_it:
                os.killpg(self.process.pid, signal.SIGSTOP)
                self.stopped.set()
                if self.held:
                    self.woken.wait(120)


SPEC = {
    "name": "frozen",
    "data": {"source": "digits"},
    "space": {"units": [16, 32]},
    "search": {"algorithm": "random", "max_trials": 2, "max_epochs": 2},
    "logs": {"upload_interval": "1s"},
    "resources": {"executor": "inline"},
}


def test_the_published_run_stays_as_it_is(
    method, key, number, held, s3_admin, s3_server, bucket, s3_environment, clean_environment
):
    """One publication, not a byte of it changed, nothing left over, and `verify` is clean."""
    spec = json.dumps(SPEC | {"output": f"s3://{bucket}/tuning"})
    environment = clean_environment | s3_environment | {"JOB_SPEC": spec, "JOB_RUN_ID": "one"}
    freezer = Freezer(method, re.compile(rf"/{key}$"), number, held)
    with faulty_network(s3_server.endpoint) as network:
        network.before = freezer.before
        with RunProcess(environment | {"AWS_ENDPOINT_URL_S3": network.endpoint}) as holder:
            freezer.process = holder
            assert freezer.stopped.wait(300), holder.story()
            with RunProcess(environment) as successor:
                assert successor.finish() == 0, successor.story()
            published = stored_run(s3_admin, bucket, PREFIX)
            newest = s3_admin.get_object(Bucket=bucket, Key=LATEST)["Body"].read()
            freezer.woken.set()
            os.killpg(holder.pid, signal.SIGCONT)
            assert holder.finish() in {0, 75}, holder.story()
    after = stored_run(s3_admin, bucket, PREFIX)
    assert_complete(after)
    changed = {key for key in published.objects if after.objects.get(key) != published.objects[key]}
    # A holder that had published before it was frozen gives its lease back.
    assert changed - {"lease.json"} == set()
    # What the holder has to say of its end is in a segment of its own.
    new = {key for key in after.objects.keys() - published.objects.keys() if not key.startswith("logs/job-")}
    assert new == set()
    assert s3_admin.get_object(Bucket=bucket, Key=LATEST)["Body"].read() == newest
    assert not [key for key in after.objects if key.startswith(("checkpoints/", "attempts/"))]
    assert main(["verify", f"s3://{bucket}/tuning/frozen/runs/one"], {}) == 0
