"""What every verb prints with: results on stdout, steps and progress on stderr, JSON when asked for it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["JsonOption", "Step", "as_json", "err", "out", "print_json", "step", "table"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]

_PIPED_WIDTH = 120


def _console(stream: TextIO, *, stderr: bool) -> Console:
    wide = None if stream.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Console(stderr=stderr, highlight=False, width=wide)


out = _console(sys.stdout, stderr=False)
err = _console(sys.stderr, stderr=True)


class Step:
    """A step under way: call it with what is done, and say in `note` what came of it.

    >>> quiet = Step()
    >>> quiet(3, 10)
    >>> quiet.note = "3,000 people"
    """

    def __init__(self, progress: Progress | None = None, task: TaskID | None = None) -> None:
        self.note = ""
        self._progress, self._task = progress, task

    def __call__(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """`done` of `total` (if known) is finished; shown on a terminal only."""
        if note is not None:
            self.note = note
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, note=self.note)


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Say on stderr that a step begins, how far it is, and that it ended after how many seconds.

    On a terminal a live line with a bar; elsewhere two plain lines. An error passes through, marked with a cross.

    >>> with step("Simulated market") as at:
    ...     at(1, 2)
    ...     at.note = "3,000 people"
    """
    started = time.perf_counter()
    live = err.is_terminal
    if not live:
        err.print(f"· {title} …", markup=False)
    progress = _progress() if live else None
    at = Step(progress, progress.add_task(title, total=None, note="") if progress else None)
    try:
        if progress is None:
            yield at
        else:
            with progress:
                yield at
    except BaseException:
        err.print(f"[red]✗[/] {title}")
        raise
    note = f" — {at.note}" if at.note else ""
    err.print(f"[green]✓[/] {title}{note} [dim]({time.perf_counter() - started:.1f} s)[/]")


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=err,
        transient=True,
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout. Numbers stand right: write them as you want them read, and put a `>` before such a heading."""
    shown = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in columns:
        shown.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left")
    for row in rows:
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    out.print(shown)


def as_json(value: object) -> str:
    """Structs, dataclasses, dicts, instants, NumPy numbers as indented JSON; not-a-number becomes null."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2).decode()


def print_json(value: object) -> None:
    """The value as JSON on stdout."""
    typer.echo(as_json(value))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")
