"""Single ticks at the speed of a Python call: ticks at an unmoved price are gathered, the compiled loop sees their sum.

A compiled call costs more than twenty comparisons in Python, so a tick reaches the loop alone only when it could end a
bar or break a rule. Whatever certainly breaks none (an unmoved or known price, a known volume, a stamp inside the open
bar) is gathered and fed later, which the loop cannot tell from the ticks themselves: inside a run it only adds volume.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError

_HELD_RUNS: Final = 256
_ROOM: Final = _HELD_RUNS - 1
_RUN_TICKS_MAX: Final = 4096
_KNOWN_MAX: Final = 4096
_KNOWN_LOTS_MAX: Final = 2**20
_NEVER_NS: Final = -(2**62)

Feed = Callable[[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], int], None]


class Loop(NamedTuple):
    """What the loop knows after it was fed."""

    price: float
    last_ns: int
    stop_ns: int
    bars_done: int


class SingleTicks(NamedTuple):
    """The three things one can do with gathered ticks."""

    push: Callable[[int, float, int], bool]  # take one tick; True when it finished a bar
    drain: Callable[[], None]  # feed the loop all that is gathered
    forget: Callable[[], None]  # the loop has moved on by itself


def single_ticks(symbol: str, feed: Feed, look: Callable[[], Loop]) -> SingleTicks:
    """Return the way into the loop for single ticks.

    Args:
        symbol: for messages.
        feed: takes stamps, prices, lots and how many ticks more than rows they stand for, all in the open bar.
        look: tells what the loop knows.
    """
    stamps, prices, sizes = array("q", bytes(8 * _HELD_RUNS)), array("d", bytes(8 * _HELD_RUNS)), array("q", [0])
    sizes *= _HELD_RUNS
    shared = (np.frombuffer(stamps, np.int64), np.frombuffer(prices, np.float64), np.frombuffer(sizes, np.int64))
    held = merged = 0
    run: list[int] = []  # volumes of the ticks gathered at the current price
    known_prices: set[float] = set()
    known_lots: set[int] = set()
    current, last_ns, stop_ns = math.nan, _NEVER_NS, _NEVER_NS

    def push(stamp_ns: int, price: float, lots: int) -> bool:
        nonlocal last_ns
        if price == current and lots in known_lots:
            if stamp_ns != last_ns:  # most ticks share their stamp with the one before
                if not last_ns < stamp_ns < stop_ns or len(run) >= _RUN_TICKS_MAX:
                    return other(stamp_ns, price, lots)
                last_ns = stamp_ns
            run.append(lots)
            return False
        return other(stamp_ns, price, lots)

    def other(stamp_ns: int, price: float, lots: int) -> bool:
        nonlocal current, last_ns, held, merged
        if price in known_prices and lots in known_lots and last_ns <= stamp_ns < stop_ns and held < _ROOM:
            ticks = len(run)
            if 0 < ticks <= _RUN_TICKS_MAX:
                stamps[held] = last_ns
                prices[held] = current
                sizes[held] = sum(run)
                held += 1
                merged += ticks - 1
                run.clear()
            else:
                end_run()
            current = price
            last_ns = stamp_ns
            run.append(lots)
            return False
        return judge(stamp_ns, price, lots)

    def judge(stamp_ns: int, price: float, lots: int) -> bool:
        done = look().bars_done
        end_run()
        try:
            hold(stamp_ns, price, lots)
        except (TypeError, OverflowError) as error:
            rule = "a tick must be whole nanoseconds, a price and whole lots"
            do = "Convert volume with whole_lots"
            raise DataError(f"ticks of {symbol}", rule, (stamp_ns, price, lots), do) from error
        feed_held()
        return learn(price, lots) > done

    def learn(price: float, lots: int) -> int:
        nonlocal current, last_ns, stop_ns
        loop = look()
        last_ns, stop_ns = loop.last_ns, loop.stop_ns
        current = loop.price if last_ns < stop_ns else math.nan  # nothing may be gathered while no bar is open
        for known in (known_prices, known_lots):
            if len(known) >= _KNOWN_MAX:
                known.clear()
        if loop.price == price:
            known_prices.add(price)
        if type(lots) is int and 0 < lots <= _KNOWN_LOTS_MAX:
            known_lots.add(lots)
        return loop.bars_done

    def end_run() -> None:
        nonlocal merged
        if run:
            for first in range(0, len(run), _RUN_TICKS_MAX):
                part = run[first : first + _RUN_TICKS_MAX]
                merged += len(part) - 1
                hold(last_ns, current, sum(part))
            run.clear()

    def hold(stamp_ns: int, price: float, lots: int) -> None:
        nonlocal held
        stamps[held] = stamp_ns
        prices[held] = price
        sizes[held] = lots
        held += 1
        if held == _HELD_RUNS:
            feed_held()

    def feed_held() -> None:
        nonlocal held, merged
        if held:
            rows, more = held, merged
            held = merged = 0
            feed(shared[0][:rows], shared[1][:rows], shared[2][:rows], more)

    def drain() -> None:
        end_run()
        feed_held()

    def forget() -> None:
        nonlocal current, stop_ns
        current, stop_ns = math.nan, _NEVER_NS

    return SingleTicks(push, drain, forget)
