"""Sweep: look for better learning parameters of one team on bars that no test ever judges.

Test spans of earlier folds lie within the training spans of later ones, so only the first fold's training span is used:
its first sessions train, its last ones validate. Features were scaled on the whole of that span. Every trial is kept
and entered into the trial ledger: how many there were is what a deflated Sharpe ratio has to be paid with.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.clock import system_clock
from grandmodel.core.config import Params, TeamParams
from grandmodel.core.errors import ConfigError
from grandmodel.core.files import write_json_atomic
from grandmodel.core.hashing import hash_arrays, hash_file, hash_json
from grandmodel.core.random import derive_seed
from grandmodel.data.dataset import Dataset
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import replay
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec
from grandmodel.registry.trials import Returns, Trial, open_trials, record
from grandmodel.stats.performance import annual_return_frac, annual_sharpe
from models.release import Tapes, strategic_intents
from models.strategic.agents import strategic_team
from models.tactical.agents import tactical_team
from pipelines.evaluate import daily
from pipelines.tapes import fold_folders, load_fold
from pipelines.train import code_of_training, market_of
from pipelines.workspace import PROJECT, Workspace, finish, open_workspace, state_folder

if TYPE_CHECKING:
    import optuna

TEAMS = {"strategic": strategic_team, "tactical": tactical_team}
VALIDATION_FRAC = 0.25
NS_PER_DAY = 24 * 60 * 60 * 10**9
# Range of each parameter, and whether it is drawn on a logarithmic scale.
RANGES = {
    "learning_rate": (3e-4, 1e-2, True),
    "critic_learning_rate": (3e-4, 1e-2, True),
    "entropy": (1e-4, 3e-2, True),
    "gamma": (0.8, 0.99, False),
    "gae_lambda": (0.8, 0.98, False),
    "clip": (0.1, 0.3, False),
}
CHOICES = {"epochs": (2, 4, 8), "minibatches": (1, 2, 4, 8), "rollout_steps": (16, 32, 64)}


@dataclass(frozen=True)
class Split:
    """One team's market before and after the cut, and what identifies the two."""

    team: TeamSpec
    train: MarketTape
    validation: MarketTape
    key: str
    dataset: Dataset


def sweep(workspace: Workspace, *, team: str, trials: int, folder: Path) -> dict[str, Any]:
    """Run ``trials`` more trials of the study of ``team`` below ``folder``; return what all of them gave.

    The first trial of a study takes the parameters as they stand. Equal data, parameters and number of trials give
    equal trials, in one go or in several.

    Raises ConfigError where features are missing or the span is too short, TrainingError where a training fails.
    """
    import optuna

    params = workspace.params
    split = split_training_span(workspace, team)
    base: TeamParams = getattr(params.training, team)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{(folder / 'studies.db').resolve()}",
        study_name=f"{team}-{split.key[:12]}",
        direction="maximize",
        load_if_exists=True,
    )
    state = optuna.trial.TrialState
    for killed in study.get_trials(states=(state.RUNNING,)):
        study.tell(killed.number, state=state.FAIL)
    for number in range(done := len(study.get_trials(states=(state.COMPLETE,))), done + trials):
        if number == 0 and not study.get_trials(states=(state.WAITING,)):
            study.enqueue_trial({name: getattr(base, name) for name in (*RANGES, *CHOICES)})
        # One sampler a trial, seeded by how many are complete: a study that goes on draws what it would have drawn.
        study.sampler = optuna.samplers.TPESampler(seed=derive_seed(params.seed, "sweep", number) % 2**32)
        study.optimize(lambda trial: _objective(trial, split, params, base), n_trials=1)
    result = _result(study, split)
    write_json_atomic(folder / f"{study.study_name}.json", result)
    return result


def split_training_span(workspace: Workspace, team: str) -> Split:
    """Return the first fold's training span of ``team``, cut at a session, with the embargo of the folds between."""
    params, folders = workspace.params, fold_folders(workspace.features)
    if params.folds.scheme == "combinatorial":
        rule = "a sweep needs walk-forward folds: combinatorial ones test every session"
        raise ConfigError("key folds.scheme", rule, params.folds.scheme)
    if not folders:
        raise ConfigError(str(workspace.features), "must hold features", do="Run `grandmodel run` first")
    dataset = Dataset.load(workspace.features / "bars")
    span = load_fold(folders[0], dataset, params.market).train
    if team == "tactical" and span.tactical is None:
        raise ConfigError("team tactical", "needs 5-minute bars", "a dataset without them")
    days = np.unique(span.strategic.session)
    cut = int(len(days) * (1 - VALIDATION_FRAC))
    after = cut + params.folds.embargo_sessions
    if cut < 2 or len(days) - after < 2:
        raise ConfigError("training span of the first fold", "must leave two sessions on both sides", len(days))
    bounds = [_first_start(span.strategic, day) for day in (days[0], days[cut], days[after])]
    end = int(span.strategic.start_ns.max()) + NS_PER_DAY
    parts = span.window(bounds[0], bounds[1]), span.window(bounds[2], end)
    depends_on = {
        "features": hash_file(folders[0] / "features.safetensors"),
        "params": params.model_dump(),
        "bounds": [*bounds, end],
        "ranges": [RANGES, CHOICES],
    }
    if team == "strategic":
        tapes = parts[0].strategic, parts[1].strategic
    else:
        tapes = _with_intents(parts, params)
    return Split(TEAMS[team](getattr(params.training, team)), *tapes, hash_json(depends_on), dataset)


def _with_intents(parts: tuple[Tapes, Tapes], params: Params) -> tuple[MarketTape, MarketTape]:
    """Return the tactical tapes with the intents of a strategic team trained before the cut."""
    team_params = params.training.strategic
    spec = strategic_team(team_params)
    policy = _trained(parts[0].strategic, spec, params, team_params, derive_seed(params.seed, "sweep", "strategic"))
    first, second = (
        part.tactical.with_intents(strategic_intents(policy, part, params.market)) for part in parts if part.tactical
    )
    return first, second


def _objective(trial: optuna.Trial, split: Split, params: Params, base: TeamParams) -> float:
    """Return the mean daily net log return on the sessions after the cut."""
    drawn = {name: trial.suggest_float(name, low, high, log=log) for name, (low, high, log) in RANGES.items()}
    drawn |= {name: trial.suggest_categorical(name, choices) for name, choices in CHOICES.items()}
    seed = derive_seed(params.seed, "sweep", "trial")  # the same for all: trials differ in what was drawn alone
    policy = _trained(split.train, split.team, params, base.model_copy(update=drawn), seed)
    returns = daily(split.validation, replay(split.validation, policy, params.market).log_return)
    _record(split, drawn, policy, returns)
    trial.set_user_attr("annual_sharpe", annual_sharpe(returns))
    trial.set_user_attr("annual_return_frac", annual_return_frac(returns))
    return float(returns.mean())


def _record(split: Split, drawn: Mapping[str, object], policy: TeamPolicy, returns: NDArray[np.float64]) -> None:
    """Enter one trial into the trial ledger: a configuration of its own, whose days are those of the validation."""
    code = hash_json(code_of_training())
    configuration = hash_json({"split": split.key, "drawn": drawn, "code": code})
    trial = Trial(
        id=hash_json(["sweep", configuration]),
        data_hash=split.dataset.raw_hash,
        bars_hash=split.dataset.bars_hash(),
        symbols=tuple(sorted(split.dataset.strategic)),
        data=split.dataset.name,
        simulated=split.dataset.simulated,
        configuration=configuration,
        code=code,
        weights=hash_arrays(policy.weights),
        seed_number=0,
        sharpe=annual_sharpe(returns),
    )
    measured = [(trial, Returns(np.unique(split.validation.session), returns))]
    record(open_trials(state_folder(), system_clock), measured, actor="sweep", reason="validated in a sweep")


def _trained(tape: MarketTape, spec: TeamSpec, params: Params, team_params: TeamParams, seed: int) -> TeamPolicy:
    from grandmodel.marl import train_vectorised  # torch loads only where a team is trained

    market = market_of(tape, spec, params, team_params, seed)
    return TeamPolicy(spec, train_vectorised(market, team_params, seed=derive_seed(seed, "learner")).actor)


def _result(study: optuna.Study, split: Split) -> dict[str, Any]:
    trials = [
        {
            "trial": trial.number,
            "daily_log_return": trial.value,
            **trial.user_attrs,
            "params": dict(sorted(trial.params.items())),
        }
        for trial in study.trials
        if trial.value is not None
    ]
    sharpes = [one["annual_sharpe"] for one in trials if one.get("annual_sharpe") is not None]
    return {
        "study": study.study_name,
        "team": split.team.name,
        "validation_days": len(np.unique(split.validation.session)),
        "trials": trials,
        "annual_sharpe_variance": float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else None,
        "best": study.best_trial.number,
    }


def _first_start(tape: MarketTape, session: int) -> int:
    return int(tape.start_ns[tape.session == session].min())


def _lines(result: Mapping[str, Any]) -> list[str]:
    """Return the trials, best first, and the best one's parameters as they go into params.yaml."""
    ranked = sorted(result["trials"], key=lambda one: -one["daily_log_return"])
    lines = [f"{len(ranked)} trials of the {result['team']} team, validated on {result['validation_days']} days"]
    for one in ranked[:10]:
        sharpe = "undefined" if one["annual_sharpe"] is None else f"{one['annual_sharpe']:.2f}"
        note = "  (params.yaml as it stands)" if one["trial"] == 0 else ""
        lines.append(f"  trial {one['trial']:>3}  {one['annual_return_frac']:+8.1%} a year  Sharpe {sharpe}{note}")
    lines.append(f"Best, below training.{result['team']} of params.yaml:")
    return lines + [f"    {name}: {value:.6g}" for name, value in ranked[0]["params"].items()]


def main() -> None:
    """Run the sweep from the command line."""
    parser = argparse.ArgumentParser(description="Look for better learning parameters of one team.")
    parser.add_argument("--workspace", type=Path, default=PROJECT / "artifacts")
    parser.add_argument("--team", choices=sorted(TEAMS), default="strategic")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=PROJECT / "runs" / "sweep")
    chosen = parser.parse_args()

    def work() -> None:
        result = sweep(open_workspace(chosen.workspace), team=chosen.team, trials=chosen.trials, folder=chosen.folder)
        print("\n".join(_lines(result)))
        print(f"Studies: {chosen.folder / 'studies.db'}")

    finish(work)


if __name__ == "__main__":
    main()
