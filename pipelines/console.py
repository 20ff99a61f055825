"""What a person watches while a stage works: a progress bar on a terminal, one line a unit elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Advance(Protocol):
    """Report that one more unit is done."""

    def __call__(self, note: str) -> None:
        """Note what the unit gave."""


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """Show ``total`` units of work under ``description``."""
    console = Console()
    if not console.is_terminal:
        done = iter(range(1, total + 1))
        yield lambda note: console.print(f"  {description} {next(done)}/{total}  {note}", soft_wrap=True)
        return
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as bar:
        identity = bar.add_task(description, total=total, note="")
        yield lambda note: bar.update(identity, advance=1, note=note)
