from dataclasses import replace

import pytest

from grandmodel.core.config import BreakerLimits
from grandmodel.gates import g6_risk
from grandmodel.gates.g6_risk import StressRow
from grandmodel.gates.risk_number import RiskNumber

LIMITS = {**dict.fromkeys(g6_risk.LIMITS_REQUIRED, 0.05), "leverage_max": 1.0}
CALM = StressRow("volatility x5", 0.03, 0.06, 1.0, 1.0, 0.7, "ACTIVE", None, gross_before=0.4)
CUT = StressRow("flash crash", 0.09, 0.11, 1.0, 0.5, 0.4, "REDUCING", 3)
QUARTER = StressRow("gap through the stop", 0.12, 0.16, 1.0, 0.25, 0.2, "REDUCING", 1)
HALT = StressRow("drill", 0.30, 0.35, 1.0, 0.0, 0.0, "HALTED", 1, drill=True)
ROWS = [CALM, CUT, QUARTER, HALT]
NAN = float("nan")
FINE = {"too many": 0.4, "together": 0.9, "too large": 0.3}
DAY = RiskNumber("1 day", 0.99, 400, 4, ("historical", "monte_carlo"), 0.02, FINE)
BAR = replace(DAY, horizon="30 minutes", judged=9000, exceptions=80)


def _judge(rows=ROWS, limits=LIMITS, numbers=(BAR, DAY)):
    return g6_risk.judge(
        rows, limits, loss_max_frac=0.25, breaker=BreakerLimits(), numbers=numbers, false_alarm_max=0.05
    )


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


@pytest.mark.parametrize("limits", [{}, {"x": 1.0}, {name: LIMITS[name] for name in list(LIMITS)[1:]}])
def test_limits_that_are_missing_refuse_and_are_named(limits: dict[str, float]) -> None:
    result = _judge(limits=limits)
    assert not result.passed
    assert "the limits block lacks" in result.reason


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), True, None, "0.05"])
def test_a_limit_that_is_no_positive_number_refuses_and_is_named(value: object) -> None:
    result = _judge(limits={**LIMITS, "guard_gross_exposure_max": value})
    assert not result.passed
    assert "of the limits guard_gross_exposure_max must be positive and finite" in result.reason


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


def test_the_verdict_tells_the_risk_numbers_and_what_they_could_have_shown() -> None:
    result = _judge()
    assert "losses beyond the 99 % value at risk: 80 of 9,000 in 30 minutes and 4 of 400 in 1 day" in result.reason
    assert [one["horizon"] for one in result.evidence["risk_numbers"]] == ["30 minutes", "1 day"]
    assert 0.0 < result.power < 0.5
    assert 0.02 < result.evidence["smallest_effect_80"] < 0.05
    assert result.evidence["days_needed_80"] > 400


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((BAR, replace(DAY, exceptions=15, p={**FINE, "too many": 1e-5})), "1 day was exceeded 15 times of 400, 4 are"),
        ((replace(BAR, p={**FINE, "together": 1e-4}), DAY), "and the exceptions come together (p 0.0001)"),
        ((replace(BAR, p={**FINE, "too large": 1e-4}), DAY), "larger than its expected shortfall"),
        ((BAR, replace(DAY, voters=(), p={})), "no method may vote on the value at risk over 1 day"),
        ((BAR, "returns of 1 day: too few"), "the risk number was not judged: returns of 1 day"),
        ((), "no risk number was judged"),
        ((BAR, replace(DAY, p={})), "the tests of the value at risk over 1 day gave no p-value for each question"),
        ((BAR, replace(DAY, p={"too many": 0.6})), "the tests of the value at risk over 1 day gave no p-value"),
        ((replace(BAR, p=dict.fromkeys(FINE, NAN)), replace(DAY, p=dict.fromkeys(FINE, NAN))), "over 30 minutes gave"),
        ((BAR, replace(DAY, p={**FINE, "too many": NAN, "together": 1e-9})), "over 1 day gave no p-value"),
        ((BAR, replace(DAY, p={**FINE, "too large": 1.5})), "over 1 day gave no p-value"),
    ],
)
def test_a_risk_number_that_fails_or_is_missing_refuses_and_is_named(numbers, words: str) -> None:
    result = _judge(numbers=numbers)
    assert not result.passed
    assert words in result.reason


def test_all_tests_of_all_horizons_share_one_rate_of_false_alarms() -> None:
    assert _judge(numbers=(BAR, replace(DAY, p={**FINE, "too many": 0.02}))).passed
    assert not _judge(numbers=(BAR, replace(DAY, p={**FINE, "too many": 0.008}))).passed


def test_where_nothing_was_held_at_any_shock_nothing_is_shown() -> None:
    for untold in (0.0, None):
        empty = [row if row.drill else replace(row, gross_before=untold) for row in ROWS]
        assert "nothing was held at any shock" in _judge(empty).reason
        assert not _judge(empty).passed
        assert _judge([replace(CALM, gross_before=0.4), *empty[1:]]).passed


def test_a_position_at_the_shock_that_is_not_finite_is_refused_by_name() -> None:
    result = _judge([replace(row, gross_before=NAN) for row in ROWS])
    assert not result.passed
    assert "volatility x5" in result.reason
    assert not g6_risk.passes(replace(CALM, gross_before=NAN), loss_max_frac=0.25, breaker=BreakerLimits())
