"""What the shock study shows: tables in ``docs/risk.md``, the picture of one shock, and the speed of an update."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.shock_data import Bars, Floats
from grandmodel.core.random import random_stream
from grandmodel.risk.covariance import EwmaCovariance
from grandmodel.risk.shock import ShockMemory, ShockParams, new_memory, shock_history, update
from pipelines.workspace import PROJECT

PAGE, PICTURE = PROJECT / "docs" / "risk.md", PROJECT / "docs" / "images" / "shock.png"
BEGIN, END = "<!-- written by benchmarks.shock_study -->", "<!-- end of benchmarks.shock_study -->"
SIZES = ((10, 500), (100, 2500))  # assets, bars of np.corrcoef's window
ROUNDS, UPDATES, WINDOWS = 40, 200, 5
LABELS = {"SPX": "S&P 500", "VIX_close": "VIX", "DTWEXBGS": "dollar", "DEXJPUS": "USDJPY", "DEXUSEU": "EURUSD"}
LABELS |= {"DGS2": "2 y", "DGS10": "10 y", "DGS30": "30 y", "WTI_spot": "WTI", "BRENT_spot": "Brent"}
LABELS |= {"HY_OAS": "spread"}


def speed(params: ShockParams) -> list[dict[str, float]]:
    """Return what one update and flag takes beside ``np.corrcoef`` over the window, interleaved, medians."""
    rows = []
    for assets, bars in SIZES:
        random = random_stream(1, "shock speed", assets)
        returns = 0.01 * (random.normal(size=(bars, assets)) + random.normal(size=(bars, 1)))
        memory = new_memory(assets, params)
        shock_history(memory, returns)
        chosen = [row.copy() for row in returns[:UPDATES]]
        ours, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(_microseconds(partial(_corrcoef, returns)) / WINDOWS)
            ours.append(_microseconds(partial(_update, memory, chosen)) / UPDATES)
        pair = float(np.median(ours)), float(np.median(theirs))
        rows.append(
            {
                "assets": assets,
                "bars": bars,
                "update_us": round(pair[0], 2),
                "corrcoef_us": round(pair[1], 1),
                "ratio": round(pair[0] / pair[1], 4),
            }
        )
    return rows


def _corrcoef(window: Floats) -> None:
    for _ in range(WINDOWS):
        np.corrcoef(window, rowvar=False)


def _update(memory: ShockMemory, rows: list[Floats]) -> None:
    for row in rows:
        update(memory, row)


def _microseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - started) / 1e3


def heat_map(bars: Bars, date: str) -> None:
    """Draw the EWMA correlations around the alarm that answers the move that began on ``date``."""
    history = shock_history(new_memory(len(bars.names), ShockParams()), bars.returns)
    first = int(np.searchsorted(bars.when, np.datetime64(date)))
    alarm = first + int(np.flatnonzero(history.onset[first:])[0])
    covariance = EwmaCovariance(len(bars.names))
    shown = {alarm - 1: "the bar before", alarm: "the bar of the alarm", alarm + 20: "twenty bars later"}
    figure = Figure(figsize=(10.5, 4.0), layout="constrained")
    axes = list(figure.subplots(1, len(shown)))
    labels = [LABELS[name] for name in bars.names]
    for t in range(alarm - 500, alarm + 21):
        covariance.update(np.nan_to_num(bars.returns[t]))  # what did not trade adds nothing, as in the detector
        if t not in shown:
            continue
        axis = axes.pop(0)
        image = axis.imshow(covariance.correlation(), cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
        axis.set_yticks(range(len(labels)), labels, fontsize=7)
        share = f"share of the first eigenvalue {history.eigenvalue_share[t]:.2f}, score {history.score[t]:.1f}"
        axis.set_title(f"{str(bars.when[t])[:10]}, {shown[t]}\n{share}", fontsize=8, loc="left")
    figure.colorbar(image, ax=figure.axes, shrink=0.8, label="EWMA correlation, lambda 0.94")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def tables(found: dict[str, Any]) -> str:
    """Return everything that the page shows, as Markdown."""
    daily, futures = found["daily"], found["futures"]
    parts = _methods(daily), _events(daily), _daily_onsets(daily), _futures(futures), _futures_onsets(futures)
    return "\n\n".join((*parts, _speed(found["speed"])))


def _methods(daily: dict[str, Any]) -> str:
    lines = [
        "| method | band, latch, threshold | flagged of eight | onsets a year | before 2019 | since 2019 "
        "| false a year before 2019 | since 2019 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in daily["methods"].items():
        setting = row["setting"]
        chosen = f"{setting['band_decay']:g}, {setting['rearm_bars']}, {setting['threshold']:g}"
        cells = [row[f"{kind}_a_year_{span}"] for kind, span in _RATES]
        lines.append(f"| {name} | {chosen} | {row['flagged_of_eight']} | " + " | ".join(map(_two, cells)) + " |")
    rule = ", ".join(f"{count} ({deviations})" for deviations, count in daily["flagged_of_eight_by_rule"].items())
    cuts = daily["leverage"]
    return "\n".join(lines) + (
        f"\n\nFlagged of the eight were the first bar that of a fall of so many deviations: {rule}. Of "
        f"{daily['bars']:,} bars, {daily['first']} to {daily['last']}, {daily['unknown_bars']} are unknown. Detector "
        f"and breaker driven bar by bar, the breaker reset after every quiet spell: {cuts['cuts']} cuts, the latest "
        f"{cuts['bars_from_alarm_to_cut_max']} bars after its alarm, and {cuts['alarms_while_latched']} alarms while "
        "latched."
    )


_RATES = [("onsets", "whole"), ("onsets", "before_2019"), ("onsets", "since_2019")]
_RATES += [("false", "before_2019"), ("false", "since_2019")]


def _events(daily: dict[str, Any]) -> str:
    names = list(daily["methods"])
    lines = [f"| event | first bar | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for event, first in daily["first_bars"].items():
        delays = [daily["methods"][name]["delays"][event] for name in names]
        lines.append(f"| {event} | {first} | " + " | ".join("-" if d is None else str(d) for d in delays) + " |")
    return "Bars from the first bar of the move to the alarm, - where there was none:\n\n" + "\n".join(lines)


def _daily_onsets(daily: dict[str, Any]) -> str:
    lines = ["| since 2019 | severity | score | S&P 500 | event |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['date']} | {row['severity']} | {row['score']:.1f} | {row['spx_pct']:+.2f}% | {row['event']} |"
        for row in daily["onsets"]
    ]
    return "Every onset since 2019, out of sample:\n\n" + "\n".join(lines)


def _futures(futures: dict[str, Any]) -> str:
    lines = [
        "| futures, bars of | bars | threshold | onsets a year 2016-2018 | 2019-2020 | whole | at the open | unknown |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in futures.items():
        rates = [row[f"onsets_a_year{span}"] for span in ("_before_2019", "_since_2019", "")]
        cells = " | ".join(map(_two, rates))
        opens = f"{row['onsets_at_the_open']} of {len(row['onsets'])}"
        lines.append(f"| {name} | {row['bars']:,} | {row['threshold']:g} | {cells} | {opens} | {row['unknown_bars']} |")
    return "\n".join(lines)


def _futures_onsets(futures: dict[str, Any]) -> str:
    lines = [
        "| bars | close, China time | severity | score | median move | falling | widest move |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in futures.items():
        if "plain" in name:
            continue
        lines += [
            f"| {name.split(',')[0]} | {row['close']} | {row['severity']} | {row['score']:.1f} "
            f"| {row['median_pct']:+.2f}% | {row['falling']} | {row['widest']} {row['widest_pct']:+.2f}% |"
            for row in found["onsets"]
        ]
    return "\n".join(lines)


def _speed(rows: list[dict[str, float]]) -> str:
    lines = ["| assets | update and flag, us | np.corrcoef over the window, us | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {row['assets']} | {row['update_us']:.2f} | {row['corrcoef_us']:,.0f} ({row['bars']} bars) "
        f"| {row['ratio']:.4f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _two(value: float) -> str:
    return f"{value:.2f}"


def write_table(text: str) -> None:
    """Replace what stands between the two marks on the page."""
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")
