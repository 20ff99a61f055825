"""The two markets of gate G2: one shows the answer, one holds none."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.config import Params
from grandmodel.market.tape import MarketTape
from models.strategic.agents import strategic_team
from pipelines import sanity
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace


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


def test_shuffling_keeps_every_bar_whole_and_in_its_instrument(tape: MarketTape, params: Params) -> None:
    shuffled = sanity._shuffle(tape, params.seed, "test")
    names = ("gap_frac", "body_frac", "high_frac", "low_frac")
    for symbol in tape.symbols:
        rows = tape.rows(symbol)
        before = np.stack([getattr(tape, name)[rows] for name in names], axis=1)
        after = np.stack([getattr(shuffled, name)[rows] for name in names], axis=1)
        assert not np.array_equal(before, after)
        np.testing.assert_array_equal(before[np.lexsort(before.T)], after[np.lexsort(after.T)])


def test_shuffling_leaves_features_costs_and_time_alone(tape: MarketTape, params: Params) -> None:
    shuffled = sanity._shuffle(tape, params.seed, "test")
    for name in ("features", "start_ns", "half_spread_frac", "impact_frac", "tradable", "session"):
        np.testing.assert_array_equal(getattr(shuffled, name), getattr(tape, name))


def test_nothing_is_left_to_predict_after_shuffling(tape: MarketTape, params: Params) -> None:
    def predicted(one: MarketTape) -> float:
        rows = one.rows("NQ")
        deviation = one.features[rows][:-1, 2]
        return float(np.corrcoef(deviation, one.body_frac[rows][1:])[0, 1])

    assert predicted(tape) < -0.03  # the planted edge: the move is faded
    shuffled = [predicted(sanity._shuffle(tape, seed, "test")) for seed in range(30)]
    assert abs(float(np.mean(shuffled))) < 0.03


def test_parts_and_seeds_are_shuffled_apart(tape: MarketTape, params: Params) -> None:
    orders = {sanity._shuffle(tape, seed, part).body_frac.tobytes() for seed in (1, 2) for part in ("train", "test")}
    assert len(orders) == 4
