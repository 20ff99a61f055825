"""Random books, prices, orders, drawdowns, alarms, faults and restarts, and what must hold in each decision.

The rules are written here a second time, in plain Python, from what the page says and not from how the guard does it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grandmodel.core.config import BreakerLimits, RiskLimits
from grandmodel.risk.guard import Decision, guard
from grandmodel.risk.guard_inputs import Book, RiskNumbers
from grandmodel.risk.guard_state import GuardState, opened, reset
from grandmodel.risk.state import TradingState

BREAKER = BreakerLimits()
LIMITS = RiskLimits(
    gross_exposure_max=2.0,
    net_exposure_max=1.2,
    concentration_max_frac=0.4,
    positions_max=2,
    messages_per_minute_max=5,
)
START_NS = 1_600_000_000_000_000_000
SLACK = 1 + 1e-8
NAN = math.nan
BAD = (NAN, math.inf, -math.inf)
SYMBOLS = ("A", "B", "C")
CORRELATION = ((1.0, 0.9, -0.2), (0.9, 1.0, -0.8), (-0.2, -0.8, 1.0))


@dataclass
class Asked:
    """The inputs of one decision, as lists."""

    equity: Any
    quantity: Any
    prices: Any
    targets: Any
    value_at_risk: Any
    adverse: Any
    correlation: Any
    alarm: Any
    clock_ns: Any
    missing: str = ""  # name of the argument that is None

    def decide(self, state: GuardState) -> Decision:
        book = Book(self.equity, self.quantity)
        risk = RiskNumbers(self.value_at_risk, self.adverse, self.correlation, self.alarm)
        given: dict[str, Any] = {"book": book, "prices": self.prices, "targets": self.targets, "risk": risk}
        if self.missing:
            given[self.missing] = None
        return guard(state, given["book"], given["prices"], given["targets"], given["risk"], self.clock_ns)


@dataclass
class Memory:
    """What the checker remembers by itself."""

    peak: float
    day: int
    day_equity: float
    equity: float
    clock_ns: int
    cap: float  # lowest gross cap since the last reset
    orders: list[tuple[int, int]] = field(default_factory=list)  # (clock, number of messages)
    prices: dict[int, float] = field(default_factory=dict)
    added: dict[tuple[int, float, float], int] = field(default_factory=dict)  # clock by instrument, held, asked


finite = math.isfinite


def is_faulty(asked: Asked, memory: Memory, n: int) -> bool:
    """Say by the rules of the page, not of the code, whether an input cannot be used."""
    if asked.missing or not finite(asked.equity) or asked.alarm not in ("NONE", "HIGH", "CRITICAL"):
        return True
    columns = (asked.quantity, asked.prices, asked.targets, asked.adverse)
    if any(len(column) != n or not all(map(finite, column)) for column in columns):
        return True
    if min(asked.prices) <= 0 or min(asked.adverse) <= 0:
        return True
    if not finite(asked.value_at_risk) or asked.value_at_risk < 0:
        return True
    if len(asked.correlation) != n or any(not finite(rho) or abs(rho) > 1 for row in asked.correlation for rho in row):
        return True
    rho = asked.correlation
    if any(rho[i][i] != 1 or rho[i][j] != rho[j][i] for i in range(n) for j in range(n)):
        return True
    return not isinstance(asked.clock_ns, int) or asked.clock_ns < memory.clock_ns


def random_sequence(rng: np.random.Generator, n: int, steps: int, faults: bool) -> list[Asked]:
    """Return the inputs of one sequence; what is held is filled in while it is driven."""
    uniform = rng.random((steps, 6)).tolist()
    moves = np.exp(rng.normal(0, rng.choice([0.002, 0.03]), (steps, n)).cumsum(axis=0))
    prices = (100 * moves).tolist()
    equity = (1e6 * np.exp(rng.normal(rng.choice([0.0, -0.01]), 0.01, steps).cumsum())).tolist()
    targets = (rng.normal(0, rng.choice([2000.0, 12000.0]), (steps, n)) * (rng.random((steps, n)) < 0.7)).tolist()
    gap_ns = [0, 200_000_000, 5_000_000_000, 300_000_000_000, 40_000_000_000_000]
    gaps = rng.choice(gap_ns if rng.random() < 0.8 else gap_ns[:2], steps).cumsum().tolist()  # some as fast as can be
    flips = rng.random() < 0.2  # each decision asks for the other side of the one before
    correlation = [list(row[:n]) for row in CORRELATION[:n]]
    adverse = [0.02, 0.08, 0.01][:n]
    sequence = []
    for k in range(steps):
        u = uniform[k]
        alarm = "NONE" if u[0] > 0.05 else ("HIGH" if u[0] > 0.02 else "CRITICAL")
        again = k and u[2] < 0.15
        if flips and k and u[2] > 0.3:
            targets[k] = [-target for target in targets[k - 1]]
        asked = Asked(
            equity[k], None, prices[k], sequence[-1].targets if again else targets[k],
            0.06 if u[1] < 0.05 else 0.02, adverse, correlation, alarm, START_NS + gaps[k],
        )  # fmt: skip
        if faults and u[3] < 0.12:
            spoil(asked, n, int(u[4] * 17), u[5])
        sequence.append(asked)
    return sequence


def spoil(asked: Asked, n: int, kind: int, u: float) -> None:
    """Make one input useless."""
    bad, i = BAD[int(u * 3)], int(u * 997) % n
    if kind < 4:
        name = ("prices", "targets", "adverse", "equity")[kind]
        column = getattr(asked, name)
        setattr(asked, name, bad if name == "equity" else [bad if j == i else v for j, v in enumerate(column)])
    elif kind < 6:
        asked.prices = [(0.0, -37.6)[kind - 4] if j == i else v for j, v in enumerate(asked.prices)]
    elif kind == 6:
        asked.missing = ("book", "prices", "targets", "risk")[int(u * 4)]
    elif kind == 7:
        asked.clock_ns -= 10**15
    elif kind == 8:
        asked.correlation = [[NAN] * n for _ in range(n)]
    elif kind == 9:
        asked.value_at_risk = bad
    elif kind == 10:
        asked.alarm = "UNKNOWN"
    elif kind == 11:
        asked.targets = asked.targets[:-1]
    elif kind == 12:
        asked.equity = (0.0, -5.0)[int(u * 2)]
    elif kind == 13:
        asked.prices = [1e300 if j == i else v for j, v in enumerate(asked.prices)]
    elif kind == 14:
        asked.correlation = [[0.0] * n for _ in range(n)]
    elif kind == 15:
        asked.correlation = [
            [rho + 0.01 * (j > k) for j, rho in enumerate(row)] for k, row in enumerate(asked.correlation)
        ]
    else:
        asked.missing = "quantity"  # resolved by the driver, which knows what is held


def drive(seed: int, *, sequences: int, steps: int = 20) -> Counter[str]:
    """Run sequences of decisions, check each, and count what was seen."""
    rng = np.random.default_rng(seed)
    seen: Counter[str] = Counter()
    for number in range(sequences):
        n = 1 + number % 3
        state = opened(SYMBOLS[:n], [1.0] * n, [100.0] * n, 1e6, LIMITS, BREAKER, START_NS)
        memory = Memory(1e6, state.day, 1e6, 1e6, START_NS, 2.0)
        held = [0.0] * n
        chances = rng.random((steps, 3)).tolist()
        for asked, chance in zip(random_sequence(rng, n, steps, number % 2 == 0), chances, strict=True):
            asked.quantity = held
            if asked.missing == "quantity":
                asked.missing, asked.quantity = "", [NAN, *held[1:]]
            decision = asked.decide(state)
            check(state, asked, decision, memory, seen)
            state = decision.state
            if chance[0] > 0.15 or asked.missing == "book" or not all(map(finite, asked.quantity)):
                held = decision.permitted.tolist()
            elif chance[0] < 0.02:  # filled otherwise; and not at all between the two
                held = [q * (0.5 + chance[1]) for q in decision.permitted.tolist()]
            if chance[1] < 0.05:
                again = GuardState.from_dict(json.loads(json.dumps(state.to_dict())))
                assert again == state
                state, seen["restart"] = again, seen["restart"] + 1
            if chance[2] < 0.03 and state.trading is not TradingState.ACTIVE:
                state, events = reset(state, memory.equity, state.clock_ns, actor="ann", reason="looked at it")
                assert [event.actor for event in events] == ["ann"]
                memory.peak = memory.day_equity = memory.equity
                memory.cap = 2.0
                memory.added.clear()
                seen["reset"] += 1
    return seen


def check(before: GuardState, asked: Asked, decision: Decision, memory: Memory, seen: Counter[str]) -> None:
    """Assert everything that a decision must keep."""
    after, n = decision.state, len(before.symbols)
    permitted = decision.permitted.tolist()
    quantity = [NAN] * n if asked.missing == "book" else asked.quantity
    shaped = asked.missing != "targets" and len(asked.targets) == n
    targets = [t if finite(t) else q for t, q in zip(asked.targets if shaped else quantity, quantity, strict=True)]
    faulty = is_faulty(asked, memory, n)
    active = after.trading is TradingState.ACTIVE
    seen["case"] += 1
    seen["faulty"] += faulty
    seen[after.trading.name] += 1
    assert len(permitted) == n
    assert all(map(math.isfinite, permitted)), "what is permitted is always a number"

    kept = []
    for q, t, p in zip(quantity, targets, permitted, strict=True):
        if not finite(q):
            assert p == 0.0, "an unknown position is brought to zero"
            kept.append(0.0)
            continue
        side = math.copysign(1.0, q) if q else 0.0
        k = side * min(abs(q), max(t * side, 0.0))
        kept.append(k)
        assert p * t >= 0, "nothing is held on a side that was not asked for"
        assert abs(p) <= abs(t), "nothing beyond what was asked for"
        if t * side <= abs(q):
            assert p * side <= max(t * side, 0.0), "a move towards zero is never held back"
        if not active:
            assert p * side >= 0, "REDUCING and HALTED never change sides"
            assert abs(p) <= abs(q), "REDUCING and HALTED add nothing"
    adds = [i for i in range(n) if abs(permitted[i]) > abs(kept[i]) * (1 + 1e-9)]
    seen["adds"] += bool(adds)
    seen["flip"] += any(permitted[i] * quantity[i] < 0 for i in adds)
    if after.trading is TradingState.HALTED:
        assert not any(permitted), "HALTED is flat"

    assert not faulty or after.trading >= TradingState.REDUCING, "what cannot be known reduces"
    assert after.trading >= before.trading, "nothing loosens by itself"
    assert after.breaker.level >= before.breaker.level, "a breaker stays latched"
    assert after.gross_cap <= memory.cap * SLACK, "the cap never rises by itself"
    if (after.trading, after.breaker.level) != (before.trading, before.breaker.level):
        assert decision.events, "every transition is an event"
    check_levels(before, after, asked, memory, seen)
    check_gross(before, after, asked, permitted, quantity, memory, seen)
    if adds:
        assert after.breaker.level == before.breaker.level, "nothing is added where a cut is made"
        check_limits(after, asked, permitted, kept, adds, memory)
    remember(asked, permitted, adds, memory, after)
    for event in decision.events:
        seen[event.limit or event.kind] += 1


def check_levels(before: GuardState, after: GuardState, asked: Asked, memory: Memory, seen: Counter[str]) -> None:
    """The level is that of the drawdown, or of the alarm, or the one before: the highest of the three."""
    equity = NAN if asked.missing == "book" else asked.equity
    expected = before.breaker.level
    if finite(equity):
        memory.peak = max(memory.peak, equity)
        drawdown = 1 - equity / memory.peak
        expected = max(expected, sum(drawdown >= limit - 1e-12 for limit in (0.10, 0.15, 0.20)))
    if asked.missing != "risk" and asked.alarm in ("HIGH", "CRITICAL"):
        expected = max(expected, 1)
        seen["second alarm"] += before.breaker.level > 0
    assert after.breaker.level == expected, "a cut comes in the decision that sees its cause, and once"
    clock = asked.clock_ns if asked.clock_ns >= memory.clock_ns else memory.clock_ns
    day = clock // 86_400_000_000_000
    if day > memory.day:
        memory.day, memory.day_equity = day, memory.equity
    if finite(equity) and 1 - equity / memory.day_equity >= 0.05 - 1e-12:
        assert after.trading >= TradingState.REDUCING, "the daily loss reduces"


def check_gross(
    before: GuardState,
    after: GuardState,
    asked: Asked,
    permitted: list[float],
    quantity: list[float],
    memory: Memory,
    seen: Counter[str],
) -> None:
    """Gross exposure stays below the cap, and a cut leaves half of it or less."""
    share = {0: 1.0, 1: 0.5, 2: 0.25, 3: 0.0}
    cut = share[after.breaker.level] / (share[before.breaker.level] or 1.0)
    cut = 1.0 if after.breaker.level == before.breaker.level else cut
    known = asked.missing != "prices" and all(finite(p) and p > 0 for p in asked.prices)
    if known:
        equity = (
            asked.equity if asked.missing != "book" and finite(asked.equity) and asked.equity > 0 else memory.equity
        )
        gross = sum(abs(p) * price / equity for p, price in zip(permitted, asked.prices, strict=True))
        assert gross <= after.gross_cap * SLACK, "gross exposure stays below the cap"
        if all(map(finite, quantity)):
            held = sum(abs(q) * price / equity for q, price in zip(quantity, asked.prices, strict=True))
            assert gross <= held * cut * SLACK or cut == 1.0, "a cut leaves half of the gross, or less"
            if cut < 1.0 and held > 1e-6 * before.gross_cap:  # less is the residue of a flat book
                assert after.gross_cap <= held * cut * SLACK, "and the cap comes down with it"
    elif cut < 1.0:
        for p, q in zip(permitted, quantity, strict=True):
            assert not finite(q) or abs(p) <= abs(q) * cut * SLACK, "whatever the prices are"
    if cut < 1.0:
        assert after.gross_cap <= before.gross_cap * cut * SLACK, "a cut leaves half of the cap, or less"
        seen["cut with a book"] += any(quantity)


def check_limits(
    after: GuardState, asked: Asked, permitted: list[float], kept: list[float], adds: list[int], memory: Memory
) -> None:
    """What was added broke no limit, and made none worse that what is kept already breaks."""
    n = len(permitted)
    assert asked.value_at_risk <= 0.05, "nothing is added beyond the value at risk"
    exposure = [p * price / asked.equity for p, price in zip(permitted, asked.prices, strict=True)]
    kept_net = abs(sum(k * price / asked.equity for k, price in zip(kept, asked.prices, strict=True)))
    assert abs(sum(exposure)) <= max(1.2, kept_net) * SLACK, "the net limit"
    opened_now = [i for i in adds if kept[i] == 0]
    assert not opened_now or sum(p != 0 for p in permitted) <= 2, "the number of positions"
    recent = sum(count for clock, count in memory.orders if clock > asked.clock_ns - 60_000_000_000)
    now = sum(p != q for p, q in zip(permitted, asked.quantity, strict=True))
    assert recent + now <= 5, "the message rate"
    for i in adds:
        assert abs(exposure[i]) <= 0.4 * 2.0 * SLACK, "concentration"
        assert abs(exposure[i]) * asked.adverse[i] <= 0.02 * SLACK, "risk per trade"
        assert abs(asked.prices[i] / memory.prices.get(i, 100.0) - 1) <= 0.05 * SLACK, "the price collar"
        for j in range(n):
            if j != i and permitted[j]:
                pair = asked.correlation[i][j] * math.copysign(1, permitted[i]) * math.copysign(1, permitted[j])
                assert pair <= 0.7, "two positions of one bet"
        last_ns = memory.added.get((i, asked.quantity[i], asked.targets[i]), 0)
        assert asked.clock_ns - last_ns > 1_000_000_000, "the same order twice"


def remember(asked: Asked, permitted: list[float], adds: list[int], memory: Memory, after: GuardState) -> None:
    """Keep what the next decision is checked against."""
    memory.clock_ns = max(memory.clock_ns, asked.clock_ns)
    memory.cap = min(memory.cap, after.gross_cap)
    if asked.missing != "book" and finite(asked.equity) and asked.equity > 0:
        memory.equity = asked.equity
    if asked.missing != "prices":
        memory.prices.update({i: p for i, p in enumerate(asked.prices) if finite(p) and p > 0})
    quantity = [NAN] * len(permitted) if asked.missing == "book" else asked.quantity
    memory.orders.append((memory.clock_ns, sum(p != q for p, q in zip(permitted, quantity, strict=True))))
    for i in adds:
        memory.added[i, asked.quantity[i], asked.targets[i]] = asked.clock_ns
