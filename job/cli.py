"""The command line: commands, and the one place that turns errors into messages and exit codes.

Nothing here may import TensorFlow, boto3 or NumPy: `--help`, `validate`, `plan` and `schema` answer at once.
What only one command needs is imported in it.
"""

import errno
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from job.commands import housekeeping
from job.commands.output import echo_json, show_tables
from job.errors import EXIT_UNFORESEEN, EXIT_USAGE, JobError, SpecError, StoreError
from job.redaction import learn_secrets, redact_text
from job.resolve import require_access, resolve_run_id, resolve_spec
from job.settings import Settings, read_settings
from job.signals import StoppedError, received, signals_as_errors
from job.spec.overrides import Override, parse_assignment
from job.termination import Ending, MisusedError, termination_message, write_message
from job.version import VERSION

PROGRAM = "tuning-job"

app = typer.Typer(
    add_completion=False,
    # Plain help: rich would take longer to import than the command takes to answer.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

# What a stream answers with whose reader is gone or whose disk is full.
_UNWRITABLE = frozenset({errno.EPIPE, errno.ENOSPC, errno.EIO})

SpecOption = Annotated[
    str | None,
    typer.Option(
        "--spec",
        metavar="S",
        help="The job spec: a path, an s3:// URL, - for standard input, or the document itself (YAML, JSON or TOML). "
        "Default: $JOB_SPEC, or all defaults.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Set one field of the spec: search.max_epochs=27. Repeatable."),
]
RunIdOption = Annotated[
    str | None,
    typer.Option(
        "--run-id",
        metavar="ID",
        help="The run to make or to go on with. Default: $JOB_RUN_ID, or the newest unfinished one, or a new one.",
    ),
]


def main(args: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command line to its end.

    Args:
        args: without the program's name; a missing command means `run`.
        environ: what the job reads of the environment; boto3 and TensorFlow read the process's own.

    Returns:
        The exit code; see `job.errors`.
    """
    learn_secrets(environ)
    command = typer.main.get_command(app)
    try:
        command.main(args=_with_command(args), prog_name=PROGRAM, obj=environ)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if code == EXIT_USAGE:
            misused = MisusedError("the command line is wrong; standard error says in which way")
            write_message(read_settings(environ).termination_log, Ending(), misused)
        return code
    except JobError as error:
        typer.echo(failure_text(error), err=True)
        return error.exit_code
    except StoppedError:
        # It came where no block of a run was open: nothing had begun, or all was done.
        asked = received()
        return EXIT_UNFORESEEN if asked is None else asked.exit_code
    except Exception as error:  # noqa: BLE001 - the last stop: whatever was not foreseen ends with 1 and its traceback
        return _unforeseen(error, _with_command(args)[0])
    return 0


def _unforeseen(error: Exception, command: str) -> int:
    # A run has other pipes than its output, and goes on without that.
    if command != "run" and isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
        typer.echo(f"{PROGRAM}: standard output cannot be written: {error.strerror}", err=True)
        return StoreError.exit_code
    typer.echo(redact_text(traceback.format_exc()), err=True, nl=False)
    typer.echo(f"{PROGRAM}: an unforeseen error; exit code {EXIT_UNFORESEEN}. Please report it.", err=True)
    return EXIT_UNFORESEEN


def _with_command(args: Sequence[str]) -> list[str]:
    """`run` is what a container does that is started without a command."""
    if args and (not args[0].startswith("-") or args[0] in {"--help", "-h", "--version"}):
        return list(args)
    return ["run", *args]


def failure_text(error: JobError) -> str:
    """What a user reads of an error: what is wrong, what to do, and what the exit code means."""
    if isinstance(error, SpecError):
        lines = ["the job spec is wrong:", *(f"  {problem}" for problem in error.problems)]
    else:
        lines = [error.message]
    if error.advice is not None:
        lines.append(f"What can be done: {error.advice}")
    again = "trying again will not help" if error.permanent else "the same command may succeed later"
    lines.append(f"Exit code {error.exit_code}: {error.meaning}; {again}.")
    return f"{PROGRAM}: {redact_text(chr(10).join(lines))}"


@app.callback(invoke_without_command=True)
def _program(
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Tune a Keras model on a schedule, unattended: a job spec in, a published model out.

    Without a command, `run` is meant.
    """
    if version:
        typer.echo(f"{PROGRAM} {VERSION}")
        raise typer.Exit


@app.command()
def run(
    ctx: typer.Context,
    spec: SpecOption = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="URL", help="Where to publish; the same as --set output=URL.")
    ] = None,
    run_id: RunIdOption = None,
    assignments: SetOption = None,
) -> None:
    """Run the job: search, retrain, evaluate, publish."""
    settings = _settings(ctx)
    ending = Ending()
    # As PID 1 of a container this process would not hear signals.
    with termination_message(settings.termination_log, ending), signals_as_errors():
        try:
            overrides = _overrides(assignments)
            if output is not None:
                overrides.append(Override("--output", ("output",), output))
            resolved = resolve_spec(settings, spec=spec, overrides=overrides)
            chosen_id = resolve_run_id(settings, run_id)
        except JobError as error:
            _log_failure(error)
            raise
        from job.pipeline import run_job  # noqa: PLC0415 - see the module's text

        run_job(resolved, settings, chosen_id, ending)


@app.command()
def validate(
    ctx: typer.Context,
    spec: SpecOption = None,
    assignments: SetOption = None,
    *,
    check_access: Annotated[
        bool, typer.Option("--check-access", help="Also prove that inputs can be read and the output written.")
    ] = False,
    form: Annotated[Literal["yaml", "json"], typer.Option("--format", help="How to print the resolved spec.")] = "yaml",
) -> None:
    """Show the resolved spec, or all that is wrong with it."""
    resolved = resolve_spec(_settings(ctx), spec=spec, overrides=_overrides(assignments))
    if check_access:
        require_access(resolved)
    document = resolved.document()
    document["space"] = {name: _without_nulls(entry) for name, entry in document["space"].items()}
    if form == "json":
        echo_json(document)
    else:
        from job.spec.yaml12 import dump_yaml  # noqa: PLC0415 - see the module's text

        typer.echo(dump_yaml(document), nl=False)


@app.command()
def plan(
    ctx: typer.Context,
    spec: SpecOption = None,
    assignments: SetOption = None,
    run_id: RunIdOption = None,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="How to print the plan.")] = "text",
) -> None:
    """Show what a run would do, without doing it.

    Rungs, trials and epochs, the search space, and what would be written where.
    """
    from job.plan import make_plan, plan_document, plan_tables  # noqa: PLC0415 - see the module's text

    settings = _settings(ctx)
    # A plan may be made on another machine than the one that has the data.
    resolved = resolve_spec(settings, spec=spec, overrides=_overrides(assignments), with_local_files=False)
    made = make_plan(resolved, resolve_run_id(settings, run_id))
    if form == "json":
        echo_json(plan_document(made))
    else:
        show_tables(plan_tables(made))
    for warning in made.warnings:
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the spec."""
    from job.spec.schema import spec_schema  # noqa: PLC0415 - see the module's text

    echo_json(spec_schema())


@app.command()
def version() -> None:
    """Show this version, and those of what it builds on."""
    from importlib.metadata import PackageNotFoundError  # noqa: PLC0415 - see the module's text
    from importlib.metadata import version as version_of  # noqa: PLC0415

    typer.echo(f"{PROGRAM} {VERSION}")
    typer.echo(f"python {sys.version.split()[0]}")
    for package in ("tensorflow", "tensorflow-cpu", "keras", "keras-tuner", "boto3"):
        try:
            typer.echo(f"{package} {version_of(package)}")
        except PackageNotFoundError:
            continue


@app.command()
def results(
    url: Annotated[str, typer.Argument(help="A run (…/NAME/runs/ID), or …/NAME for its newest published run.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many trials to show.")] = 10,
) -> None:
    """Show a run's best trials, and its scores.

    Works while the run goes on, too, and after a failure.
    """
    from rich.console import Console  # noqa: PLC0415 - see the module's text

    from job.report.results import print_results, read_results  # noqa: PLC0415

    try:
        found = read_results(url)
    except ValueError as error:
        raise typer.BadParameter(redact_text(str(error))) from error
    # Without a terminal rich would fold the table to 80 columns.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    print_results(found, console, limit=limit)


app.command()(housekeeping.runs)
app.command()(housekeeping.verify)
app.command()(housekeeping.prune)


def _settings(ctx: typer.Context) -> Settings:
    settings = read_settings(ctx.obj)
    for warning in settings.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return settings


def _overrides(assignments: Sequence[str] | None) -> list[Override]:
    try:
        return [parse_assignment(text) for text in assignments or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error


def _log_failure(error: JobError) -> None:
    """Whoever collects a job's standard output finds there why it did not even start."""
    if sys.stdout.isatty():
        return
    from job.logs import configure, log_failure  # noqa: PLC0415 - see the module's text

    configure("info")
    log_failure(error)


def _without_nulls(entry: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in entry.items() if value is not None}
