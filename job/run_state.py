"""What a run has pinned and recorded in the store: the state that a resumed run goes on from.

Everything here is written once. A run id that is used again finds what it wrote, or that it is not its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from job.errors import StateConflictError
from job.layout import INPUTS, SPEC, TRIALS_FOLDER, RunLayout, trial_record
from job.publish import Publication
from job.records import DataSummary, TrialRecord
from job.spec import JobSpec

# What of a record depends on who made it.
_CIRCUMSTANCES = {"seconds", "worker", "attempts", "token"}


@dataclass(frozen=True, slots=True)
class RunState:
    """One run's pins and records."""

    publication: Publication

    @property
    def _layout(self) -> RunLayout:
        return self.publication.layout

    def pin_spec(self, spec: JobSpec) -> None:
        """Write the resolved spec with its hash.

        Raises:
            StateConflictError: the run id belongs to another spec; the message names the fields that differ.
        """
        self._pin(SPEC, {"spec_hash": spec.hash(), **spec.document()}, decisive=("spec_hash",))

    def pin_inputs(self, data: DataSummary, versions: Mapping[str, str]) -> None:
        """Write down what the run starts from.

        Raises:
            StateConflictError: the run started from other data.
        """
        document = {"data": data.model_dump(mode="json"), "versions": dict(versions)}
        self._pin(INPUTS, document, decisive=("data",))

    def _pin(self, relative: str, document: dict[str, Any], *, decisive: tuple[str, ...]) -> None:
        data = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
        if self.publication.write_once(relative, data):
            return
        try:
            stored = json.loads(self.publication.read_own(relative))
        except ValueError:
            stored = None
        if not isinstance(stored, dict):
            stored = {}
        if all(stored.get(name) == document[name] for name in decisive):
            return
        differing = sorted(_differences(stored, document))
        raise StateConflictError(
            f"run {self._layout.run_id} exists already, with another {relative}: {', '.join(differing)} differ",
            advice="use another run id, or the spec and data that this run started with",
        )

    def trial_records(self) -> dict[str, TrialRecord]:
        """The trials that earlier starts of this run finished, by id.

        Raises:
            StateConflictError: an object under `trials/` is not a trial record.
        """
        prefix = self._layout.key(TRIALS_FOLDER)
        found: dict[str, TrialRecord] = {}
        for entry in self.publication.store.list(prefix):
            relative = entry.key.removeprefix(self._layout.prefix)
            try:
                record = TrialRecord.model_validate_json(self.publication.read_own(relative))
            except ValidationError as error:
                raise StateConflictError(
                    f"{relative} of run {self._layout.run_id} is no trial record: {error.errors()[0]['msg']}",
                    advice="delete it to have the trial run again, or use another run id",
                ) from None
            found[record.trial_id] = record
        return found

    def store_record(self, record: TrialRecord) -> None:
        """Keep a newly ended trial for good, with this holder's token.

        A record that is there already and says the same is no conflict: whoever wrote it had the run for a while.

        Raises:
            LockedError: another process has taken the run over.
            StateConflictError: the trial has another record already: another process works on this run.
        """
        relative = trial_record(record.trial_id)
        lease = self.publication.lease
        if lease is not None:
            record = record.model_copy(update={"token": lease.token})
        if not self.publication.write_once(relative, record.to_json()):
            if _same_answer(self.publication.read_own(relative), record):
                return
            if lease is not None:
                lease.confirm()
            raise StateConflictError(
                f"{relative} of run {self._layout.run_id} appeared meanwhile: another process works on this run",
                advice="give every job a run id of its own (JOB_RUN_ID)",
            )


def _same_answer(stored: bytes, record: TrialRecord) -> bool:
    """Whether a stored record says the same of its trial, whoever trained that, when and in how many attempts."""
    try:
        other = TrialRecord.model_validate_json(stored)
    except ValidationError:
        return False
    # As JSON, where NaN equals itself.
    return other.model_dump_json(exclude=_CIRCUMSTANCES) == record.model_dump_json(exclude=_CIRCUMSTANCES)


def _differences(stored: Mapping[str, Any], wanted: Mapping[str, Any], path: str = "") -> list[str]:
    """Dotted paths of the leaves that differ."""
    found: list[str] = []
    for name in sorted({*stored, *wanted}):
        one, other = stored.get(name), wanted.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += _differences(one, other, f"{path}{name}.")
        elif one != other and name != "spec_hash":
            found.append(f"{path}{name}")
    return found
