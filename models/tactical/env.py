"""The tactical team's market as PettingZoo environments; without arguments over a small simulated tape."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils.wrappers import AssertOutOfBoundsWrapper, OrderEnforcingWrapper

from grandmodel.core.config import MarketParams, TeamParams
from grandmodel.market.pettingzoo_env import MarketAEC, MarketParallel
from grandmodel.market.simulated import simulated_tape
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec
from models.tactical.agents import tactical_team


def env(tape: MarketTape | None = None, **options: Any) -> OrderEnforcingWrapper:
    """Return the environment in which agents act in turn, guarded against wrong actions and wrong order of calls."""
    return OrderEnforcingWrapper(AssertOutOfBoundsWrapper(raw_env(tape, **options)))


def raw_env(
    tape: MarketTape | None = None, team: TeamParams | None = None, market: MarketParams | None = None, **options: Any
) -> MarketAEC:
    """Return the unguarded environment; ``options`` are those of pettingzoo_env.FaceOptions."""
    tape, spec, market, options = _setting(tape, team, market, options)
    return MarketAEC(tape, spec, market, **options)


def parallel_env(
    tape: MarketTape | None = None, team: TeamParams | None = None, market: MarketParams | None = None, **options: Any
) -> MarketParallel:
    """Return the environment in which all agents act at once; ``options`` are those of pettingzoo_env.FaceOptions."""
    tape, spec, market, options = _setting(tape, team, market, options)
    return MarketParallel(tape, spec, market, **options)


def _setting(
    tape: MarketTape | None, team: TeamParams | None, market: MarketParams | None, options: dict[str, Any]
) -> tuple[MarketTape, TeamSpec, MarketParams, dict[str, Any]]:
    """Fill what was left out; the tape made here is simulated and says so."""
    team, market = team or TeamParams(), market or MarketParams()
    spec = tactical_team(team)
    options = {"window_bars": team.window_bars} | options
    if tape is None:
        tape, options = simulated_tape(spec, params=market), {"simulated": True} | options
    return tape, spec, market, options
