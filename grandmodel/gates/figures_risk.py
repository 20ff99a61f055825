"""The drawings of risk: value at risk against what was earned, correlations over a shock, what the guard saved."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from grandmodel.gates.figures import (
    INK,
    MUTED,
    PAGE,
    PASS,
    POINTS_MAX,
    REFUSE,
    RELEASE,
    RULE,
    as_svg,
    date_locator,
    quiet,
)
from grandmodel.gates.report_risk import (
    CorrelationShock,
    Coverage,
    LossRow,
    Matrix,
    MethodCoverage,
    ShockPair,
    by_loss,
    method_words,
)
from grandmodel.gates.text import MINUS, count, number, percent, plain_name

Floats = NDArray[np.float64]
SMALL_POINTS_MAX = 140  # days in a small panel
NUMBERS_MAX = 10  # symbols up to which a cell has its number written in
NAMES_MAX = 12  # symbols up to which columns have names; rows stand in the same order


def coverage_figure(coverage: Coverage, *, narrow: bool) -> str:
    """Return daily returns against the number that counts, over one small panel for each method.

    Of a record longer than can be seen, each group of days is drawn as its worst; exceptions are all marked.
    """
    size, font, columns = ((4.4, 7.6), 8.5, 2) if narrow else ((10.2, 6.6), 9.5, 3)
    rows = -(-len(coverage.methods) // columns)
    heights = ((2.2,) if coverage.voters else ()) + (1.0,) * rows
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    moments = np.array(coverage.days, dtype="datetime64[D]")
    returns = np.array(coverage.returns_frac)
    if coverage.voters:
        axes = figure.add_subplot(grid[0, :])
        voted = _floats(coverage.voted_frac)
        hits = np.flatnonzero(np.isnan(voted) | (-returns > voted))
        _coverage_panel(axes, moments, returns, voted, hits, POINTS_MAX)
        axes.set_title(
            f"Daily return, and the {percent(coverage.level, 0)} value at risk that counts: {_exceptions(len(hits))}",
            loc="left",
            fontsize=font,
            color=MUTED,
        )
        _date_axis(axes, font, narrow)
    small: Axes | None = None
    for place, method in enumerate(coverage.methods):
        row, column = divmod(place, columns)
        small = axes = figure.add_subplot(grid[row + bool(coverage.voters), column], sharey=small)
        _method_panel(axes, moments, returns, method, font - 1.0)
    return as_svg(
        figure,
        f"coverage-{'narrow' if narrow else 'wide'}",
        f"Daily returns of the release against its value at risk over {count(len(coverage.days), 'day')}",
    )


def _method_panel(axes: Axes, moments: object, returns: Floats, method: MethodCoverage, font: float) -> None:
    hits = np.array(method.exceptions, dtype=int)
    _coverage_panel(axes, moments, returns, _floats(method.var_frac), hits, SMALL_POINTS_MAX)
    votes = "" if method.may_vote else ", no vote"
    title = f"{method_words(method.method)}: {_exceptions(len(hits))}{votes}"
    axes.set_title(title, loc="left", fontsize=font, color=MUTED)
    quiet(axes, font)
    axes.set_xticks([])  # the days are those of the panel above, or of the caption


def _coverage_panel(
    axes: Axes, moments: object, returns: Floats, var: Floats, hits: NDArray[np.int64], most: int
) -> None:
    """Draw each day as an upright from zero, the forecast below it as a line, and a mark on each exception."""
    days = np.asarray(moments)
    keep = _worst_of_groups(returns, most)
    calm, broken = np.setdiff1d(keep, hits), hits
    for rows, colour, width in ((calm, MUTED, 0.8), (broken, REFUSE, 1.4)):
        ends = np.stack([np.zeros(len(rows)), returns[rows], np.full(len(rows), np.nan)], axis=1)
        axes.plot(np.repeat(days[rows], 3), ends.ravel(), color=colour, linewidth=width)  # NaN lifts the pen
    axes.plot(days[keep], -var[keep], color=RELEASE, linewidth=1.6, drawstyle="steps-mid")
    axes.plot(days[hits], returns[hits], color=REFUSE, linestyle="", marker="o", markersize=4.0)
    axes.axhline(0.0, color=MUTED, linewidth=0.7)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10)))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))


def waterfall_figure(rows: Sequence[LossRow], limit_frac: float | None, *, narrow: bool) -> str:
    """Return for each scenario the loss that stayed and the part that the guard took away, the worst on top.

    A row that was not replayed without the guard shows its loss alone. A guard that made the loss larger is marked
    as what it cost.
    """
    ordered = by_loss(rows)
    font = 8.5 if narrow else 9.5
    figure = Figure(figsize=(4.4 if narrow else 10.2, 0.9 + (0.28 if narrow else 0.24) * len(ordered)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    for place, row in enumerate(ordered):
        _waterfall_row(axes, place, row, font, narrow=narrow)
    reach = max(0.01, limit_frac or 0.0, *(max(row.loss_frac, row.loss_frac + row.saved_frac) for row in ordered))
    least = min(0.0, *(row.loss_frac for row in ordered))
    axes.set_xlim(least - 0.02 * reach, reach * (1.6 if narrow else 1.24))
    if limit_frac is not None:
        axes.axvline(limit_frac, color=REFUSE, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    quiet(axes, font)
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    axes.set_yticks(range(len(ordered)), [_scenario_name(row) for row in ordered], color=INK, parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
    saved = sum(row.saved_frac > 0.0 for row in ordered)
    label = f"Loss of equity in {count(len(ordered), 'scenario')}; the guard saved part of it in {saved}"
    return as_svg(figure, f"waterfall-{'narrow' if narrow else 'wide'}", label)


def _waterfall_row(axes: Axes, place: int, row: LossRow, font: float, *, narrow: bool) -> None:
    saved = row.saved_frac
    axes.barh(place, row.loss_frac, height=0.62, color=MUTED if row.loss_frac < 0.0 else RELEASE, linewidth=0)
    words, without = percent(row.loss_frac), percent(row.loss_frac + saved)
    if saved:
        start = row.loss_frac if saved > 0.0 else row.loss_frac + saved
        colour = PASS if saved > 0.0 else REFUSE
        axes.barh(place, abs(saved), left=start, height=0.62, color=colour, alpha=0.4, linewidth=0)
    if abs(saved) >= 0.0005:
        taken = f"{MINUS if saved > 0.0 else '+'} {percent(abs(saved))}"
        words = f"{without} \N{RIGHTWARDS ARROW} {words}" if narrow else f"{without} {taken} = {words}"
    end = max(row.loss_frac, row.loss_frac + saved, 0.0)
    axes.annotate(
        words,
        (end, place),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontsize=font - 0.5,
        color=INK,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": PAGE, "edgecolor": "none"},
    )


def score_figure(shock: CorrelationShock, *, narrow: bool) -> str:
    """Return the mean correlation over the score of the detector with its two thresholds, alarms marked on both."""
    size, font = ((4.4, 3.9), 8.5) if narrow else ((10.2, 3.9), 9.5)
    figure = Figure(figsize=size, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 1.0))
    moments = np.array(shock.days, dtype="datetime64[D]")
    alarms = list(shock.alarms)
    titles = ("Mean correlation between two instruments", "Score of the shock detector, in deviations from its band")
    for axes, values, title in zip((top, bottom), (shock.mean_correlation, shock.score), titles, strict=True):
        series = _floats(values)
        axes.plot(moments, series, color=RELEASE, linewidth=1.5)
        axes.plot(moments[alarms], series[alarms], color=REFUSE, linestyle="", marker="o", markersize=5.0)
        axes.set_title(title, loc="left", fontsize=font, color=MUTED)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", MINUS)))
        _date_axis(axes, font, narrow)
    for level, name in ((shock.score_high, "high"), (shock.score_critical, "critical")):
        bottom.axhline(level, color=REFUSE, linewidth=0.9, linestyle=(0, (4, 2)))
        place, at = (0.0, level), ("axes fraction", "data")
        bottom.annotate(name, place, (2, 2), at, "offset points", fontsize=font - 1.0, color=MUTED)
    label = f"Mean correlation and shock score, {count(len(alarms), 'alarm')}"
    return as_svg(figure, f"score-{'narrow' if narrow else 'wide'}", label)


def correlation_figure(symbols: Sequence[str], pair: ShockPair, *, narrow: bool) -> str:
    """Return the two matrices of ``pair`` side by side, on a phone one above the other; the diagonal is left empty."""
    cell = min(58.0, (320.0 if narrow else 380.0) / len(symbols))
    left = 12.0 + 8.0 * max(len(symbol) for symbol in symbols)
    side = cell * len(symbols)
    step = (0.0, side + 64.0) if narrow else (side + left + 60.0, 0.0)
    titles = (f"{pair.day_before}, the day before", f"{pair.day}, the alarm")
    parts = [
        _matrix(symbols, matrix, title, (left + place * step[0], 46.0 + place * step[1]), cell)
        for place, (matrix, title) in enumerate(zip((pair.before, pair.after), titles, strict=True))
    ]
    width = left + side + 8.0 + (0.0 if narrow else step[0])
    height = 46.0 + side + 6.0 + (step[1] if narrow else 0.0)
    label = f"Correlations before and after the alarm of {pair.day}, severity {pair.severity}"
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width:.1f} {height:.1f}" '
        f'style="max-width: {width:.0f}px" font-size="12.5">{"".join(parts)}</svg>'
    )


def _matrix(symbols: Sequence[str], matrix: Matrix, title: str, corner: tuple[float, float], cell: float) -> str:
    x0, y0 = corner
    parts = [f'<text x="{x0:.1f}" y="{y0 - 28:.1f}" fill="var(--muted)">{escape(title)}</text>']
    for i, symbol in enumerate(symbols):
        middle = (i + 0.5) * cell
        parts.append(
            f'<text x="{x0 - 7:.1f}" y="{y0 + middle + 4:.1f}" text-anchor="end" fill="var(--ink)" '
            f'font-size="{min(12.5, cell):.1f}">{escape(symbol)}</text>'
        )
        if len(symbols) <= NAMES_MAX:
            parts.append(
                f'<text x="{x0 + middle:.1f}" y="{y0 - 7:.1f}" text-anchor="middle" fill="var(--ink)" '
                f'font-size="{min(12.5, 0.28 * cell):.1f}">{escape(symbol)}</text>'
            )
        parts += [
            _cell(matrix[i][j], x0 + j * cell, y0 + i * cell, cell, len(symbols) <= NUMBERS_MAX)
            for j in range(len(symbols))
            if i != j
        ]
    return "".join(parts)


def _cell(value: float | None, x: float, y: float, cell: float, written: bool) -> str:
    """Return one cell, the stronger its correlation the stronger its colour; a dash where there is none."""
    colour = "var(--rule)" if value is None else "var(--release)" if value >= 0.0 else "var(--baseline-1)"
    opacity = 0.35 if value is None else 0.75 * min(abs(value), 1.0)
    drawn = (
        f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{cell - 2:.1f}" height="{cell - 2:.1f}" rx="2" fill="{colour}" '
        f'fill-opacity="{opacity:.3f}" stroke="var(--rule)" stroke-width="0.6"/>'
    )
    if not written:
        return drawn
    words = "\N{EN DASH}" if value is None else number(value)
    return (
        f'{drawn}<text x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}" text-anchor="middle" fill="var(--ink)" '
        f'font-size="{min(12.5, 0.3 * cell):.1f}">{words}</text>'
    )


def _date_axis(axes: Axes, font: float, narrow: bool) -> None:
    quiet(axes, font)
    locator = date_locator(narrow)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _worst_of_groups(returns: Floats, most: int) -> NDArray[np.int64]:
    """Return the days to draw, rising: all, or the one with the lowest return of each of ``most`` equal groups."""
    groups = np.array_split(np.arange(len(returns)), min(most, len(returns)))
    return np.array([group[np.argmin(returns[group])] for group in groups], dtype=np.int64)


def _scenario_name(row: LossRow) -> str:
    name = plain_name(row.scenario)
    return name[:1].upper() + name[1:]


def _exceptions(n: int) -> str:
    return count(n, "exception")


def _percent_tick(value: float, _: int | None) -> str:
    return f"{100.0 * value:g} %".replace("-", MINUS)


def _floats(values: Sequence[float | None]) -> Floats:
    """Return ``values`` as float64 with NaN for None, where the drawing leaves a gap."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
