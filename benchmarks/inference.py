"""Microseconds of one decision and of 1000 dropout samples, ours and torch's, in turns in one process, one thread.

    python -m benchmarks.inference --write

Seven agents with distinct weights, 80 inputs each (the triples of the earlier agents among them), two hidden tanh
layers of 64, three actions; with and without the mixture layers. torch runs all seven in one batch, which acting order
forbids, and agent by agent, as acting order asks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import record
from grandmodel.core.random import random_stream
from grandmodel.market.inference import FusedInference
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.team import OWN_STATE_SIZE, TRIPLE_SIZE, TeamSpec
from grandmodel.marl.dropout import uncertainty_of
from grandmodel.marl.networks import Layers, Stack, forward, new_stack
from grandmodel.marl.superposition import Mixture, split_mixture, with_context

AGENTS, INPUTS, HIDDEN, ACTIONS = 7, 80, 64, 3
SAMPLES, RATE = 1000, 0.1


def team() -> TeamSpec:
    columns = INPUTS - OWN_STATE_SIZE
    return TeamSpec(
        name="seven",
        agents=tuple(f"agent_{number}" for number in range(AGENTS)),
        columns=tuple(tuple(range(columns - TRIPLE_SIZE * number)) for number in range(AGENTS)),
        action_counts=(ACTIONS,) * AGENTS,
        n_columns=columns,
        lags=1,
        uses_intent=False,
    )


def networks(mixture: Mixture) -> Stack:
    widths = (INPUTS, HIDDEN, HIDDEN, ACTIONS)
    return new_stack(AGENTS, widths, 1.0, random_stream(1, "inference"), "cpu", mixture)


def served(stack: Stack) -> FusedInference:
    spec = team()
    inference = FusedInference([TeamPolicy(spec, stack.export("actor", AGENTS))])
    for agent in range(AGENTS):
        own = INPUTS - TRIPLE_SIZE * agent
        inference.observations[agent, :own] = random_stream(2, agent).standard_normal(own)
    return inference


def mix_of(stack: Stack, part: slice) -> Callable[[Tensor], Tensor] | None:
    if stack.mixture == "none":
        return None
    layers = split_mixture(stack.flat.detach()[part], HIDDEN)
    return partial(with_context, layers, mixture=stack.mixture)


@torch.no_grad()
def torch_decision(parts: list[Any], seen: Tensor) -> Tensor:
    chosen = [torch.softmax(forward(layers, seen[part], None, mix), dim=2).argmax(dim=2) for part, layers, mix in parts]
    return torch.cat(chosen)


def layers_of(stack: Stack, part: slice) -> Layers:
    weights, biases = stack.layers
    return Layers(tuple(weight[part] for weight in weights), tuple(bias[part] for bias in biases))


def parts_of(stack: Stack, step: int) -> list[Any]:
    """Return the networks in runs of ``step``, with what torch needs of them at hand."""
    slices = [slice(first, first + step) for first in range(0, AGENTS, step)]
    return [(part, layers_of(stack, part), mix_of(stack, part)) for part in slices]


@torch.no_grad()
def torch_samples(stack: Stack, seen: Tensor, agents: int, generator: torch.Generator) -> Tensor:
    """Return the mutual information by SAMPLES dropout samples; the first layer's product is shared here too."""
    weights, biases = layers_of(stack, slice(0, agents))
    keep = torch.full((2, agents, SAMPLES, HIDDEN), 1 - RATE)
    masks = torch.bernoulli(keep, generator=generator) / (1 - RATE)
    first = torch.tanh(torch.baddbmm(biases[0].unsqueeze(1), seen[:agents], weights[0]))
    second = torch.tanh(torch.baddbmm(biases[1].unsqueeze(1), first * masks[0], weights[1])) * masks[1]
    mix = mix_of(stack, slice(0, agents))
    second = mix(second) if mix else second
    chances = torch.softmax(torch.baddbmm(biases[2].unsqueeze(1), second, weights[2]), dim=2)
    return uncertainty_of(chances).mutual_information


def timed(cases: dict[str, Callable[[], Any]], rounds: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return p50 and p99 in microseconds of each case; cases take turns, ``repeats`` calls each, ``rounds`` times."""
    nanoseconds: dict[str, list[int]] = {name: [] for name in cases}
    for call in cases.values():
        call()
    for _ in range(rounds):
        for name, call in cases.items():
            for _ in range(repeats):
                started = time.perf_counter_ns()
                call()
                nanoseconds[name].append(time.perf_counter_ns() - started)
    return {
        name: {f"p{q}_us": float(np.percentile(row, q)) / 1e3 for q in (50, 99)} for name, row in nanoseconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/inference.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    decisions: dict[str, Callable[[], Any]] = {}
    sampling: dict[str, Callable[[], Any]] = {}
    kinds: tuple[Mixture, ...] = ("none", "superposition", "softmax")
    generator = torch.Generator().manual_seed(1)
    for kind in kinds:
        stack = networks(kind)
        inference = served(stack)
        inference.decide()
        seen = torch.from_numpy(inference.observations).unsqueeze(1)
        decisions[f"fused, {kind}"] = inference.decide
        decisions[f"torch batch, {kind}"] = partial(torch_decision, parts_of(stack, AGENTS), seen)
        decisions[f"torch agent by agent, {kind}"] = partial(torch_decision, parts_of(stack, 1), seen)
        chosen = torch_decision(parts_of(stack, AGENTS), seen)[:, 0].numpy()
        assert np.array_equal(chosen, inference.decide())
        for agents in (1, AGENTS):
            ask = partial(inference.uncertainty, samples=SAMPLES, rate=RATE, seed=1, agents=range(agents))
            sampling[f"fused, {kind}, {agents}"] = ask
            sampling[f"torch batch, {kind}, {agents}"] = partial(torch_samples, stack, seen, agents, generator)
    result = {
        "decision of seven agents": timed(decisions, arguments.rounds, 100),
        f"{SAMPLES} dropout samples, by agents": timed(sampling, arguments.rounds, 5),
    }
    for name, rows in result.items():
        for case, row in rows.items():
            print(f"{name}: {case}: " + ", ".join(f"{key} {value:.1f}" for key, value in row.items()))
    if arguments.write:
        about = {"inputs": INPUTS, "hidden": HIDDEN, "actions": ACTIONS, "rate": RATE, "threads": 1}
        print(record.write("inference", {**about, **result}))


if __name__ == "__main__":
    main()
