"""What MAPPO learns on mpe2's particle worlds: ours and BenchMARL's, over seeds, in one vectorised environment.

    python -m benchmarks.mpe_study --task spread --seeds 10 --frames 10_000_000
    python -m benchmarks.mpe_study --task spread --seeds 3 --frames 3_200_000 --trainer benchmarl
    python -m benchmarks.mpe_study --show

Each training leaves one JSON in ``benchmarks/results/mpe``; those that are there are not repeated, so that a study can
be stopped and taken up again. After them (or alone, by ``--show``) the summary ``benchmarks/results/mpe_study.json``,
the table in ``docs/learning.md`` and the pictures in ``docs/images`` are written from all of them. Returns are those of
mpe2, per agent and episode of 25 steps. ``--mpe2-episodes`` plays the trained team in mpe2 itself as well; this and
BenchMARL are optional packages, named in ``benchmarks/requirements.txt``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.mpe import EPISODE_STEPS, VectorWorlds
from grandmodel.core.config import TeamParams
from grandmodel.core.files import write_json_atomic
from grandmodel.core.random import derive_seed, random_stream
from grandmodel.marl import TrainedTeam, train_vectorised
from grandmodel.stats.iqm import interquartile_mean, stratified_bootstrap_iqm
from pipelines.workspace import PROJECT

COPIES = 128
CURVE_FRAMES = 100_000
EPISODES = 4096  # of each evaluation in the vectorised environment
CONFIDENCE, DRAWS = 0.95, 10_000
JUDGED = ("sampled", "greedy")
NAMES = {"ours": "GrandModel", "benchmarl": "BenchMARL"}
RUNS = record.RESULTS / "mpe"
PAGE, PICTURES = PROJECT / "docs" / "learning.md", PROJECT / "docs" / "images"
BEGIN, END = "<!-- written by benchmarks.mpe_study -->", "<!-- end -->"
Choice = Callable[[NDArray[np.float32]], NDArray[np.int64]]  # actions [N, A] of observations [N, A, D]


class Task(NamedTuple):
    """One game: what differs in the settings, and what random and scripted play are worth."""

    game: str
    version: str  # of mpe2
    settings: dict[str, Any]
    random: float
    oracle: float  # a script that walks to the right landmark; no upper bound
    wanted: dict[int, float]  # frames: the least interquartile mean


TASKS = {
    "spread": Task(
        "simple_spread",
        "v3",
        {"shared_actors": True},
        -26.5,
        -7.41,
        {3_200_000: -10.5, 10_000_000: -8.3},
    ),
    "speaker": Task(
        "simple_speaker_listener",
        "v4",
        {"shared_actors": False},
        -40.0,
        -8.8,
        {10_000_000: -11.0},
    ),
    "reference": Task(
        "simple_reference",
        "v3",
        {
            "shared_actors": True,
            "gamma": 0.9,
            "minibatches": 8,
            "learning_rate": 1.5e-3,
            "critic_learning_rate": 1.5e-3,
        },
        -28.3,
        -8.5,
        {10_000_000: -10.5},
    ),
}
SETTINGS = {
    "hidden": 64,
    "critic_hidden": 64,
    "environments": COPIES,
    "rollout_steps": EPISODE_STEPS,
    "epochs": 10,
    "minibatches": 4,
    "learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "gamma": 0.9,
    "gae_lambda": 0.95,
    "clip": 0.2,
    "entropy": 0.01,
    "value_coefficient": 1.0,
    "gradient_norm_max": 10.0,
}


def params_of(task: Task, frames: int) -> TeamParams:
    return TeamParams.model_validate({**SETTINGS, **task.settings, "frames": frames})


def thinned(frames: NDArray[np.float64], returns: NDArray[np.float64]) -> dict[str, list[float]]:
    """Return the mean return of each hundred thousand frames, dated by their last frame."""
    parts = ((frames - 1) // CURVE_FRAMES).astype(int)
    kinds = range(int(parts[-1]) + 1)
    return {
        "frames": [float(frames[parts == part][-1]) for part in kinds],
        "return": [round(float(returns[parts == part].mean()), 4) for part in kinds],
    }


def mean_and_error(returns: NDArray[np.float64]) -> dict[str, float]:
    error = float(returns.std(ddof=1) / np.sqrt(len(returns)))
    return {"mean": round(float(returns.mean()), 4), "standard_error": round(error, 4), "episodes": len(returns)}


def choice_of(
    actor: dict[str, NDArray[np.float32]], counts: tuple[int, ...], random: np.random.Generator | None
) -> Choice:
    """Return the policy of an exported actor, drawing by ``random`` or, without it, always its likeliest action."""

    def choose(observations: NDArray[np.float32]) -> NDArray[np.int64]:
        actions = np.zeros((len(observations), len(counts)), np.int64)
        for agent, count in enumerate(counts):
            layer = observations[:, agent]
            for index in range(3):
                layer = layer @ actor[f"actor.{index}.weight"][agent] + actor[f"actor.{index}.bias"][agent]
                layer = np.tanh(layer) if index < 2 else layer
            scores = layer[:, :count]
            # The largest of logits with Gumbel noise is a draw from their softmax.
            noise = 0.0 if random is None else random.gumbel(size=scores.shape)
            actions[:, agent] = np.argmax(scores + noise, axis=1)
        return actions

    return choose


def play(task: Task, choose: Choice, seed: int) -> NDArray[np.float64]:
    """Return the returns of ``EPISODES`` fresh episodes in the vectorised environment."""
    worlds = VectorWorlds(task.game, EPISODES)
    worlds.reset(seed)
    returns = np.zeros(EPISODES)
    for _ in range(EPISODE_STEPS):
        returns += worlds.step(choose(worlds.observations)).reward
    return returns


def play_in_mpe2(task: Task, choose: Choice, seed: int, episodes: int) -> NDArray[np.float64]:
    """Return the returns, per agent, of ``episodes`` episodes in mpe2 itself."""
    game = importlib.import_module(f"mpe2.{task.game}_{task.version}").parallel_env()
    shown = np.zeros_like(VectorWorlds(task.game, 1).observations)
    returns = np.zeros(episodes)
    for episode in range(episodes):
        seen, _ = game.reset(seed=seed + episode)
        while game.agents:
            for agent, name in enumerate(game.agents):
                shown[0, agent, : len(seen[name])] = seen[name]
            actions = dict(zip(game.agents, choose(shown)[0].tolist(), strict=True))
            seen, rewards, _, _, _ = game.step(actions)
            returns[episode] += np.mean(list(rewards.values()))
    return returns


def evaluations(task: Task, team: TrainedTeam, seed: int, mpe2_episodes: int) -> dict[str, Any]:
    counts, found = VectorWorlds(task.game, 1).action_counts, {}
    start = derive_seed(seed, "mpe evaluation") % 2**31
    greedy = choice_of(team.actor, counts, None)
    drawn = choice_of(team.actor, counts, random_stream(seed, "mpe actions"))
    for name, choose in (("greedy", greedy), ("sampled", drawn)):
        found[name] = mean_and_error(play(task, choose, start))
        if mpe2_episodes:
            found[f"{name}, mpe2"] = mean_and_error(play_in_mpe2(task, choose, start, mpe2_episodes))
    return found


def ours(name: str, frames: int, seed: int, mpe2_episodes: int) -> dict[str, Any]:
    """Train one team of ours and return its curve and evaluations."""
    task = TASKS[name]
    params = params_of(task, frames)
    started = time.process_time()
    team = train_vectorised(VectorWorlds(task.game, COPIES), params, seed=seed)
    seconds = time.process_time() - started
    rows = np.array([(row["frames"], EPISODE_STEPS * row["return_per_step"]) for row in team.curves])
    return {
        "cpu_seconds": round(seconds, 1),
        "settings": params.model_dump(),
        "curve": thinned(rows[:, 0], rows[:, 1]),
        "evaluation": evaluations(task, team, seed, mpe2_episodes),
    }


def benchmarl(name: str, frames: int, seed: int, mpe2_episodes: int) -> dict[str, Any]:
    """Train BenchMARL's MAPPO in the same environment and return the same."""
    from benchmarks.mpe_peer import train_benchmarl

    task = TASKS[name]
    params = params_of(task, frames)
    started = time.process_time()
    rows, returns = train_benchmarl(task.game, params, seed, EPISODES)
    return {
        "cpu_seconds": round(time.process_time() - started, 1),
        "settings": params.model_dump(),
        "curve": thinned(rows[:, 0], rows[:, 1]),
        "evaluation": {kind: mean_and_error(found) for kind, found in returns.items()},
    }


TRAINERS = {"ours": ours, "benchmarl": benchmarl}


def run(trainer: str, name: str, frames: int, seed: int, mpe2_episodes: int) -> None:
    """Train once, unless its JSON is there, and write it."""
    path = RUNS / f"{name}_{frames}_{trainer}_{seed}.json"
    if path.exists():
        return
    found = TRAINERS[trainer](name, frames, seed, mpe2_episodes)
    RUNS.mkdir(parents=True, exist_ok=True)
    head = {"task": name, "trainer": trainer, "frames": frames, "seed": seed}
    write_json_atomic(path, {**head, "commit": record.commit(), "machine": record.machine(), **found})
    means = {kind: row["mean"] for kind, row in found["evaluation"].items()}
    print(f"{path.stem}: {means}, {found['cpu_seconds']:.0f} s of processor", flush=True)


def finished() -> dict[tuple[str, int, str], list[dict[str, Any]]]:
    """Return all runs that are there, by task, frames and trainer."""
    found: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for path in sorted(RUNS.glob("*.json")):
        row = json.loads(path.read_text())
        found.setdefault((row["task"], row["frames"], row["trainer"]), []).append(row)
    return found


def interval_of(scores: NDArray[np.float64]) -> dict[str, Any]:
    """Return the interquartile mean over seeds with its bootstrap interval."""
    tail = (1 - CONFIDENCE) / 2
    drawn = stratified_bootstrap_iqm(scores[:, None], draws=DRAWS, seed=1)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    middle = float(interquartile_mean(scores))
    return {"iqm": round(middle, 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def summary(runs: dict[tuple[str, int, str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return one row for each task, number of frames and trainer."""
    rows = []
    for (name, frames, trainer), found in runs.items():
        played = [row["evaluation"] for row in found]
        kinds = [kind for kind in played[0] if all(kind in each for each in played)]
        scores = {kind: np.array([each[kind]["mean"] for each in played]) for kind in kinds}
        last = np.array([row["curve"]["return"][-1] for row in found])
        rows.append(
            {
                "task": name,
                "frames": frames,
                "trainer": trainer,
                "seeds": [row["seed"] for row in found],
                "wanted": TASKS[name].wanted.get(frames),
                "frames_per_cpu_second": round(float(np.median([frames / row["cpu_seconds"] for row in found]))),
                **{kind: interval_of(values) for kind, values in scores.items()},
                f"last {CURVE_FRAMES} frames of training": interval_of(last),
            }
        )
    return rows


def draw(name: str, runs: dict[tuple[str, int, str], list[dict[str, Any]]], path: Path) -> None:
    """Draw the curves of one task: each seed thin, the interquartile mean thick."""
    task = TASKS[name]
    figure = Figure(figsize=(8.0, 4.4), layout="constrained")
    axes = figure.subplots()
    colours = {"ours": "#1f5fa8", "benchmarl": "#c7622a"}
    lines = {"10000000": "-", "3200000": (0, (4, 1.5))}
    for (task_name, frames, trainer), found in sorted(runs.items(), key=str):
        if task_name != name:
            continue
        steps = np.array(found[0]["curve"]["frames"]) / 1e6
        curves = np.array([row["curve"]["return"] for row in found])
        axes.plot(steps, curves.T, color=colours[trainer], linewidth=0.5, alpha=0.35)
        plural = "seeds" if len(found) > 1 else "seed"
        label = f"{NAMES[trainer]}, {frames / 1e6:g} M frames, {len(found)} {plural}"
        style = lines.get(str(frames), (0, (1.5, 1.5)))
        axes.plot(steps, interquartile_mean(curves), color=colours[trainer], linewidth=2, linestyle=style, label=label)
    axes.axhline(task.oracle, color="#777777", linewidth=0.8)
    axes.annotate("scripted play", (0, task.oracle), fontsize=8, color="#777777", va="bottom")
    axes.axhline(task.random, color="#777777", linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate("random", (0, task.random), fontsize=8, color="#777777", va="bottom")
    axes.set_xlabel("frames, millions")
    axes.set_ylabel("return per agent and episode")
    axes.set_title(f"mpe2 {task.game} {task.version}: sampled policy while it trains", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="center right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def with_interval(figure: dict[str, float], seeds: int) -> str:
    """Return a figure with its interval, which one seed does not have."""
    return f"{figure['iqm']:.2f}" + (f" ({figure['low']:.2f} to {figure['high']:.2f})" if seeds > 1 else "")


def table(rows: list[dict[str, Any]]) -> str:
    """Return the summary as a table of Markdown."""
    lines = [
        "| task | frames | trainer | seeds | sampled: judged | greedy | asked | frames per second of processor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shown = [with_interval(row[kind], len(row["seeds"])) for kind in JUDGED]
        wanted = "" if row["wanted"] is None else f">= {row['wanted']:g}"
        head = f"{row['task']} | {row['frames'] / 1e6:g} M | {NAMES[row['trainer']]} | {len(row['seeds'])}"
        lines.append(f"| {head} | {shown[0]} | {shown[1]} | {wanted} | {row['frames_per_cpu_second']:,} |")
    return "\n".join(lines)


def write_table(page: Path, text: str) -> None:
    """Replace what stands between the two marks on ``page``."""
    before, rest = page.read_text().split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


def show() -> None:
    """Write summary, table and pictures from all runs that are there, and print the summary."""
    runs = finished()
    rows = summary(runs)
    write_table(PAGE, table(rows))
    record.write("mpe_study", {"confidence": CONFIDENCE, "episodes": EPISODES, "rows": rows})
    for name in sorted({key[0] for key in runs}):
        draw(name, runs, PICTURES / f"mpe_{name}.png")
    for row in rows:
        print(json.dumps(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--trainer", choices=TRAINERS, default="ours")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--mpe2-episodes", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="train nothing, write summary and pictures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.show:
        if given.task is None:
            parser.error("--task is needed unless --show is given")
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            run(given.trainer, given.task, given.frames, seed, given.mpe2_episodes)
    show()


if __name__ == "__main__":
    main()
