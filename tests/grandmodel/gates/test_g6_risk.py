from dataclasses import replace

import pytest

from grandmodel.core.config import BreakerLimits
from grandmodel.gates import g6_risk
from grandmodel.gates.g6_risk import StressRow

LIMITS = {"daily_loss_frac": 0.05, "gross_max": 1.0}
CALM = StressRow("volatility x5", 0.03, 0.06, 1.0, 1.0, 0.7, "ACTIVE", None)
CUT = StressRow("flash crash", 0.09, 0.11, 1.0, 0.5, 0.4, "REDUCING", 3)
QUARTER = StressRow("gap through the stop", 0.12, 0.16, 1.0, 0.25, 0.2, "REDUCING", 1)
HALT = StressRow("drill", 0.30, 0.35, 1.0, 0.0, 0.0, "HALTED", 1, drill=True)
ROWS = [CALM, CUT, QUARTER, HALT]


def _judge(rows=ROWS, limits=LIMITS):
    return g6_risk.judge(rows, limits, loss_max_frac=0.25, breaker=BreakerLimits())


def test_losses_within_the_limit_and_a_breaker_that_works_pass() -> None:
    result = _judge()
    assert result.passed
    assert result.statistic == 0.12
    assert result.n == 4
    assert result.evidence["cuts_required"] == 3
    assert result.evidence["halts_required"] == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (replace(CUT, loss_frac=0.26), "flash crash loses 26.0 %"),
        (replace(CUT, gross_cap_after=0.6), "cap 0.6 after 11.0 %"),
        (replace(QUARTER, gross_cap_after=0.3), "cap 0.3 after 16.0 %"),
        (replace(CUT, gross_after=0.9), "gross 0.9 stayed above its cap 0.5"),
        (replace(HALT, state="REDUCING"), "not HALTED"),
    ],
)
def test_each_fault_refuses_and_is_named(row: StressRow, words: str) -> None:
    result = _judge([row if row.scenario == old.scenario else old for old in ROWS])
    assert not result.passed
    assert words in result.reason


def test_a_drill_may_lose_more_than_the_limit() -> None:
    assert HALT.loss_frac > 0.25
    assert _judge().passed


def test_a_breaker_that_nothing_reached_is_not_shown_to_work() -> None:
    result = _judge([CALM])
    assert not result.passed
    assert "the cut was never shown" in result.reason
    assert "the halt was never shown" in result.reason


@pytest.mark.parametrize("limits", [{}, {"gross_max": 0.0}, {"gross_max": float("nan")}])
def test_missing_or_empty_limits_refuse(limits: dict[str, float]) -> None:
    result = _judge(limits=limits)
    assert not result.passed
    assert "limits block is missing" in result.reason


def test_drills_alone_or_figures_that_are_not_finite_are_refused() -> None:
    assert _judge([HALT]).statistic is None
    result = _judge([replace(CUT, loss_frac=float("nan")), *ROWS])
    assert not result.passed
    assert result.statistic is None
    assert "flash crash" in result.reason


@pytest.mark.parametrize(
    ("row", "passes"),
    [
        (CUT, True),
        (HALT, True),
        (replace(CUT, loss_frac=0.26), False),
        (replace(QUARTER, gross_cap_after=0.3), False),
        (replace(CALM, drawdown_frac=float("nan")), False),
    ],
)
def test_a_row_passes_alone_where_it_has_no_fault(row: StressRow, passes: bool) -> None:
    assert g6_risk.passes(row, loss_max_frac=0.25, breaker=BreakerLimits()) is passes


def test_where_nothing_was_held_at_any_shock_nothing_is_shown() -> None:
    empty = [row if row.drill else replace(row, gross_before=0.0) for row in ROWS]
    assert "nothing was held at any shock" in _judge(empty).reason
    assert not _judge(empty).passed
    assert _judge([replace(CALM, gross_before=0.4), *empty[1:]]).passed
