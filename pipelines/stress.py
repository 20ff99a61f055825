"""Stress: the released policies replayed through shocked bars, features and all, every decision through the guard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import isfinite

import numpy as np

from grandmodel.core.bars import Bars
from grandmodel.core.config import Environment, Params, load_environment
from grandmodel.core.files import write_json_atomic
from grandmodel.core.random import derive_seed
from grandmodel.data.asset_classes import asset_class
from grandmodel.data.cleaning.resample import grouping_of, resample_to_30
from grandmodel.data.dataset import Dataset
from grandmodel.gates import g6_risk
from grandmodel.gates.g6_risk import StressRow
from grandmodel.gates.result import refused
from grandmodel.market.accounting import LOG_EQUITY
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import Walk
from grandmodel.market.tape import MarketTape, build_tape, session_bars
from grandmodel.market.team import AGGRESSIVE, FLAT, LONG, TeamSpec
from grandmodel.risk.historical import StressScenario, library
from grandmodel.risk.mapping import map_shocks
from grandmodel.risk.scenarios import SCENARIOS, adverse_drift, dated_move
from models.feature_spec import FeatureSpec
from models.release import Release, Tapes, strategic_intents
from pipelines.guarded import Desk, events_by_kind, feed_of, go_on_guarded, shock_params_for, walk_guarded, walks_to
from pipelines.risk_numbers import risk_numbers
from pipelines.strikes import Shock, strikes_of
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.workspace import PROJECT, Workspace, empty_folder, run_stage

DRILL = "breaker_drill"
DRILL_MOVE_FRAC = 0.6  # enough to pass every level of the breaker at full exposure, although it cuts on the way
DRILL_WORDS = f"Full long exposure against a fall of {DRILL_MOVE_FRAC:.0%}: shows that cuts and halt work."
CALM = "no_shock"
NS_PER_YEAR = 365.25 * 24 * 3600 * 1e9


def stress(workspace: Workspace) -> None:
    """Write one row per scenario, the limits, and the verdict of gate G6."""
    params = workspace.params
    dataset = Dataset.load(workspace.features / "bars")
    fold = load_fold(fold_folders(workspace.features)[-1], dataset, params.market)
    release = Release.load(workspace.train / "weights" / f"fold_{fold.number}" / "seed_0", params.training)
    rules = load_environment(PROJECT / "configs" / "production.yaml")
    shocks = strikes_of(dataset.tactical or dataset.strategic, release, fold, params)
    standing = limits_of(params, rules)
    if isinstance(shocks, str):
        verdict = refused(g6_risk.NAME, params.gates.stress_loss_max_frac, shocks, evidence={"limits": standing})
        content: dict[str, object] = {"scenarios": [], "dated": [], "calm": None, "strikes": []}
    else:
        desks = [desk_of(shock, fold.spec, params, rules) for shock in shocks]
        played = [scenario_rows(release, *at, fold, params) for at in zip(shocks, desks, strict=True)]
        calm = [rows.pop(CALM) for rows in played]
        # The drill forces its own positions, so one moment shows all that it can show.
        drill = _drill(release, shocks[0], fold, params, desks[0])
        verdict = g6_risk.judge(
            [row for rows in played for row in rows.values()] + [drill],
            standing,
            loss_max_frac=params.gates.stress_loss_max_frac,
            breaker=rules.breaker,
            numbers=risk_numbers(workspace),
            false_alarm_max=params.gates.risk_false_alarm_max,
        )
        fullest = max(range(len(shocks)), key=lambda place: calm[place].gross_before or 0.0)
        shown = [worst_row([rows[name] for rows in played], shocks, params, rules) for name in played[0]]
        bar_minutes = next(iter(shocks[0].bars.values())).bar_minutes
        told = {one.name: one.description.format(bar_minutes=bar_minutes) for one in SCENARIOS} | {DRILL: DRILL_WORDS}
        shown.append(worst_row([drill], shocks, params, rules))
        content = {
            "scenarios": [row | {"description": told[str(row["scenario"])]} for row in shown],
            "dated": dated_rows(release, shocks[fullest], fold, params, rules, desks[fullest]),
            "calm": asdict(calm[fullest]),  # no shock: what the limits leave of the positions that are asked for
            "strikes": [
                {"moment": shock.moment, "gross_before": row.gross_before, "shock_score_high": desk.shock.score_high}
                for shock, row, desk in zip(shocks, calm, desks, strict=True)
            ],
        }
    content |= {"limits": standing, "gate": verdict.to_dict()}
    write_json_atomic(empty_folder(workspace.stress) / "stress.json", content)


def scenario_rows(release: Release, shock: Shock, desk: Desk, fold: FoldMarket, params: Params) -> dict[str, StressRow]:
    """Replay every scenario and the market without a shock at one strike; by name."""
    seed = derive_seed(params.seed, "stress")
    rows = {CALM: _played(CALM, release, dict(shock.bars), 1.0, shock.row, fold, params, desk)}
    for one in SCENARIOS:
        bars = one.apply(shock.bars, shock.row, seed)
        rows[one.name] = _played(one.name, release, bars, one.spread_multiple, shock.row, fold, params, desk)
    return rows


def worst_row(rows: list[StressRow], shocks: list[Shock], params: Params, rules: Environment) -> dict[str, object]:
    """Return the row with the largest loss as data, where it struck, and whether the rows of all strikes would pass."""
    worst = max(range(len(rows)), key=lambda place: rows[place].loss_frac)
    told = [_told(row, params, rules) for row in rows]
    passed = all(row["passed"] for row in told)
    return told[worst] | {"struck_at": shocks[worst].moment, "strikes": len(rows), "passed": passed}


def dated_rows(
    release: Release, shock: Shock, fold: FoldMarket, params: Params, rules: Environment, desk: Desk
) -> list[dict[str, object]]:
    """Replay every dated scenario by direct shocks, with the guard and without; shown, not judged by gate G6.

    An instrument that a scenario says nothing about is not shocked and keeps its capital; a scenario that says nothing
    of any has no figures. Bars hold no price below zero: where one would fall so far, what is held at the shock is
    valued anew instead (``revalued``), with no decision in between.
    """
    rows: list[dict[str, object]] = []
    for scenario, moves, how in direct_shocks(shock, fold.spec):
        row: dict[str, object] = {
            "scenario": scenario.name,
            "description": scenario.title,
            "direct_shocks_frac": moves,
            "how": how,
            "left_out": sorted(set(shock.bars) - set(moves)),
            "revalued": any(move <= -1.0 for move in moves.values()),
        }
        if row["revalued"]:
            tapes = shocked_tapes(shock.bars, fold.spec, params, 1.0)
            calm = walk_guarded(*_deciding(release, tapes, params), shock.bars, shock.row, desk)
            held = dict(zip(tapes.traded.symbols, calm.held[0] * calm.exposure_per_position[0], strict=True))
            row["loss_frac"] = -float(sum(held[symbol] * move for symbol, move in moves.items()))
        elif moves:
            bars = dated_move(shock.bars, shock.row, scenario.shares(), dict.fromkeys(shock.bars, 0.0) | moves)
            played = _played(scenario.name, release, bars, 1.0, shock.row, fold, params, desk)
            row |= _told(played, params, rules)
        rows.append(row)
    return rows


def desk_of(shock: Shock, spec: FeatureSpec, params: Params, rules: Environment) -> Desk:
    """Return the guard's rules with the detector tuned on what came before the shock, and on nothing else."""
    instruments = [spec.instruments[symbol] for symbol in shock.bars]
    bar_minutes = next(iter(shock.bars.values())).bar_minutes
    history = feed_of({symbol: shock.history[symbol] for symbol in sorted(shock.history)})
    years = float(history.moment_ns[-1] - history.moment_ns[0]) / NS_PER_YEAR
    return Desk(
        environment=rules,
        history=history,
        shock=shock_params_for(history, years),
        multipliers={symbol: spec.instruments[symbol].multiplier for symbol in shock.bars},
        capital_per_sleeve=params.market.equity,
        bars_per_day=max(session_bars(one, bar_minutes) for one in instruments),
    )


def direct_shocks(shock: Shock, spec: FeatureSpec) -> list[tuple[StressScenario, dict[str, float], dict[str, str]]]:
    """Return each dated scenario, its move of every instrument that it says something about, and how that is known.

    ``stated`` of the instrument itself, ``stand-in`` the move of its class, or ``beta``.
    """
    told = library().model_copy(update={"scenarios": tuple(one for one in library().scenarios if one.dated)})
    classes = {symbol: asset_class(spec.instruments[symbol], one.bar_minutes) for symbol, one in shock.bars.items()}
    symbols = [s for s in shock.bars if s in told.follows["symbols"] or classes[s] in told.follows["classes"]]
    if not symbols:
        return [(scenario, {}, {}) for scenario in told.scenarios]
    prices = {symbol: float(shock.bars[symbol].close[shock.row - 1]) for symbol in symbols}
    table = map_shocks(told, symbols, classes=classes, prices=prices)
    rows = []
    for scenario, moves, ways in zip(table.scenarios, table.move_frac.tolist(), table.how, strict=True):
        known = {symbol: move for symbol, move in zip(symbols, moves, strict=True) if isfinite(move)}
        rows.append((scenario, known, {s: _how(way) for s, way in zip(symbols, ways, strict=True) if s in known}))
    return rows


def _how(way: str) -> str:
    """Return how a move is known in one of three words, given the words of ``ShockTable.how``."""
    return "stand-in" if way.startswith("class ") else "beta" if way.startswith("beta") else "stated"


def limits_of(params: Params, rules: Environment) -> dict[str, float]:
    """Return the limits that a release carries, as positive numbers; the hour at which a day begins is none."""
    limits = rules.limits.model_dump(exclude={"day_start_utc_hour"})
    return {
        "position_abs_max": 1.0,
        "leverage_max": params.market.leverage_max,
        "stress_loss_max_frac": params.gates.stress_loss_max_frac,
        **{f"breaker_{name}": value for name, value in rules.breaker.model_dump().items()},
        **{f"guard_{name}": value for name, value in limits.items()},
    }


def shocked_tapes(bars: Mapping[str, Bars], spec: FeatureSpec, params: Params, spread_multiple: float) -> Tapes:
    """Return tapes on both clocks with features computed anew from the shocked bars."""
    tactical = None
    strategic = dict(bars)
    if next(iter(bars.values())).bar_minutes != 30:
        columns = {symbol: spec.tactical(b) for symbol, b in bars.items()}
        tactical = _wider(build_tape(bars, columns, spec.instruments, params.market, spec.leverage), spread_multiple)
        strategic = {symbol: resample_to_30(b, grouping_of(spec.instruments[symbol]))[0] for symbol, b in bars.items()}
    columns = {symbol: spec.strategic(b) for symbol, b in strategic.items()}
    tape = build_tape(strategic, columns, spec.instruments, params.market, spec.leverage)
    return Tapes(_wider(tape, spread_multiple), tactical)


def _played(
    name: str,
    release: Release,
    bars: dict[str, Bars],
    spread_multiple: float,
    row: int,
    fold: FoldMarket,
    params: Params,
    desk: Desk,
) -> StressRow:
    tapes = shocked_tapes(bars, fold.spec, params, spread_multiple)
    return play(name, bars, *_deciding(release, tapes, params), row, desk)


def play(name: str, bars: Mapping[str, Bars], tape: MarketTape, policy: TeamPolicy, row: int, desk: Desk) -> StressRow:
    """Walk every instrument to the shock at ``row``, and on with every decision through the guard; and without it.

    A bar, in ``bars_to_breaker``, is a moment at which any instrument's bar closes; the first is that of the shock.
    """
    walks = walks_to(tape, policy, row)
    unguarded = [walk.fork() for walk in walks]
    passed = go_on_guarded(walks, tape, bars, row, desk)
    before, after = passed.states[0], passed.states[-1]
    stricter = [s.trading > before.trading or s.gross_cap < before.gross_cap for s in passed.states[1:]]
    cuts = [any(event.kind in ("cut", "halt") for event in events) for events in passed.events]
    asked, permitted = passed.gross(passed.asked), passed.gross(passed.permitted)
    return StressRow(
        scenario=name,
        loss_frac=float(1.0 - passed.equity[-1] / passed.equity[0]),
        drawdown_frac=float((1.0 - passed.equity / np.maximum.accumulate(passed.equity)).max()),
        gross_cap_before=before.gross_cap,
        gross_cap_after=after.gross_cap,
        gross_after=float(permitted[-1]),
        state=after.trading.name,
        bars_to_breaker=cuts.index(True) if any(cuts) else None,
        loss_without_breaker_frac=_loss_unguarded(unguarded, len(tape)),
        first_reason=passed.events[stricter.index(True)][0].reason if any(stricter) else "",
        permitted_share=float(permitted.sum() / asked.sum()) if asked.any() else None,
        events=events_by_kind(passed.events),
        gross_before=float(passed.gross(passed.held)[0]),
    )


def _loss_unguarded(walks: list[Walk], bars_max: int) -> float:
    """Return the loss from where ``walks`` stand to the end, with the policies' orders filled as they are."""
    equity = []
    for bars in (0, bars_max):
        for walk in walks:
            walk.advance(bars)
        equity.append(float(np.exp([walk.account[LOG_EQUITY] for walk in walks]).mean()))
    return 1.0 - equity[1] / equity[0]


def _told(row: StressRow, params: Params, rules: Environment) -> dict[str, object]:
    """Return the row as data, with its own verdict."""
    passed = g6_risk.passes(row, loss_max_frac=params.gates.stress_loss_max_frac, breaker=rules.breaker)
    return asdict(row) | {"passed": passed}


def _deciding(release: Release, tapes: Tapes, params: Params) -> tuple[MarketTape, TeamPolicy]:
    """Return the traded tape with the release's intents on it, and the policy that trades it."""
    if release.tactical is None or tapes.tactical is None:
        return tapes.strategic, release.strategic
    return tapes.tactical.with_intents(strategic_intents(release.strategic, tapes, params.market)), release.tactical


def _drill(release: Release, shock: Shock, fold: FoldMarket, params: Params, desk: Desk) -> StressRow:
    side = dict.fromkeys(shock.bars, 1.0)
    bars = adverse_drift(shock.bars, shock.row, side, move_frac=DRILL_MOVE_FRAC)
    tape = shocked_tapes(bars, fold.spec, params, 1.0).traded
    team = (release.tactical or release.strategic).spec
    full_long = np.tile(np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0], np.float32), (len(tape), 1))
    row = play(DRILL, bars, replace(tape, intent=full_long), _always_long(team), shock.row, desk)
    return replace(row, drill=True)


def _always_long(team: TeamSpec) -> TeamPolicy:
    """Return a policy that is as long as its team can be, whatever it sees."""
    last = AGGRESSIVE if team.uses_intent else team.action_counts[-1] - 1
    actions = [FLAT if team.uses_intent else LONG] * (len(team.agents) - 1) + [last]
    sizes = (team.observation_size, 4, 4, team.actions_max)
    weights = {}
    for layer in range(3):
        weights[f"actor.{layer}.weight"] = np.zeros((len(actions), sizes[layer], sizes[layer + 1]), np.float32)
        weights[f"actor.{layer}.bias"] = np.zeros((len(actions), sizes[layer + 1]), np.float32)
    weights["actor.2.bias"][np.arange(len(actions)), actions] = 1.0
    return TeamPolicy(team, weights)


def _wider(tape: MarketTape, spread_multiple: float) -> MarketTape:
    return replace(tape, half_spread_frac=tape.half_spread_frac * spread_multiple)


if __name__ == "__main__":
    run_stage(stress)
