"""Are the votes of a team probabilities of anything, and do its dropout samples know when it errs?

    python -m benchmarks.calibration --write

The strategic team is trained with dropout on the simulated market with the planted edge and replayed out of sample, bar
by bar. At each bar each voter puts out its triple once without dropout and as the mean of 1000 dropout samples, from
the serving kernel. The label of a vote: short, flat or long by the move from the next open to the next close, which is
what an order decided now earns; flat is a move smaller than two half-spreads and two commissions. A team is trained
for return and not to predict this label, so nothing makes its triples calibrated: that is what is measured.

Risk and coverage: the least certain share of the votes that are not flat is left out, by mutual information and, beside
it, by the entropies. The loss of a vote is 1 where the price moved against it, 0 where with it; bars that did not move
are not counted. Coverage rises in fifths, over the votes of all seeds together.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.teams import annual_log_return, daily_log_returns, market_of, team_params, trained
from grandmodel.market.inference import FusedInference
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.reference import Account, decoded, live_through, seen
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import FLAT, LONG, SHORT
from grandmodel.stats.calibration import (
    area_under_risk_coverage,
    brier_score,
    expected_calibration_error,
    risk_coverage,
)

SAMPLES, POINTS, BINS = 1000, 5, 15
DOUBTS = ("mutual_information", "predictive_entropy", "expected_entropy")
Columns = dict[str, NDArray[np.float64]]


def label_of(tape: MarketTape, row: int) -> int:
    """Return what the vote at the close of ``row`` should have been."""
    band = 2 * (tape.half_spread_frac[row + 1] + tape.commission_frac[row + 1])
    move = tape.body_frac[row + 1]
    return FLAT if abs(move) < band else LONG if move > 0 else SHORT


def votes_of(policy: TeamPolicy, tape: MarketTape, seed: int) -> Columns:
    """Return columns over (bar, voter) of a greedy pass over ``tape``."""
    spec, inference = policy.spec, FusedInference([policy])
    voters, rate = range(len(spec.agents) - 1), policy.dropout
    rows: list[tuple[Any, ...]] = []
    for first, stop in zip(tape.offsets[:-1].tolist(), tape.offsets[1:].tolist(), strict=True):
        account = Account()
        for row in range(first, stop - 1):
            for agent in range(len(spec.agents)):
                inference.observations[agent] = seen(tape, spec, agent, row, first, account, None)
            actions = inference.decide()
            if tape.tradable[row + 1]:
                doubt = inference.uncertainty(samples=SAMPLES, rate=rate, seed=seed + row, agents=voters)
                label, move = label_of(tape, row), tape.body_frac[row + 1]
                for agent in voters:
                    doubts = [getattr(doubt, name)[agent] for name in DOUBTS]
                    plain, sampled = inference.probabilities[agent, :3].copy(), doubt.probabilities[agent, :3]
                    rows.append((agent, label, move, int(actions[agent]), plain, sampled, *doubts))
            target, order = decoded(spec, actions.tolist(), tape.intent[row])
            live_through(account, tape, row + 1, target, order, 1.0)
    names = ("agent", "label", "move", "action", "plain", "sampled", *DOUBTS)
    return {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def scores(chances: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float]:
    normal = chances / chances.sum(axis=1, keepdims=True)
    right = normal.argmax(axis=1) == labels
    return {
        "ece": expected_calibration_error(normal, labels, BINS),
        "brier": brier_score(normal, labels),
        "accuracy": float(right.mean()),
        "confidence": float(normal.max(axis=1).mean()),
    }


def calibration(votes: Columns, agents: tuple[str, ...]) -> dict[str, Any]:
    """Return ECE and Brier score of each voter, without dropout and with, and of always stating the base rates."""
    result: dict[str, Any] = {}
    for number, name in enumerate(agents[:-1]):
        own = votes["agent"] == number
        labels = votes["label"][own]
        base = np.bincount(labels, minlength=3) / len(labels)
        result[name] = {
            "without dropout": scores(votes["plain"][own], labels),
            "mean of dropout samples": scores(votes["sampled"][own], labels),
            "base rates": scores(np.tile(base, (len(labels), 1)), labels) | {"short_flat_long": base.tolist()},
        }
    return result


def curves(votes: Columns) -> dict[str, Any]:
    """Return the risk-coverage curve of the votes with a side, by each measure of doubt."""
    chosen = (votes["action"] != FLAT) & (votes["move"] != 0)
    side = votes["action"][chosen] - FLAT
    loss = (side * votes["move"][chosen] < 0).astype(np.float64)
    result: dict[str, Any] = {
        "votes": int(chosen.sum()),
        "deviation_of_full_risk": float(loss.std() / len(loss) ** 0.5),
    }
    for name in DOUBTS:
        curve = risk_coverage(loss, votes[name][chosen], POINTS)
        result[name] = {
            "coverage": curve.coverage.tolist(),
            "risk": curve.risk.tolist(),
            "threshold": curve.threshold.tolist(),
            "area": area_under_risk_coverage(curve),
            "monotone": bool((np.diff(curve.risk) >= 0).all()),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--mixture", default="none")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/calibration.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    fold, params = market_of(None)
    team = team_params(params, given.frames, dropout=given.dropout, mixture=given.mixture)
    parts, returns = [], []
    for seed in range(given.seeds):
        policy, _ = trained(fold.train.strategic, team, params, seed)
        returns.append(annual_log_return(daily_log_returns(fold.test.strategic, policy, params)))
        parts.append(votes_of(policy, fold.test.strategic, seed))
        print(f"seed {seed}: {returns[-1]:+.4f} a year, {len(parts[-1]['agent'])} votes", flush=True)
    votes = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    result = {
        "simulated": True,
        "seeds": given.seeds,
        "frames": given.frames,
        "dropout": given.dropout,
        "mixture": given.mixture,
        "samples": SAMPLES,
        "net_log_return_per_year": returns,
        "calibration": calibration(votes, policy.spec.agents),
        "risk_coverage": curves(votes),
        "risk_coverage_by_voter": {
            name: curves({key: column[votes["agent"] == number] for key, column in votes.items()})
            for number, name in enumerate(policy.spec.agents[:-1])
        },
    }
    for name, rows in result["calibration"].items():
        for kind, row in rows.items():
            print(name, kind, {key: np.round(value, 4).tolist() for key, value in row.items()})
    for who, found in (("all voters", result["risk_coverage"]), *result["risk_coverage_by_voter"].items()):
        for name in DOUBTS:
            print(who, found["votes"], name, np.round(found[name]["risk"], 4).tolist(), found[name]["monotone"])
    if given.write:
        print(record.write("calibration", result))


if __name__ == "__main__":
    main()
