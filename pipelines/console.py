"""What a person watches while a stage works: a progress bar on a terminal, one line a unit elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Advance(Protocol):
    """Report that one more unit is done, or how far the present ones are."""

    def __call__(self, note: str, done: bool = True) -> None:
        """Note what the unit gave; where none is done yet, only a terminal shows the note."""


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """Show ``total`` units of work under ``description``."""
    console = Console()
    if not console.is_terminal:
        numbers = iter(range(1, total + 1))

        def line(note: str, done: bool = True) -> None:
            if done:
                console.print(f"  {description} {next(numbers)}/{total}  {note}", soft_wrap=True)

        yield line
        return
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as bar:
        identity = bar.add_task(description, total=total, note="")
        yield lambda note, done=True: bar.update(identity, advance=int(done), note=note)
