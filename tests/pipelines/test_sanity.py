"""The markets of gate G2: one shows the answer, the placebos hold none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.data.dataset import Dataset
from grandmodel.market.tape import MarketTape
from models.feature_spec import FeatureSpec
from models.strategic.agents import strategic_team
from pipelines import sanity
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace

PRICES = ("open", "high", "low", "close")


@pytest.fixture
def params(workspace: Workspace) -> Params:
    return workspace.params


@pytest.fixture
def tape(fold: FoldMarket) -> MarketTape:
    return fold.test.strategic


def test_the_next_return_is_that_of_the_bar_on_which_a_decision_fills(tape: MarketTape) -> None:
    following = sanity._next_body(tape)
    for symbol in tape.symbols:
        rows = tape.rows(symbol)
        np.testing.assert_array_equal(following[rows][:-1], tape.body_frac[rows][1:])
        assert following[rows][-1] == 0.0  # never the first bar of the next instrument


def test_the_shown_answer_has_the_sign_of_the_next_return_for_every_voter(tape: MarketTape, params: Params) -> None:
    shown = sanity._show_next_return(tape, params).features
    voters = strategic_team(params.training.strategic).columns[:-1]
    moved = np.abs(sanity._next_body(tape)) > 1e-6
    assert moved.sum() > 100
    for columns in voters:
        assert (np.sign(shown[moved, columns[0]]) == np.sign(sanity._next_body(tape)[moved])).all()
    others = np.delete(shown, [columns[0] for columns in voters], axis=1)
    assert not others.any()
    assert np.abs(shown).max() <= params.features.scaled_abs_max


def _logs(bars: Bars) -> np.ndarray:
    """Return gap, body, high and low of every bar in logarithms, float64[4, n]."""
    gap = np.append(0.0, np.log(bars.open[1:] / bars.close[:-1]))
    return np.stack([gap, *(np.log(getattr(bars, name) / bars.open) for name in ("close", "high", "low"))])


@pytest.fixture
def bars(dataset: Dataset) -> Bars:
    return dataset.strategic["NQ"]


def test_mirrored_bars_keep_their_place_and_size_and_lose_their_side(bars: Bars) -> None:
    made = sanity.placebo_bars(bars, np.random.default_rng(1), shuffled=False)
    before, after = _logs(bars), _logs(made)
    np.testing.assert_allclose(np.abs(after[:2]), np.abs(before[:2]), atol=1e-12)
    np.testing.assert_allclose(after[2] - after[3], before[2] - before[3], atol=1e-12)
    turned = np.sign(after[1]) != np.sign(before[1])
    assert 0.4 < turned.mean() < 0.6
    assert (made.high >= np.maximum(made.open, made.close) - 1e-9).all()
    assert (made.low <= np.minimum(made.open, made.close) + 1e-9).all()
    np.testing.assert_array_equal(made.volume, bars.volume)


def test_shuffled_bars_are_the_same_bars_whole_in_another_order(bars: Bars) -> None:
    made = sanity.placebo_bars(bars, np.random.default_rng(1), shuffled=True)
    before, after = _logs(bars), _logs(made)
    ranges = (
        np.stack([before[2] - before[3], np.abs(before[1]), bars.volume]),
        np.stack([after[2] - after[3], np.abs(after[1]), made.volume]),
    )
    assert not np.allclose(ranges[0], ranges[1])
    one, other = (np.round(table, 9)[:, np.lexsort(np.round(table, 9))] for table in ranges)
    np.testing.assert_allclose(one, other, atol=2e-9)


def test_placebos_leave_time_and_terms_alone(bars: Bars) -> None:
    for shuffled in (True, False):
        made = sanity.placebo_bars(bars, np.random.default_rng(1), shuffled=shuffled)
        for name in ("start_ns", "close_ns", "session", "price_factor"):
            np.testing.assert_array_equal(getattr(made, name), getattr(bars, name))


def test_a_drift_is_nothing_to_hold_on_to_in_a_placebo(bars: Bars) -> None:
    rising = replace(bars, **{n: getattr(bars, n) * np.exp(0.01 * np.arange(len(bars))) for n in PRICES})
    ends = [
        np.log(made.close[-1] / made.open[0])
        for draw in range(40)
        for made in [sanity.placebo_bars(rising, np.random.default_rng(draw), shuffled=draw % 2 == 0)]
    ]
    assert np.log(rising.close[-1] / rising.open[0]) > 10.0
    assert abs(np.mean(ends)) < 3.0 * np.std(ends) / np.sqrt(len(ends))


def test_every_draw_of_every_kind_is_another_market(dataset: Dataset, fold: FoldMarket, params: Params) -> None:
    tables = sanity.placebo_daily_returns(dataset, fold, params)
    assert set(tables) == set(sanity.PLACEBOS)
    days = len(np.unique(fold.test.strategic.session))
    assert {table.shape for table in tables.values()} == {(params.gates.placebo_draws, days)}
    rows = np.concatenate(list(tables.values()))
    assert len({row.tobytes() for row in rows}) == len(rows)


def test_a_look_ahead_in_a_feature_is_won_on_every_placebo(
    dataset: Dataset, fold: FoldMarket, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = FeatureSpec.strategic

    def leaking(self: FeatureSpec, bars: Bars, **options: int) -> np.ndarray:
        columns = honest(self, bars, **options).copy()
        following = np.append(bars.close[1:] / bars.open[1:] - 1.0, 0.0)
        columns[:, [0, 2, 10]] = np.clip(following / following.std(), -5.0, 5.0)[:, None]
        return columns

    clean = sanity.placebo_daily_returns(dataset, fold, _longer(params))
    monkeypatch.setattr(FeatureSpec, "strategic", leaking)
    leaked = sanity.placebo_daily_returns(dataset, fold, _longer(params))
    for kind in sanity.PLACEBOS:
        assert leaked[kind].sum(axis=1).min() > 0.1
        assert abs(clean[kind].sum(axis=1)).max() < 0.1


def _longer(params: Params) -> Params:
    strategic = params.training.strategic.model_copy(update={"frames": 50_000})
    training = params.training.model_copy(update={"strategic": strategic})
    gates = params.gates.model_copy(update={"placebo_draws": 2})
    return params.model_copy(update={"training": training, "gates": gates})
