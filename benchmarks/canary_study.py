"""How often is a good challenger rolled back, and how soon a bad one, when the canary is looked at every day?

    python -m benchmarks.canary_study

Simulated canaries of up to 30 days. The costs of a day have a level that both releases share and that drifts from day
to day (an AR(1) of its logarithm); around it every fill costs a draw of its own from a skewed law, and on one day in a
hundred either release alone pays five times as much. Returns are Student's with 5 degrees. The drawdown envelope of
each canary comes from 250 days of evidence of its own. Every day is judged by ``follow`` over all days so far, and the
share that it allows is the share of the next day.

- **alike**: both are the same. A rollback is a false alarm; at most 5 % are promised.
- the others change one thing about the challenger.

For comparison: a paired t test of slippage at 5 %, one-sided, looked at on the same days from the third on, and the
same test once on the last day.

Writes ``benchmarks/results/canary.json``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from benchmarks import record
from grandmodel.core.random import derive_seed, random_stream
from grandmodel.gates.canary import SEQUENCES, CanaryDay, CanaryPlan, Traded, follow
from grandmodel.stats.drawdown import drawdown_envelope_frac

TRIALS, SEED, DAYS, EVIDENCE_DAYS = 1_000, 1, 30, 250
SLIPPAGE_FRAC, DAILY_VOLATILITY_FRAC, DAILY_RETURN_FRAC = 1e-4, 0.01, 0.0005
DECISIONS, ORDERS, FILLS = 800, 60, 40
LEVEL_MEMORY, LEVEL_DEVIATION, FILL_SHAPE = 0.8, 0.3, 0.5
BAD_DAY_PROBABILITY, BAD_DAY_MULTIPLE = 0.01, 5.0


@dataclass(frozen=True)
class World:
    """What is different about the challenger; at these values nothing is."""

    slippage_multiple: float = 1.0
    reject_rate: float = 0.01
    limit_hit_rate: float = 0.01
    divergence_rate: float = 0.001
    volatility_multiple: float = 1.0
    fills_per_day: int = FILLS  # of both, in the mean


WORLDS: dict[str, World] = {
    "alike": World(),
    "1.5 times the slippage": World(slippage_multiple=1.5),
    "twice the slippage": World(slippage_multiple=2.0),
    "twice the slippage, 5 fills a day": World(slippage_multiple=2.0, fills_per_day=5),
    "alike, 5 fills a day": World(fills_per_day=5),
    "four times the rejects": World(reject_rate=0.04),
    "twice the limit hits": World(limit_hit_rate=0.02),
    "2 % of decisions diverge": World(divergence_rate=0.02),
    "twice the volatility": World(volatility_multiple=2.0),
}


def student_returns(stream: np.random.Generator, days: int) -> NDArray[np.float64]:
    """Return daily log returns float64[days] of the release's evidence."""
    return DAILY_RETURN_FRAC + DAILY_VOLATILITY_FRAC * np.sqrt(3.0 / 5.0) * stream.standard_t(5, days)


def plan_of(trial: int) -> CanaryPlan:
    """Return the rules of one canary, with the envelope of its own evidence."""
    evidence = student_returns(random_stream(SEED, "evidence", trial), EVIDENCE_DAYS)
    plain = CanaryPlan(drawdown_max_frac=0.5)
    exceeded = plain.alpha / len(SEQUENCES)
    envelope = drawdown_envelope_frac(
        evidence, plain.days_max, exceeded, draws=4_000, seed=derive_seed(SEED, "envelope", trial)
    )
    return CanaryPlan(drawdown_max_frac=envelope)


def traded(stream: np.random.Generator, level: float, log_return: float, world: World) -> Traded:
    """Return one day of one release whose fills cost ``level`` times the usual in the mean."""
    fills = max(int(stream.poisson(world.fills_per_day)), 1)
    orders = fills + ORDERS - FILLS
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


def canary(world: World, trial: int, plan: CanaryPlan) -> tuple[list[CanaryDay], str, int]:
    """Walk one canary day by day; return its days, the sequence that ended it ("" where none), and the day."""
    stream = random_stream(SEED, "canary", trial)
    returns = student_returns(stream, DAYS)
    days: list[CanaryDay] = []
    share, level = 0.0, 0.0
    for t in range(DAYS):
        level = LEVEL_MEMORY * level + LEVEL_DEVIATION * float(stream.normal())
        usual = traded(stream, float(np.exp(level)), float(returns[t]), World(fills_per_day=world.fills_per_day))
        other = traded(stream, float(np.exp(level)), float(returns[t]) * world.volatility_multiple, world)
        compared = DECISIONS if share else 0
        divergent = int(stream.binomial(compared, world.divergence_rate))
        days.append(CanaryDay(20_000 + t, share, usual, other, compared, divergent))
        course = follow(plan, days)
        share = course.share_frac
        if course.status == "rolled_back":
            return days, course.steps[-1].reason.split(" ")[0], t + 1
    assert course.status == "completed", course.status
    return days, "", DAYS


def naive(days: list[CanaryDay]) -> tuple[bool, bool]:
    """Return whether a t test of slippage rejects on any day from the third on, and on the last of ``days``."""
    gaps = np.array([(d.challenger.slippage_frac or 0.0) - (d.champion.slippage_frac or 0.0) for d in days])
    p = [
        float(student.sf(gaps[:n].mean() / (gaps[:n].std(ddof=1) / np.sqrt(n)), n - 1)) for n in range(3, len(gaps) + 1)
    ]
    return any(one < 0.05 for one in p), bool(p) and p[-1] < 0.05


def study(name: str, world: World, plans: list[CanaryPlan]) -> dict[str, Any]:
    """Return how the canaries of one world ended."""
    ended: Counter[str] = Counter()
    days_to_end, peeked, once = [], 0, 0
    for trial, plan in enumerate(plans):
        days, why, day = canary(world, trial, plan)
        if why:
            ended[why] += 1
            days_to_end.append(day)
        if name == "alike":
            any_day, last = naive(days)
            peeked, once = peeked + any_day, once + last
    row: dict[str, Any] = {
        "world": asdict(world),
        "canaries": len(plans),
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
    plans = [plan_of(trial) for trial in range(trials)]
    found: Mapping[str, dict[str, Any]] = {name: study(name, world, plans) for name, world in WORLDS.items()}
    for name, row in found.items():
        print(f"{name}: {row['rolled_back']} of {row['canaries']} rolled back, {row['by_sequence']}, "
              f"median day {row['median_day']}")  # fmt: skip
    print(found["alike"])
    record.write("canary", {"simulated": True, "seed": SEED, "days": DAYS, "worlds": found})


if __name__ == "__main__":
    main()
