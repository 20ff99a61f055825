"""The drawings of the report as inline SVG without a single outside reference.

Colours are drawn as stand-ins and replaced by CSS variables, so that one drawing serves light and dark pages.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import MONTHLY, AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from grandmodel.gates.report_data import Curve
from grandmodel.gates.text import MINUS
from grandmodel.stats.bootstrap import Interval

INK, MUTED, RULE, RELEASE, ORACLE = "#010101", "#010102", "#010103", "#010104", "#010105"
PASS, REFUSE, PAGE = "#010106", "#010107", "#010108"
BASELINES = ("#010111", "#010112", "#010113", "#010114", "#010115")
CSS_OF = {INK: "ink", MUTED: "muted", RULE: "rule", RELEASE: "release", ORACLE: "oracle"} | {
    **{PASS: "pass", REFUSE: "refuse", PAGE: "page"},
    **{colour: f"baseline-{i}" for i, colour in enumerate(BASELINES)},
}
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)))
POINTS_MAX = 420  # per line; more is not visible and only makes the page heavy


def equity_figure(days: Sequence[str], curves: Sequence[Curve], fold_starts: Sequence[str], *, narrow: bool) -> str:
    """Return the equity of all curves over the drawdown of the release; ``narrow`` is drawn for a phone."""
    size, font = ((4.4, 4.6), 8.5) if narrow else ((10.2, 4.9), 9.5)
    figure = Figure(figsize=size, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1.0))
    keep = np.unique(np.linspace(0, len(days) - 1, min(len(days), POINTS_MAX)).astype(int))
    moments = np.array(days, dtype="datetime64[D]")[keep]
    for curve in sorted(curves, key=lambda c: c.kind == "release"):
        _draw_curve(top, moments, keep, curve, curves)
        if curve.kind == "release":
            equity = np.array(curve.equity)
            fall = equity / np.maximum.accumulate(np.maximum(equity, 1.0)) - 1.0
            bottom.fill_between(moments, fall[keep], 0.0, color=RELEASE, alpha=0.35, linewidth=0)
            bottom.set_ylim(1.05 * min(float(fall.min()), -0.001), 0.0)
    top.axhline(1.0, color=MUTED, linewidth=0.7)
    _equity_axis(top)
    bottom.yaxis.set_major_locator(MaxNLocator(3, steps=(1, 2, 5, 10)))
    bottom.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100.0 * value:g} %".replace("-", MINUS)))
    locator = date_locator(narrow)
    bottom.xaxis.set_major_locator(locator)
    bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    top.set_title("Equity after costs, start = 1, log scale", loc="left", fontsize=font, color=MUTED)
    bottom.set_title("Drawdown of that curve of the release", loc="left", fontsize=font, color=MUTED)
    for axes in (top, bottom):
        quiet(axes, font)
        for start in np.array(fold_starts[1:], dtype="datetime64[D]"):
            axes.axvline(start, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    return as_svg(
        figure, f"equity-{'narrow' if narrow else 'wide'}", "Equity of the release and its baselines over time"
    )


def date_locator(narrow: bool) -> AutoDateLocator:
    """Return a locator that puts a few ticks on records of every length."""
    locator = AutoDateLocator(  # type: ignore[no-untyped-call]
        minticks=3 if narrow else 5, maxticks=6 if narrow else 9
    )
    # Without a step of a year, two to five years have no step that fits, and the library warns.
    locator.intervald[MONTHLY] = [1, 2, 3, 4, 6, 12]
    return locator


def baseline_slot(name: str, curves: Sequence[Curve]) -> int:
    """Return which of the baseline colours belongs to ``name``."""
    names = [curve.name for curve in curves if curve.kind == "baseline"]
    return names.index(name) % len(BASELINES)


def spark_line(values: Sequence[float], width: int = 132, height: int = 26) -> str:
    """Return a small line without axes; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    picked = np.asarray(values, dtype=np.float64)[np.linspace(0, len(values) - 1, min(len(values), 66)).astype(int)]
    low, span = float(picked.min()), float(np.ptp(picked)) or 1.0
    x = np.linspace(1.5, width - 1.5, len(picked))
    y = height - 2.5 - (picked - low) / span * (height - 5.0)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="from {values[0]:.3g} to {values[-1]:.3g}">'
        f'<polyline fill="none" stroke="currentColor" stroke-width="1.3" points="{points}"/>'
        f'<circle cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="2" fill="currentColor"/></svg>'
    )


def interval_mark(interval: Interval, reach: float, width: int = 112, height: int = 16) -> str:
    """Return an interval as a bar with its estimate on an axis of ``-reach`` to ``reach`` with zero in the middle."""
    reach = reach or 1.0

    def place(value: float) -> float:
        return width / 2.0 + float(np.clip(value / reach, -1.0, 1.0)) * (width / 2.0 - 4.0)

    low, middle, high = place(interval.lower), place(interval.estimate), place(interval.upper)
    kind = "good" if interval.lower > 0.0 else "bad" if interval.upper < 0.0 else "open"
    centre, half = f"{width / 2:.1f}", f"{height / 2:.1f}"
    return (
        f'<svg class="mark {kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true" '
        f'stroke="currentColor" fill="currentColor">'
        f'<line stroke-opacity="0.45" x1="{centre}" x2="{centre}" y1="0" y2="{height}"/>'
        f'<line stroke-width="2.4" stroke-linecap="round" x1="{low:.1f}" x2="{high:.1f}" y1="{half}" y2="{half}"/>'
        f'<circle stroke="none" cx="{middle:.1f}" cy="{half}" r="3.4"/></svg>'
    )


def _draw_curve(axes: Axes, moments: Any, keep: Any, curve: Curve, curves: Sequence[Curve]) -> None:
    equity = np.array(curve.equity)[keep]
    if curve.kind == "release":
        if curve.lower:
            lower, upper = np.array(curve.lower)[keep], np.array(curve.upper)[keep]
            axes.fill_between(moments, lower, upper, color=RELEASE, alpha=0.18, linewidth=0)
        axes.plot(moments, equity, color=RELEASE, linewidth=2.2)
    elif curve.kind == "oracle":
        axes.plot(moments, equity, color=ORACLE, linewidth=1.5, linestyle=(0, (1, 1.2)))
    else:
        slot = baseline_slot(curve.name, curves)
        axes.plot(moments, equity, color=BASELINES[slot], linewidth=1.3, linestyle=DASHES[slot])


def _equity_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if high / low > 12.0 else MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def quiet(axes: Axes, font: float) -> None:
    """Take from ``axes`` what says nothing: frame, tick marks, background."""
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(colors=MUTED, labelsize=font, length=0)
    axes.xaxis.get_offset_text().set_color(MUTED)
    axes.xaxis.get_offset_text().set_fontsize(font)
    axes.patch.set_alpha(0.0)
    axes.margins(x=0.01)


def as_svg(figure: Figure, name: str, label: str) -> str:
    """Return ``figure`` as inline SVG with the colours of the page; equal drawings give equal bytes.

    ``name`` makes its ids unique on the page; ``label`` is what a reader hears who cannot see it. Neither is escaped.
    """
    figure.patch.set_alpha(0.0)
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=metadata)  # None leaves an entry out
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", head) + ">" + body
    text = text.replace("xlink:href", "href").replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)  # ids are unique on the page
    for colour, variable in CSS_OF.items():
        text = text.replace(colour, f"var(--{variable})")
    return text


def alarms_png(alarms: Mapping[str, Sequence[float]]) -> bytes:
    """Return how much of its bound each sequence of a canary used day by day, as a picture in PNG.

    A page of its own colours, for where there is no style sheet.
    """
    figure = Figure(figsize=(7.2, 3.0), layout="constrained", dpi=120)
    axes = figure.subplots()
    for name, path in alarms.items():
        axes.plot(range(1, len(path) + 1), path, label=name.replace("_", " "))
    axes.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    highest = max([1.0, *(value for path in alarms.values() for value in path)])
    axes.set(xlabel="day", ylabel="share of the bound", ylim=(0.0, 1.1 * highest))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper left", frameon=False, ncols=3)
    return _png(figure)


def drift_png(measures: Sequence[Mapping[str, Any]], psi_max: float) -> bytes:
    """Return how far each measure strayed from its reference, as a picture in PNG: the index, and D over its bound.

    Args:
        measures: rows with ``symbol``, ``measure``, ``psi`` and ``ks_excess``.
        psi_max: population stability index from which bars count as drifted.
    """
    names = [f"{row['symbol']} {row['measure']}".replace("_", " ") for row in measures]
    figure = Figure(figsize=(7.2, 1.2 + 0.28 * len(names)), layout="constrained", dpi=120)
    for axes, key, bound, label in zip(
        figure.subplots(1, 2, sharey=True),
        ("psi", "ks_excess"),
        (psi_max, 1.0),
        ("population stability index", "D over its bound"),
        strict=True,
    ):
        axes.barh(names, [float(row[key]) for row in measures])
        axes.axvline(bound, color="black", linewidth=0.8, linestyle="--")
        axes.set(xlabel=label)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
