"""Every decision of a stress walk passes the guard, and what the guard promises holds in what is filled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.bars import Bars
from grandmodel.core.config import load_environment
from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.data.dataset import Dataset
from grandmodel.market.accounting import ORDER_LIMIT, ORDER_MARKET, ORDER_NONE
from grandmodel.market.decision import INTENT_SIZE_AT
from grandmodel.market.replay import Order, Walk
from grandmodel.risk import shock as shocks
from grandmodel.risk.breaker import CAP_FRACTIONS
from grandmodel.risk.scenarios import SCENARIOS, adverse_drift
from grandmodel.risk.shock import ShockParams
from grandmodel.risk.sleeves import Sleeves
from grandmodel.risk.state import TradingState
from models.release import Release
from pipelines import guarded, stress
from pipelines.guarded import Desk, Passage
from pipelines.strikes import possible_moments, rows_around, stage_at
from pipelines.tapes import FoldMarket
from pipelines.workspace import PROJECT, Workspace

NS_PER_BAR = 300_000_000_000
ROUNDING = 1.0 + 1e-8


@pytest.fixture(scope="module")
def release(workspace: Workspace, fold: FoldMarket) -> Release:
    return Release.load(workspace.train / "weights" / f"fold_{fold.number}" / "seed_0", workspace.params.training)


@pytest.fixture(scope="module")
def shock(workspace: Workspace, dataset: Dataset) -> stress.Shock:
    before, after = rows_around(dataset.tactical, workspace.params)
    moments = possible_moments(dataset.tactical, before, after)
    return stage_at(dataset.tactical, int(moments[-1]), before, after)


@pytest.fixture(scope="module")
def desk(workspace: Workspace, fold: FoldMarket, shock: stress.Shock) -> Desk:
    rules = load_environment(PROJECT / "configs" / "production.yaml")
    return stress.desk_of(shock, fold.spec, workspace.params, rules)


@pytest.fixture(scope="module")
def passages(
    workspace: Workspace, fold: FoldMarket, release: Release, shock: stress.Shock, desk: Desk
) -> dict[str, Passage]:
    """All scenarios and a long fall, each by the release and by a team that is long in sizes drawn at every bar."""
    shocked = {scenario.name: scenario.apply(shock.bars, shock.row, 1) for scenario in SCENARIOS}
    shocked["drill"] = adverse_drift(shock.bars, shock.row, dict.fromkeys(shock.bars, 1.0), move_frac=0.6)
    restless = stress._always_long((release.tactical or release.strategic).spec)
    found = {}
    for name, bars in shocked.items():
        tapes = stress.shocked_tapes(bars, fold.spec, workspace.params, 1.0)
        tape, policy = stress._deciding(release, tapes, workspace.params)
        intent = np.tile(np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0], np.float32), (len(tape), 1))
        intent[:, INTENT_SIZE_AT] = random_stream(1, name).uniform(0.7, 1.0, len(tape))
        found[name] = guarded.walk_guarded(tape, policy, bars, shock.row, desk)
        found[f"{name}, long"] = guarded.walk_guarded(replace(tape, intent=intent), restless, bars, shock.row, desk)
    return found


def test_a_cut_leaves_at_most_half_and_the_cap_stays(passages: dict[str, Passage]) -> None:
    cuts = 0
    for passed in passages.values():
        held, permitted = passed.gross(passed.held), passed.gross(passed.permitted)
        for d, (before, after) in enumerate(zip(passed.states[:-1], passed.states[1:], strict=True)):
            assert after.gross_cap <= before.gross_cap
            assert after.trading >= before.trading
            assert permitted[d] <= after.gross_cap * ROUNDING
            if after.breaker.level > before.breaker.level:
                share = CAP_FRACTIONS[after.breaker.level] / CAP_FRACTIONS[before.breaker.level]
                assert permitted[d] <= share * held[d] * ROUNDING
                cuts += held[d] > 0
    assert cuts >= 3


def test_halted_and_reducing_add_nothing(passages: dict[str, Passage]) -> None:
    seen = dict.fromkeys(TradingState, 0)
    for passed in passages.values():
        for d, state in enumerate(passed.states[1:]):
            seen[state.trading] += 1
            if state.trading is TradingState.HALTED:
                assert not passed.permitted[d].any()
                assert d + 2 >= len(passed.held) or not passed.held[d + 1 :].any()
            if state.trading is TradingState.REDUCING:
                assert (passed.permitted[d] * passed.held[d] >= 0).all()
                assert (np.abs(passed.permitted[d]) <= np.abs(passed.held[d]) * ROUNDING).all()
    assert min(seen.values()) > 0, seen


def test_a_decision_that_reduces_is_never_blocked(passages: dict[str, Passage]) -> None:
    seen = 0
    for passed in passages.values():
        kept = np.where(passed.asked * passed.held > 0, np.minimum(np.abs(passed.asked), np.abs(passed.held)), 0.0)
        left = np.where(passed.permitted * passed.held > 0, np.abs(passed.permitted), 0.0)
        reduces = kept < np.abs(passed.held)
        assert (left[reduces] <= kept[reduces] * ROUNDING).all()
        seen += int(reduces.sum())
    assert seen > 100


def test_positions_move_only_to_what_was_permitted(passages: dict[str, Passage]) -> None:
    overruled = 0
    for passed in passages.values():
        after, before, permitted = passed.held[1:], passed.held[:-1], passed.permitted[:-1]
        np.testing.assert_allclose(after, np.where(after == before, before, permitted), rtol=1e-12, atol=0.0)
        overruled += int((permitted != passed.asked[:-1]).sum())
    assert overruled > 100


def test_a_frozen_feed_reduces_and_says_why(passages: dict[str, Passage]) -> None:
    passed = passages["feed_freeze"]
    trading = [state.trading for state in passed.states[1:]]
    first = trading.index(TradingState.REDUCING)
    assert first == guarded.UNTRADED_BARS_MAX + 1
    assert "price of ES is nan and 1 more" in passed.events[first][0].reason
    assert passed.states[-1].trading is TradingState.REDUCING


def test_a_joint_fall_in_one_bar_cuts_by_the_correlation_alarm_in_that_bar(passages: dict[str, Passage]) -> None:
    events = passages["flash_crash, long"].events[1]
    assert [event.kind for event in events][:1] == ["cut"]
    assert events[0].reason.startswith("correlation shock")


def test_a_guard_that_permits_everything_changes_no_bit(
    workspace: Workspace, fold: FoldMarket, release: Release, shock: stress.Shock, desk: Desk
) -> None:
    wide = desk.environment.model_copy(
        update={
            "limits": desk.environment.limits.model_copy(
                update={
                    "correlation_max": 1.0,
                    "trade_risk_max_frac": 0.9,
                    "daily_loss_max_frac": 0.9,
                    "value_at_risk_max_frac": 0.9,
                    "concentration_max_frac": 1.0,
                }
            )
        }
    )
    tape, policy = stress._deciding(
        release, stress.shocked_tapes(shock.bars, fold.spec, workspace.params, 1.0), workspace.params
    )
    passed = guarded.walk_guarded(tape, policy, shock.bars, shock.row, replace(desk, environment=wide))
    for i, symbol in enumerate(tape.symbols):
        walk = Walk(tape, policy, symbol)
        walk.advance(len(tape))
        free = walk.replay().position[tape.rows(symbol)]
        np.testing.assert_array_equal(passed.held[:, i], free[shock.row - 1 :])
        assert len(np.unique(free[shock.row :])) > 1


def test_the_feed_keeps_the_price_of_a_rest_and_loses_that_of_a_standstill() -> None:
    starts = np.arange(8) * NS_PER_BAR
    close = np.array([10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0])
    ones = np.ones(8)

    def bars(symbol: str, rows: list[int], volume: np.ndarray) -> Bars:
        whole = Bars(symbol, 5, starts, starts + NS_PER_BAR, close, close, close, close, volume,
                     np.zeros(8, np.int32), ones, np.ones(8, np.bool_))  # fmt: skip
        fields = {name: getattr(whole, name)[rows] for name in ("start_ns", "close_ns", "open", "high", "low", "close",
                  "volume", "session", "price_factor", "tradable")}  # fmt: skip
        return replace(whole, **fields)

    still = np.where(np.isin(np.arange(8), (2, 3, 4)), 0.0, 1.0)
    feed = guarded.feed_of({"A": bars("A", [1, 2, 6, 7], ones), "B": bars("B", list(range(8)), still)})
    assert (feed.moment_ns == starts[1:] + NS_PER_BAR).all()
    assert feed.row[:, 0].tolist() == [0, 1, 1, 1, 1, 2, 3]
    assert feed.price[:, 0].tolist() == [11, 12, 12, 12, 12, 16, 17]
    np.testing.assert_array_equal(feed.price[:, 1], [11, 11, 11, np.nan, 15, 16, 17])
    np.testing.assert_allclose(feed.move_frac[:, 1], [0, 0, 0, np.nan, 4 / 11, 1 / 15, 1 / 16])


def test_the_detector_is_tuned_to_three_alarms_a_year_of_its_history(shock: stress.Shock) -> None:
    history = guarded.feed_of(shock.history)
    found = guarded.shock_params_for(history, years=2.0)
    scores = shocks.shock_history(shocks.new_memory(2, found), history.move_frac).score
    assert 0 < shocks.onsets_of(scores, found).sum() <= 6
    looser = ShockParams(score_high=0.8 * found.score_high, score_critical=1.6 * found.score_high)
    assert shocks.onsets_of(scores, looser).sum() >= shocks.onsets_of(scores, found).sum()


def test_a_history_too_short_for_an_alarm_gets_a_threshold_above_its_scores(shock: stress.Shock) -> None:
    history = guarded.feed_of(shock.history)
    found = guarded.shock_params_for(history, years=0.1)
    scores = shocks.shock_history(shocks.new_memory(2, found), history.move_frac).score
    assert np.nanmax(scores) < found.score_high < 1.001 * np.nanmax(scores)


def test_a_single_instrument_has_no_detector_and_is_guarded_all_the_same(
    workspace: Workspace, fold: FoldMarket, release: Release, shock: stress.Shock, desk: Desk
) -> None:
    part = replace(shock, bars={"ES": shock.bars["ES"]}, history={"ES": shock.history["ES"]})
    single = stress.desk_of(part, fold.spec, workspace.params, desk.environment)
    assert guarded.watch(single.history.move_frac, single).detector is None
    deciding = stress._deciding(
        release, stress.shocked_tapes(part.bars, fold.spec, workspace.params, 1.0), workspace.params
    )
    assert guarded.walk_guarded(*deciding, part.bars, part.row, single).permitted.shape[1] == 1


def test_a_value_at_risk_reaches_back_over_rows_without_a_price(desk: Desk) -> None:
    thin = desk.history.move_frac.copy()
    known = np.flatnonzero(np.arange(len(thin)) % 7 < 3)
    thin[np.setdiff1d(np.arange(len(thin)), known)] = np.nan
    np.testing.assert_array_equal(guarded.watch(thin, desk).tail.returns(), thin[known][-guarded.VAR_WINDOW_BARS :])


def test_too_short_a_history_is_refused(shock: stress.Shock, desk: Desk) -> None:
    with pytest.raises(DataError, match=f"at least {guarded.VAR_WINDOW_BARS} rows"):
        guarded.watch(desk.history.move_frac[:500], desk)


@pytest.mark.parametrize(
    ("held", "asked", "permitted", "gross_cap", "sent"),
    [
        (0.5, Order(1.0, ORDER_LIMIT), 1.0, 2.0, Order(1.0, ORDER_LIMIT)),  # as asked
        (0.5, Order(1.0, ORDER_LIMIT), 0.7, 2.0, Order(0.7, ORDER_LIMIT)),  # less is added
        (0.5, Order(0.2, ORDER_LIMIT), 0.2, 2.0, Order(0.2, ORDER_LIMIT)),  # the team reduces at leisure
        (0.5, Order(0.2, ORDER_LIMIT), 0.2, 0.4, Order(0.2, ORDER_MARKET)),  # the cap does not wait
        (0.5, Order(1.0, ORDER_NONE), 0.25, 2.0, Order(0.25, ORDER_MARKET)),  # the guard reduces
    ],
)
def test_reductions_that_must_happen_go_to_the_market(
    held: float, asked: Order, permitted: float, gross_cap: float, sent: Order
) -> None:
    class Standing:
        """The two doors of a walk that sending uses."""

        def __init__(self) -> None:
            self.asked = asked

        def send(self, order: Order) -> None:
            self.asked = order

    walk = Standing()
    wanted = held if asked.style == ORDER_NONE else asked.target
    sleeves = Sleeves(1e6, np.array([8.0]), np.array([1.0]))
    found = guarded.send_permitted(
        [walk],  # type: ignore[list-item]
        sleeves, np.array([held]), np.array([wanted]), np.array([8.0 * permitted]), gross_cap=gross_cap
    )  # fmt: skip
    assert walk.asked == sent
    assert found.tolist() == [permitted]
