"""Is the superposition layer worth having? Against a plain softmax mixture of equal size, and against no mixture.

    python -m benchmarks.ablation_superposition --write
    python -m benchmarks.ablation_superposition --data ../shared/data/cn_futures_5m --name real --write

Each training has the same data, frames and random streams but for the layer; torch path, all else as in params.yaml.
The result is the net log return a year of the strategic team out of sample: its interquartile mean over the seeds with
a bootstrap interval over seeds, and the same of the differences seed by seed. Whatever comes out is written down.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import record
from benchmarks.teams import annual_log_return, daily_log_returns, market_of, team_params, trained
from grandmodel.marl.superposition import Mixture
from grandmodel.stats.iqm import interquartile_mean, stratified_bootstrap_iqm

KINDS: tuple[Mixture, ...] = ("superposition", "softmax", "none")
PAIRS = (("superposition", "softmax"), ("superposition", "none"), ("softmax", "none"))
DRAWS, CONFIDENCE = 2000, 0.95


def summary(values: list[float]) -> dict[str, Any]:
    """Return the interquartile mean of ``values`` with its bootstrap interval."""
    scores = np.array(values)[:, None]
    tail = (1 - CONFIDENCE) / 2
    interval = np.quantile(stratified_bootstrap_iqm(scores, draws=DRAWS, seed=1), [tail, 1 - tail])
    return {"iqm": float(interquartile_mean(scores[:, 0])), "interval": interval.tolist(), "by_seed": values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="bars to train on; a simulated market if absent")
    parser.add_argument("--name", default="simulated")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=300_000)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/superposition_NAME.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    fold, params = market_of(given.data)
    returns: dict[str, list[float]] = {kind: [] for kind in KINDS}
    rewards: dict[str, list[float]] = {kind: [] for kind in KINDS}
    sizes: dict[str, int] = {}
    for seed in range(given.seeds):
        for kind in KINDS:
            started = time.perf_counter()
            team = team_params(params, given.frames, mixture=kind)
            policy, curve = trained(fold.train.strategic, team, params, seed)
            sizes[kind] = sum(array.size for array in policy.weights.values())
            returns[kind].append(annual_log_return(daily_log_returns(fold.test.strategic, policy, params)))
            rewards[kind].append(curve["return_per_step"])
            seconds = time.perf_counter() - started
            print(f"{given.name} seed {seed} {kind}: {returns[kind][-1]:+.4f} a year, {seconds:.0f} s", flush=True)
    result = {kind: summary(returns[kind]) for kind in KINDS}
    differences = {
        f"{one} - {two}": summary([a - b for a, b in zip(returns[one], returns[two], strict=True)])
        for one, two in PAIRS
    }
    for name, row in (result | differences).items():
        print(f"{name}: {row['iqm']:+.4f} {np.round(row['interval'], 4).tolist()}")
    if given.write:
        content = {
            "simulated": given.data is None,
            "figure": "net log return a year, strategic team alone, out of sample, last fold",
            "symbols": list(fold.test.strategic.symbols),
            "frames": given.frames,
            "confidence": CONFIDENCE,
            "exported_numbers": sizes,
            "out_of_sample": result,
            "differences_by_seed": differences,
            "last_reward_per_step": rewards,
        }
        print(record.write(f"superposition_{given.name}", content))


if __name__ == "__main__":
    main()
