"""The number in use, judged on returns whose truth is known."""

import numpy as np
import pytest
from scipy.stats import binom

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.gates import risk_number
from grandmodel.gates.risk_number import (
    QUESTIONS,
    WINDOW,
    at_rest,
    excess_power,
    follow,
    forecasts_needed,
    holm,
    number_faults,
    smallest_rate,
)
from grandmodel.risk.tail import METHODS
from grandmodel.risk.tail_kernel import rolling_tails
from grandmodel.stats.backtest import MethodForecasts, backtest, voting

LEVEL = 0.99


def _stream(name: str) -> np.random.Generator:
    return random_stream(1, name)


def _follow(returns: np.ndarray):
    return follow(returns, "1 day", level=LEVEL, stream=_stream("shortfall"), draws=1000)


def test_on_returns_that_any_method_knows_nothing_is_found() -> None:
    found = _follow(_stream("normal").normal(0.0, 0.01, 2000))
    assert found.judged == 2000 - WINDOW
    assert set(found.p) == set(QUESTIONS)
    assert holm(found.p, 0.05) == ()
    assert found.exceptions / found.judged < 0.01
    assert 0.02 < found.mean_var_frac < 0.04


def test_voters_are_those_of_the_whole_backtest() -> None:
    returns = _stream("fat").standard_t(2.2, 5000) * 0.01
    tails, _ = rolling_tails(returns, (LEVEL,), WINDOW, 0.98)
    forecasts = [
        MethodForecasts(method, "1 day", LEVEL, tails[WINDOW:, place, 0, 0], tails[WINDOW:, place, 0, 1])
        for place, method in enumerate(METHODS)
    ]
    expected = voting(backtest(returns[WINDOW:], forecasts, _stream("slow"), draws=100))
    assert 0 < len(expected) < len(METHODS)
    assert _follow(returns).voters == expected


def test_rare_crashes_that_no_window_holds_are_found() -> None:
    stream = _stream("crashes")
    returns = stream.normal(0.0005, 0.001, 1100)
    returns[WINDOW + 50 :: 40] = -0.05 * (
        1.0 + np.arange(len(returns[WINDOW + 50 :: 40]))
    )  # each larger than all before
    found = _follow(returns)
    assert not found.voters or {"too many", "too large"} & set(holm(found.p, 0.05))


def test_losses_that_come_together_are_found() -> None:
    stream = _stream("together")
    returns = stream.normal(0.0, 0.001, 1500)
    for start in range(300, 1500, 300):
        returns[start : start + 3] = (-0.02, -0.05, -0.2)
    assert "together" in holm(_follow(returns).p, 0.05)


def test_a_book_that_never_moved_has_no_number() -> None:
    found = _follow(np.zeros(400))
    assert found.voters == ()
    assert found.p == {}
    assert found.judged == 0
    assert number_faults([found], 0.05) == [
        "no method may vote on the value at risk over 1 day (0 returns to judge it by)"
    ]


def _sawtooth() -> np.ndarray:
    """Return returns whose deviation grows fourteenfold in 400 and starts anew, so that most numbers are too small."""
    return 0.001 * _stream("saw").normal(size=1600) * np.exp(np.arange(1600) % 400 / 150)


def test_a_book_that_rests_after_its_trading_is_judged_on_its_trading_alone() -> None:
    alone = _follow(_sawtooth())
    assert 0 < len(alone.voters) < len(METHODS)
    assert alone.judged == 1600 - WINDOW
    assert _follow(np.append(_sawtooth(), np.zeros(8000))) == alone


def test_a_book_that_rests_between_gains_no_forecasts_by_it() -> None:
    rested = _follow(np.insert(_sawtooth(), 800, np.zeros(8000)))
    assert rested.judged == 1600 - WINDOW
    assert set(rested.voters) <= set(_follow(_sawtooth()).voters)


def test_a_book_that_hardly_ever_held_anything_is_not_judged() -> None:
    returns = np.append(_stream("short").normal(0.0, 0.01, WINDOW + 99), np.zeros(1000))
    found = _follow(returns)
    assert (found.voters, found.p, found.judged) == ((), {}, 99)
    returns[WINDOW + 99] = 0.01
    assert _follow(returns).judged == 100
    assert _follow(returns).voters


def test_where_voters_have_too_few_numbers_in_common_nobody_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = np.zeros(700)
    returns[::50] = 0.01
    tails = np.full((700, len(METHODS), 1, 2), 0.02)
    tails[WINDOW + 310 :, ::2] = np.nan
    tails[: WINDOW + 290, 1::2] = np.nan
    monkeypatch.setattr(risk_number, "rolling_tails", lambda *_: (tails, None))
    found = _follow(returns)
    assert found.voters == ()
    assert found.judged == 20 + 600 // 50 - 1  # numbers in common, moves without one; one is both
    tails[WINDOW + 200 : WINDOW + 290] = 0.02
    assert _follow(returns).voters == tuple(METHODS)


def test_at_rest_is_every_run_of_a_whole_window_of_zeros() -> None:
    stream = _stream("runs")
    for _ in range(50):
        lengths = stream.integers(1, 2 * WINDOW, 30)
        moves = np.repeat(stream.random(30) < 0.5, lengths).astype(np.float64)
        expected = np.zeros(len(moves), np.bool_)
        for start in range(len(moves) - WINDOW + 1):
            expected[start : start + WINDOW] |= not moves[start : start + WINDOW].any()
        np.testing.assert_array_equal(at_rest(moves), expected)


def test_standing_still_is_no_loss_and_a_loss_out_of_stillness_is_one() -> None:
    returns = _stream("still").normal(0.0, 0.01, 1200)
    returns[400:700] = 0.0
    returns[700] = 0.01
    rested = _follow(returns)
    assert holm(rested.p, 0.05) == ()
    returns[700] = -1e-6
    assert _follow(returns).exceptions == rested.exceptions + 1


@pytest.mark.parametrize("returns", [np.zeros(WINDOW + 99), np.full(400, np.nan), np.zeros((2, 400))])
def test_too_few_or_broken_returns_are_refused_by_name(returns: np.ndarray) -> None:
    with pytest.raises(DataError, match="returns of 1 day"):
        _follow(returns)


def test_holm_rejects_where_the_adjusted_p_is_small() -> None:
    stream = _stream("holm")
    rejections = 0
    for _ in range(200):
        p = np.sort(stream.random(6) ** 3)
        adjusted = np.maximum.accumulate(p * np.arange(6, 0, -1))  # as R's p.adjust(p, "holm") defines it
        found = holm({f"h{place}": value for place, value in enumerate(p)}, 0.05)
        assert found == tuple(f"h{place}" for place in np.flatnonzero(adjusted <= 0.05))
        rejections += len(found)
    assert rejections > 100


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.5])
def test_holm_of_a_p_that_is_none_is_refused_by_name(bad: float) -> None:
    with pytest.raises(DataError, match="too many"):
        holm({"too many": bad, "together": 1e-9}, 0.05)


def test_holm_of_a_textbook_example() -> None:
    """Of statsmodels 0.15, ``multipletests([0.01, 0.04, 0.03, 0.005], method="holm")`` rejects the first and last."""
    assert set(holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}, 0.05)) == {"a", "d"}


def test_power_of_the_count_is_that_of_the_binomial() -> None:
    n, size = 100, 0.05 / 6
    critical = next(count for count in range(n + 1) if binom.sf(count - 1, n, 0.01) <= size)
    assert excess_power(n, LEVEL, 0.02, size) == pytest.approx(binom.sf(critical - 1, n, 0.02))
    rate = smallest_rate(n, LEVEL, size)
    assert excess_power(n, LEVEL, rate, size) == pytest.approx(0.8)
    needed = forecasts_needed(LEVEL, 0.02, size)
    assert excess_power(needed, LEVEL, 0.02, size) >= 0.8 > excess_power(needed - 10, LEVEL, 0.02, size)


def test_one_forecast_finds_nothing() -> None:
    assert smallest_rate(1, LEVEL, 0.001) is None
