from __future__ import annotations

import numpy as np

from grandmodel.market.simulated import simulated_bars, simulated_tape


def test_bars_are_whole_and_on_the_tick_grid():
    bars = simulated_bars("SIM0", 5, 1000, seed=1)
    body_high, body_low = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    assert (bars.high >= body_high).all()
    assert (bars.low <= body_low).all()
    assert bars.low.min() > 0
    np.testing.assert_allclose(bars.close * 100, np.round(bars.close * 100), atol=1e-6)
    assert 0 < (bars.volume == 0).mean() < 0.05


def test_one_seed_gives_one_tape_and_another_seed_another(ordering_team):
    tapes = [simulated_tape(ordering_team, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(tapes[0].arrays.market, tapes[1].arrays.market)
    np.testing.assert_array_equal(tapes[0].intent, tapes[1].intent)
    assert not np.array_equal(tapes[0].gap_frac, tapes[2].gap_frac)
    assert not np.array_equal(tapes[0].body_frac[:600], tapes[0].body_frac[600:])


def test_features_know_nothing_of_later_bars(sized_team):
    tape = simulated_tape(sized_team, rows=300, instruments=1)
    growth = (1 + tape.gap_frac) * (1 + tape.body_frac) - 1
    assert np.corrcoef(tape.features[:, 0], growth)[0, 1] > 0.99
    assert abs(np.corrcoef(tape.features[:-1, 0], growth[1:])[0, 1]) < 0.15


def test_intents_are_shares_with_a_size(ordering_team):
    intent = simulated_tape(ordering_team).intent
    np.testing.assert_allclose(intent[:, :3].sum(axis=1), 1, atol=1e-6)
    assert intent.min() >= 0
    assert intent.max() <= 1
    assert len(np.unique(intent[:, 3])) == 4
