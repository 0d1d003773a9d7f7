"""Runs in a store, made by the pieces that make them in a job."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from job.cli import main
from job.layout import CHAMPION, LEASE, MODEL_KERAS, RunLayout, log_segment
from job.publish import Publication, write_failure
from job.records import (
    DataSummary,
    Execution,
    Failure,
    Lease,
    Lineage,
    Manifest,
    PublishedModel,
    Scores,
    SearchTotals,
    Signature,
    SplitSummary,
    TrialRecord,
)
from job.run_state import RunState
from job.spec import JobSpec
from job.spec.validation import validate_document
from job.store import ObjectStore, open_store

START = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Runs:
    """Makes runs of one name; `minutes` are counted from START."""

    store: ObjectStore
    name: str = "nightly"

    def at(self, minutes: float) -> datetime:
        return START + timedelta(minutes=minutes)

    def open(self, run_id: str) -> Publication:
        return Publication(self.store, RunLayout(self.name, run_id))

    @property
    def url(self) -> str:
        return f"{self.store.url}/{self.name}"

    @property
    def named(self) -> ObjectStore:
        """The name's own folder as a store."""
        return open_store(self.url)

    def start(self, run_id: str, minutes: float, *, scores=(0.5, 0.9), objective="val_accuracy") -> Publication:
        """A run's first objects: spec, a log segment, trial records; a score of None is a failed trial's."""
        publication = self.open(run_id)
        state = RunState(publication)
        state.pin_spec(validate_document(JobSpec().document() | {"search": {"objective": objective}}))
        publication.write(log_segment(f"{self.at(minutes):%Y%m%dT%H%M%S%f}Z", 0), b'{"event": "run started"}\n')
        for index, score in enumerate(scores):
            state.store_record(trial(index, score))
        return publication

    def publish(self, run_id: str, minutes: float, **fields) -> Publication:
        """A run that started a minute before it was published."""
        publication = self.start(run_id, minutes - 1, **fields)
        publication.write(MODEL_KERAS, run_id.encode() * 1000)
        publication.write_json("best_hyperparameters.json", {"units": 32})
        publication.write_json("metrics.json", {"loss": 0.2})
        publication.finish(self.manifest(publication, minutes))
        return publication

    def manifest(self, publication: Publication, minutes: float, test_loss: float = 0.2) -> Manifest:
        return Manifest(
            name=self.name,
            run_id=publication.layout.run_id,
            spec={},
            spec_hash="0" * 64,
            data=DataSummary(source="digits", fingerprint="f", rows=10, splits={"test": SplitSummary(rows=1)}),
            model=PublishedModel(origin="search", trained_on="train", seed=1, epochs=2, validation_score=None),
            best_hyperparameters={"units": 32},
            scores=Scores(validation={"val_loss": 0.1, "val_accuracy": 0.9}, test={"loss": test_loss}),
            search=SearchTotals(
                algorithm="hyperband",
                objective="val_accuracy",
                direction="max",
                planned_trials=2,
                planned_epochs=4,
                trials=2,
                failed_trials=0,
                epochs=4,
            ),
            signature=Signature(inputs=(), outputs=(), class_names=None, output_kind="logits"),
            lineage=Lineage(versions={}, git_commit=None, image_digest=None, host="h", cpu=None, device="cpu", seed=0),
            started_at=self.at(minutes - 1),
            ended_at=self.at(minutes),
            seconds={"total": 60.0},
            artifacts=dict(publication.artifacts),
        )

    def fail(self, publication: Publication, minutes: float, *, permanent: bool = True) -> None:
        failure = Failure(
            name=self.name,
            run_id=publication.layout.run_id,
            exit_code=12 if permanent else 1,
            error="DataError",
            reason="broken",
            advice=None,
            permanent=permanent,
            failed_at=self.at(minutes),
        )
        write_failure(self.store, publication.layout, failure)

    def hold(self, publication: Publication, renewed_at: datetime, *, state="held", beat: int = 1) -> None:
        lease = Lease(
            token=1,
            holder="host-1-2",
            state=state,
            beat=beat,
            renewed_at=renewed_at,
            elapsed_seconds=1.0,
            memory_bytes=1,
            memory_limit=2,
        )
        self.store.put(publication.layout.key(LEASE), lease.to_json())

    def crown(self, run_id: str) -> None:
        self.store.put(f"{self.name}/{CHAMPION}", f'{{"run_id": "{run_id}", "scores": {{}}}}'.encode())

    def keys(self, run_id: str) -> list[str]:
        """Keys relative to the run, as they are now."""
        prefix = RunLayout(self.name, run_id).prefix
        return [entry.key.removeprefix(prefix) for entry in self.store.list(prefix)]


def trial(index: int, score: float | None) -> TrialRecord:
    return TrialRecord(
        trial_id=f"h0-b0-i{index:03d}-r0",
        hyperparameters={"units": 32},
        iteration=0,
        bracket=0,
        index=index,
        rung=0,
        parent=None,
        from_epoch=0,
        to_epoch=2,
        status="failed" if score is None else "completed",
        score=score,
        best_epoch=None if score is None else 1,
        executions=(Execution(epochs=()),),
        seconds=1.0,
        worker="w",
    )


@pytest.fixture
def runs(tmp_path):
    """Runs of the name `nightly` in a directory."""
    return Runs(open_store(str(tmp_path / "output")))


@pytest.fixture
def s3_runs(bucket):
    """Runs of the name `nightly` in a bucket."""
    return Runs(open_store(f"s3://{bucket}/tuning"))


@pytest.fixture
def run_cli(capsys):
    """Run a command line; returns its exit code, standard output and standard error."""

    def run(*args):
        code = main(args, {})
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
