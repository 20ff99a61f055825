"""What a stream remembers: made empty, written to plain arrays, read back and distrusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import DataError
from grandmodel.core.hashing import hash_json
from grandmodel.features import columns as c
from grandmodel.features import kernels_streaming as k
from grandmodel.features import kernels_streaming_tactical as tactical
from grandmodel.features.kernels_mmd import mean_within
from grandmodel.features.mmd import MmdReference
from grandmodel.features.strategic import line_weights

Arrays = dict[str, NDArray[Any]]

FINGERPRINT: Final = "fingerprint"
SCRATCH: Final = frozenset({"distances", "scratch", "profile"})  # overwritten before it is read
GROWING: Final = frozenset({"stored", "labels"})
ROOM: Final = 64
WINDOWS: Final = 4
"""A table holds this many times the longest window: its last bars move to the front once in three windows."""


def strategic_setup(params: FeatureParams, reference: MmdReference, tick_size: float) -> k.StrategicSetup:
    """Return windows, weights and reference. Raises ConfigError when the kernel lag is not below its bandwidth."""
    smooth, quick = line_weights(params)
    gamma = 1.0 / (2.0 * reference.bandwidth**2)
    looks_back = (
        params.kernel_window_bars,
        params.profile_window_bars,
        params.volatility_window_bars,
        params.mmd_window_bars,
        c.CROSS_SLOW_BARS,
        c.RSI_AVERAGE_BARS,
        max(c.MOMENTUM_BARS) + 1,
    )
    return k.StrategicSetup(
        neighbours=params.mlmi_neighbours,
        smooth_weights=smooth,
        quick_weights=quick,
        profile_bars=params.profile_window_bars,
        low_node_frac=params.profile_low_node_frac,
        volatility_bars=params.volatility_window_bars,
        points=np.ascontiguousarray(reference.points),
        center=np.ascontiguousarray(reference.center),
        scale=np.ascontiguousarray(reference.scale),
        gamma=gamma,
        within=mean_within(np.ascontiguousarray(reference.points), gamma),
        tick_size=float(tick_size),
        keep=max(looks_back),
    )


def strategic_state(setup: k.StrategicSetup, mmd_window_bars: int) -> k.StrategicState:
    """Return the memory of a stream that has seen nothing."""
    capacity = WINDOWS * setup.keep
    return k.StrategicState(
        marks=_marks(),
        levels=np.zeros(6),
        prices=np.zeros((5, capacity)),
        values=np.zeros((4, capacity)),
        points=np.zeros((capacity, 3)),
        between=np.zeros(mmd_window_bars),
        running=np.zeros((mmd_window_bars, mmd_window_bars)),
        cross_marks=np.zeros(3, np.int64),
        waiting=np.zeros(3),
        stored=np.zeros((ROOM, 2)),
        labels=np.zeros(ROOM, np.int8),
        distances=np.zeros(ROOM),
        scratch=np.zeros(ROOM),
        profile=np.zeros(c.PROFILE_BINS_MAX),
    )


def tactical_setup(params: FeatureParams) -> tactical.TacticalSetup:
    """Return the windows."""
    keep = max(params.gap_lookback_bars + 2, c.TACTICAL_MOMENTUM_BARS + 1)
    return tactical.TacticalSetup(params.gap_lookback_bars, params.gap_body_multiple, params.gap_age_bars_max, keep)


def tactical_state(setup: tactical.TacticalSetup) -> tactical.TacticalState:
    """Return the memory of a stream that has seen nothing."""
    gaps = np.zeros((setup.age_max + 2, 4))
    return tactical.TacticalState(_marks(), np.zeros(1), np.zeros((4, WINDOWS * setup.keep)), gaps, np.zeros(1))


def with_room(state: k.StrategicState, room: int) -> k.StrategicState:
    """Return ``state`` with room for ``room`` crosses."""
    crosses = int(state.cross_marks[0])
    stored, labels = np.zeros((room, 2)), np.zeros(room, np.int8)
    stored[:crosses], labels[:crosses] = state.stored[:crosses], state.labels[:crosses]
    return state._replace(stored=stored, labels=labels, distances=np.zeros(room), scratch=np.zeros(room))


def fingerprint(symbol: str, clock: str, params: FeatureParams, fitted: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return uint8[32]: what a memory belongs to, as a hash over definitions, windows and what was fitted."""
    described = {"symbol": symbol, "clock": clock, "params": params.model_dump(), "fitted": fitted}
    digest = hash_json({"columns": c.feature_fingerprint(), **described})
    return np.frombuffer(bytes.fromhex(digest), np.uint8).copy()


def to_arrays(state: k.StrategicState | tactical.TacticalState, fingerprint: NDArray[np.uint8], crosses: int) -> Arrays:
    """Return copies of what is remembered, and of the fingerprint; stored crosses are cut to ``crosses``."""
    cut = {name: array[:crosses] if name in GROWING else array for name, array in _kept(state).items()}
    return {name: np.array(array) for name, array in {**cut, FINGERPRINT: fingerprint}.items()}


def checked_arrays(
    arrays: Mapping[str, NDArray[Any]],
    empty: k.StrategicState | tactical.TacticalState,
    symbol: str,
    fingerprint: NDArray[np.uint8],
) -> Arrays:
    """Return copies of ``arrays`` that fit the fields of ``empty``.

    Raises:
        DataError: an array is missing, foreign, misshapen or not finite, or the fingerprint is another.
    """
    wanted = _kept(empty)
    if set(arrays) != {*wanted, FINGERPRINT}:
        raise DataError(f"{symbol} stream", "must hold the arrays of a stream of this clock", sorted(arrays))
    if not np.array_equal(arrays[FINGERPRINT], fingerprint):
        do = "Give the symbol, windows, reference and tick it was saved with"
        raise DataError(f"{symbol} stream", "must belong to these arguments and column definitions", do=do)
    for name, like in wanted.items():
        array = arrays[name]
        shape = (len(array), *like.shape[1:]) if name in GROWING and array.ndim else like.shape
        if array.dtype != like.dtype or array.shape != shape or not bool(np.isfinite(array).all()):
            rule = f"must be finite {like.dtype} of shape {shape}"
            raise DataError(f"{symbol} stream {name}", rule, (str(array.dtype), array.shape))
    return {name: np.array(arrays[name], order="C") for name in wanted}


def check_marks(symbol: str, sound: bool, marks: NDArray[np.int64], prices: NDArray[np.float64], keep: int) -> None:
    """Refuse positions that no stream can have reached: compiled code would follow them anywhere.

    Raises:
        DataError: ``sound`` is False, or bars seen and filled rows contradict each other.
    """
    seen, row = int(marks[k.SEEN]), int(marks[k.ROW])
    filled = row == seen if seen < prices.shape[1] else keep <= row <= prices.shape[1]
    if not (sound and seen >= 0 and filled):
        raise DataError(f"{symbol} stream", "must hold positions a stream can have reached", marks.tolist())


def check_bars(bars: Bars, marks: NDArray[np.int64], symbol: str, bar_minutes: int | None) -> None:
    """Refuse bars that break a rule of ``columns.check_bars`` or of a stream, or do not follow what has been seen.

    Raises:
        DataError: as said; also for bars of another symbol than ``symbol``, of another length than ``bar_minutes``
            where that is known, or with an open or close outside low..high.
    """
    if bars.symbol != symbol:
        raise DataError(f"{symbol} stream", "must be given bars of its own symbol", bars.symbol)
    if bar_minutes not in (None, bars.bar_minutes):
        rule = f"must be given bars of {bar_minutes} minutes, as before"
        raise DataError(f"{symbol} stream", rule, bars.bar_minutes)
    c.check_bars(bars)
    for name in ("open", "close"):
        values = getattr(bars, name)
        outside = (values < bars.low) | (values > bars.high)
        if outside.any():
            row = int(np.argmax(outside))
            rule = "must lie between low and high"
            raise DataError(f"{symbol} {name} row {row}", rule, float(values[row]), "Leave the bar out")
    if len(bars) and int(bars.start_ns[0]) <= int(marks[k.LAST_START]):
        rule = "must be later than that of the bar before"
        raise DataError(f"{bars.symbol} start_ns row 0", rule, int(bars.start_ns[0]), "Leave the bars out")


def remember_last(bars: Bars, marks: NDArray[np.int64]) -> None:
    """Note the start of the last of ``bars``."""
    if len(bars):
        marks[k.LAST_START] = bars.start_ns[-1]


def check_ratio(symbol: str, ratio: float) -> None:
    """Raise DataError when ``ratio`` is not finite and positive."""
    if not (math.isfinite(ratio) and ratio > 0):
        raise DataError(f"{symbol} roll ratio", "must be finite and positive", ratio, "Give new close / old close")


def _marks() -> NDArray[np.int64]:
    return np.array([0, 0, k.NEVER, 0, 0], dtype=np.int64)


def _kept(state: k.StrategicState | tactical.TacticalState) -> Arrays:
    fields: Arrays = state._asdict()
    return {name: array for name, array in fields.items() if name not in SCRATCH}
