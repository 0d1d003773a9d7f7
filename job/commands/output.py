"""How commands print: JSON for programs, drawn tables on terminals, aligned text elsewhere."""

import json
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job.plan import Table

_ANY_WIDTH = 10_000


def echo_json(document: object) -> None:
    """Print a document as indented JSON."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def show_tables(tables: "Sequence[Table]", *, fold: bool = True) -> None:
    """Print tables: drawn on a terminal, as aligned text elsewhere.

    Args:
        tables: what to print.
        fold: whether cells may be folded to fit a narrow terminal; otherwise a table that is too wide for it is aligned
            text there, too, so that ids can be copied whole.
    """
    from job.plan import tables_as_text  # noqa: PLC0415 - only commands with tables pay for it

    if not sys.stdout.isatty():
        typer.echo(tables_as_text(tables))
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals pay for rich
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    for table in tables:
        shown = RichTable(title=table.title, title_justify="left")
        for heading, is_number in zip(table.columns, table.numeric_columns, strict=True):
            shown.add_column(heading, justify="right" if is_number else "left", overflow="fold")
        for row in table.rows:
            # Text, because square brackets in a name are no markup.
            shown.add_row(*(Text(cell) for cell in row))
        # Measured without the terminal's width, to which rich would bound what it measures.
        wanted = console.measure(shown, options=console.options.update(max_width=_ANY_WIDTH)).maximum
        if fold or wanted <= console.width:
            console.print(shown)
        else:
            typer.echo(tables_as_text([table]))
