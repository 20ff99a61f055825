"""The drawings of risk show what they were given, escape names, and hold no NaN."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from grandmodel.gates.figures_risk import (
    _worst_of_groups,
    correlation_figure,
    coverage_figure,
    score_figure,
    waterfall_figure,
)
from grandmodel.gates.report_risk import LossRow, ShockPair
from tests.grandmodel.gates.risk_samples import HOSTILE, LOSSES, coverage, method, shock

DRAWINGS = {
    "coverage": lambda narrow: coverage_figure(coverage(), narrow=narrow),
    "waterfall": lambda narrow: waterfall_figure(LOSSES, 0.25, narrow=narrow),
    "score": lambda narrow: score_figure(shock(), narrow=narrow),
    "correlation": lambda narrow: correlation_figure(("ES", "NQ"), _pair(("ES", "NQ")), narrow=narrow),
}


def _pair(symbols: tuple[str, ...]) -> ShockPair:
    pair = shock(symbols).worst
    assert pair is not None
    return pair


def texts(svg: str) -> list[str]:
    """Return what is written in a drawing, which must be well-formed XML."""
    return ["".join(one.itertext()).strip() for one in ET.fromstring(svg).iter("text")]


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("name", DRAWINGS)
def test_every_drawing_is_named_finite_in_the_colours_of_the_page_and_the_same_each_time(
    name: str, narrow: bool
) -> None:
    svg = DRAWINGS[name](narrow)
    assert svg.startswith('<svg role="img" aria-label="')
    assert ET.fromstring(svg).get("aria-label")
    assert "nan" not in svg.lower()
    assert "inf" not in svg.lower()
    assert "#0101" not in svg
    assert "var(--release)" in svg
    assert svg == DRAWINGS[name](narrow)


def test_each_method_has_a_panel_that_counts_its_exceptions() -> None:
    words = texts(coverage_figure(coverage(), narrow=False))
    for title in (
        "Daily return, and the 99 % value at risk that counts: 1 exception",
        "Historical: 2 exceptions",
        "EWMA normal: 0 exceptions",
        "Monte Carlo: 2 exceptions, no vote",
    ):
        assert title in words


def test_without_a_voter_the_panel_of_the_number_that_counts_is_left_out() -> None:
    alone = coverage(method("historical", (0.001,) * 4, (1, 2), votes=False))
    words = texts(coverage_figure(alone, narrow=True))
    assert "Historical: 2 exceptions, no vote" in words
    assert not [one for one in words if "that counts" in one]


def test_exceptions_are_marked_and_calm_days_are_not() -> None:
    marked = coverage_figure(coverage(method("historical", (0.02,) * 4, (1,))), narrow=False)
    calm = coverage_figure(coverage(method("historical", (0.05,) * 4, ())), narrow=False)
    assert "var(--refuse)" in marked
    assert "var(--refuse)" not in re.sub(r"<defs>.*?</defs>", "", calm, flags=re.DOTALL)


def test_a_long_record_is_drawn_by_the_worst_day_of_each_group() -> None:
    returns = np.zeros(1000)
    returns[[3, 777]] = -0.1
    kept = _worst_of_groups(returns, 50)
    assert len(kept) == 50
    assert {3, 777} <= set(kept.tolist())
    assert list(kept) == sorted(kept)
    assert _worst_of_groups(returns[:7], 50).tolist() == list(range(7))


def test_a_scenario_shows_its_loss_with_and_without_and_what_was_saved() -> None:
    words = texts(waterfall_figure(LOSSES, 0.25, narrow=False))
    assert "47.0 % \N{MINUS SIGN} 26.0 % = 21.0 %" in words
    assert "8.0 % + 1.0 % = 9.0 %" in words  # a breaker that cost
    assert "5.0 %" in words  # not replayed without
    names = [one for one in words if one in ("Breaker drill", "Gfc 2008", "Yen carry 2024", "Gap down", "Flash crash")]
    assert names == ["Breaker drill", "Gfc 2008", "Yen carry 2024", "Gap down", "Flash crash"]
    assert "47.0 % \N{RIGHTWARDS ARROW} 21.0 %" in texts(waterfall_figure(LOSSES, 0.25, narrow=True))


def test_saved_and_cost_have_colours_of_their_own_and_are_absent_where_nothing_is_known() -> None:
    both = waterfall_figure(LOSSES, None, narrow=False)
    assert "var(--pass)" in both
    assert "var(--refuse)" in both
    alone = waterfall_figure([LossRow("gap_down", "scenario", 0.05)], None, narrow=False)
    assert "var(--pass)" not in alone
    assert "var(--refuse)" not in alone


def test_a_table_of_gains_alone_is_drawn_too() -> None:
    svg = waterfall_figure([LossRow("a", "scenario", -0.05), LossRow("b", "scenario", 0.0)], 0.25, narrow=False)
    assert "\N{MINUS SIGN}5.0 %" in texts(svg)
    assert "nan" not in svg


def test_both_matrices_stand_with_their_days_and_an_asset_without_correlations_gets_a_dash() -> None:
    words = texts(correlation_figure(("ES", "NQ", "CL"), _pair(("ES", "NQ", "CL")), narrow=False))
    assert words.count("\N{MINUS SIGN}0.25") == 2
    assert words.count("\N{EN DASH}") == 4
    assert words.count("0.75") == 6
    assert "2025-01-07, the day before" in words
    assert "2025-01-08, the alarm" in words
    assert words.count("CL") == 4  # row and column of both


def test_many_symbols_keep_their_cells_and_lose_what_cannot_be_read() -> None:
    symbols = tuple(f"S{i}" for i in range(24))
    svg = correlation_figure(symbols, _pair(symbols), narrow=True)
    assert svg.count("<rect") == 2 * 24 * 23
    assert "0.75" not in texts(svg)
    assert texts(svg).count("S0") == 2  # rows alone
    assert "S0" in texts(correlation_figure(symbols, _pair(symbols), narrow=False))


def test_alarms_are_marked_on_both_lines_and_thresholds_named() -> None:
    drawn = score_figure(shock(), narrow=False)
    assert {"high", "critical"} <= set(texts(drawn))
    assert 'aria-label="Mean correlation and shock score, 1 alarm"' in drawn
    assert 'aria-label="Mean correlation and shock score, 0 alarms"' in score_figure(shock(worst=False), narrow=False)


def test_a_single_day_is_drawn() -> None:
    one = replace(shock(worst=False), days=("2025-01-06",), mean_correlation=(0.2,), score=(1.0,))
    assert "nan" not in score_figure(one, narrow=False)


@pytest.mark.parametrize("narrow", [True, False])
def test_names_are_escaped(narrow: bool) -> None:
    rows = [replace(LOSSES[0], scenario=HOSTILE), replace(LOSSES[1], scenario="50$ or $x^2$")]
    drawings = (
        correlation_figure((HOSTILE, "NQ"), _pair((HOSTILE, "NQ")), narrow=narrow),
        waterfall_figure(rows, None, narrow=narrow),
    )
    for svg in drawings:
        assert "<b>" not in svg
        assert HOSTILE in texts(svg)
    assert "50$ or $x^2$" in texts(drawings[1])  # money, not mathematics
