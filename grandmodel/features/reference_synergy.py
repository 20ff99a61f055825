"""Slow, obvious twin of the synergy rule: at every bar all signals so far are listed and looked through again."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import FeatureParams
from grandmodel.features.columns import STRATEGIC_COLUMNS, TIE_FRAC
from grandmodel.features.kernels import Floats
from grandmodel.features.reference import gap_of

AGENTS = ("mlmi", "nwrqk", "fvg")  # in acting order
TYPES = (("mlmi", "nwrqk", "fvg"), ("mlmi", "fvg", "nwrqk"), ("nwrqk", "fvg", "mlmi"), ("nwrqk", "mlmi", "fvg"))
FIVE_MINUTES_NS = 5 * NS_PER_MINUTE


class Signal(NamedTuple):
    """One signal: when it can be known, whose it is, its direction."""

    time_ns: int
    agent: str
    direction: int


def synergy_reference(
    tactical: Bars, strategic_close_ns: NDArray[np.int64], strategic_columns: Floats, params: FeatureParams
) -> tuple[list[int], list[int]]:
    """Return types and directions per 5-minute bar, as ``find_synergy`` does, slowly."""
    signals = sorted(
        _strategic_signals(strategic_close_ns, strategic_columns) + _gap_signals(tactical, params),
        key=lambda signal: (signal.time_ns, AGENTS.index(signal.agent)),
    )
    kinds, directions = [], []
    fired_ns: list[int] = []
    before_ns = -math.inf
    for now_ns in tactical.close_ns.tolist():
        used_until_ns = fired_ns[-1] if fired_ns else -math.inf
        known = [signal for signal in signals if used_until_ns < signal.time_ns <= now_ns]
        arrived = any(signal.time_ns > before_ns for signal in known)
        cooling = bool(fired_ns) and now_ns - fired_ns[-1] <= 5 * FIVE_MINUTES_NS
        kind, direction = _pattern(known, now_ns) if arrived and not cooling else (0, 0)
        fired_ns += [now_ns] if kind else []
        kinds.append(kind)
        directions.append(direction)
        before_ns = now_ns
    return kinds, directions


def _pattern(known: list[Signal], now_ns: int) -> tuple[int, int]:
    """Return type and direction of the latest signal of each agent, or (0, 0); ``known`` is in order."""
    latest = {signal.agent: place for place, signal in enumerate(known)}
    if len(latest) < len(AGENTS):
        return 0, 0
    three = [known[place] for place in sorted(latest.values())]
    agents = tuple(signal.agent for signal in three)
    one_direction = len({signal.direction for signal in three}) == 1
    in_time = now_ns - (three[0].time_ns - FIVE_MINUTES_NS) <= 10 * FIVE_MINUTES_NS
    if agents not in TYPES or not one_direction or not in_time:
        return 0, 0
    return TYPES.index(agents) + 1, three[0].direction


def _strategic_signals(close_ns: NDArray[np.int64], columns: Floats) -> list[Signal]:
    found: list[Signal] = []
    sides: list[int] = []
    for time_ns, row in zip(close_ns.tolist(), columns.tolist(), strict=True):
        values = dict(zip(STRATEGIC_COLUMNS, row, strict=True))
        if values["mlmi_signal"] in (-1.0, 1.0):
            found.append(Signal(time_ns, "mlmi", int(values["mlmi_signal"])))
        if abs(values["nwrqk_slope"]) > TIE_FRAC:
            sides.append(1 if values["nwrqk_slope"] > 0 else -1)
            if len(sides) > 1 and sides[-1] != sides[-2]:
                found.append(Signal(time_ns, "nwrqk", sides[-1]))
    return found


def _gap_signals(bars: Bars, params: FeatureParams) -> list[Signal]:
    born = [(int(bars.close_ns[t]), gap_of(bars, t, params)[0]) for t in range(len(bars))]
    return [Signal(time_ns, "fvg", direction) for time_ns, direction in born if direction != 0]
