"""The synergy rule: orders, directions, time, cooldown, both clocks; stream and slow twin agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.features.columns import STRATEGIC_COLUMNS
from grandmodel.features.kernels_synergy import synergy_rows
from grandmodel.features.reference_synergy import synergy_reference
from grandmodel.features.synergy import (
    COOLDOWN_NS,
    SPAN_NS,
    Synergy,
    SynergyStream,
    find_synergy,
    gap_signals,
    strategic_signals,
    synergy_columns,
    synergy_mask,
)

FIVE = 5 * NS_PER_MINUTE
MLMI, NWRQK, FVG = range(3)
Event = tuple[int, int, int]  # five-minute bar, agent, direction
TYPES = {(MLMI, NWRQK, FVG): 1, (MLMI, FVG, NWRQK): 2, (NWRQK, FVG, MLMI): 3, (NWRQK, MLMI, FVG): 4}


def fired(events: list[Event], bars: int = 60) -> list[tuple[int, int, int]]:
    """Return (bar, type, direction) of the patterns that ``events`` make on a clock without breaks."""
    close_ns = np.arange(1, bars + 1, dtype=np.int64) * FIVE
    gap, strategic = np.zeros(bars, np.int8), np.zeros((bars, 2), np.int8)
    for bar, agent, direction in events:
        if agent == FVG:
            gap[bar] = direction
        else:
            strategic[bar, agent] = direction
    rows = synergy_rows(close_ns, gap, close_ns, strategic, SPAN_NS, COOLDOWN_NS)
    return [(int(t), int(rows[t, 0]), int(rows[t, 1])) for t in np.flatnonzero(rows[:, 0])]


def columns_of(signals: np.ndarray) -> np.ndarray:
    """Return strategic columns float64[S, 13] whose signals (mlmi, side of the slope) are those given."""
    columns = np.zeros((len(signals), 13))
    columns[:, STRATEGIC_COLUMNS.index("mlmi_signal")] = signals[:, 0]
    columns[:, STRATEGIC_COLUMNS.index("nwrqk_slope")] = signals[:, 1] * 0.001
    return columns


def random_case(seed: int, make_random_bars: Callable[..., Bars]) -> tuple[Bars, np.ndarray, np.ndarray]:
    """Return 5-minute bars with a break every 102, 30-minute closes, and columns that make patterns of all types."""
    bars = make_random_bars(seed, 1500, bar_minutes=5)
    row = np.arange(len(bars))
    start_ns = (row + 25 * (row // 102)) * FIVE
    bars = replace(bars, start_ns=start_ns, close_ns=start_ns + FIVE)
    stream = random_stream(seed, "signals")
    close_ns = bars.close_ns[5::6].copy()
    mlmi = stream.choice([-1, 0, 1], len(close_ns), p=[0.3, 0.4, 0.3])
    side = np.where(stream.random(len(close_ns)) < 0.1, 0, stream.choice([-1, 1], len(close_ns)))
    columns = columns_of(np.column_stack([mlmi, side]))
    columns[:3] = np.nan
    return bars, close_ns, columns


@pytest.fixture
def loose(params: FeatureParams) -> FeatureParams:
    """Return windows under which random bars have many gaps."""
    return params.model_copy(update={"gap_lookback_bars": 3, "gap_body_multiple": 0.3})


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("order", list(permutations((MLMI, NWRQK, FVG))))
def test_the_order_gives_the_type_and_a_gap_first_gives_none(order: tuple[int, int, int], direction: int) -> None:
    events = [(10 + 2 * place, agent, direction) for place, agent in enumerate(order)]
    expected = [(14, TYPES[order], direction)] if order in TYPES else []
    assert fired(events) == expected


def test_four_orders_have_a_type() -> None:
    assert sorted(TYPES.values()) == [1, 2, 3, 4]


def test_one_signal_of_the_other_direction_is_no_pattern() -> None:
    for odd in range(3):
        events = [(10 + 2 * agent, agent, -1 if agent == odd else 1) for agent in (MLMI, NWRQK, FVG)]
        assert fired(events) == []


def test_two_signals_are_no_pattern() -> None:
    assert fired([(10, MLMI, 1), (12, NWRQK, 1)]) == []
    assert fired([(10, MLMI, 1), (12, FVG, 1), (13, FVG, 1)]) == []


def test_ten_bars_are_in_time_and_eleven_are_not() -> None:
    assert fired([(10, MLMI, 1), (12, NWRQK, 1), (19, FVG, 1)]) == [(19, 1, 1)]
    assert fired([(10, MLMI, 1), (12, NWRQK, 1), (20, FVG, 1)]) == []


def test_signals_of_one_time_stand_in_the_order_of_the_agents() -> None:
    assert fired([(10, MLMI, 1), (10, NWRQK, 1), (10, FVG, 1)]) == [(10, 1, 1)]
    assert fired([(10, MLMI, 1), (16, NWRQK, 1), (16, FVG, 1)]) == [(16, 1, 1)]
    assert fired([(10, MLMI, 1), (10, FVG, 1), (16, NWRQK, 1)]) == [(16, 2, 1)]
    assert fired([(10, NWRQK, 1), (10, FVG, 1), (16, MLMI, 1)]) == [(16, 3, 1)]
    assert fired([(10, NWRQK, 1), (16, MLMI, 1), (16, FVG, 1)]) == [(16, 4, 1)]


def test_a_later_signal_takes_the_place_of_the_one_of_its_kind() -> None:
    # The second gap turns "gap first" into a type; an opposite mlmi takes the pattern away; a third gives it back.
    assert fired([(9, FVG, 1), (10, MLMI, 1), (12, NWRQK, 1), (13, FVG, 1)]) == [(13, 1, 1)]
    assert fired([(10, MLMI, 1), (11, MLMI, -1), (12, NWRQK, 1), (13, FVG, 1)]) == []
    assert fired([(10, MLMI, 1), (11, MLMI, -1), (12, NWRQK, 1), (13, FVG, 1), (14, MLMI, 1)]) == [(14, 3, 1)]


def test_a_pattern_uses_its_signals_up() -> None:
    events = [(10, MLMI, 1), (11, NWRQK, 1), (12, FVG, 1), (18, FVG, 1), (19, FVG, 1)]
    assert fired(events) == [(12, 1, 1)]


@pytest.mark.parametrize(("bar", "fires"), [(16, False), (17, False), (18, True), (19, True)])
def test_nothing_fires_on_the_five_bars_after_a_pattern(bar: int, fires: bool) -> None:
    first = [(10, MLMI, 1), (11, NWRQK, 1), (12, FVG, 1)]
    second = [(13, MLMI, -1), (14, NWRQK, -1), (bar, FVG, -1)]
    assert fired(first + second) == [(12, 1, 1), (bar, 1, -1)][: 1 + fires]


def test_signals_of_the_cooldown_are_remembered() -> None:
    first = [(10, MLMI, 1), (11, NWRQK, 1), (12, FVG, 1)]
    second = [(13, MLMI, 1), (14, NWRQK, 1), (15, FVG, 1), (18, FVG, 1)]
    assert fired(first + second) == [(12, 1, 1), (18, 1, 1)]


def test_a_pattern_fires_only_where_a_signal_arrives() -> None:
    assert fired([(10, MLMI, 1), (11, NWRQK, 1), (12, FVG, 1), (13, MLMI, 1), (14, NWRQK, 1), (15, FVG, 1)]) == [
        (12, 1, 1)
    ]


def test_a_break_of_the_clock_counts() -> None:
    close_ns = np.array([10, 15, 20, 110, 115], dtype=np.int64) * NS_PER_MINUTE
    gap = np.array([0, 0, 0, 0, 1], dtype=np.int8)
    signals = np.array([[1, 1]], dtype=np.int8)
    late = synergy_rows(close_ns, gap, close_ns[2:3], signals, SPAN_NS, COOLDOWN_NS)
    in_time = synergy_rows(close_ns, gap, close_ns[3:4], signals, SPAN_NS, COOLDOWN_NS)
    assert late[:, 0].tolist() == [0, 0, 0, 0, 0]
    assert in_time[:, 0].tolist() == [0, 0, 0, 0, 1]


def test_a_half_hour_bar_is_unseen_before_its_close() -> None:
    close_ns = np.arange(1, 20, dtype=np.int64) * FIVE
    gap = np.zeros(19, np.int8)
    gap[4] = 1
    signals = np.array([[1, 1]], dtype=np.int8)
    for closes, expected in ((5, 1), (6, 0)):  # with the bar of the gap, and one bar later
        rows = synergy_rows(close_ns, gap, np.array([closes * FIVE]), signals, SPAN_NS, COOLDOWN_NS)
        assert rows[4, 0] == expected
        assert rows[:4, 0].tolist() == [0] * 4
    seconds_later = np.array([5 * FIVE + 1])
    assert not synergy_rows(close_ns, gap, seconds_later, signals, SPAN_NS, COOLDOWN_NS).any()


def test_strategic_signals_are_crosses_that_agree_and_turns_of_the_slope() -> None:
    columns = columns_of(np.array([[0, 0], [1, 1], [0, 1], [-1, -1], [0, 0], [0, -1], [1, 1]]))
    columns[0] = np.nan
    columns[5, STRATEGIC_COLUMNS.index("nwrqk_slope")] = 1e-15  # rounding: no side
    assert strategic_signals(columns).tolist() == [[0, 0], [1, 0], [0, 0], [-1, -1], [0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize("seed", [51, 52, 53])
def test_batch_stream_and_slow_twin_agree(
    seed: int, make_random_bars: Callable[..., Bars], loose: FeatureParams
) -> None:
    bars, close_ns, columns = random_case(seed, make_random_bars)
    found = find_synergy(bars, close_ns, columns, loose)
    assert set(found.kind) == {0, 1, 2, 3, 4}
    assert set(found.direction) == {-1, 0, 1}
    assert np.array_equal(found.kind > 0, found.direction != 0)
    assert synergy_reference(bars, close_ns, columns, loose) == (found.kind.tolist(), found.direction.tolist())
    rows = streamed(SynergyStream("TEST"), bars, close_ns, columns, gap_signals(bars, loose))
    assert np.array_equal(rows, np.column_stack([found.kind, found.direction]))


def streamed(
    stream: SynergyStream, bars: Bars, close_ns: np.ndarray, columns: np.ndarray, gap: np.ndarray, early: bool = False
) -> np.ndarray:
    """Feed both clocks in the order of their closes; ``early`` gives a half-hour bar two bars ahead of its close."""
    rows, s = [], 0
    for t in range(len(bars)):
        ahead = min(t + 2, len(bars) - 1) if early else t
        while s < len(close_ns) and close_ns[s] <= bars.close_ns[ahead]:
            stream.push_strategic(int(close_ns[s]), columns[s])
            s += 1
        rows.append(stream.push_tactical(int(bars.close_ns[t]), int(gap[t])))
    return np.array(rows)


def test_a_half_hour_bar_given_early_waits_for_its_close(
    make_random_bars: Callable[..., Bars], loose: FeatureParams
) -> None:
    bars, close_ns, columns = random_case(54, make_random_bars)
    gap = gap_signals(bars, loose)
    rows = streamed(SynergyStream("TEST"), bars, close_ns, columns, gap)
    assert rows.any()
    assert np.array_equal(streamed(SynergyStream("TEST"), bars, close_ns, columns, gap, early=True), rows)


@pytest.mark.parametrize("t", [1, 40, 333, 700, 1100])
def test_the_past_is_deaf_to_the_future(
    t: int, make_random_bars: Callable[..., Bars], loose: FeatureParams, shuffle_future: Callable[..., Bars]
) -> None:
    bars, close_ns, columns = random_case(55, make_random_bars)
    whole = find_synergy(bars, close_ns, columns, loose)
    visible = int(np.searchsorted(close_ns, bars.close_ns[t - 1], side="right"))
    cut = find_synergy(bars.rows(0, t), close_ns[:visible], columns[:visible], loose)
    assert np.array_equal(cut.kind, whole.kind[:t])
    assert np.array_equal(cut.direction, whole.direction[:t])
    order = visible + random_stream(t, "later").permutation(len(columns) - visible)
    later = columns[np.concatenate([np.arange(visible), order])]
    shuffled = find_synergy(shuffle_future(bars, t - 1), close_ns, later, loose)
    assert np.array_equal(shuffled.kind[:t], whole.kind[:t])
    assert not np.array_equal(shuffled.kind[t:], whole.kind[t:])


def test_a_restored_stream_goes_on(make_random_bars: Callable[..., Bars], loose: FeatureParams) -> None:
    bars, close_ns, columns = random_case(56, make_random_bars)
    gap = gap_signals(bars, loose)
    whole = streamed(SynergyStream("TEST"), bars, close_ns, columns, gap)
    cut = 700
    seen = int(np.searchsorted(close_ns, bars.close_ns[cut - 1], side="right"))
    first = SynergyStream("TEST")
    streamed(first, bars.rows(0, cut), close_ns[:seen], columns[:seen], gap)
    first.push_strategic(int(close_ns[seen]), columns[seen])  # waits in the saved state
    second = SynergyStream.from_arrays(first.to_arrays(), "TEST")
    rest = streamed(second, bars.rows(cut, 1500), close_ns[seen + 1 :], columns[seen + 1 :], gap[cut:])
    assert rest.any()
    assert np.array_equal(rest, whole[cut:])


def test_a_late_or_repeated_bar_is_refused_and_changes_nothing() -> None:
    stream, row = SynergyStream("TEST"), np.zeros(13)
    stream.push_strategic(30, row)
    stream.push_tactical(40, 1)
    before = {name: array.tolist() for name, array in stream.to_arrays().items()}
    for close_ns in (30, 35, 40):
        with pytest.raises(DataError, match="30-minute close_ns"):
            stream.push_strategic(close_ns, row)
    with pytest.raises(DataError, match="5-minute close_ns"):
        stream.push_tactical(40, 1)
    with pytest.raises(DataError, match="gap signal"):
        stream.push_tactical(50, 2)
    with pytest.raises(DataError, match="shape"):
        stream.push_strategic(50, np.zeros(7))
    assert {name: array.tolist() for name, array in stream.to_arrays().items()} == before


@pytest.mark.parametrize("name", ["memory", "clocks", "waiting"])
def test_a_damaged_stream_is_refused(name: str) -> None:
    arrays = SynergyStream("TEST").to_arrays()
    assert SynergyStream.from_arrays(arrays, "TEST").to_arrays().keys() == arrays.keys()
    with pytest.raises(DataError, match="synergy stream"):
        SynergyStream.from_arrays({**arrays, name: np.zeros(2)}, "TEST")
    del arrays[name]
    with pytest.raises(DataError, match="synergy stream"):
        SynergyStream.from_arrays(arrays, "TEST")


def test_columns_hold_the_direction_under_the_type() -> None:
    found = Synergy(np.array([0, 2, 4, 1], np.int8), np.array([0, -1, 1, 1], np.int8))
    assert synergy_columns(found).tolist() == [[0, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]


def test_the_mask_opens_a_side_for_a_while() -> None:
    found = Synergy(np.array([0, 2, 0, 0, 1, 3, 0, 0], np.int8), np.array([0, -1, 0, 0, 1, -1, 0, 0], np.int8))
    mask = synergy_mask(found, hold_bars=2)
    assert mask[:, 0].tolist() == [False, True, True, False, False, True, True, False]
    assert mask[:, 1].all()
    assert mask[:, 2].tolist() == [False, False, False, False, True, False, False, False]
    with pytest.raises(DataError, match="hold_bars"):
        synergy_mask(found, hold_bars=0)


def test_closes_must_increase_and_lengths_agree(bars5: Bars, params: FeatureParams) -> None:
    close_ns, columns = bars5.close_ns[5::6].copy(), np.zeros((116, 13))
    assert len(find_synergy(bars5, close_ns, columns, params).kind) == 700
    with pytest.raises(DataError, match="30-minute close_ns row 1"):
        find_synergy(bars5, close_ns[::-1], columns, params)
    with pytest.raises(DataError, match="strategic columns"):
        find_synergy(bars5, close_ns, columns[1:], params)
    with pytest.raises(DataError, match="high"):
        find_synergy(replace(bars5, high=bars5.low / 2), close_ns, columns, params)
