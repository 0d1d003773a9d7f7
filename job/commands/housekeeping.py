"""`runs`, `verify` and `prune`: commands about runs that are there already.

What they do is in `job.housekeeping`, which is imported when one of them runs.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from job.commands.output import echo_json, show_tables
from job.errors import DataError
from job.redaction import redact_text
from job.spec.quantities import parse_duration

if TYPE_CHECKING:
    from job.store import ObjectStore

FormatOption = Annotated[Literal["text", "json"], typer.Option("--format", help="How to print.")]


def runs(
    url: Annotated[str, typer.Argument(help="An output, for the runs of all its names, or …/NAME.")],
    form: FormatOption = "text",
) -> None:
    """List runs, the newest first.

    The state is `running` (a live process renewed its lease within 30 s), `resumable` (unfinished, with no such
    process), `published`, `failed` (trying again cannot help) or `unreadable`.
    """
    from job.housekeeping.overview import read_overview  # noqa: PLC0415 - see the module's text
    from job.housekeeping.shown import overview_document, overview_table, overview_warnings  # noqa: PLC0415

    overview = read_overview(_open(url), now=datetime.now(UTC))
    if form == "json":
        echo_json(overview_document(overview))
        return
    show_tables([overview_table(overview)], fold=False)
    for warning in overview_warnings(overview):
        typer.echo(f"warning: {warning}", err=True)


def verify(
    url: Annotated[str, typer.Argument(help="A run (…/NAME/runs/ID), or …/NAME for its newest published run.")],
    form: FormatOption = "text",
) -> None:
    """Hash a published run anew and compare it with its manifest.

    Every artifact must exist with the size and SHA-256 that the manifest states, and latest.json must point to a run
    that has a manifest. Objects that the manifest does not name are noted. Ends with 12 where something is wrong, or
    where the run is not published.
    """
    from job.housekeeping import shown  # noqa: PLC0415 - see the module's text
    from job.housekeeping.verification import locate_run, verify_run  # noqa: PLC0415

    verification = verify_run(locate_run(_open(url)))
    if form == "json":
        echo_json(shown.verification_document(verification))
    else:
        table = shown.verification_table(verification)
        if table is not None:
            show_tables([table], fold=False)
        typer.echo(shown.verification_line(verification))
    if verification.problems:
        first = verification.problems[0]
        raise DataError(
            f"run {verification.run_id} is damaged: {first.key}: {first.text}"
            + (f" (and {len(verification.problems) - 1} more)" if len(verification.problems) > 1 else ""),
            advice="use an older run, or run the job again under a new run id",
        )


def prune(
    url: Annotated[str, typer.Argument(help="…/NAME: the runs of one name.")],
    keep: Annotated[int, typer.Option("--keep", min=1, metavar="N", help="How many published runs to keep at least.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="DURATION",
            help="Delete unfinished and failed runs whose last sign of life is older than this (7d, 12h), instead of "
            "those older than the published runs that are kept.",
        ),
    ] = None,
    form: FormatOption = "text",
) -> None:
    """Delete old runs of a name.

    Of the published runs the newest N stay. Unfinished and failed runs go once their last sign of life is older than
    the end of the oldest of those N. The run that latest.json points to, the champion, and a run that a live process
    holds are never deleted, nor are runs with objects that cannot be read, or of unknown age.

    A run's manifest is deleted first, so that no reader finds one of a half-deleted run. An interrupted prune can be
    repeated. In a bucket that keeps versions, older versions of the deleted objects stay.
    """
    from job.housekeeping import shown  # noqa: PLC0415 - see the module's text
    from job.housekeeping.pruning import carry_out, plan_pruning  # noqa: PLC0415

    store = _open(url)
    pruning = plan_pruning(store, keep=keep, now=datetime.now(UTC), older_than=_duration(older_than))
    if not dry_run:
        pruning = carry_out(store, pruning)
    if form == "json":
        echo_json(shown.pruning_document(pruning))
        return
    show_tables([shown.pruning_table(pruning)], fold=False)
    typer.echo(shown.pruning_line(pruning))


def _open(url: str) -> "ObjectStore":
    from job.store import open_store  # noqa: PLC0415 - see the module's text

    try:
        return open_store(url)
    except ValueError as error:
        raise typer.BadParameter(redact_text(str(error)), param_hint="URL") from error


def _duration(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from error
