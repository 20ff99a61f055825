"""The commands around raw bars: judge them, bring them in, compare them with a reference, simulate them."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from grandmodel.cli.checkout import find_checkout
from grandmodel.cli.show import Json, say, show_json, show_rows
from grandmodel.core.clock import system_clock
from grandmodel.core.errors import ConfigError

if TYPE_CHECKING:
    from grandmodel.core.bars import Bars
    from grandmodel.data.dataset import Finding, RawDataset
    from grandmodel.data.validation.drift import DriftReference
    from grandmodel.data.validation.validate import Check

data_app = typer.Typer(no_args_is_help=True, help="Raw bars: check, import, drift, simulate.")

DateOrder = Literal["auto", "day-first", "month-first"]
StampKind = Literal["auto", "start", "close"]
Source = Annotated[Path, typer.Argument(metavar="PATH", help="File or folder of bars.")]
Symbols = Annotated[list[str] | None, typer.Option("--symbol", help="Instrument of a folder; repeat for several.")]
Instrument = Annotated[str | None, typer.Option(help="Symbol of a single file whose name does not say it.")]
Zone = Annotated[str, typer.Option("--timezone", "--tz", help="Zone of stamps without one, or auto.")]
Order = Annotated[DateOrder, typer.Option(help="Order of day and month, or auto.")]
Stamp = Annotated[StampKind, typer.Option(help="Whether stamps mark the start or the close of a bar.")]
Pages = Annotated[Path | None, typer.Option(help="Folder for the pages; default: below runs/.")]
_ROWS_SHOWN = 4


@data_app.command()
def check(
    path: Source,
    symbol: Symbols = None,
    instrument: Instrument = None,
    timezone: Zone = "auto",
    date_order: Order = "auto",
    stamp: Stamp = "auto",
    docs: Pages = None,
    as_json: Json = False,
) -> None:
    """Judge bars by the committed expectations; exit 1 on a blocking finding."""
    from grandmodel.core.config import load_params
    from grandmodel.data.cleaning.adjust import adjusted_bars
    from grandmodel.data.validation.validate import validate

    checkout = find_checkout()
    most = load_params(checkout / "params.yaml").data.instruments_max
    raw = _read(path, symbol, instrument, timezone, date_order, stamp, most)
    report = validate(
        raw, checkout / "great_expectations", docs or checkout / "runs" / f"check-{_label(raw, path)}" / "docs"
    )
    # Masks and rolls are seen only in bars, and bars are made only of rows that passed.
    findings = adjusted_bars(raw)[1] if report.passed else raw.report
    if as_json:
        verdict = {"passed": report.passed, "checks": report.checks, "docs": report.docs_index}
        found = [asdict(finding) for finding in findings]
        show_json({**_identity(raw), "rows": len(raw.frame), "findings": found, **verdict})
    else:
        _show_findings(f"Found in {path}", findings)
        _show_checks(f"Checks of {len(raw.frame)} rows that fail", report.checks)
        say(f"Pages: {report.docs_index}")
    report.raise_if_blocked(raw.name)


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
    from grandmodel.data.cleaning.adjust import adjusted_bars

    raw = _read(path, symbol, instrument, timezone, date_order, stamp, sys.maxsize)
    raw = replace(raw, name=name or raw.name, licence=licence or raw.licence, source=source or raw.source)
    bars, findings = adjusted_bars(raw)
    tracked = _track(raw, path) if track else None
    instruments = _instrument_rows(raw, bars)
    if as_json:
        found = [asdict(finding) for finding in findings]
        show_json({**_identity(raw), "instruments": instruments, "findings": found, "tracked": tracked})
        return
    show_rows(f"Bars in {path}", instruments, False)
    _show_findings("Findings", findings)
    if tracked:
        say(f"Tracked: {tracked}; commit {tracked.relative_to(find_checkout())}.dvc, and release it with --data.")


@data_app.command()
def drift(
    batch: Annotated[Path, typer.Argument(metavar="BATCH", help="File or folder of new bars.")],
    against: Annotated[Path, typer.Option(help="A saved reference (.json), or the bars to make one of.")],
    symbol: Symbols = None,
    instrument: Instrument = None,
    timezone: Zone = "auto",
    date_order: Order = "auto",
    stamp: Stamp = "auto",
    save: Annotated[Path | None, typer.Option(help="Where to keep the reference, as JSON.")] = None,
    docs: Pages = None,
    as_json: Json = False,
) -> None:
    """Compare new bars with those a release was trained on; exit 1 when they drifted beyond a blocking bound."""
    from grandmodel.data.cleaning.adjust import adjusted_bars
    from grandmodel.data.validation.drift import measure_drift
    from grandmodel.data.validation.validate import run_suites

    checkout = find_checkout()
    options = (symbol, instrument, timezone, date_order, stamp)
    reference = _reference(against, *options)
    if save is not None:
        reference.save(save)
    raw = _read(batch, *options, sys.maxsize)
    measures = measure_drift(reference, adjusted_bars(raw)[0])
    pages = docs or checkout / "runs" / f"drift-{_label(raw, batch)}" / "docs"
    report = run_suites({"drift": measures}, checkout / "great_expectations", pages)
    rows = [dict(zip(measures.columns, row, strict=True)) for row in measures.itertuples(index=False)]
    if as_json:
        verdict = {"passed": report.passed, "checks": report.checks, "docs": report.docs_index}
        show_json({"reference": reference.name, "batch": raw.name, "measures": rows, **verdict})
    else:
        shown = [
            {key: round(cell, 3) if isinstance(cell, float) else cell for key, cell in row.items()} for row in rows
        ]
        show_rows(f"{raw.name} against {reference.name}", shown, False)
        _show_checks("Drift", report.checks)
        say(f"Pages: {report.docs_index}")
    report.raise_if_blocked(raw.name)


@data_app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="New or empty folder.")],
    like: Annotated[
        Literal["nq", "cn"] | None, typer.Option(help="A market fitted to real bars; default: none.")
    ] = None,
    edge: Annotated[float, typer.Option(min=0, max=3, help="0 is a martingale, 1 the edge of the tracked data.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0)] = 7,
    sessions: Annotated[int, typer.Option(min=1, max=5000, help="Trading days.")] = 400,
    as_json: Json = False,
) -> None:
    """Write a simulated futures market with a known edge; it is labelled as simulated wherever it appears."""
    from grandmodel.data.simulator.generate import simulate as write_market

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(str(out), "the folder must be new or empty", do="Give another --out")
    write_market(out, edge=edge, seed=seed, sessions=sessions, like=like)
    about = {"path": str(out), "simulated": True, "edge": edge, "seed": seed, "sessions": sessions}
    if like is not None:
        about["like"] = like
    show_rows("Simulated market", [about], False) if not as_json else show_json(about)


def _read(
    path: Path,
    symbols: list[str] | None,
    instrument: str | None,
    timezone: str,
    date_order: DateOrder,
    stamp: StampKind,
    instruments_max: int,
) -> RawDataset:
    from grandmodel.data.reading.readers import read_raw

    return read_raw(
        path,
        symbols=symbols or (),
        timezone=timezone,
        date_order=date_order,
        stamp=stamp,
        instruments_max=instruments_max,
        instrument=instrument,
        now_ns=int(system_clock().timestamp()) * 1_000_000_000,
    )


def _reference(
    against: Path,
    symbols: list[str] | None,
    instrument: str | None,
    timezone: str,
    date_order: DateOrder,
    stamp: StampKind,
) -> DriftReference:
    from grandmodel.data.cleaning.adjust import adjusted_bars
    from grandmodel.data.validation.drift import DriftReference, fit_reference

    if against.suffix == ".json":
        return DriftReference.load(against)
    raw = _read(against, symbols, instrument, timezone, date_order, stamp, sys.maxsize)
    return fit_reference(raw.name, raw.raw_hash, adjusted_bars(raw)[0])


def _track(raw: RawDataset, path: Path) -> Path:
    from grandmodel.cli.tracking import track

    return track(raw, path, find_checkout())


def _label(raw: RawDataset, path: Path) -> str:
    """Return the name of the pages; one file of a folder with its own table goes by its stem too."""
    return raw.name if path.is_dir() or raw.name == path.stem else f"{raw.name}-{path.stem}"


def _identity(raw: RawDataset) -> dict[str, Any]:
    about = ("name", "simulated", "licence", "source", "raw_hash", "bar_minutes")
    return {key: getattr(raw, key) for key in about}


def _show_findings(title: str, findings: tuple[Finding, ...]) -> None:
    rows = [
        {
            "level": finding.level,
            "subject": finding.subject,
            "finding": finding.text,
            "rows": _some_rows(list(finding.rows), finding.row_count),
        }
        for finding in sorted(findings, key=lambda finding: finding.level != "warning")
    ]
    show_rows(title, rows, False)


def _show_checks(title: str, checks: list[Check]) -> None:
    """Print the checks that fail, blocking ones first, and say how many pass."""
    failed = [check for check in checks if not check["passed"]]
    rows = [
        {
            "level": "blocking" if check["level"] == "critical" else check["level"],
            "suite": check["suite"],
            "rule": check["rule"],
            "failing": check["failing_count"],
            "where": _places(check),
        }
        for check in sorted(failed, key=lambda check: check["level"] != "critical")
    ]
    if rows:
        show_rows(title, rows, False)
    say(f"{len(checks) - len(failed)} of {len(checks)} checks pass.")


def _places(check: Check) -> str:
    """Return where the first failing rows stand, by file."""
    by_file: dict[str, list[int]] = {}
    for row in check["failing_rows"]:
        if "file" in row:
            by_file.setdefault(str(row["file"]), []).append(int(row["row"]))
    if not by_file:
        return ", ".join(f"{row.get('symbol')} {row.get('measure')}" for row in check["failing_rows"])
    return "; ".join(f"{file} {_some_rows(rows, len(rows))}" for file, rows in by_file.items())


def _some_rows(rows: list[int], count: int) -> str:
    """Return the first rows as text, neighbours as a span: ``3, 7-9 and 12 more``."""
    spans: list[list[int]] = []
    for row in rows:
        if spans and row == spans[-1][1] + 1:
            spans[-1][1] = row
        else:
            spans.append([row, row])
    shown = spans[:_ROWS_SHOWN]
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in shown)
    more = count - sum(last - first + 1 for first, last in shown)
    return f"{text} and {more} more" if more > 0 else text


def _instrument_rows(raw: RawDataset, bars_by_symbol: dict[str, Bars]) -> list[dict[str, Any]]:
    import numpy as np

    rows = []
    for symbol, bars in bars_by_symbol.items():
        first, last = (np.datetime64(int(bars.start_ns[index]), "ns").astype("datetime64[m]") for index in (0, -1))
        rows.append(
            {
                "symbol": symbol,
                "minutes": bars.bar_minutes,
                "bars": len(bars),
                "sessions": len(np.unique(bars.session)),
                "first": f"{first}Z",
                "last": f"{last}Z",
                "tick": raw.instruments[symbol].tick_size,
                "zone": raw.instruments[symbol].timezone,
            }
        )
    return rows
