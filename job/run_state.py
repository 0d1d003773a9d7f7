"""What a run has pinned and recorded in the store: the state that a resumed run goes on from.

A run id that is used again finds what it wrote, or that it is not its own. Nothing that is found is believed because it
is there: what is torn or foreign is reported, and made anew.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from job.errors import LockedError, ObjectNotFoundError, PreconditionFailedError, StateConflictError
from job.layout import INPUT_OBJECTS, INPUTS, RECORD_FOLDERS, SPEC, RunLayout, trial_of_record, trial_record
from job.logs import get_logger
from job.pinned_inputs import as_stored, decisive_differences, differences, listed_apart, read_inputs, read_objects
from job.publish import Publication
from job.records import Inputs, TrialRecord, artifact_of
from job.sealing import BrokenRecordError, seal, unseal, unseal_own
from job.spec import JobSpec
from job.spec.stored import read_stored, to_store

T = TypeVar("T")

# What of a record depends on who made it.
_CIRCUMSTANCES = {"seconds", "worker", "attempts", "token"}
# Thousands of objects may differ.
_SHOWN_NAMES = 20
# A search may leave hundreds of records, and each read waits for the network.
_READERS = 8


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
        stored = self._pin(SPEC, to_store(spec), read_stored)
        if stored is not None and not stored.is_of(spec):
            was = stored.document if stored.spec is None else stored.spec.document()
            self._refuse(SPEC, differences(was, spec.document()))

    def pin_inputs(self, inputs: Inputs) -> None:
        """Write down what the run starts from.

        Another model of processor is only warned of: what decides is its instruction set, which its name does not tell.

        Raises:
            StateConflictError: the run started from other data, on another kind of device, or with a version of a
                package that its numbers depend on; the message names what differs. Or what it has recorded is of
                another run, as far as can be told.
        """
        self.publication.provenance = inputs.provenance
        inputs, listed = listed_apart(inputs)
        document = inputs.model_dump(mode="json")
        stored = self._pin(INPUTS, document, read_inputs)
        if inputs.listing is not None:
            # After what names it: until it is there, the next start reads all that it finds.
            self._pin(INPUT_OBJECTS, listed, read_objects)
        self._require_own_records()
        if stored is None:
            return
        names = decisive_differences(stored, document)
        if names:
            self._refuse(INPUTS, names)
        engine = stored.get("engine")
        was = engine.get("cpu") if isinstance(engine, Mapping) else None
        if was is not None and was != inputs.engine.cpu:
            get_logger().warning(
                "another processor than at the run's start: last bits may differ", was=was, now=inputs.engine.cpu
            )

    def _require_own_records(self) -> None:
        """Refuse a run with records whose pin is gone or was damaged, unless they say themselves what they are of.

        What this start has written in the place of these pins goes again: the next start is to find what this one did.
        """
        new, provenance = self.publication.new_pins, self.publication.provenance
        if not new or all(
            record.provenance is not None and record.provenance == provenance for _, record in self._records(own=False)
        ):
            return
        for relative in new:
            self.publication.store.delete(self._layout.key(relative))
        raise StateConflictError(
            f"run {self._layout.run_id} has trial records, but its {' and '.join(sorted(new))} "
            f"{'is' if len(new) == 1 else 'are'} gone or damaged: nothing tells that they are of this spec and data",
            advice="use another run id; or put back what the run had",
        )

    def pinned_inputs(self) -> Inputs | None:
        """What the run started from; None if it has not, or what it wrote cannot be read."""
        try:
            inputs = Inputs.model_validate_json(self.publication.store.get(self._layout.key(INPUTS)).data)
        except (ObjectNotFoundError, ValueError, RecursionError):
            return None
        if inputs.listing is None:
            return inputs
        try:
            data = self.publication.store.get(self._layout.key(INPUT_OBJECTS)).data
        except ObjectNotFoundError:
            data = b""
        listed = read_objects(data) if artifact_of(data) == inputs.listing else None
        if listed is None:
            # The data's fingerprint tells whether they are the same all the same.
            get_logger().warning("list of the data's objects gone or damaged; all that are there now are read")
        return inputs.model_copy(update={"objects": {**inputs.objects, **(listed or {})}})

    def _pin(self, relative: str, document: dict[str, Any], read: Callable[[bytes], T | None]) -> T | None:
        """Write a document once.

        Returns:
            What is there; None where it is what this start has written. What cannot be read is replaced.
        """
        data = as_stored(document)
        if self.publication.write_once(relative, data):
            self.publication.new_pins.add(relative)
            return None
        there = self.publication.read_own(relative)
        stored = read(there)
        if stored is None and there != data:
            get_logger().warning("damaged object replaced", key=self.publication.url(relative))
            self.publication.write(relative, data)
            self.publication.new_pins.add(relative)
        return stored

    def _refuse(self, relative: str, names: Iterable[str]) -> NoReturn:
        differing = sorted(names)
        shown = differing[:_SHOWN_NAMES] + ["…"] * (len(differing) > _SHOWN_NAMES)
        raise StateConflictError(
            f"run {self._layout.run_id} exists already, with another {relative}: {', '.join(shown)} differ",
            advice="use another run id, or the spec, data and versions that this run started with",
        )

    def trial_records(self) -> dict[str, TrialRecord]:
        """The trials that earlier starts of this run finished, by id; variations of the best among them.

        What is torn, tampered with or of another run is warned of, and not among them: the trial is done again.
        """
        found: dict[str, TrialRecord] = {}
        for (relative, data), record in self._records(own=True):
            self.publication.count(relative, data)
            found[record.trial_id] = record
        return found

    def _records(self, *, own: bool) -> Iterator[tuple[tuple[str, bytes], TrialRecord]]:
        """Every record that can be read, with its name and its object; of this run alone, or whosever it is."""
        store = self.publication.store
        keys = [entry.key for folder in RECORD_FOLDERS for entry in store.list(self._layout.key(folder))]
        with ThreadPoolExecutor(_READERS) as readers:
            contents = list(readers.map(lambda key: store.get(key).data, keys))
        for key, data in zip(keys, contents, strict=True):
            relative = key.removeprefix(self._layout.prefix)
            try:
                trial_id, provenance = trial_of_record(relative), self.publication.provenance
                record = unseal_own(data, trial_id, provenance) if own else unseal(data, trial_id)
            except BrokenRecordError as error:
                get_logger().warning(
                    "trial record not used, its trial runs again", key=self.publication.url(relative), reason=str(error)
                )
                continue
            yield (relative, data), record

    def store_record(self, record: TrialRecord) -> None:
        """Keep a newly ended trial for good; may be called again after a failure that left open what was written.

        A record that is there already and says the same stands: whoever wrote it had the run for a while. A damaged
        object in its place is replaced, and so is another answer of a holder of the run's lease that has lost it since:
        the search goes by the record given here.

        Raises:
            LockedError: another process has taken the run over.
            StateConflictError: another process works on the run all the same.
        """
        relative = trial_record(record.trial_id)
        data = seal(record)
        while not self.publication.write_once(relative, data):
            key = self._layout.key(relative)
            try:
                there = self.publication.store.get(key)
                if there.data == data or _is_same_answer(there.data, record):
                    self.publication.count(relative, there.data)
                    return
                self._require_replaceable(there.data, record)
                self.publication.store.replace_if_match(key, data, there.etag)
            except (ObjectNotFoundError, PreconditionFailedError):
                # Somebody was faster: look again.
                continue
            self.publication.count(relative, data)
            return

    def as_own(self, record: TrialRecord) -> TrialRecord:
        """Return a record as this holder of the run's lease stores it."""
        lease = self.publication.lease
        token = record.token if lease is None else lease.token
        return record.model_copy(update={"token": token, "provenance": self.publication.provenance})

    def _require_replaceable(self, data: bytes, record: TrialRecord) -> None:
        relative = trial_record(record.trial_id)
        try:
            other = unseal_own(data, record.trial_id, record.provenance)
        except BrokenRecordError as error:
            get_logger().warning("damaged object replaced", key=self.publication.url(relative), reason=str(error))
            return
        if other.token > record.token:
            raise LockedError(
                f"another process has taken run {self._layout.run_id} over and recorded {relative}",
                advice="it goes on with the run; nothing is lost",
            )
        if self.publication.lease is not None:
            self.publication.lease.confirm()
        if other.token == record.token:
            raise StateConflictError(
                f"{relative} of run {self._layout.run_id} appeared meanwhile: another process works on this run",
                advice="give every job a run id of its own (JOB_RUN_ID)",
            )


def _is_same_answer(stored: bytes, record: TrialRecord) -> bool:
    """Whether a stored record says the same of its trial, whoever trained that, when and in how many attempts."""
    try:
        other = unseal(stored, record.trial_id)
    except BrokenRecordError:
        return False
    # As JSON, where NaN equals itself.
    return other.model_dump_json(exclude=_CIRCUMSTANCES) == record.model_dump_json(exclude=_CIRCUMSTANCES)
