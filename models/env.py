"""A team's market as PettingZoo environments; without arguments over a small simulated tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pettingzoo.utils.wrappers import AssertOutOfBoundsWrapper, OrderEnforcingWrapper

from grandmodel.core.config import MarketParams, TeamParams
from grandmodel.market.pettingzoo_env import MarketAEC, MarketParallel
from grandmodel.market.simulated import simulated_tape
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec


class TeamFaces(NamedTuple):
    """The environments of the team that ``spec_of`` makes.

    Each takes a tape, team and market, all with defaults; further options are those of pettingzoo_env.FaceOptions. The
    tape made where none is given is simulated and says so.
    """

    spec_of: Callable[[TeamParams], TeamSpec]

    def env(self, tape: MarketTape | None = None, **options: Any) -> OrderEnforcingWrapper:
        """Return the environment in which agents act in turn, guarded against wrong actions and a wrong order."""
        return OrderEnforcingWrapper(AssertOutOfBoundsWrapper(self.raw_env(tape, **options)))

    def raw_env(
        self,
        tape: MarketTape | None = None,
        team: TeamParams | None = None,
        market: MarketParams | None = None,
        **options: Any,
    ) -> MarketAEC:
        """Return the unguarded environment."""
        tape, spec, market, options = self._setting(tape, team, market, options)
        return MarketAEC(tape, spec, market, **options)

    def parallel_env(
        self,
        tape: MarketTape | None = None,
        team: TeamParams | None = None,
        market: MarketParams | None = None,
        **options: Any,
    ) -> MarketParallel:
        """Return the environment in which all agents act at once."""
        tape, spec, market, options = self._setting(tape, team, market, options)
        return MarketParallel(tape, spec, market, **options)

    def _setting(
        self, tape: MarketTape | None, team: TeamParams | None, market: MarketParams | None, options: dict[str, Any]
    ) -> tuple[MarketTape, TeamSpec, MarketParams, dict[str, Any]]:
        team, market = team or TeamParams(), market or MarketParams()
        spec = self.spec_of(team)
        options = {"window_bars": team.window_bars} | options
        if tape is None:
            tape, options = simulated_tape(spec, params=market), {"simulated": True} | options
        return tape, spec, market, options
