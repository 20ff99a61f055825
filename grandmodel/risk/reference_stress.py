"""Slow, obvious twins of the stress engine and of reverse stress: plain Python, one instrument and step at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from grandmodel.core.config import BreakerLimits


def step_prices(steps: int, stated: Mapping[int, float], total_frac: float) -> list[float]:
    """Return the price after each step from 1.0, the even amount found by bisection instead of algebra."""

    def walk(even: float) -> list[float]:
        prices = [1.0]
        for step in range(1, steps + 1):
            prices.append(prices[-1] * (1.0 + stated[step]) if step in stated else prices[-1] + even)
        return prices

    low, high = -10.0, 10.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if walk(middle)[-1] < 1.0 + total_frac else (low, middle)
    return walk(0.5 * (low + high))


def play(
    shares: Sequence[float],
    moves: Sequence[float],
    crosses: Sequence[bool],
    exposures: Sequence[float],
    limits: BreakerLimits | None,
    gross_exposure_max: float,
) -> tuple[list[float], list[float], str, int | None]:
    """Return equity after each step from 1.0, exposures in money at the end, state and step of the first cut.

    The breaker is written out from its table, not called; without ``limits`` there is none.
    """
    quantities = list(exposures)  # of a price that starts at 1.0
    prices = [1.0] * len(quantities)
    equity, peak, cap, level, first, gone = 1.0, 1.0, gross_exposure_max, 0, None, 0.0
    path = [equity]
    for step, share in enumerate(shares, start=1):
        gone += share
        for i, move in enumerate(moves):
            price = 1.0 + gone * move
            if not crosses[i]:
                price = max(price, 0.0)
            equity += quantities[i] * (price - prices[i])
            prices[i] = price
        path.append(equity)
        if limits is None:
            continue
        peak = max(peak, equity)
        fallen = (peak - equity) / peak + 1e-12
        marks = (limits.half_drawdown_frac, limits.quarter_drawdown_frac, limits.halt_drawdown_frac)
        reached = max(level, sum(fallen >= mark for mark in marks))
        if reached > level and first is None:
            first = step
        if reached == 3 or equity <= 0:
            level, quantities = 3, [0.0] * len(quantities)
            continue
        gross = sum(abs(q * p) for q, p in zip(quantities, prices, strict=True)) / equity
        if reached > level:
            # A cut leaves half or a quarter of the cap and of what was held, whichever is less.
            share_left = {0: 1.0, 1: 0.5, 2: 0.25}
            fraction = share_left[reached] / share_left[level]
            cap = min(cap * fraction, gross * fraction) if gross > 0 else cap * fraction
            level = reached
        if gross > cap:
            quantities = [q * cap / gross for q in quantities]
    money = [q * p for q, p in zip(quantities, prices, strict=True)]
    return path, money, "HALTED" if level == 3 else "ACTIVE", first


def end_loss(path: Sequence[float]) -> float:
    """Return the loss at the end."""
    return 1.0 - path[-1]


def worst_step(path: Sequence[float]) -> float:
    """Return the largest loss of a step, of the equity before it."""
    return max(1.0 - after / before for before, after in pairwise(path) if before > 0)


def worst_drawdown(path: Sequence[float]) -> float:
    """Return the deepest fall, of the highest equity before it."""
    return max(1.0 - path[t] / max(path[: t + 1]) for t in range(len(path)))


def grid_breach(
    path_at: Callable[[float], Sequence[float]], measure: Callable[[Sequence[float]], float], bound: float, top: float
) -> tuple[float, float] | None:
    """Return the grid points around the first breach, of 2,000 up to ``top``; None where none breaches."""
    points = 2000
    for number in range(1, points + 1):
        if measure(path_at(top * number / points)) >= bound:
            return top * (number - 1) / points, top * number / points
    return None
