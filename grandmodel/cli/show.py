"""Rows on the terminal: a table for people, or JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
FRACTION = "_frac"
TIMES = ("time", "since", "first", "last")
HASH, HASH_CHARACTERS = "evidence", 8
SHORT_CHARACTERS = 20  # cells up to this length are not broken
TABLE_CHARACTERS = 120  # a narrower table cannot be read; a narrower terminal breaks its lines


def show_rows(title: str, rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print ``rows``, all with the keys of the first."""
    if as_json:
        show_json(rows)
        return
    console = Console()
    if not rows:
        console.print(f"{title}: nothing")
        return
    columns = {key: [_text(key, row[key]) for row in rows] for key in rows[0]}
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for key, cells in columns.items():
        longest = max(map(len, cells))
        table.add_column(
            key.removesuffix(FRACTION).replace("_", " "),
            overflow="fold",
            no_wrap=longest <= SHORT_CHARACTERS,
            min_width=min(longest, SHORT_CHARACTERS),
        )
    for line in zip(*columns.values(), strict=True):
        table.add_row(*map(escape, line))
    # Where no column can be broken any more the table is as wide as it must be: rich would cut cells off, unmarked.
    least = console.measure(table, options=console.options.update(max_width=sys.maxsize)).minimum
    Console(width=max(console.width, TABLE_CHARACTERS, least)).print(table)


def show_json(value: object) -> None:
    """Print ``value`` as indented JSON on standard output."""
    typer.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def say(sentence: str) -> None:
    """Print one line, however long, without cutting it."""
    Console().print(escape(sentence), soft_wrap=True, highlight=False)


def without(rows: Sequence[Mapping[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Return ``rows`` without the keys ``names``, for a table that would grow too wide."""
    return [{key: value for key, value in row.items() if key not in names} for row in rows]


def warn(sentence: str) -> None:
    """Print one line in red: what a person must not overlook."""
    Console().print(f"[bold red]{escape(sentence)}[/bold red]", soft_wrap=True, highlight=False)


def _text(column: str, value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1%}" if column.endswith(FRACTION) else f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in sorted(value.items())) or "-"
    if column == HASH:
        return str(value)[:HASH_CHARACTERS]
    return str(value)[:19].replace("T", " ") if column in TIMES else str(value)
