"""Train: per fold and seed the strategic team, then the tactical team given its intents.

A unit of work is one (fold, seed). Units are kept under a key of all they depend on, unfinished ones with checkpoints,
so a killed run goes on where it stopped, and a unit is trained once for one set of inputs.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from filelock import FileLock

from grandmodel.core.clock import system_clock
from grandmodel.core.config import Params, TeamParams
from grandmodel.core.files import write_json_atomic
from grandmodel.core.hashing import hash_file, hash_folder, hash_json
from grandmodel.core.random import derive_seed
from grandmodel.data.dataset import Dataset
from grandmodel.market.core import VectorMarket
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec
from models.release import strategic_intents
from models.strategic.agents import strategic_team
from models.tactical.agents import tactical_team
from pipelines.console import progress
from pipelines.tapes import fold_folders, load_fold
from pipelines.workspace import PROJECT, Workspace, empty_folder, end_with_owner, run_stage

# Set by torchrun, whose processes train every unit together, one unit after the other.
PROCESSES = int(os.environ.get("WORLD_SIZE", "1"))
RANK = int(os.environ.get("RANK", "0")) if PROCESSES > 1 else 0
CHECKPOINT_ROLLOUTS = 10
LOOK_SECONDS = 1.0  # between two looks at the trainings that run
SOURCES = ("grandmodel/core", "grandmodel/features", "grandmodel/market", "grandmodel/marl", "models")


@dataclass(frozen=True)
class Unit:
    """One training of both teams."""

    fold_folder: Path
    seed_number: int
    key: str

    @property
    def name(self) -> str:
        """Where its weights go below ``train/weights``."""
        return f"{self.fold_folder.name}/seed_{self.seed_number}"


def train(workspace: Workspace) -> None:
    """Train every (fold, seed) and write weights, learning curves and a summary."""
    units = plan_units(workspace)
    missing = [unit for unit in units if not (workspace.units / unit.key / "done.json").exists()]
    if RANK > 0:
        _follow(workspace, missing)
        return
    with progress("train", len(units)) as advance:
        for unit in units:
            if unit not in missing:
                advance(f"{unit.name} kept from an earlier run")
        for finished, note in (_train_together if PROCESSES > 1 else _train_all)(workspace, missing):
            advance(note if finished is None else f"{finished.name}  {note}", done=finished is not None)
    folder = empty_folder(workspace.train)
    for unit in units:
        shutil.copytree(workspace.units / unit.key / "weights", folder / "weights" / unit.name)
    _write_curves(folder / "curves.csv", workspace, units)
    weights = {unit.name: hash_folder(folder / "weights" / unit.name) for unit in units}
    write_json_atomic(folder / "summary.json", {"weights": weights, "frames": _frames(workspace.params)})
    _forget_other_units(workspace, units)


def plan_units(workspace: Workspace) -> list[Unit]:
    """Return all trainings this workspace needs, keyed by data, features, parameters and code."""
    params = workspace.params
    code = {name: _hash_sources(PROJECT / name) for name in SOURCES}
    bars = hash_folder(workspace.features / "bars")
    units = []
    for folder in fold_folders(workspace.features):
        inputs = [hash_file(folder / name) for name in ("features.safetensors", "feature_spec.json", "fold.json")]
        for seed_number in range(params.training.seeds):
            depends_on = {
                "bars": bars,
                "inputs": inputs,
                "code": code,
                "market": params.market.model_dump(),
                "teams": [params.training.strategic.model_dump(), params.training.tactical.model_dump()],
                "seed": [params.seed, seed_number],
            }
            units.append(Unit(folder, seed_number, hash_json(depends_on)))
    return units


def _train_all(workspace: Workspace, units: list[Unit]) -> Iterator[tuple[Unit | None, str]]:
    """Train ``units`` beside each other; yield each with its line when it is done, else None and how they stand."""
    if not units:
        return
    workers = min(len(units), os.cpu_count() or 1)
    # Spawned, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=end_with_owner) as pool:
        futures = {pool.submit(train_unit, workspace, unit): unit for unit in units}
        pending: set[Future[str]] = set(futures)
        try:
            while pending:
                finished, pending = wait(pending, LOOK_SECONDS, FIRST_COMPLETED)
                for future in finished:
                    yield futures[future], future.result()
                if pending:
                    yield None, _standing(workspace, [futures[future] for future in pending])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _train_together(workspace: Workspace, units: list[Unit]) -> Iterator[tuple[Unit | None, str]]:
    """Train ``units`` one after the other, each in all processes, of which this one keeps what they leave."""
    for unit in units:
        yield unit, train_unit(workspace, unit)


def _follow(workspace: Workspace, units: list[Unit]) -> None:
    """Train ``units`` with the first process, and write nothing."""
    for unit in units:
        _train_teams(workspace, unit, workspace.units / f"{unit.key}.part")


def train_unit(workspace: Workspace, unit: Unit) -> str:
    """Train both teams of one unit, from its checkpoints where it has any, and keep the result; return its line."""
    final, folder = workspace.units / unit.key, workspace.units / f"{unit.key}.part"
    folder.mkdir(parents=True, exist_ok=True)
    # A worker may outlive its killed stage for a moment.
    with FileLock(workspace.units / f"{unit.key}.lock"):
        if (final / "done.json").exists():
            return "kept from another run"
        line = _train_teams(workspace, unit, folder)
        for leftover in [*folder.glob("*.checkpoint"), *folder.glob(".*")]:
            leftover.unlink()
        write_json_atomic(folder / "done.json", {"unit": unit.name})
        shutil.rmtree(final, ignore_errors=True)
        os.replace(folder, final)
    return line


def _train_teams(workspace: Workspace, unit: Unit, folder: Path) -> str:
    params = workspace.params
    dataset = Dataset.load(workspace.features / "bars")
    tapes = load_fold(unit.fold_folder, dataset, params.market).train
    seed = derive_seed(params.seed, "train", unit.fold_folder.name, unit.seed_number)
    events = workspace.tensorboard / unit.name
    training = params.training
    team = strategic_team(training.strategic)
    strategic, line = _train_team(tapes.strategic, team, params, training.strategic, seed, folder, events)
    if tapes.tactical is not None:
        tape = tapes.tactical.with_intents(strategic_intents(strategic, tapes, params.market))
        team = tactical_team(training.tactical)
        _, tactical_line = _train_team(tape, team, params, training.tactical, seed, folder, events)
        line = f"{line}, {tactical_line}"
    return line


def market_of(tape: MarketTape, team: TeamSpec, params: Params, team_params: TeamParams, seed: int) -> VectorMarket:
    """Return the market in which ``team`` is trained, or this process's share of its copies."""
    from grandmodel.marl.ranks import share_of  # torch loads only where a team is trained

    share = share_of(team_params.environments)
    return VectorMarket(
        tape,
        team,
        params.market,
        environments=share.stop - share.start,
        window_bars=team_params.window_bars,
        seed=derive_seed(seed, team.name, "market"),
        first_copy=share.start,
    )


def _train_team(
    tape: MarketTape, team: TeamSpec, params: Params, team_params: TeamParams, seed: int, folder: Path, events: Path
) -> tuple[TeamPolicy, str]:
    from grandmodel.marl import Checkpoint, CurveLog, train_vectorised  # torch loads only where a team is trained

    market = market_of(tape, team, params, team_params, seed)
    trained = train_vectorised(
        market,
        team_params,
        seed=derive_seed(seed, team.name, "learner"),
        progress=CurveLog(folder / f"{team.name}_curves.jsonl", events / team.name, system_clock),
        checkpoint=Checkpoint(folder / f"{team.name}.checkpoint", CHECKPOINT_ROLLOUTS),
    )
    policy = TeamPolicy(team, trained.actor)
    if RANK == 0:
        policy.save(folder / "weights" / f"{team.name}.safetensors")
        write_json_atomic(folder / f"{team.name}_curves.json", trained.curves)
    last = trained.curves[-1]
    return policy, f"{team.name} reward {last['return_per_step']:+.4f}"


def _standing(workspace: Workspace, units: list[Unit]) -> str:
    """Return how far the trainings are that run: share done, frames a second, seconds left of the present team."""
    notes = []
    for unit in units:
        lines: list[str] = []
        with suppress(FileNotFoundError):  # a unit that ends meanwhile is renamed
            logs = (workspace.units / f"{unit.key}.part").glob("*_curves.jsonl")
            latest = max(logs, key=lambda path: path.stat().st_mtime, default=None)
            lines = latest.read_text().splitlines(keepends=True) if latest else []
        if lines and lines[-1].endswith("\n"):
            row = json.loads(lines[-1])
            done, speed = row["frames"] / row["frames_total"], row["frames_per_second"] / 1e3
            notes.append(f"{unit.name} {done:.0%}, {speed:.0f}k frames/s, {row['seconds_left']:.0f} s left")
    return "; ".join(notes[:2])


def _write_curves(path: Path, workspace: Workspace, units: list[Unit]) -> None:
    rows = []
    for unit in units:
        for curve in sorted((workspace.units / unit.key).glob("*_curves.json")):
            team = curve.name.removesuffix("_curves.json")
            head = {"fold": unit.fold_folder.name, "seed": unit.seed_number, "team": team}
            rows += [head | row for row in json.loads(curve.read_text())]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _frames(params: Params) -> dict[str, int]:
    return {"strategic": params.training.strategic.frames, "tactical": params.training.tactical.frames}


def _forget_other_units(workspace: Workspace, units: list[Unit]) -> None:
    keep = {unit.key for unit in units}
    for path in workspace.units.iterdir():
        if path.is_file():
            path.unlink()
        elif path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _hash_sources(folder: Path) -> str:
    return hash_json({p.relative_to(folder).as_posix(): hash_file(p) for p in sorted(folder.rglob("*.py"))})


if __name__ == "__main__":
    run_stage(train)
