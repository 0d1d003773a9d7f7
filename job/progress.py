"""The live display on a terminal: trials done of planned, the best so far, the time left."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class SearchDisplay:
    """Shows a search on a console; without one (no terminal) every method does nothing.

    Args:
        console: the terminal's console, or None.
        planned_epochs: epochs that the schedule plans; the time left is told by them, for trials differ in length.
    """

    def __init__(self, console: "Console | None", *, planned_trials: int, planned_epochs: int) -> None:
        self._planned_trials = planned_trials
        self._done = 0
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if console is not None:
            from rich.progress import (  # noqa: PLC0415 - only terminals pay for rich
                BarColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
            from rich.progress import Progress as RichProgress  # noqa: PLC0415 - likewise

            self._progress = RichProgress(
                TextColumn("search"),
                BarColumn(),
                TextColumn("{task.fields[trials]} trials"),
                TextColumn("best {task.fields[best]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._progress.add_task("search", total=planned_epochs, trials=f"0/{planned_trials}", best="-")

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def trial_ended(self, *, epochs: int, best_score: float | None) -> None:
        """One more trial is done, of so many epochs; `best_score` is the best so far."""
        self._done += 1
        if self._progress is None or self._task is None:
            return
        self._progress.update(
            self._task,
            advance=epochs,
            trials=f"{self._done}/{self._planned_trials}",
            best="-" if best_score is None else f"{best_score:.4f}",
        )
