"""The commands around raw bars: judge them, bring them in, simulate them."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from grandmodel.cli.checkout import find_checkout
from grandmodel.cli.show import Json, say, show_json, show_rows
from grandmodel.core.errors import ConfigError

if TYPE_CHECKING:
    from grandmodel.data.dataset import Dataset, RawDataset

data_app = typer.Typer(no_args_is_help=True, help="Raw bars: check, import, simulate.")

DateOrder = Literal["auto", "day-first", "month-first"]
StampKind = Literal["auto", "start", "close"]
Source = Annotated[Path, typer.Argument(metavar="PATH", help="File or folder of bars.")]
Symbols = Annotated[list[str] | None, typer.Option("--symbol", help="Instrument of a folder; repeat for several.")]
Instrument = Annotated[str | None, typer.Option(help="Symbol of a single file whose name does not say it.")]
Zone = Annotated[str, typer.Option("--timezone", "--tz", help="Zone of stamps without one, or auto.")]
Order = Annotated[DateOrder, typer.Option(help="Order of day and month, or auto.")]
Stamp = Annotated[StampKind, typer.Option(help="Whether stamps mark the start or the close of a bar.")]


@data_app.command()
def check(
    path: Source,
    symbol: Symbols = None,
    instrument: Instrument = None,
    timezone: Zone = "auto",
    date_order: Order = "auto",
    stamp: Stamp = "auto",
    docs: Annotated[Path | None, typer.Option(help="Folder for the pages; default: below runs/.")] = None,
    as_json: Json = False,
) -> None:
    """Judge bars by the committed expectations; exit 1 on a blocking finding."""
    from grandmodel.core.config import load_params
    from grandmodel.data.adjust import to_bars
    from grandmodel.data.readers import read_raw
    from grandmodel.data.validation import validate

    checkout = find_checkout()
    most = load_params(checkout / "params.yaml").data.instruments_max
    raw = read_raw(
        path,
        symbols=symbol or (),
        timezone=timezone,
        date_order=date_order,
        stamp=stamp,
        instruments_max=most,
        instrument=instrument,
    )
    report = validate(raw, checkout / "great_expectations", docs or checkout / "runs" / f"check-{raw.name}" / "docs")
    # Dead stretches, short sessions and rolls are seen only in bars, and bars are made only of rows that passed.
    findings = [asdict(finding) for finding in (to_bars(raw).report if report.passed else raw.report)]
    if as_json:
        verdict = {"passed": report.passed, "checks": report.checks, "docs": report.docs_index}
        show_json({**_identity(raw), "rows": len(raw.frame), "findings": findings, **verdict})
    else:
        show_rows(f"Found in {path}", findings, False)
        checks = [{"rule": check["rule"], **check} for check in report.checks]
        show_rows(f"Checks of {len(raw.frame)} rows", checks, False, hide=("name", "do", "failing_rows"))
        say(f"Pages: {report.docs_index}")
    report.raise_if_blocked()


@data_app.command("import")
def import_(
    path: Source,
    symbol: Symbols = None,
    instrument: Instrument = None,
    timezone: Zone = "auto",
    date_order: Order = "auto",
    stamp: Stamp = "auto",
    track: Annotated[bool, typer.Option("--track", help="Keep it in imported/, under DVC.")] = False,
    name: Annotated[str | None, typer.Option(help="Folder below imported/; default: the name of the file.")] = None,
    licence: Annotated[str | None, typer.Option(help="Under which terms the data may be used.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the data come from.")] = None,
    as_json: Json = False,
) -> None:
    """Read bars, say what was found and why it was read so, and track them if asked."""
    from grandmodel.data.adjust import to_bars
    from grandmodel.data.readers import read_raw

    raw = read_raw(
        path,
        symbols=symbol or (),
        timezone=timezone,
        date_order=date_order,
        stamp=stamp,
        instruments_max=sys.maxsize,
        instrument=instrument,
    )
    raw = replace(raw, name=name or raw.name, licence=licence or raw.licence, source=source or raw.source)
    dataset = to_bars(raw)
    tracked = _track(raw, dataset) if track else None
    instruments = _instrument_rows(dataset)
    findings = [asdict(finding) for finding in dataset.report]
    if as_json:
        show_json({**_identity(raw), "instruments": instruments, "findings": findings, "tracked": tracked})
        return
    show_rows(f"Bars in {path}", instruments, False)
    show_rows("Findings", findings, False)
    if tracked:
        say(f"Tracked: {tracked}; commit {tracked.relative_to(find_checkout())}.dvc, and release it with --data.")


@data_app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="New or empty folder.")],
    edge: Annotated[float, typer.Option(min=0, max=3, help="0 is a martingale, 1 the edge of the tracked data.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0)] = 7,
    sessions: Annotated[int, typer.Option(min=1, max=5000, help="Trading days.")] = 400,
    as_json: Json = False,
) -> None:
    """Write a simulated futures market with a known edge; it is labelled as simulated wherever it appears."""
    from grandmodel.data.simulator import simulate as write_market

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(str(out), "the folder must be new or empty", do="Give another --out")
    write_market(out, edge=edge, seed=seed, sessions=sessions)
    about = {"path": str(out), "simulated": True, "edge": edge, "seed": seed, "sessions": sessions}
    show_rows("Simulated market", [about], False) if not as_json else show_json(about)


def _track(raw: RawDataset, dataset: Dataset) -> Path:
    from grandmodel.cli.tracking import track

    return track(raw, dataset, find_checkout())


def _identity(raw: RawDataset) -> dict[str, Any]:
    about = ("name", "simulated", "licence", "source", "raw_hash", "bar_minutes")
    return {key: getattr(raw, key) for key in about}


def _instrument_rows(dataset: Dataset) -> list[dict[str, Any]]:
    import numpy as np

    rows = []
    for symbol, bars in (dataset.tactical or dataset.strategic).items():
        first, last = (np.datetime64(int(bars.start_ns[index]), "ns").astype("datetime64[m]") for index in (0, -1))
        rows.append(
            {
                "symbol": symbol,
                "minutes": bars.bar_minutes,
                "bars": len(bars),
                "sessions": len(np.unique(bars.session)),
                "first": f"{first}Z",
                "last": f"{last}Z",
                "tick": dataset.instruments[symbol].tick_size,
                "zone": dataset.instruments[symbol].timezone,
            }
        )
    return rows
