from __future__ import annotations

import math

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.risk.state import TradingState, fail_closed
from grandmodel.stats.backtest import MethodForecasts, MethodVerdict, backtest, voted, voting
from grandmodel.stats.coverage import Light, Verdict
from grandmodel.stats.shortfall import normal_excess

N, LEVEL = 1000, 0.99
VAR, ES = 2.3263479, 2.6652142  # of a standard normal at 99 %
TESTS = ["exact binomial", "kupiec", "independence", "conditional coverage", "Z1", "Z2"]


def _returns(n: int = N) -> np.ndarray:
    return 0.01 * random_stream(4, "realised").standard_normal(n)


def _forecasts(method: str, multiple: float = 1.0, n: int = N, horizon: str = "1 day") -> MethodForecasts:
    var, es = np.full(n, 0.01 * VAR * multiple), np.full(n, 0.01 * ES * multiple)
    return MethodForecasts(method, horizon, LEVEL, var, es, normal_excess(LEVEL))


def _judged(*forecasts: MethodForecasts, returns: np.ndarray | None = None) -> list[MethodVerdict]:
    realised = _returns() if returns is None else returns
    return backtest(realised, forecasts, random_stream(1, "backtest"), draws=500)


def test_all_tests_are_run_for_every_method() -> None:
    right, small = _judged(_forecasts("right"), _forecasts("small", 0.7))
    assert [one.test for one in right.results] == TESTS
    assert all(0 < one.power <= 1 and one.alternative for one in right.results)
    assert [one.verdict for one in right.results] == [Verdict.PASSED] * 6
    assert right.light is Light.GREEN
    assert right.covers
    assert right.mean_var_frac == pytest.approx(0.01 * VAR)
    assert right.exceptions == int((_returns() < -0.01 * VAR).sum()) > 0
    assert small.light is Light.RED
    assert not small.covers
    assert small.of("kupiec").verdict is Verdict.REJECTED


def test_a_red_method_loses_its_vote_and_the_others_keep_theirs() -> None:
    verdicts = _judged(_forecasts("right"), _forecasts("small", 0.7), _forecasts("large", 1.5))
    assert voting(verdicts) == ("right", "large")
    # The light looks at one side only: who sees too much risk keeps the vote, though the exact test rejects.
    assert verdicts[2].of("exact binomial").verdict is Verdict.REJECTED


def test_red_on_one_horizon_is_red() -> None:
    verdicts = _judged(_forecasts("mixed"), _forecasts("right"), _forecasts("mixed", 0.7, horizon="1 bar"))
    assert voting(verdicts) == ("right",)


def test_when_none_may_vote_there_is_no_number_and_the_state_is_reducing() -> None:
    verdicts = _judged(_forecasts("one", 0.7), _forecasts("other", 0.6))
    assert voting(verdicts) == ()
    number = voted({"one": 0.02, "other": 0.03}, voting(verdicts))
    assert math.isnan(number)
    assert fail_closed(TradingState.ACTIVE, number) is TradingState.REDUCING
    assert voting([]) == ()


def test_the_largest_number_of_those_that_may_vote_counts() -> None:
    numbers = {"a": 0.02, "b": 0.03, "red": 0.01}
    assert voted(numbers, ("a", "b")) == 0.03
    assert voted(numbers, ("a",)) == 0.02


@pytest.mark.parametrize("numbers", [{"a": 0.02}, {"a": 0.02, "b": math.nan}, {"a": 0.02, "b": math.inf}])
def test_a_voter_without_a_number_leaves_none(numbers: dict[str, float]) -> None:
    assert math.isnan(voted(numbers, ("a", "b")))


def test_a_method_that_nobody_could_judge_has_no_vote() -> None:
    short = _judged(_forecasts("short", n=60), returns=_returns(60))
    assert short[0].light is None
    assert short[0].reason == "60 forecasts, and level 0.99 needs 100"
    assert not short[0].covers
    assert voting(short) == ()


def test_bars_without_a_number_count_as_exceptions() -> None:
    holes = _forecasts("holes", 2.0)
    holes.var_frac[100:110] = math.nan
    holes.es_frac[200:230] = holes.var_frac[200:230] / 2  # below VaR: no expected shortfall
    (verdict,) = _judged(holes)
    assert (verdict.missing, verdict.exceptions) == (40, 40)
    assert verdict.reason == "40 bars without a number"
    assert verdict.light is Light.RED
    assert verdict.of("Z2").n == N - 40
    assert verdict.mean_var_frac == pytest.approx(0.02 * VAR)


def test_a_method_that_never_has_a_number_is_red() -> None:
    none = _forecasts("none", math.nan)
    (verdict,) = _judged(none)
    assert (verdict.light, verdict.exceptions, verdict.missing) == (Light.RED, N, N)
    assert math.isnan(verdict.mean_var_frac)
    assert [verdict.of(test).verdict for test in ("Z1", "Z2")] == [Verdict.UNKNOWN] * 2


def test_the_same_stream_gives_the_same_verdicts() -> None:
    assert _judged(_forecasts("right")) == _judged(_forecasts("right"))


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="as many forecasts as returns"):
        _judged(_forecasts("right", n=N - 1))
    with pytest.raises(DataError, match="right: needs one ES for each VaR"):
        _judged(_forecasts("right")._replace(es_frac=np.zeros(3)))
    with pytest.raises(DataError, match="must be finite"):
        _judged(_forecasts("right"), returns=np.full(N, math.nan))
    with pytest.raises(ConfigError, match="level"):
        _judged(_forecasts("right")._replace(level=0.3))


@pytest.mark.parametrize("number", [-0.0258, 0.0, math.inf])
def test_a_number_that_promises_no_loss_is_none(number: float) -> None:
    assert math.isnan(voted({"a": number, "b": 0.02}, ("a", "b")))
