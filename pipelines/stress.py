"""Stress: the released policies replayed through shocked bars, features and all, with the breaker armed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from grandmodel.core.bars import Bars
from grandmodel.core.config import BreakerLimits, Params, load_environment
from grandmodel.core.errors import DataError
from grandmodel.core.files import write_json_atomic
from grandmodel.core.random import derive_seed
from grandmodel.data.asset_classes import asset_class
from grandmodel.data.cleaning.resample import grouping_of, resample_to_30
from grandmodel.data.dataset import Dataset
from grandmodel.gates import g6_risk
from grandmodel.gates.g6_risk import StressRow
from grandmodel.market.accounting import LOG_EQUITY
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import Walk
from grandmodel.market.tape import MarketTape, build_tape
from grandmodel.market.team import AGGRESSIVE, FLAT, LONG, TeamSpec
from grandmodel.risk import breaker as breakers
from grandmodel.risk.historical import StressScenario, library
from grandmodel.risk.mapping import map_shocks
from grandmodel.risk.scenarios import SCENARIOS, adverse_drift, dated_move
from grandmodel.risk.state import TradingState
from models.feature_spec import FeatureSpec
from models.release import Release, Tapes, strategic_intents
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.workspace import PROJECT, Workspace, empty_folder, run_stage

DRILL = "breaker_drill"
DRILL_MOVE_FRAC = 0.6  # enough to pass every level of the breaker at full exposure, although it cuts on the way
BARS_5M_PER_30M = 6
NO_BREAKER = BreakerLimits(half_drawdown_frac=0.997, quarter_drawdown_frac=0.998, halt_drawdown_frac=0.999)


@dataclass(frozen=True)
class Shock:
    """The last stretch of the market on which scenarios are played, and the row at which each of them strikes."""

    bars: dict[str, Bars]  # on the traded clock; the shock row has one start time in all instruments
    row: int


def stress(workspace: Workspace) -> None:
    """Write one row per scenario, the limits, and the verdict of gate G6."""
    params = workspace.params
    dataset = Dataset.load(workspace.features / "bars")
    fold = load_fold(fold_folders(workspace.features)[-1], dataset, params.market)
    release = Release.load(workspace.train / "weights" / f"fold_{fold.number}" / "seed_0", params.training)
    limits = load_environment(PROJECT / "configs" / "production.yaml").breaker
    shock = cut_stage(dataset.tactical or dataset.strategic, params)
    seed = derive_seed(params.seed, "stress")
    rows, descriptions = [], {}
    for scenario in SCENARIOS:
        tapes = shocked_tapes(scenario.apply(shock.bars, shock.row, seed), fold.spec, params, scenario.spread_multiple)
        rows.append(play(scenario.name, *_deciding(release, tapes, params), shock, limits))
        descriptions[scenario.name] = scenario.description
    rows.append(_drill(release, shock, fold, params, limits))
    descriptions[DRILL] = f"Full long exposure against a fall of {DRILL_MOVE_FRAC:.0%}: shows that cuts and halt work."
    standing = limits_of(params, limits)
    verdict = g6_risk.judge(rows, standing, loss_max_frac=params.gates.stress_loss_max_frac, breaker=limits)
    content = {
        "scenarios": [asdict(row) | {"description": descriptions[row.scenario]} for row in rows],
        "dated": dated_rows(release, shock, fold, params, limits),
        "limits": standing,
        "gate": verdict.to_dict(),
    }
    write_json_atomic(empty_folder(workspace.stress) / "stress.json", content)


def dated_rows(
    release: Release, shock: Shock, fold: FoldMarket, params: Params, limits: BreakerLimits
) -> list[dict[str, object]]:
    """Replay every dated scenario by direct shocks, with and without the breaker; shown, not judged by gate G6.

    An instrument that a scenario says nothing about is left out of that row, by name; one without any has no figures.
    """
    rows: list[dict[str, object]] = []
    for scenario, moves in direct_shocks(shock, fold.spec):
        bars = {symbol: one for symbol, one in shock.bars.items() if symbol in moves}
        row: dict[str, object] = {
            "scenario": scenario.name,
            "description": scenario.title,
            "direct_shocks_frac": moves,
            "left_out": sorted(set(shock.bars) - set(bars)),
        }
        if bars:
            tapes = shocked_tapes(dated_move(bars, shock.row, scenario.shares(), moves), fold.spec, params, 1.0)
            deciding, part = _deciding(release, tapes, params), Shock(bars, shock.row)
            loose = play(scenario.name, *deciding, part, NO_BREAKER)
            row |= asdict(play(scenario.name, *deciding, part, limits)) | {"loss_without_breaker_frac": loose.loss_frac}
        rows.append(row)
    return rows


def direct_shocks(shock: Shock, spec: FeatureSpec) -> list[tuple[StressScenario, dict[str, float]]]:
    """Return each dated scenario and its move of every instrument that it says something about."""
    told = library().model_copy(update={"scenarios": tuple(one for one in library().scenarios if one.dated)})
    classes = {symbol: asset_class(spec.instruments[symbol], one.bar_minutes) for symbol, one in shock.bars.items()}
    symbols = [s for s in shock.bars if s in told.follows["symbols"] or classes[s] in told.follows["classes"]]
    if not symbols:
        return [(scenario, {}) for scenario in told.scenarios]
    prices = {symbol: float(shock.bars[symbol].close[shock.row - 1]) for symbol in symbols}
    table = map_shocks(told, symbols, classes=classes, prices=prices)
    rows = [dict(zip(table.symbols, moves, strict=True)) for moves in table.move_frac.tolist()]
    kept = [{symbol: move for symbol, move in row.items() if move > -1.0} for row in rows]  # bars hold no price below 0
    return list(zip(table.scenarios, kept, strict=True))


def limits_of(params: Params, limits: BreakerLimits) -> dict[str, float]:
    """Return the limits that a release carries, as positive numbers."""
    return {
        "position_abs_max": 1.0,
        "leverage_max": params.market.leverage_max,
        "stress_loss_max_frac": params.gates.stress_loss_max_frac,
        **{f"breaker_{name}": value for name, value in limits.model_dump().items()},
    }


def cut_stage(bars: Mapping[str, Bars], params: Params) -> Shock:
    """Return the last rows of every instrument around the last moment that all of them can share."""
    per_row = BARS_5M_PER_30M if next(iter(bars.values())).bar_minutes == 30 else 1
    before, after = params.stress.warmup_bars // per_row, params.stress.after_bars // per_row
    shared = set.intersection(*(set(b.start_ns[before : len(b) - after].tolist()) for b in bars.values()))
    if not shared:
        rule = f"all instruments must trade at one moment with {before} bars before it and {after} after"
        raise DataError("stress", rule, {s: len(b) for s, b in bars.items()}, "Lower stress.warmup_bars")
    moment = max(shared)
    rows = {symbol: int(np.searchsorted(b.start_ns, moment)) for symbol, b in bars.items()}
    return Shock({symbol: b.rows(rows[symbol] - before, rows[symbol] + after) for symbol, b in bars.items()}, before)


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


def play(name: str, tape: MarketTape, policy: TeamPolicy, shock: Shock, limits: BreakerLimits) -> StressRow:
    """Walk every instrument to the shock, arm the breaker, and go on bar by bar under its cap."""
    walks = {symbol: Walk(tape, policy, symbol) for symbol in tape.symbols}
    for walk in walks.values():
        walk.advance(shock.row)
    start_equity = _equity(walks)
    state = breakers.armed(start_equity, limits)
    cap_before, peak, drawdown, bars_to_breaker = state.gross_cap, start_equity, 0.0, None
    closes = {symbol: tape.close_ns[tape.rows(symbol)] for symbol in tape.symbols}
    after = [set(closes[symbol][shock.row :].tolist()) for symbol in tape.symbols]
    for bar, moment in enumerate(sorted(set.union(*after)), start=1):
        for symbol, walk in walks.items():
            row = walk.next_row - walk.first
            if row < len(closes[symbol]) and closes[symbol][row] == moment:
                walk.advance(1, gross_cap=_cap(state, walk.position))
        equity = _equity(walks)
        state, events = breakers.update(state, equity)
        if bars_to_breaker is None and any(event.kind in ("cut", "halt") for event in events):
            bars_to_breaker = bar
        peak = max(peak, equity)
        drawdown = max(drawdown, 1.0 - equity / peak)
    return StressRow(
        scenario=name,
        loss_frac=1.0 - _equity(walks) / start_equity,
        drawdown_frac=drawdown,
        gross_cap_before=cap_before,
        gross_cap_after=state.gross_cap,
        gross_after=max(abs(walk.position) for walk in walks.values()),
        state=state.trading.name,
        bars_to_breaker=bars_to_breaker,
    )


def _deciding(release: Release, tapes: Tapes, params: Params) -> tuple[MarketTape, TeamPolicy]:
    """Return the traded tape with the release's intents on it, and the policy that trades it."""
    if release.tactical is None or tapes.tactical is None:
        return tapes.strategic, release.strategic
    return tapes.tactical.with_intents(strategic_intents(release.strategic, tapes, params.market)), release.tactical


def _drill(release: Release, shock: Shock, fold: FoldMarket, params: Params, limits: BreakerLimits) -> StressRow:
    side = dict.fromkeys(shock.bars, 1.0)
    bars = adverse_drift(shock.bars, shock.row, side, move_frac=DRILL_MOVE_FRAC)
    tape = shocked_tapes(bars, fold.spec, params, 1.0).traded
    team = (release.tactical or release.strategic).spec
    full_long = np.tile(np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0], np.float32), (len(tape), 1))
    row = play(DRILL, replace(tape, intent=full_long), _always_long(team), shock, limits)
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


def _cap(state: breakers.BreakerState, position: float) -> float:
    """Return what an instrument may hold next; in any state but ACTIVE it may only shrink."""
    cap = state.gross_cap
    return cap if state.trading is TradingState.ACTIVE else min(cap, abs(position))


def _equity(walks: Mapping[str, Walk]) -> float:
    """Return the equity of equal capital in every instrument, 1.0 at the start of the walks."""
    return float(np.mean([np.exp(walk.account[LOG_EQUITY]) for walk in walks.values()]))


def _wider(tape: MarketTape, spread_multiple: float) -> MarketTape:
    return replace(tape, half_spread_frac=tape.half_spread_frac * spread_multiple)


if __name__ == "__main__":
    run_stage(stress)
