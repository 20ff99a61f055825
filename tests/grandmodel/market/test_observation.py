from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.market.observation import (
    blank_triples,
    empty_standing,
    lay_windows,
    look_at_accounts,
    write_observations,
    write_states,
    write_triples,
)


@pytest.fixture
def counted_tape(hand_tape):
    features = np.arange(20, dtype=np.float32).reshape(4, 5)
    return hand_tape(np.zeros(4), np.zeros(4), features=features)


def look(tape, spec, row, instrument=0, account=(0.5, -0.2, 0.0, 0.01), actions=(0, 1, 2, 3)):
    """Return the critic's state and the observations [A, D] of one environment."""
    standing, windows = empty_standing(1), lay_windows(tape.features, tape.offsets, spec)
    standing.row[:], standing.mirror[:], standing.accounts[:, 0] = row, windows.mirror[instrument], account
    states = np.full((1, spec.state_size), -9, np.float32)
    observations = np.zeros((1, len(spec.agents), spec.observation_size), np.float32)
    everyone, layout = np.ones(1, np.bool_), spec.layout
    look_at_accounts(standing, everyone, tape.arrays)
    write_states(states, everyone, standing, tape.arrays, windows, layout)
    write_observations(observations, standing, tape.arrays, windows, layout)
    for agent in range(len(spec.agents)):
        write_triples(observations, agent, layout, np.array([actions], np.int64))
    return states[0], observations[0]


def observe(tape, spec, agent, row, **about):
    return look(tape, spec, row, **about)[1][agent]


def test_the_order_is_columns_newest_lag_first_then_own_state_then_triples(sized_team, counted_tape):
    spec = replace(sized_team, lags=2)
    seen = observe(counted_tape, spec, 1, row=2)
    own = [0.5, 1.0, (1 - np.exp(-0.2)) * 10, counted_tape.session_left[2]]
    np.testing.assert_allclose(seen[:11], [12, 13, 7, 8, *own, 1, 0, 0], rtol=1e-6)
    assert not seen[11:].any()


def test_lags_before_the_first_bar_are_zero(sized_team, counted_tape):
    spec = replace(sized_team, lags=3)
    assert observe(counted_tape, spec, 1, row=1)[:6].tolist() == [7, 8, 2, 3, 0, 0]


def test_own_state_is_clipped(sized_team, counted_tape):
    high = observe(counted_tape, sized_team, 2, row=0, account=(1.0, -3.0, 0.0, 9.0))
    low = observe(counted_tape, sized_team, 2, row=0, account=(-1.0, 0.0, 0.0, -9.0))
    assert high[1:4].tolist() == [1.0, 5.0, 5.0]
    assert low[1:4].tolist() == [-1.0, -5.0, 0.0]


def test_the_intent_follows_the_own_state(ordering_team, hand_tape):
    intent = np.array([[0.1, 0.2, 0.7, 0.5, 0.6, 0.3]] * 3, np.float32)
    tape = hand_tape(np.zeros(3), np.zeros(3), columns=3, intent=intent)
    np.testing.assert_array_equal(observe(tape, ordering_team, 1, row=1)[6:12], intent[1])


def test_lags_never_reach_into_the_instrument_before(sized_team, hand_tape):
    features = 1 + np.arange(30, dtype=np.float32).reshape(6, 5)
    tape = hand_tape(np.zeros(6), np.zeros(6), features=features, offsets=(0, 2, 6))
    state, seen = look(tape, replace(sized_team, lags=3), row=3, instrument=1)
    assert state[:15].tolist() == [*features[3], *features[2], 0, 0, 0, 0, 0]
    assert seen[2][:3].tolist() == [features[3, 4], features[2, 4], 0]


@pytest.mark.parametrize("lags", [1, 2, 4])
def test_windows_hold_what_each_reader_sees(sized_team, hand_tape, lags):
    spec = replace(sized_team, lags=lags)
    features = np.arange(1, 36, dtype=np.float32).reshape(7, 5)
    windows = lay_windows(features, np.array([0, 3, 7]), spec)
    readers = [*spec.columns, tuple(range(5))]
    for instrument, (first, stop) in enumerate(((0, 3), (3, 7))):
        for row in range(first, stop):
            for reader, columns in enumerate(readers):
                at = int(windows.first[reader]) + int(windows.mirror[instrument] - row) * int(windows.stride[reader])
                found = windows.values[at : at + int(windows.length[reader])].tolist()
                plain = [features[row - lag, c] if row - lag >= first else 0 for lag in range(lags) for c in columns]
                assert found == plain


def test_states_of_others_and_padding_are_left_alone(sized_team, counted_tape):
    standing, windows = empty_standing(3), lay_windows(counted_tape.features, counted_tape.offsets, sized_team)
    standing.mirror[:] = windows.mirror[0]
    states = np.full((3, sized_team.state_size), -9, np.float32)
    write_states(states, np.array([True, False, True]), standing, counted_tape.arrays, windows, sized_team.layout)
    assert (states[1] == -9).all()
    assert (states[[0, 2]] != -9).all()
    observations = np.full((3, 4, sized_team.observation_size), -9, np.float32)
    write_observations(observations, standing, counted_tape.arrays, windows, sized_team.layout)
    for agent, size in enumerate(sized_team.observation_sizes):
        assert (observations[:, agent, :size] != -9).all()
        assert (observations[:, agent, size:] == -9).all()


def test_triples_are_blanked_where_chosen(sized_team):
    observations = np.ones((2, 4, sized_team.observation_size), np.float32)
    blank_triples(observations, np.array([False, True]), sized_team.layout)
    assert (observations[0] == 1).all()
    for agent, size in enumerate(sized_team.observation_sizes):
        assert not observations[1, agent, size - 3 * agent : size].any()
        assert (observations[1, agent, : size - 3 * agent] == 1).all()
