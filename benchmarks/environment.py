"""How fast the vectorised market steps, beside writing its observations alone and a plain environment in Python.

    python -m benchmarks.environment

Per configuration, interleaved in one process, time per step of:

- core: ``observe`` for every agent and ``step``, so that every agent's observation is whole; costs, drawdown, ends and
  automatic reset on; actions drawn beforehand;
- at once: ``step`` of the simultaneous market, which writes the triples itself;
- writing: compiled code that writes the same observations, states and triples from the tape, and nothing else; the
  rows move on by one each time, as they do in the market;
- memset: zeros over the same buffers, whatever they hold;
- plain: one step of the same market as a PettingZoo environment in ordinary Python (``benchmarks/plain_market.py``).

Times are processor time of this process, on which other work on the machine weighs least; best and median of the
rounds are reported. An agent-step is one agent's observation and action in one environment.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from benchmarks.plain_market import PlainMarket
from benchmarks.record import write
from grandmodel.core.config import Params, load_params
from grandmodel.core.random import random_stream
from grandmodel.market.core import VectorMarket
from grandmodel.market.observation import (
    Standing,
    TapeArrays,
    Windows,
    empty_standing,
    lay_windows,
    look_at_accounts,
    write_observations,
    write_states,
    write_triples,
)
from grandmodel.market.simulated import simulated_tape
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import Layout, TeamSpec
from models.strategic.agents import strategic_team
from models.tactical.agents import tactical_team
from pipelines.workspace import PROJECT

ENVIRONMENTS = 4096
LAGS = (1, 16, 48)  # the first is that of params.yaml
TAPES = {"in cache": (2, 600), "larger than cache": (6, 20_000)}  # instruments, rows of each
ACTION_SETS = 8
PLAIN_STEPS = 200
Step = Callable[[int], Any]


@njit(cache=True)
def write_alone(
    observations: np.ndarray,
    states: np.ndarray,
    everyone: np.ndarray,
    standing: Standing,
    tape: TapeArrays,
    windows: Windows,
    layout: Layout,
    actions: np.ndarray,
) -> None:
    """Move all rows on by one and write observations, states and triples."""
    standing.row[:] += 1
    write_states(states, everyone, standing, tape, windows, layout)
    write_observations(observations, standing, tape, windows, layout)
    for agent in range(1, observations.shape[1]):
        write_triples(observations, agent, layout, actions)


def drawn_actions(spec: TeamSpec, environments: int) -> list[np.ndarray]:
    """Return sets of random actions int64 [environments, A]."""
    stream = random_stream(0, "benchmark actions")
    draws = [stream.integers(0, count, (ACTION_SETS, environments)) for count in spec.action_counts]
    return list(np.stack(draws, axis=-1).astype(np.int64))


def core_step(market: VectorMarket, sets: list[np.ndarray], in_turn: bool) -> Step:
    """Return one step of ``market`` with all observations written."""

    def step(number: int) -> None:
        actions = sets[number % ACTION_SETS]
        if in_turn:
            for agent in range(len(market.agents)):
                market.observe(agent, actions)
        market.step(actions)

    return step


def writing_step(market: VectorMarket, sets: list[np.ndarray], window_bars: int) -> tuple[Step, Step]:
    """Return the writing of what ``market`` writes in a step, and zeros over the same buffers."""
    tape, spec = market.tape, market.spec
    standing, windows = empty_standing(market.n_environments), lay_windows(tape.features, tape.offsets, spec)
    instrument = np.searchsorted(tape.offsets, market.rows, side="right") - 1
    starts = np.minimum(market.rows, tape.offsets[instrument + 1] - window_bars - 2)
    standing.row[:], standing.mirror[:] = starts, windows.mirror[instrument]
    everyone = np.ones(market.n_environments, np.bool_)
    look_at_accounts(standing, everyone, tape.arrays)
    observations, states = np.zeros_like(market.observations), np.zeros_like(market.states)

    def step(number: int) -> None:
        if number % window_bars == 0:
            standing.row[:] = starts
        actions = sets[number % ACTION_SETS]
        write_alone(observations, states, everyone, standing, tape.arrays, windows, spec.layout, actions)

    def zeros(number: int) -> None:
        observations.fill(0.0)
        states.fill(0.0)

    return step, zeros


def plain_step(tape: MarketTape, spec: TeamSpec, params: Params, window_bars: int) -> Step:
    """Return one step of the plain environment, begun anew where it has ended."""
    market = PlainMarket(tape, spec, params.market, window_bars=window_bars, seed=1)
    choices = [
        dict(zip(market.possible_agents, row.tolist(), strict=True)) for row in drawn_actions(spec, ENVIRONMENTS)[0]
    ]
    market.reset(seed=1)

    def step(number: int) -> None:
        market.step(choices[number % ENVIRONMENTS])
        if not market.agents:
            market.reset()

    return step


def seconds_per_step(step: Step, steps: int) -> float:
    """Return the mean processor time of ``steps`` steps."""
    began = time.process_time()
    for number in range(steps):
        step(number)
    return (time.process_time() - began) / steps


def measure(spec: TeamSpec, tape: MarketTape, params: Params, window_bars: int, rounds: int, steps: int) -> dict:
    """Return best and median time of each contender over interleaved ``rounds``, and the ratios."""
    sets = drawn_actions(spec, ENVIRONMENTS)
    in_turn, at_once = (
        VectorMarket(tape, spec, params.market, ENVIRONMENTS, window_bars, seed=1, simultaneous=simultaneous)
        for simultaneous in (False, True)
    )
    writing, zeros = writing_step(in_turn, sets, window_bars)
    contenders = {
        "core": (core_step(in_turn, sets, True), steps),
        "writing": (writing, steps),
        "memset": (zeros, steps),
        "at once": (core_step(at_once, sets, False), steps),
        "plain": (plain_step(tape, spec, params, window_bars), PLAIN_STEPS),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for step, count in contenders.values():
        seconds_per_step(step, count)  # compiled and warm
    for _ in range(rounds):
        for name, (step, count) in contenders.items():
            times[name].append(seconds_per_step(step, count))
    return report(spec, tape, times, in_turn)


def report(spec: TeamSpec, tape: MarketTape, times: dict[str, list[float]], market: VectorMarket) -> dict:
    """Return the figures of one configuration."""
    agents = len(spec.agents)
    figures: dict[str, Any] = {
        "team": spec.name,
        "lags": spec.lags,
        "tape_rows": len(tape),
        "environments": ENVIRONMENTS,
        "agents": agents,
        "observation_floats": spec.observation_size,
        "buffers_mb": (market.observations.nbytes + market.states.nbytes) / 1e6,
        "microseconds_per_step": {
            name: {"best": 1e6 * min(runs), "median": 1e6 * float(np.median(runs)), "rounds": len(runs)}
            for name, runs in times.items()
        },
    }
    for kind, of in (("best", min), ("median", lambda runs: float(np.median(runs)))):
        core, at_once, plain = of(times["core"]), of(times["at once"]), of(times["plain"])
        figures[kind] = {
            "agent_steps_per_second": ENVIRONMENTS * agents / core,
            "environment_steps_per_second": ENVIRONMENTS / core,
            "agent_steps_per_second_at_once": ENVIRONMENTS * agents / at_once,
            "agent_steps_per_second_plain": agents / plain,
            "times_writing": core / of(times["writing"]),
            "times_memset": core / of(times["memset"]),
            "times_plain": ENVIRONMENTS * plain / core,
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    params = load_params(PROJECT / "params.yaml")
    rows = []
    for tape_name, (instruments, length) in TAPES.items():
        for lags in LAGS:
            for make, team in (
                (strategic_team, params.training.strategic),
                (tactical_team, params.training.tactical),
            ):
                spec = make(team.model_copy(update={"lags": lags}))
                tape = simulated_tape(spec, rows=length, instruments=instruments, params=params.market)
                steps = 128 if lags == 1 else 32
                rows.append({"tape": tape_name, **measure(spec, tape, params, team.window_bars, given.rounds, steps)})
                best, median = rows[-1]["best"], rows[-1]["median"]
                print(
                    f"{spec.name}, {lags} lags, tape {tape_name}: "
                    f"{best['agent_steps_per_second'] / 1e6:.1f} M agent-steps/s "
                    f"(median {median['agent_steps_per_second'] / 1e6:.1f} M), "
                    f"{best['times_writing']:.2f}x the time of writing (median {median['times_writing']:.2f}x), "
                    f"{best['times_plain']:.0f}x plain Python",
                    flush=True,
                )
    print(write("environment", {"simulated": True, "configurations": rows}))


if __name__ == "__main__":
    main()
