from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.market.observation import write_observation, write_state, write_triples


@pytest.fixture
def counted_tape(hand_tape):
    features = np.arange(20, dtype=np.float32).reshape(4, 5)
    return hand_tape(np.zeros(4), np.zeros(4), features=features)


def observe(tape, spec, agent, row, first=0, account=(0.5, -0.2, 0.0, 0.01), actions=(0, 1, 2, 3)):
    layout = spec.layout
    state, out = np.full(spec.state_size, -9, np.float32), np.full(spec.observation_size, -9, np.float32)
    write_state(state, tape.arrays, layout, row, first, np.array(account, np.float64))
    at = write_observation(out, state, layout.gather, layout.offsets[agent], layout.offsets[agent + 1])
    write_triples(out, at, np.array(actions, np.int64), agent)
    return out


def test_the_order_is_columns_newest_lag_first_then_own_state_then_triples(sized_team, counted_tape):
    spec = replace(sized_team, lags=2)
    seen = observe(counted_tape, spec, 1, row=2)
    own = [0.5, 1.0, (1 - np.exp(-0.2)) * 10, counted_tape.session_left[2]]
    np.testing.assert_allclose(seen[:11], [12, 13, 7, 8, *own, 1, 0, 0], rtol=1e-6)
    assert not seen[11:].any()


def test_lags_before_the_first_bar_are_zero(sized_team, counted_tape):
    spec = replace(sized_team, lags=3)
    assert observe(counted_tape, spec, 1, row=2, first=1)[:6].tolist() == [12, 13, 7, 8, 0, 0]


def test_own_state_is_clipped(sized_team, counted_tape):
    high = observe(counted_tape, sized_team, 2, 0, account=(1.0, -3.0, 0.0, 9.0))
    low = observe(counted_tape, sized_team, 2, 0, account=(-1.0, 0.0, 0.0, -9.0))
    assert high[1:4].tolist() == [1.0, 5.0, 5.0]
    assert low[1:4].tolist() == [-1.0, -5.0, 0.0]


def test_the_intent_follows_the_own_state(ordering_team, hand_tape):
    intent = np.array([[0.1, 0.2, 0.7, 0.5, 0.6, 0.3]] * 3, np.float32)
    tape = hand_tape(np.zeros(3), np.zeros(3), columns=3, intent=intent)
    np.testing.assert_array_equal(observe(tape, ordering_team, 1, row=1)[6:12], intent[1])
