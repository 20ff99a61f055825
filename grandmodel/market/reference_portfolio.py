"""One portfolio, slowly and plainly: what the compiled portfolios must equal, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import MarketParams
from grandmodel.core.random import derive_seed
from grandmodel.market.accounting import RETURN_FRAC_MIN
from grandmodel.market.episodes import DRAWS_PER_EPISODE, INITIAL_DRAWDOWN_OF_RUIN
from grandmodel.market.reference import Account, critic_state, decoded, live_through, seen, uniform
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec


class ReferencePortfolio:
    """Portfolio number ``index`` of a PortfolioMarket, alone."""

    def __init__(
        self, tape: MarketTape, spec: TeamSpec, params: MarketParams, index: int, window_bars: int, seed: int
    ) -> None:
        """Begin the first episode."""
        self.tape, self.spec, self.params, self.window_bars = tape, spec, params, window_bars
        self.gross_caps = [1.0] * len(tape.symbols)
        self.spans = [(tape.rows(symbol).start, tape.rows(symbol).stop) for symbol in tape.symbols]
        closes = [set(tape.close_ns[first:stop].tolist()) for first, stop in self.spans]
        begin, end = max(min(times) for times in closes), min(max(times) for times in closes)
        self.moments = sorted(time for time in set().union(*closes) if begin <= time <= end)
        self._seed, self._episode = derive_seed(seed, "portfolio", index), 0
        self._begin()

    def _begin(self) -> None:
        draws = [uniform(self._seed, self._episode * DRAWS_PER_EPISODE + k) for k in range(3)]
        self.moment = int(draws[1] * max(len(self.moments) - self.window_bars, 1))
        self.window_last = self.moment + self.window_bars
        depth = draws[2] * INITIAL_DRAWDOWN_OF_RUIN * self.params.ruin_drawdown_frac
        self.account = Account(log_equity=math.log1p(-depth))  # of which equity and peak count
        self.shares = [Account() for _ in self.spans]  # of which position and open return count
        self.rows = [self._row(i, self.moments[self.moment]) for i in range(len(self.spans))]
        self._episode += 1

    def _row(self, instrument: int, time: int) -> int:
        first, stop = self.spans[instrument]
        return max(row for row in range(first, stop) if self.tape.close_ns[row] <= time)

    def _viewed(self, instrument: int) -> Account:
        share = self.shares[instrument]
        return Account(share.position, self.account.log_equity, self.account.log_peak, share.open_return)

    def observation(self, instrument: int, agent: int, actions: Sequence[int] | None) -> NDArray[np.float32]:
        """Return what ``agent`` sees of one instrument, ``actions`` being those of this moment for it."""
        row, first = self.rows[instrument], self.spans[instrument][0]
        return seen(self.tape, self.spec, agent, row, first, self._viewed(instrument), actions)

    def state(self, instrument: int) -> NDArray[np.float32]:
        """Return the central critic's state for one instrument."""
        first = self.spans[instrument][0]
        return critic_state(self.tape, self.spec, self.rows[instrument], first, self._viewed(instrument))

    def step(self, actions: Sequence[Sequence[int]]) -> tuple[float, bool, bool, list[NDArray[np.float32]]]:
        """Trade to the next moment; return reward, terminated, truncated and the states before any new episode."""
        self.moment += 1
        net_growth = 0.0
        for i, share in enumerate(self.shares):
            target, order = decoded(self.spec, actions[i], self.tape.intent[self.rows[i]])
            row = self._row(i, self.moments[self.moment])
            if row > self.rows[i]:
                log_return, _, _ = live_through(share, self.tape, row, target, order, self.gross_caps[i])
                net_growth += math.expm1(log_return) / len(self.shares)
                self.rows[i] = row
        log_return = math.log1p(max(net_growth, RETURN_FRAC_MIN))
        self.account.log_equity += log_return
        self.account.log_peak = max(self.account.log_peak, self.account.log_equity)
        scaled = log_return * float(np.mean([self.tape.reward_scale[row] for row in self.rows]))
        reward = scaled - self.params.downside_penalty * min(scaled, 0.0) ** 2
        ruined = self.account.drawdown_frac >= self.params.ruin_drawdown_frac
        terminated = ruined or self.moment == len(self.moments) - 1
        truncated = self.moment == self.window_last and not terminated
        final_states = [self.state(i) for i in range(len(self.shares))]
        if terminated or truncated:
            self._begin()
        return reward, terminated, truncated, final_states
