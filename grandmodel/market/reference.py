"""The market room again, slowly and plainly: what the compiled code must equal, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import MarketParams
from grandmodel.core.random import derive_seed
from grandmodel.market.accounting import RETURN_FRAC_MIN, THROUGH_FRAC
from grandmodel.market.episodes import DRAWS_PER_EPISODE, INITIAL_DRAWDOWN_OF_RUIN
from grandmodel.market.observation import DRAWDOWN_MAX, DRAWDOWN_UNIT_FRAC, OPEN_RETURN_ABS_MAX
from grandmodel.market.policy import P0, P1, P2, P3, P4, Q0, Q1, Q2, Q3, Q4, TANH_LIMIT, TeamPolicy
from grandmodel.market.replay import Replay
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec

ORDER_CODES = {"none": 0, "limit": 1, "market": 2}
MASK_64 = 2**64 - 1


@dataclass
class Account:
    """One account: position held, log equity, its highest value so far, return since the position was opened."""

    position: float = 0.0
    log_equity: float = 0.0
    log_peak: float = 0.0
    open_return: float = 0.0

    @property
    def drawdown_frac(self) -> float:
        """Loss from the highest equity so far, as a fraction of it."""
        return -math.expm1(self.log_equity - self.log_peak)


def usable_cap(cap: float) -> float:
    """Return ``cap``, or zero where it is negative or no number: a damaged limit must not let anything through."""
    return 0.0 if math.isnan(cap) or cap < 0 else cap


def filled_position(tape: MarketTape, row: int, position: float, target: float, order: str, cap: float) -> float:
    """Return the position after the order has worked on bar ``row``."""
    cap = usable_cap(cap)
    if not tape.tradable[row]:
        return position
    capped = max(-cap, min(cap, position))
    wanted = max(-cap, min(cap, target))
    if order == "none":
        return capped
    if order == "market" or capped != position:
        return wanted
    buys, sells = wanted > position, wanted < position
    if buys and tape.low_frac[row] < -THROUGH_FRAC:
        return wanted
    if sells and tape.high_frac[row] > THROUGH_FRAC:
        return wanted
    return position


def live_through(
    account: Account, tape: MarketTape, row: int, target: float, order: str, cap: float
) -> tuple[float, float, float]:
    """Carry ``account`` over bar ``row``; return log return, turnover and cost as a fraction of equity."""
    before = account.position
    after = filled_position(tape, row, before, target, order, cap)
    by_limit = order == "limit" and abs(before) <= usable_cap(cap)
    turnover, leverage = abs(after - before), tape.leverage[row]
    gap_holder = after if by_limit else before
    growth = (1 + leverage * gap_holder * tape.gap_frac[row]) * (1 + leverage * after * tape.body_frac[row]) - 1
    if by_limit:
        cost = leverage * turnover * tape.commission_frac[row]
    else:
        linear = turnover * (tape.half_spread_frac[row] + tape.commission_frac[row])
        cost = leverage * (linear + tape.impact_frac[row] * turnover**1.5)
    if tape.rolled[row]:
        held = abs(before)
        linear = held * (tape.half_spread_frac[row] + tape.commission_frac[row])
        cost += 2 * leverage * (linear + tape.impact_frac[row] * held**1.5)
    log_return = math.log1p(max(growth - cost, RETURN_FRAC_MIN))
    same_side = before * after > 0
    account.open_return = 0.0 if after == 0 else (account.open_return if same_side else 0.0) + log_return
    account.position = after
    account.log_equity += log_return
    account.log_peak = max(account.log_peak, account.log_equity)
    return log_return, turnover, cost


def decoded(spec: TeamSpec, actions: Sequence[int], intent: NDArray[np.float32]) -> tuple[float, str]:
    """Return target position and order style of one bar's ``actions``."""
    votes = {0: -1, 1: 0, 2: 1}
    mean_vote = sum(votes[int(action)] for action in actions[:-1]) / (len(actions) - 1)
    if not spec.uses_intent:
        return mean_vote * (int(actions[-1]) / (spec.action_counts[-1] - 1)), "market"
    short, _, long, size, _, _ = (float(number) for number in intent)
    wish = (long - short) * size
    against = {
        "short": all(int(vote) == 0 for vote in actions[:-1]),
        "long": all(int(vote) == 2 for vote in actions[:-1]),
    }
    vetoed = against["short"] if wish >= 0 else against["long"]
    return 0.0 if vetoed else wish, ("none", "limit", "market")[int(actions[-1])]


def seen(
    tape: MarketTape,
    spec: TeamSpec,
    agent: int,
    row: int,
    first: int,
    account: Account,
    earlier_actions: Sequence[int] | None,
) -> NDArray[np.float32]:
    """Return the padded observation of ``agent``; without ``earlier_actions`` the triples are zero."""
    numbers = _columns_seen(tape, spec.columns[agent], spec.lags, row, first) + _own_numbers(tape, spec, row, account)
    for earlier in range(agent):
        for side in range(3):
            numbers.append(float(earlier_actions is not None and earlier_actions[earlier] == side))
    return np.array(numbers + [0.0] * (spec.observation_size - len(numbers)), np.float32)


def critic_state(tape: MarketTape, spec: TeamSpec, row: int, first: int, account: Account) -> NDArray[np.float32]:
    """Return the central critic's state."""
    columns = _columns_seen(tape, range(spec.n_columns), spec.lags, row, first)
    return np.array(columns + _own_numbers(tape, spec, row, account), np.float32)


def _columns_seen(tape: MarketTape, columns: Sequence[int], lags: int, row: int, first: int) -> list[float]:
    return [
        float(tape.features[row - lag, column]) if row - lag >= first else 0.0
        for lag in range(lags)
        for column in columns
    ]


def _own_numbers(tape: MarketTape, spec: TeamSpec, row: int, account: Account) -> list[float]:
    unrealised = account.open_return * tape.reward_scale[row]
    own = [
        account.position,
        max(-OPEN_RETURN_ABS_MAX, min(OPEN_RETURN_ABS_MAX, unrealised)),
        min(account.drawdown_frac / DRAWDOWN_UNIT_FRAC, DRAWDOWN_MAX),
        float(tape.session_left[row]),
    ]
    return own + [float(number) for number in tape.intent[row]] * spec.uses_intent


def uniform(seed: int, index: int) -> float:
    """Return number ``index`` of the SplitMix64 stream of ``seed``, in [0, 1)."""
    z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & MASK_64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK_64
    return float(((z ^ (z >> 31)) >> 11) / 2**53)


def played_sessions(tape: MarketTape, first: int, last: int) -> list[tuple[int, int]]:
    """Return first and last row of each session of two rows or more within rows ``first``..``last``."""
    sessions: dict[int, list[int]] = {}
    for row in range(first, last + 1):
        sessions.setdefault(int(tape.session[row]), []).append(row)
    return [(rows[0], rows[-1]) for rows in sessions.values() if len(rows) > 1]


class ReferenceMarket:
    """Environment number ``index`` of a VectorMarket, alone."""

    def __init__(
        self,
        tape: MarketTape,
        spec: TeamSpec,
        params: MarketParams,
        index: int,
        window_bars: int,
        seed: int,
        simultaneous: bool = False,
        episodes: str = "window",
    ) -> None:
        """Begin the first episode."""
        self.tape, self.spec, self.params = tape, spec, params
        self.window_bars, self.simultaneous, self.episodes = window_bars, simultaneous, episodes
        self.gross_cap = 1.0
        self._seed, self._episode = derive_seed(seed, "market", index), 0
        self._begin()

    def _begin(self) -> None:
        draws = [uniform(self._seed, self._episode * DRAWS_PER_EPISODE + k) for k in range(3)]
        instrument = int(draws[0] * len(self.tape.symbols))
        self.first, self.last = int(self.tape.offsets[instrument]), int(self.tape.offsets[instrument + 1]) - 1
        if self.episodes == "session":
            sessions = played_sessions(self.tape, self.first, self.last)
            self.row, self.window_last = sessions[int(draws[1] * len(sessions))]
        else:
            starts = max(self.last - self.first - self.window_bars + 1, 1)
            self.row = self.first + int(draws[1] * starts)
            self.window_last = self.row + self.window_bars
        depth = draws[2] * INITIAL_DRAWDOWN_OF_RUIN * self.params.ruin_drawdown_frac
        self.account = Account(log_equity=math.log1p(-depth))
        self.previous_actions: Sequence[int] | None = None
        self._episode += 1

    def observation(self, agent: int, actions: Sequence[int] | None) -> NDArray[np.float32]:
        """Return what ``agent`` sees, ``actions`` being those of this bar; simultaneous teams see the last bar's."""
        visible = self.previous_actions if self.simultaneous else actions
        return seen(self.tape, self.spec, agent, self.row, self.first, self.account, visible)

    def state(self) -> NDArray[np.float32]:
        """Return the central critic's state."""
        return critic_state(self.tape, self.spec, self.row, self.first, self.account)

    def step(self, actions: Sequence[int]) -> tuple[float, bool, bool, NDArray[np.float32]]:
        """Trade on the next bar; return reward, terminated, truncated and the state before any new episode."""
        target, order = decoded(self.spec, actions, self.tape.intent[self.row])
        self.row += 1
        log_return, _, _ = live_through(self.account, self.tape, self.row, target, order, self.gross_cap)
        scaled = log_return * self.tape.reward_scale[self.row]
        reward = scaled - self.params.downside_penalty * min(scaled, 0.0) ** 2
        ruined = self.account.drawdown_frac >= self.params.ruin_drawdown_frac
        terminated = ruined or self.row == self.last
        truncated = self.row == self.window_last and not terminated
        self.previous_actions = actions
        final_state = self.state()
        if terminated or truncated:
            self._begin()
        return reward, terminated, truncated, final_state


def tanh_approximation(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rational approximation of tanh, float32 throughout."""
    x = np.clip(values, -TANH_LIMIT, TANH_LIMIT)
    y = x * x
    p = x * ((((P4 * y + P3) * y + P2) * y + P1) * y + P0)
    q = (((Q4 * y + Q3) * y + Q2) * y + Q1) * y + Q0
    return np.asarray(p / q, np.float32)


def logits(policy: TeamPolicy, observation: NDArray[np.float32], agent: int) -> NDArray[np.float32]:
    """Return all logits of ``agent``, summed in the stated order."""
    layer = observation[: policy.spec.observation_sizes[agent]]
    for number in range(3):
        weight = policy.weights[f"actor.{number}.weight"][agent]
        total = policy.weights[f"actor.{number}.bias"][agent].copy()
        for i, x in enumerate(layer):
            total += x * weight[i]
        layer = tanh_approximation(total) if number < 2 else total
    return layer


def reference_replay(tape: MarketTape, policy: TeamPolicy, delay_bars: int = 0, gross_cap: float = 1.0) -> Replay:
    """Return what ``replay`` must return."""
    spec, rows = policy.spec, len(tape)
    actions = np.zeros((rows, len(spec.agents)), np.int8)
    orders = ["none"] * rows
    target, position, log_return, turnover, cost_frac = np.zeros((5, rows))
    for symbol in tape.symbols:
        part = tape.rows(symbol)
        first, account = part.start, Account()
        for row in range(part.start, part.stop):
            decided = row - 1 - delay_bars
            if row > first:
                wish, order = (target[decided], orders[decided]) if decided >= first else (0.0, "none")
                lived = live_through(account, tape, row, wish, order, gross_cap)
                log_return[row], turnover[row], cost_frac[row] = lived
            position[row] = account.position
            for agent, count in enumerate(spec.action_counts):
                observation = seen(tape, spec, agent, row, first, account, actions[row].tolist())
                actions[row, agent] = np.argmax(logits(policy, observation, agent)[:count])
            target[row], orders[row] = decoded(spec, actions[row].tolist(), tape.intent[row])
    return Replay(
        symbols=tape.symbols,
        offsets=tape.offsets,
        spec=spec,
        actions=actions,
        target=target,
        order=np.array([ORDER_CODES[order] for order in orders], np.int8),
        position=position,
        log_return=log_return,
        turnover=turnover,
        cost_frac=cost_frac,
    )
