"""Many market environments stepped at once in compiled code, written into buffers that are reused at every step.

Time: at row t the bar has closed; the team sees it and acts; the order works on bar t + 1, whose return is the reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, TrainingError
from grandmodel.core.random import derive_seed
from grandmodel.market.episodes import (
    EPISODE_KINDS,
    check_beginnings,
    check_sessions,
    instruments_at,
    last_rows_of_sessions,
    sessions_of,
)
from grandmodel.market.kernels import Rules, Scene, begin_kernel, empty_outputs, empty_worlds, step_kernel
from grandmodel.market.observation import lay_windows, write_triples
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec


class MarketStep(NamedTuple):
    """What one step gave; the arrays are the environment's own buffers and change at the next step."""

    reward: NDArray[np.float32]  # [N], the same for every agent of the team
    terminated: NDArray[np.bool_]  # [N] ruin, or end of the instrument's data
    truncated: NDArray[np.bool_]  # [N] end of the window or session; never together with terminated
    states: NDArray[np.float32]  # [N, S] the critic state after any reset
    ended_states: NDArray[np.float32]  # [N, S] the critic state before the reset, where an episode ended just now

    @property
    def final_states(self) -> NDArray[np.float32]:
        """Return the critic states [N, S] before any reset, as a new array."""
        return np.where((self.terminated | self.truncated)[:, None], self.ended_states, self.states)


class VectorMarket:
    """``environments`` copies of one team's market, each on its own instrument and window.

    Sequential mode: a later agent sees the earlier agents' triples of the same bar, written by ``observe``.
    Simultaneous mode: it sees those of the previous bar, zeros on the first. ``gross_cap`` [N] may be lowered at any
    time; a negative or NaN one counts as zero. All public arrays are written in place. An episode marks the position
    left at its end to the last close and drops it; it is not traded back to flat.
    """

    def __init__(
        self,
        tape: MarketTape,
        spec: TeamSpec,
        params: MarketParams,
        environments: int,
        window_bars: int,
        seed: int,
        simultaneous: bool = False,
        auto_reset: bool = True,
        episodes: Literal["window", "session"] = "window",
        first_copy: int = 0,
    ) -> None:
        """Build and reset.

        Args:
            tape: what there is to trade.
            spec: the team, which must fit the tape.
            params: ruin and reward.
            environments: number of copies N.
            window_bars: bars after which an episode is truncated.
            seed: of all draws.
            simultaneous: all agents act at once.
            auto_reset: ended environments begin their next episode inside ``step``.
            episodes: "window", or "session": an episode goes from the close of a session's first bar to its last
                bar, and ``window_bars`` does not count.
            first_copy: number of the first copy, where several processes share the copies of one training: copy k
                draws by its number ``first_copy`` + k.

        Raises:
            ConfigError: tape and team do not fit, or an instrument has too few rows to trade.
        """
        check_fit(tape, spec)
        if int(np.diff(tape.offsets).min()) < 2:
            raise ConfigError("market tape", "every instrument needs two rows or more", np.diff(tape.offsets).tolist())
        if environments < 1 or window_bars < 1:
            raise ConfigError("market", "environments and window_bars must be 1 or more", (environments, window_bars))
        if episodes not in EPISODE_KINDS:
            raise ConfigError("episodes", f"must be one of {EPISODE_KINDS}", episodes)
        self.spec, self.tape = spec, tape
        self.agents, self.action_counts = spec.agents, spec.action_counts
        self.default_actions = spec.default_actions
        self.n_environments, self.simultaneous = environments, simultaneous
        self.first_copy = first_copy
        self.observation_size, self.state_size = spec.observation_size, spec.state_size
        rules = Rules(
            offsets=np.array(tape.offsets, np.int64),
            sessions=sessions_of(tape),
            by_session=episodes == "session",
            window_bars=window_bars,
            ruin_drawdown_frac=params.ruin_drawdown_frac,
            downside_penalty=params.downside_penalty,
            simultaneous=simultaneous,
            auto_reset=auto_reset,
        )
        if rules.by_session:
            check_sessions(tape, rules.sessions)
        self._scene = Scene(
            tape=tape.arrays,
            windows=lay_windows(tape.features, tape.offsets, spec),
            layout=spec.layout,
            rules=rules,
            counts=np.tile(np.array(spec.action_counts, np.uint64), environments),
            everyone=np.ones(environments, np.bool_),
        )
        self._worlds, self._outputs = empty_worlds(environments), empty_outputs(environments, spec)
        self.observations, self.states = self._outputs.observations, self._outputs.states
        self.accounts, self.rows = self._worlds.standing.accounts.T, self._worlds.standing.row
        self.gross_cap = self._worlds.gross_cap
        self.log_return, self.turnover = self._outputs.log_return, self._outputs.turnover
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Start all random streams anew from ``seed`` and begin the first episode of each."""
        for e in range(self.n_environments):
            self._worlds.seed[e] = derive_seed(seed, "market", self.first_copy + e)
        self._worlds.episode[:] = 0
        self.begin_episodes()

    def save_state(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of all arrays that change while environments are stepped, by name."""
        return {name: array.copy() for name, array in self._moving_arrays().items()}

    def load_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Stand where ``save_state`` was called, on an equally built market.

        Raises TrainingError naming the field when ``state`` has other names, shapes or types; nothing has moved then.
        """
        arrays = self._moving_arrays()
        if state.keys() != arrays.keys():
            raise TrainingError("state of the market", f"must have the fields {sorted(arrays)}", sorted(state))
        for name, array in arrays.items():
            if state[name].shape != array.shape or state[name].dtype != array.dtype:
                found = f"{state[name].dtype} {state[name].shape}"
                raise TrainingError(f"state of the market, field {name}", f"must be {array.dtype} {array.shape}", found)
        for name, array in arrays.items():
            array[:] = state[name]

    def _moving_arrays(self) -> dict[str, NDArray[np.generic]]:
        worlds = self._worlds._asdict()
        standing = worlds.pop("standing")._asdict()
        return {**worlds, **standing, **self._outputs._asdict()}

    def begin_episodes(self) -> None:
        """Begin the next episode of every environment, random streams going on."""
        begin_kernel(self._scene, self._worlds, self._outputs, True)

    def begin_at(self, rows: NDArray[np.int64]) -> None:
        """Begin an episode at each of the tape's ``rows`` [N], flat and at peak equity; streams stay where they are.

        The episode ends ``window_bars`` later, or with the session of its row. Raises ConfigError when a row is not on
        the tape, or no bar of its instrument (or session) comes after it.
        """
        worlds = self._worlds
        instrument, last, window_last = self.episodes_from(rows)
        worlds.last[:], worlds.window_last[:] = last, window_last
        worlds.standing.row[:], worlds.standing.mirror[:] = rows, self._scene.windows.mirror[instrument]
        worlds.standing.accounts[:] = 0.0
        begin_kernel(self._scene, worlds, self._outputs, False)

    def episodes_from(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return instrument, its last row and the last row of the window or session [N each] for ``begin_at``.

        Nothing moves. Raises ConfigError as ``begin_at`` does.
        """
        rules = self._scene.rules
        instrument = instruments_at(self.tape, rows, self.n_environments)
        last = rules.offsets[instrument + 1] - 1
        window_last = last_rows_of_sessions(self.tape, rows) if rules.by_session else rows + rules.window_bars
        check_beginnings(rows, np.minimum(last, window_last))
        return instrument, last, window_last

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        """Write the triples of ``actions[:, :agent_index]`` (int64 [N, A]) into ``observations[:, agent_index]``.

        Nothing to do in simultaneous mode. Raises TrainingError when the actions have another shape or type.
        """
        check_actions(actions, self.n_environments, len(self.agents))
        if agent_index > 0 and not self._scene.rules.simultaneous:
            write_triples(self.observations, agent_index, self._scene.layout, actions)

    def step(self, actions: NDArray[np.int64]) -> MarketStep:
        """Trade on the next bar with ``actions`` int64 [N, A]; ended episodes begin anew if ``auto_reset``.

        Raises TrainingError when an action does not exist or an episode is over; nothing has moved then.
        """
        check_actions(actions, self.n_environments, len(self.agents))
        outputs = self._outputs
        if not step_kernel(self._scene, self._worlds, outputs, np.ascontiguousarray(actions)):
            raise refusal(self.action_counts, actions, self.rows >= self._worlds.last)
        return MarketStep(outputs.reward, outputs.terminated, outputs.truncated, outputs.states, outputs.ended_states)


def check_fit(tape: MarketTape, spec: TeamSpec) -> None:
    """Raise ConfigError unless the tape has the feature columns that the team was made for."""
    if tape.features.shape[1] != spec.n_columns:
        raise ConfigError(f"team {spec.name}", f"needs a tape of {spec.n_columns} columns", tape.features.shape[1])


def check_actions(actions: NDArray[np.int64], environments: int, agents: int) -> None:
    """Raise TrainingError unless ``actions`` are int64 [environments, agents]."""
    rule = f"must be an array int64 [{environments}, {agents}]"
    if not isinstance(actions, np.ndarray):
        raise TrainingError("actions", rule, type(actions).__name__)
    if actions.shape != (environments, agents) or actions.dtype != np.int64:
        raise TrainingError("actions", rule, f"{actions.dtype} {actions.shape}")


def refusal(action_counts: tuple[int, ...], actions: NDArray[np.int64], at_end: NDArray[np.bool_]) -> TrainingError:
    """Return the error that names the first environment with an impossible action or no bar left."""
    impossible = ((actions < 0) | (actions >= np.array(action_counts))).any(axis=1)
    if impossible.any():
        bad = int(np.argmax(impossible))
        rule = f"actions must not be negative and must lie below {action_counts}"
        return TrainingError(f"environment {bad}", rule, actions[bad].tolist())
    return TrainingError(f"environment {int(np.argmax(at_end))}", "its data have ended", do="Begin the next episode")
