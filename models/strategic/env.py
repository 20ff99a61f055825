"""The strategic team's market as PettingZoo environments; without arguments over a small simulated tape."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils.wrappers import AssertOutOfBoundsWrapper, OrderEnforcingWrapper

from grandmodel.core.config import MarketParams, TeamParams
from grandmodel.market.pettingzoo_env import MarketAEC, MarketParallel
from grandmodel.market.simulated import simulated_tape
from grandmodel.market.tape import MarketTape
from models.strategic.agents import strategic_team


def env(tape: MarketTape | None = None, **options: Any) -> OrderEnforcingWrapper:
    """Return the environment in which agents act in turn, guarded against wrong actions and wrong order of calls."""
    return OrderEnforcingWrapper(AssertOutOfBoundsWrapper(raw_env(tape, **options)))


def raw_env(
    tape: MarketTape | None = None, team: TeamParams | None = None, market: MarketParams | None = None, **options: Any
) -> MarketAEC:
    """Return the unguarded environment; ``options`` are seed and render_mode."""
    team, market = team or TeamParams(), market or MarketParams()
    spec = strategic_team(team)
    tape = tape or simulated_tape(spec, params=market)
    return MarketAEC(tape, spec, market, window_bars=team.window_bars, **options)


def parallel_env(
    tape: MarketTape | None = None, team: TeamParams | None = None, market: MarketParams | None = None, **options: Any
) -> MarketParallel:
    """Return the environment in which all agents act at once; ``options`` are seed and render_mode."""
    team, market = team or TeamParams(), market or MarketParams()
    spec = strategic_team(team)
    tape = tape or simulated_tape(spec, params=market)
    return MarketParallel(tape, spec, market, window_bars=team.window_bars, **options)
