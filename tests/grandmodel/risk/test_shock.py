"""The shock detector: what it flags and what not, the latch, the unknown, and that its paths agree to the bit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from grandmodel.core.config import BreakerLimits
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.risk import shock_kernels as kernels
from grandmodel.risk.breaker import alarm, armed
from grandmodel.risk.covariance import correlation_path
from grandmodel.risk.guard_inputs import ALARMS, ALARMS_THAT_CUT
from grandmodel.risk.reference_shock import ReferenceDetector
from grandmodel.risk.shock import (
    REASONS,
    Severity,
    ShockMemory,
    ShockParams,
    ShockReading,
    new_memory,
    onsets_of,
    reading,
    shock_history,
    update,
)
from grandmodel.risk.state import TradingState, fail_closed

PARAMS = ShockParams()
ASSETS = 6
Floats = NDArray[np.float64]


def market(bars: int, *, assets: int = ASSETS, common: float = 0.5, seed: int = 1) -> Floats:
    """Return returns with one common factor."""
    random = random_stream(seed, "shock market")
    return 0.01 * (common * random.normal(size=(bars, 1)) + random.normal(size=(bars, assets)))


def holed(returns: Floats, share: float = 0.1) -> Floats:
    """Return the returns with a share of them missing, an asset that comes late and one that stops."""
    holes = random_stream(2, "holes").random(returns.shape) < share
    found = np.where(holes, np.nan, returns)
    found[:150, 0] = np.nan
    found[200:260, 1] = np.nan
    return found


def one_by_one(memory: ShockMemory, returns: Floats) -> list[ShockReading]:
    found = []
    for row in returns:
        severity = update(memory, row)
        found.append(reading(memory))
        assert found[-1].severity is severity
    return found


def same(left: ShockReading, right: ShockReading) -> bool:
    """Return whether two readings are equal to the last bit, NaN included."""
    return np.array_equal(np.array(left[2:7]), np.array(right[2:7]), equal_nan=True) and (
        (left.severity, left.onset, left.reason) == (right.severity, right.onset, right.reason)
    )


def rows_of(memory: ShockMemory) -> Floats:
    """Return float64[7, N], the part of the memory that has one number for each asset; a view."""
    return memory.state[kernels.HEAD :][: kernels.ROWS * ASSETS].reshape(kernels.ROWS, ASSETS)


def calm(bars: int = 400) -> ShockMemory:
    """Return a detector that has seen a calm market."""
    memory = new_memory(ASSETS, PARAMS)
    shock_history(memory, market(bars))
    return memory


# What it flags


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_joint_move_is_found_in_the_update_that_it_is_in(sign: float) -> None:
    memory = calm()
    assert update(memory, market(1, seed=3)[0]) is Severity.NONE
    assert update(memory, sign * np.full(ASSETS, 0.06)) is Severity.CRITICAL
    found = reading(memory)
    assert found.onset
    assert found.jump_score > 3
    assert found.size_score > 3
    assert found.score == found.jump_score + found.size_score


def test_assets_that_move_together_in_opposite_directions_are_a_shock_too() -> None:
    memory = calm()
    assert update(memory, 0.06 * np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])) >= Severity.HIGH


@pytest.mark.parametrize("move", [0.06, 0.6, -0.6])
def test_one_asset_alone_is_no_shock_at_sixty_deviations(move: float) -> None:
    memory = calm()
    before = reading(memory).eigenvalue_share
    update(memory, np.array([move, 0.001, -0.001, 0.002, 0.0, -0.002]))
    after = reading(memory)
    assert after.severity is Severity.NONE
    assert after.eigenvalue_share < before
    assert after.jump_score < 0


def test_a_calm_market_has_few_onsets_and_a_market_of_shocks_has_them_where_they_are() -> None:
    returns = market(3000)
    assert shock_history(new_memory(ASSETS, PARAMS), returns).onset.sum() <= 3000 / 252 * 4
    shocks = np.arange(500, 3000, 500)
    returns[shocks] = 0.06
    onsets = np.flatnonzero(shock_history(new_memory(ASSETS, PARAMS), returns).onset)
    assert set(shocks) <= set(onsets)


def test_the_unit_of_an_asset_does_not_matter() -> None:
    returns = market(300)
    plain = shock_history(new_memory(ASSETS, PARAMS), returns)
    scaled = shock_history(new_memory(ASSETS, PARAMS), returns * np.array([1, 64, 0.25, 1024, 2, 8]))
    np.testing.assert_array_equal(scaled.score, plain.score)


def test_no_bar_depends_on_one_that_follows() -> None:
    returns = holed(market(400))
    whole = shock_history(new_memory(ASSETS, PARAMS), returns)
    part = shock_history(new_memory(ASSETS, PARAMS), returns[:300])
    np.testing.assert_array_equal(whole.score[:300], part.score)
    np.testing.assert_array_equal(whole.severity[:300], part.severity)


# The latch


def severities(scores: list[float]) -> list[bool]:
    params = ShockParams(score_high=1.0, score_critical=2.0, rearm_bars=2)
    return list(onsets_of(np.array(scores), params))


def test_an_alarm_begins_once_and_again_after_enough_quiet_bars() -> None:
    assert severities([0, 1, 1.5, 0, 1, 0, 0, 1, 0]) == [False, True, False, False, False, False, False, True, False]


def test_a_rise_to_critical_is_an_onset_of_its_own() -> None:
    assert severities([1, 2, 1, 2, 2]) == [True, True, False, False, False]
    assert severities([2, 1, 1, 2]) == [True, False, False, False]


def test_an_unknown_bar_neither_begins_an_alarm_nor_opens_the_latch() -> None:
    assert severities([1, 0, math.nan, math.nan, 1]) == [True, False, False, False, False]
    assert severities([1, 0, math.nan, 0, 1]) == [True, False, False, False, True]


def test_onsets_of_the_scores_are_those_of_the_history() -> None:
    params = ShockParams(score_high=1.5, score_critical=3.0)
    history = shock_history(new_memory(ASSETS, params), holed(market(600)))
    assert history.onset.sum() > 5
    np.testing.assert_array_equal(onsets_of(history.score, params), history.onset)


# What stands behind the flag


def test_share_and_mean_correlation_are_those_of_the_matrix() -> None:
    returns = market(700, assets=8)
    found = shock_history(new_memory(8, PARAMS), returns)
    mean, share = correlation_path(returns, PARAMS.decay)
    np.testing.assert_allclose(found.eigenvalue_share[400:], share[400:], rtol=0, atol=2e-3)
    np.testing.assert_allclose(found.mean_correlation[400:], mean[400:], rtol=0, atol=1e-6)


def test_the_share_is_the_largest_eigenvalue_also_with_missing_returns() -> None:
    returns, decay = holed(market(500)), PARAMS.decay
    memory, moments = new_memory(ASSETS, PARAMS), np.zeros((ASSETS, ASSETS))
    looked = 0
    for t, row in enumerate(returns):
        update(memory, row)
        found = reading(memory)
        filled = np.nan_to_num(row)
        moments = decay * moments + (1 - decay) * np.outer(filled, filled)
        live = rows_of(memory)[1] > 0
        if t < 300 or found.reason or live.sum() < ASSETS:
            continue
        deviation = np.sqrt(np.diag(moments))
        expected = np.linalg.eigvalsh(moments / np.outer(deviation, deviation))[-1] / ASSETS
        assert found.eigenvalue_share == pytest.approx(expected, abs=2e-3)
        looked += 1
    assert looked > 150


def test_assets_that_are_one_have_share_and_correlation_one() -> None:
    returns = np.repeat(market(300, assets=1), 4, axis=1)
    found = shock_history(new_memory(4, PARAMS), returns * (1 + 1e-3 * market(300, assets=4)))
    assert found.eigenvalue_share[-1] == pytest.approx(1.0, abs=1e-6)
    assert found.mean_correlation[-1] == pytest.approx(1.0, abs=1e-6)


def test_an_asset_that_joins_or_leaves_is_no_jump() -> None:
    returns = market(800)
    returns[:400, 2] = np.nan
    returns[600:, 4] = np.nan
    found = shock_history(new_memory(ASSETS, PARAMS), returns)
    for start in (400, 600):
        span = slice(start, start + 30)
        assert not found.reason[span].any()
        assert np.abs(found.jump_score[span]).max() < 6
    assert np.abs(np.diff(found.eigenvalue_share[595:630])).max() > 0.01  # the share itself does move with the set


# One detector in three ways


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("assets", [2, 3, 6, 17])
def test_bar_by_bar_history_and_reference_agree_to_the_bit(assets: int, missing: bool) -> None:
    params = ShockParams(score_high=2.0, score_critical=4.0, warmup_bars=20)
    returns = market(320, assets=assets)
    returns = holed(returns) if missing else returns
    returns[310] = 0.08
    returns[50, 1] = math.inf
    returns[51] = math.nan
    reference = ReferenceDetector(assets, params)
    memory, history = new_memory(assets, params), new_memory(assets, params)
    columns = shock_history(history, returns)
    found = one_by_one(memory, returns)
    assert {row.severity for row in found} == set(Severity)
    for t, row in enumerate(found):
        assert same(row, reference.update(returns[t].tolist()))
        assert (row.severity, row.onset, row.reason) == (
            columns.severity[t],
            columns.onset[t],
            REASONS[columns.reason[t]],
        )
        numbers = [column[t] for column in (columns.mean_correlation, columns.eigenvalue_share, columns.score)]
        np.testing.assert_array_equal([row.mean_correlation, row.eigenvalue_share, row.score], numbers)
    for left, right in zip(memory, history, strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_memory_that_is_saved_and_read_back_goes_on_to_the_same_bit() -> None:
    returns = holed(market(400))
    straight, first = new_memory(ASSETS, PARAMS), new_memory(ASSETS, PARAMS)
    shock_history(straight, returns)
    shock_history(first, returns[:250])
    second = ShockMemory(np.frombuffer(first.state.tobytes()).copy())
    shock_history(second, returns[250:])
    np.testing.assert_array_equal(straight.state, second.state)


# The unknown


def assert_unknown(found: ShockReading, reason: str) -> None:
    """Assert that nothing but the reason is known, and that who acts on it only reduces."""
    assert reason in found.reason
    assert found.severity is Severity.UNKNOWN
    assert not found.onset
    assert all(math.isnan(number) for number in found[2:7])
    assert fail_closed(TradingState.ACTIVE, found.score) is TradingState.REDUCING
    assert found.severity.name not in ALARMS  # which the guard takes for a fault


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e101])
def test_an_infinite_return_is_refused_and_leaves_no_trace(value: float) -> None:
    memory = calm()
    before = memory.state.copy()
    row = market(1, seed=3)[0]
    row[2] = value
    assert update(memory, row) is Severity.UNKNOWN
    assert_unknown(reading(memory), "infinite")
    np.testing.assert_array_equal(memory.state[: kernels.REASON], before[: kernels.REASON])
    np.testing.assert_array_equal(memory.state[kernels.HEAD :], before[kernels.HEAD :])


@pytest.mark.parametrize("traded", [0, 1])
def test_a_bar_on_which_fewer_than_two_traded_is_unknown(traded: int) -> None:
    memory = calm()
    row = np.full(ASSETS, np.nan)
    row[:traded] = 0.01
    assert update(memory, row) is Severity.UNKNOWN
    assert_unknown(reading(memory), "fewer than two")
    assert update(memory, market(1, seed=3)[0]) is Severity.NONE


def test_a_bar_on_which_fewer_than_two_live_assets_traded_is_unknown() -> None:
    returns = market(500)
    returns[:480, 4:] = np.nan
    returns[480:, :3] = np.nan
    memory = new_memory(ASSETS, PARAMS)
    shock_history(memory, returns[:481])
    assert_unknown(reading(memory), "fewer than two")
    shock_history(memory, returns[481:])
    assert reading(memory).reason == ""


def test_before_the_warm_up_nothing_is_known() -> None:
    memory = new_memory(ASSETS, PARAMS)
    assert_unknown(reading(memory), "warming")
    found = one_by_one(memory, market(120))
    known = [row.reason == "" for row in found]
    first = known.index(True)
    assert first >= PARAMS.warmup_bars
    assert all(known[first:])
    for row in found[:first]:
        assert_unknown(row, "warming")


def test_a_series_that_never_moves_is_unknown_until_it_does() -> None:
    returns = market(200)
    returns[:, 3] = 0.0
    memory = new_memory(ASSETS, PARAMS)
    found = one_by_one(memory, returns)
    for row in found[12:]:
        assert_unknown(row, "constant")
    assert [row.reason for row in one_by_one(memory, market(2, seed=3))][1] == ""


def test_series_that_are_all_constant_give_no_number() -> None:
    for row in one_by_one(new_memory(ASSETS, PARAMS), np.zeros((200, ASSETS)))[12:]:
        assert_unknown(row, "constant")


def test_a_broken_memory_gives_no_number() -> None:
    memory = calm()
    rows_of(memory)[3] = np.nan  # the direction
    update(memory, market(1, seed=3)[0])
    assert_unknown(reading(memory), "cannot be computed")


def test_a_history_of_nothing_is_nothing() -> None:
    assert len(shock_history(new_memory(ASSETS, PARAMS), np.empty((0, ASSETS))).score) == 0


@pytest.mark.parametrize("assets", [0, 1])
def test_one_asset_has_no_correlation(assets: int) -> None:
    with pytest.raises(ConfigError, match="at least two assets"):
        new_memory(assets, PARAMS)


@pytest.mark.parametrize(
    "changed",
    [
        {"decay": 1.0},
        {"decay": math.nan},
        {"band_decay": 0.0},
        {"score_high": 0.0},
        {"score_high": math.nan},
        {"score_critical": 6.0},
        {"score_critical": math.inf},
        {"rearm_bars": 0},
        {"warmup_bars": 1},
    ],
)
def test_settings_outside_their_range_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="correlation shock"):
        new_memory(ASSETS, replace(PARAMS, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("row", [np.zeros(ASSETS - 1), np.zeros((1, ASSETS)), np.zeros(ASSETS, np.float32)])
def test_returns_of_another_shape_are_refused(row: Floats) -> None:
    memory = calm()
    before = memory.state.copy()
    with pytest.raises(DataError, match="one for each of 6 assets"):
        update(memory, row)
    with pytest.raises(DataError, match="one for each of 6 assets"):
        shock_history(memory, row[None, :, None] if row.ndim == 1 else row.T)
    np.testing.assert_array_equal(memory.state, before)


VALUES = st.one_of(
    st.floats(-0.2, 0.2), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e300, -1e99, 1e-300, 5e-324])
)


@given(st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=60))
def test_whatever_comes_a_reading_is_whole_or_unknown(rows: list[list[float]]) -> None:
    memory = new_memory(3, replace(PARAMS, warmup_bars=2))
    for found in one_by_one(memory, np.array(rows)):
        if found.reason:
            assert_unknown(found, "")
            continue
        assert found.severity is not Severity.UNKNOWN
        assert all(math.isfinite(number) for number in found[2:7])
        assert 1 / 3 - 0.02 <= found.eigenvalue_share <= 1 + 1e-9
        assert -1 / 2 - 1e-9 <= found.mean_correlation <= 1 + 1e-9


# Leverage


def test_leverage_is_cut_on_the_bar_of_the_alarm() -> None:
    memory, breaker = calm(), armed(1.0, BreakerLimits())
    returns = market(40, seed=3)
    returns[30] = -0.06
    caps, gross_after = [], []
    for row in returns:
        severity = update(memory, row)
        if severity.name in ALARMS_THAT_CUT:
            breaker, events = alarm(breaker, f"correlation shock {severity.name}", gross=0.8)
            gross_after += [event.gross_after for event in events]
        caps.append(breaker.gross_cap)
    assert caps[:30] == [1.0] * 30
    assert max(caps[30:]) <= 0.5
    assert gross_after[0] <= 0.4


def test_a_market_that_stands_still_rings_no_alarm() -> None:
    returns = np.concatenate(
        [0.01 * random_stream(5, "before it stands").standard_normal((400, 4)), np.zeros((20_000, 4))]
    )
    history = shock_history(new_memory(4, ShockParams()), returns)
    assert (history.severity[400:] <= 0).all()
    assert history.severity[-1] == Severity.UNKNOWN
