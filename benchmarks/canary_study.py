"""How often is a good challenger rolled back, and how soon a bad one, when the canary is looked at every day?

    python -m benchmarks.canary_study

Simulated canaries of up to 30 days. The costs of a day have a level that both releases share and that drifts from day
to day (an AR(1) of its logarithm); around it every fill costs a draw of its own from a skewed law, and on one day in a
hundred either release alone pays five times as much. Returns are Student's with 5 degrees. The plan of each canary is
that of the house for 250 days of evidence of its own. The alarms of a day depend on it and the days before, so what is
simulated between two steps is judged at once and ends at the first breach, as daily judging would end it; the share
that ``follow`` allows is the share of the next days.

- **alike**: both are the same. A rollback is a false alarm; at most 5 % are promised.
- **alike, ...**: also the same, in worlds that strain what the sequences assume. Where each release has a cost level or
  spells of its own, a day's difference is not symmetric given the days before; GARCH days come in wilder spells than
  the blocks of the envelope hold.
- the others change one thing about the challenger.

For comparison: a paired t test of slippage at 5 %, one-sided, looked at on the same days from the third on, and the
same test once on the last day.

Writes ``benchmarks/results/canary.json``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from benchmarks import record
from grandmodel.core.random import derive_seed, random_stream
from grandmodel.gates.canary import Course, follow, plan_for, sequences
from grandmodel.gates.canary_days import CanaryDay, CanaryPlan, Traded

TRIALS, SEED, DAYS, EVIDENCE_DAYS = 1_000, 1, 30, 250
SLIPPAGE_FRAC, DAILY_VOLATILITY_FRAC, DAILY_RETURN_FRAC = 1e-4, 0.01, 0.0005
DECISIONS, ORDERS, FILLS = 800, 60, 40
LEVEL_MEMORY, LEVEL_DEVIATION, FILL_SHAPE = 0.8, 0.3, 0.5
BAD_DAY_PROBABILITY, BAD_DAY_MULTIPLE = 0.01, 5.0
SPELL_BEGINS, SPELL_ENDS, SPELL_HIT_RATE = 0.05, 0.2, 0.2  # of limit hits, a day
GARCH_SHOCK, GARCH_MEMORY, GARCH_WARM_UP_DAYS = 0.1, 0.89, 100


@dataclass(frozen=True)
class World:
    """What is different about the challenger; at these values nothing is."""

    slippage_multiple: float = 1.0
    reject_rate: float = 0.01
    limit_hit_rate: float = 0.01
    divergence_rate: float = 0.001
    volatility_multiple: float = 1.0
    fills_per_day: int = FILLS  # of both, in the mean
    exposure_multiple: float = 1.0  # of the champion's fills and orders
    own_level: bool = False  # each release has a cost level of its own
    limit_hits_in_spells: bool = False  # of each release alone
    garch: bool = False  # returns of evidence and canary
    evidence_days: int = EVIDENCE_DAYS


WORLDS: dict[str, World] = {
    "alike": World(),
    "1.5 times the slippage": World(slippage_multiple=1.5),
    "twice the slippage": World(slippage_multiple=2.0),
    "twice the slippage, 5 fills a day": World(slippage_multiple=2.0, fills_per_day=5),
    "alike, 5 fills a day": World(fills_per_day=5),
    "alike, 1.5 times the fills and orders": World(exposure_multiple=1.5),
    "alike, 60 days of evidence": World(evidence_days=60),
    "alike, GARCH returns": World(garch=True),
    "alike, limit hits in spells": World(limit_hits_in_spells=True),
    "alike, each its own cost level": World(own_level=True),
    "four times the rejects": World(reject_rate=0.04),
    "twice the limit hits": World(limit_hit_rate=0.02),
    "2 % of decisions diverge": World(divergence_rate=0.02),
    "twice the volatility": World(volatility_multiple=2.0),
}


def daily_returns(stream: np.random.Generator, days: int, *, garch: bool) -> NDArray[np.float64]:
    """Return daily log returns float64[days], Student's, or of a GARCH(1, 1) with the same variance."""
    if not garch:
        return np.asarray(DAILY_RETURN_FRAC + DAILY_VOLATILITY_FRAC * np.sqrt(3.0 / 5.0) * stream.standard_t(5, days))
    shocks = stream.standard_normal(GARCH_WARM_UP_DAYS + days)
    variance, found = 1.0, np.empty(len(shocks))
    for t, shock in enumerate(shocks):
        found[t] = np.sqrt(variance) * shock
        variance = 1.0 - GARCH_SHOCK - GARCH_MEMORY + GARCH_SHOCK * found[t] ** 2 + GARCH_MEMORY * variance
    return np.asarray(DAILY_RETURN_FRAC + DAILY_VOLATILITY_FRAC * found[GARCH_WARM_UP_DAYS:])


@cache
def plan_of(trial: int, *, garch: bool = False, evidence_days: int = EVIDENCE_DAYS) -> CanaryPlan:
    """Return the rules of one canary, with the envelope of its own evidence."""
    evidence = daily_returns(random_stream(SEED, "evidence", trial), evidence_days, garch=garch)
    return plan_for(evidence, derive_seed(SEED, "envelope", trial))


def traded(
    stream: np.random.Generator, fills: int, orders: int, level: float, log_return: float, world: World
) -> Traded:
    """Return one day of one release whose fills cost ``level`` times the usual in the mean."""
    bad = BAD_DAY_MULTIPLE if stream.random() < BAD_DAY_PROBABILITY else 1.0
    cost = stream.gamma(FILL_SHAPE * fills) / (FILL_SHAPE * fills)
    return Traded(
        decisions=DECISIONS,
        orders=orders,
        rejects=int(stream.binomial(orders, world.reject_rate)),
        limit_hits=int(stream.binomial(DECISIONS, world.limit_hit_rate)),
        fills=fills,
        slippage_frac=float(SLIPPAGE_FRAC * level * bad * world.slippage_multiple * cost),
        log_return=log_return,
    )


def simulated(world: World, trial: int) -> list[CanaryDay]:
    """Return the days of one canary as if it traded from the first on."""
    stream = random_stream(SEED, "canary", trial)
    returns = daily_returns(stream, DAYS, garch=world.garch)
    usual_world = replace(World(), fills_per_day=world.fills_per_day)
    level, in_spell = np.zeros(2), np.zeros(2, np.bool_)
    days = []
    for t in range(DAYS):
        level = LEVEL_MEMORY * level + LEVEL_DEVIATION * stream.normal(size=2)
        in_spell = np.where(in_spell, stream.random(2) >= SPELL_ENDS, stream.random(2) < SPELL_BEGINS)
        levels = np.exp(level if world.own_level else level[[0, 0]])
        worlds = [usual_world, world]
        if world.limit_hits_in_spells:
            rates = np.where(in_spell, SPELL_HIT_RATE, world.limit_hit_rate)
            worlds = [replace(one, limit_hit_rate=float(rate)) for one, rate in zip(worlds, rates, strict=True)]
        fills = [max(int(stream.poisson(world.fills_per_day)), 1) for _ in range(2)]
        orders = [one + ORDERS - FILLS for one in fills]
        if world.exposure_multiple != 1.0:
            fills[1], orders[1] = (int(world.exposure_multiple * one) for one in (fills[0], orders[0]))
        moved = (float(returns[t]), float(returns[t]) * world.volatility_multiple)
        usual, other = (traded(stream, *one) for one in zip(fills, orders, levels, moved, worlds, strict=True))
        divergent = int(stream.binomial(DECISIONS, world.divergence_rate))
        days.append(CanaryDay(20_000 + t, 1.0, usual, other, DECISIONS, divergent))
    return days


def canary(world: World, trial: int, plan: CanaryPlan) -> tuple[list[CanaryDay], str, int]:
    """Walk one canary; return its days, the sequence that ended it ("" where none), and the day."""
    to_come, days = simulated(world, trial), list[CanaryDay]()
    course = follow(plan, days)
    while course.status == "running" and len(days) < DAYS:
        until_step = to_come[len(days) : len(days) + plan.days_per_step - course.days_counted]
        days, course = walked(plan, days, [at_share(day, course.share_frac) for day in until_step])
    if course.status == "rolled_back":
        return days, course.steps[-1].reason.split(" ")[0], len(days)
    return days, "", len(days)


def walked(plan: CanaryPlan, days: list[CanaryDay], more: list[CanaryDay]) -> tuple[list[CanaryDay], Course]:
    """Return days and course after ``more`` days of one share, or up to the first day on which a sequence breaches."""
    alarms = np.max(list(sequences(plan, [*days, *more]).values()), axis=0)
    ended = np.flatnonzero(alarms >= 1.0)
    whole = [*days, *more][: ended[0] + 1 if len(ended) else None]
    return whole, follow(plan, whole)


def at_share(day: CanaryDay, share_frac: float) -> CanaryDay:
    """Return ``day`` at a share of the capital; without one it is the shadow, and nothing is compared with it."""
    known = (day.compared, day.divergent) if share_frac else (0, 0)
    return CanaryDay(day.session, share_frac, day.champion, day.challenger, *known)


def naive(days: list[CanaryDay]) -> tuple[bool, bool]:
    """Return whether a t test of slippage rejects on any day from the third on, and on the last of ``days``."""
    gaps = np.array([(d.challenger.slippage_frac or 0.0) - (d.champion.slippage_frac or 0.0) for d in days])
    p = [
        float(student.sf(gaps[:n].mean() / (gaps[:n].std(ddof=1) / np.sqrt(n)), n - 1)) for n in range(3, len(gaps) + 1)
    ]
    return any(one < 0.05 for one in p), bool(p) and p[-1] < 0.05


def study(name: str, world: World, trials: int) -> dict[str, Any]:
    """Return how the canaries of one world ended."""
    ended: Counter[str] = Counter()
    days_to_end, peeked, once = [], 0, 0
    for trial in range(trials):
        plan = plan_of(trial, garch=world.garch, evidence_days=world.evidence_days)
        days, why, day = canary(world, trial, plan)
        if why:
            ended[why] += 1
            days_to_end.append(day)
        if name == "alike":
            any_day, last = naive(days)
            peeked, once = peeked + any_day, once + last
    row: dict[str, Any] = {
        "world": asdict(world),
        "canaries": trials,
        "rolled_back": sum(ended.values()),
        "by_sequence": dict(sorted(ended.items())),
        "median_day": float(np.median(days_to_end)) if days_to_end else None,
    }
    if name == "alike":
        row["t_test_of_slippage"] = {"looked_at_daily": peeked, "looked_at_once": once}
    return row


def main() -> None:
    """Run every world and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TRIALS)
    trials = parser.parse_args().trials
    found = {}
    for name, world in WORLDS.items():
        row = found[name] = study(name, world, trials)
        print(f"{name}: {row['rolled_back']} of {trials} rolled back, {row['by_sequence']}, "
              f"median day {row['median_day']}, {row.get('t_test_of_slippage', '')}", flush=True)  # fmt: skip
    record.write("canary", {"simulated": True, "seed": SEED, "days": DAYS, "worlds": found})


if __name__ == "__main__":
    main()
