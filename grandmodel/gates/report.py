"""The report of one release: a single HTML page that needs nothing but itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from grandmodel.gates.figures import baseline_slot, equity_figure, interval_mark, spark_line
from grandmodel.gates.figures_risk import correlation_figure, coverage_figure, score_figure, waterfall_figure
from grandmodel.gates.report_data import (
    BreakerRow,
    CheckRow,
    Curve,
    DataSummary,
    DatedRow,
    FindingRow,
    InstrumentRow,
    MoveRow,
    ReportInput,
    StrategyRow,
    TrainingRow,
    curve_of,
    strategy_of,
)
from grandmodel.gates.report_risk import method_words, power_words, verdict_words, votes_words
from grandmodel.gates.text import count, gate_title, number, percent, plain_name

__all__ = [
    "BreakerRow",
    "CheckRow",
    "Curve",
    "DataSummary",
    "DatedRow",
    "FindingRow",
    "InstrumentRow",
    "MoveRow",
    "ReportInput",
    "StrategyRow",
    "TrainingRow",
    "curve_of",
    "render_report",
    "strategy_of",
]


@dataclass(frozen=True)
class LegendEntry:
    """One line of the legend: its label and the CSS class that carries its colour."""

    label: str
    css: str


def render_report(report: ReportInput) -> str:
    """Return the report as one HTML page without scripts and without outside references; equal input, equal bytes."""
    page = _template().render(
        report=report,
        headline=_headline(report),
        chart_wide=_chart(report, narrow=False),
        chart_narrow=_chart(report, narrow=True),
        drawings=_risk_drawings(report),
        legend=[_legend_entry(curve, report) for curve in report.curves],
        release=next((row for row in report.strategies if row.kind == "release"), None),
        marks=_marks(report.strategies),
        training=[(team, list(rows)) for team, rows in groupby(report.training, key=lambda row: row.team)],
        checks_failed=[check for check in report.data.checks if not check.passed],
        warnings=[finding for finding in report.data.findings if finding.level == "warning"],
    )
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", page.lstrip())


def _headline(report: ReportInput) -> str:
    if report.verdict.passed and report.verdict.waived:
        return f"Waived: a named person answers for the release, which stands in {report.stage}."
    if report.verdict.passed:
        return f"Passed: the release stands in {report.stage}."
    return f"Refused: the release stays in {report.stage}."


def _chart(report: ReportInput, *, narrow: bool) -> Markup:
    if len(report.days) < 2 or not report.curves:
        return Markup("")
    for curve in report.curves:
        assert len(curve.equity) == len(report.days), f"curve {curve.name} does not span the days of the report"
    return Markup(equity_figure(report.days, report.curves, report.fold_starts, narrow=narrow))


def _risk_drawings(report: ReportInput) -> dict[str, tuple[Markup, Markup]]:
    """Return the drawings of risk that the data allow, each for a screen and for a phone."""
    drawings: dict[str, tuple[Markup, Markup]] = {}

    def add(name: str, draw: Callable[..., str], *data: Any) -> None:
        drawings[name] = Markup(draw(*data, narrow=False)), Markup(draw(*data, narrow=True))

    if report.losses:
        add("waterfall", waterfall_figure, report.losses, report.stress_loss_max_frac)
    if not isinstance(report.coverage, str):
        add("coverage", coverage_figure, report.coverage)
    if not isinstance(report.correlation, str):
        add("score", score_figure, report.correlation)
        if report.correlation.worst is not None:
            add("correlation", correlation_figure, report.correlation.symbols, report.correlation.worst)
    return drawings


def _legend_entry(curve: Curve, report: ReportInput) -> LegendEntry:
    if curve.kind == "release":
        band = f", {percent(report.confidence, 0)} band over seeds" if curve.lower else ""
        return LegendEntry(f"{_shown_name(curve)} (interquartile mean{band})", "release")
    if curve.kind == "oracle":
        return LegendEntry(f"{_shown_name(curve)} (not tradable)", "oracle")
    return LegendEntry(_shown_name(curve), f"baseline-{baseline_slot(curve.name, report.curves)}")


def _marks(rows: tuple[StrategyRow, ...]) -> dict[str, Markup]:
    """Return the drawn interval of each strategy, all on one axis set by those that are not oracles."""
    scaled = [row.excess for row in rows if row.excess is not None and row.kind != "oracle"]
    reach = max((max(abs(x.lower), abs(x.upper)) for x in scaled), default=1.0)
    return {row.name: Markup(interval_mark(row.excess, reach)) for row in rows if row.excess is not None}


def _statistic(value: float | None) -> str:
    """Return a statistic or threshold with three significant digits; a dash where there is none."""
    if value is None:
        return "not computed"
    if value == int(value) and abs(value) < 1e6:
        return number(value, 0)
    return number(value, 3 if abs(value) < 10 else 1)


def _shown_name(row: Curve | StrategyRow) -> str:
    if row.kind == "oracle":
        return "Simulator's oracle"
    return _capitalized(plain_name(row.name))


def _capitalized(words: str) -> str:
    return words[:1].upper() + words[1:]


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("grandmodel.gates", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "percent": percent,
        "number": number,
        "count": count,
        "statistic": _statistic,
        "spark": lambda values: Markup(spark_line(values)),
        "plain_name": plain_name,
        "shown_name": _shown_name,
        "capitalize_first": _capitalized,
        "gate_title": gate_title,
        "votes_words": votes_words,
        "power_words": power_words,
        "method_words": method_words,
        "verdict_words": verdict_words,
    }
    environment.filters.update(filters)
    return environment.get_template("report.html.j2")
