"""The known optimal policy of the simulated market, by dynamic programming, as a yardstick for learners.

At the close of a 30-min bar the oracle knows the planted state x, the regime and slot of the next bar, and its own
position. It chooses the next position among POSITIONS to maximise the expected sum of return minus cost (finite
horizon, long enough that the policy no longer changes); a position change d costs cost_frac |d| + impact_frac |d|^1.5.
It reads nothing but the truth files and ``dataset.yaml``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from grandmodel.core.errors import DataError

POSITIONS = np.linspace(-1.0, 1.0, 7)  # in thirds, like the sizes of the strategic team
FLAT = 3
STATE_GRID = np.linspace(-5.0, 5.0, 101)
HORIZON_SESSIONS = 6
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class OracleModel:
    """What the oracle knows of one instrument. S slots of a session, K regimes; sigmas are fractions."""

    edge: float
    edge_coefficient: float
    state_decay: float
    edge_shape: FloatArray  # [S]
    volatility_shape: FloatArray  # [S]
    gap_sigmas: FloatArray  # [S] of what the price moves in pauses before or within the slot, in 30-min sigmas
    base_sigma: float  # of a 30-min bar
    regime_multiples: FloatArray  # [K]
    regime_transition: FloatArray  # [K, K]


def load_oracle_model(folder: Path, symbol: str) -> OracleModel:
    """Read the oracle's parameters from ``dataset.yaml``. Raises DataError if the set is not simulated."""
    path = folder / "dataset.yaml"
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise DataError(str(path), "the file must exist", do="Point to a folder written by the simulator") from error
    known = content.get("oracle") or {}
    if content.get("simulated") is not True or symbol not in known.get("base_sigma", {}):
        raise DataError(str(path), "an oracle exists only for simulated instruments", symbol)
    return OracleModel(
        edge=float(content["edge"]),
        edge_coefficient=float(known["edge_coefficient"]),
        state_decay=float(known["state_decay"]),
        edge_shape=np.array(known["edge_shape"], dtype=np.float64),
        volatility_shape=np.array(known["volatility_shape"], dtype=np.float64),
        gap_sigmas=_gap_sigmas(known["gap_sigmas"], len(known["edge_shape"])),
        base_sigma=float(known["base_sigma"][symbol]),
        regime_multiples=np.array(known["regime_multiples"], dtype=np.float64),
        regime_transition=np.array(known["regime_transition"], dtype=np.float64),
    )


def _gap_sigmas(written: float | list[float], slots: int) -> FloatArray:
    """Return one number per slot; a single number is the gap before slot 0."""
    if isinstance(written, list):
        return np.array(written, dtype=np.float64)
    return np.concatenate([[float(written)], np.zeros(slots - 1)])


def load_truth(folder: Path, symbol: str) -> pd.DataFrame:
    """Read the truth of one instrument: one row per 30-min bar, known at its close, about the next bar.

    Columns: ts (start of the bar), state, drift_next and sigma_next (fractions), regime_next, slot_next.
    """
    path = folder / "truth" / f"{symbol}.parquet"
    if not path.exists():
        raise DataError(str(path), "the truth file must exist", do="Only simulated data sets have one")
    return pd.read_parquet(path)


def oracle_targets(
    folder: Path, symbol: str, cost_frac: float, *, impact_frac: float = 0.0
) -> tuple[NDArray[np.int64], FloatArray]:
    """Return bar starts (UTC ns, int64[T]) and the optimal positions (float64[T], each one of POSITIONS).

    ``targets[t]`` is decided at the close of 30-min bar t, to be held over bar t + 1. ``cost_frac`` (half-spread and
    commission) and ``impact_frac`` (square-root impact) are the costs of changing the position by 1, as fractions of
    notional.
    """
    model = load_oracle_model(folder, symbol)
    truth = load_truth(folder, symbol)
    policy = solve_policy(model, cost_frac, impact_frac=impact_frac)
    targets = follow_policy(
        policy,
        slot=truth["slot_next"].to_numpy(np.int64),
        regime=truth["regime_next"].to_numpy(np.int64),
        state=truth["state"].to_numpy(np.float64),
    )
    return start_ns_of(truth), targets


def start_ns_of(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Return the column ``ts`` as UTC nanoseconds, int64[T]."""
    starts: NDArray[np.int64] = (
        frame["ts"].astype("datetime64[ns, UTC]").to_numpy(dtype="datetime64[ns]").view(np.int64)
    )
    return starts


def solve_policy(
    model: OracleModel, cost_frac: float, *, impact_frac: float = 0.0, horizon_sessions: int = HORIZON_SESSIONS
) -> NDArray[np.int8]:
    """Return the optimal action index into POSITIONS, int8[S slots, K regimes, X states, P held].

    Backward induction of V_s(k, x, p) = max_a [a mu - cost(a - p) + E V_{s+1}(k', x', a)]. Ties go to the least
    trading, then to the lowest index, so without an edge a flat book stays flat.
    """
    slots, regimes = len(model.edge_shape), len(model.regime_multiples)
    turnover = np.abs(POSITIONS[:, None] - POSITIONS[None, :])  # [held, action]
    cost = cost_frac * turnover + impact_frac * turnover**1.5
    kernels = [_state_kernel(model, slot) for slot in range(slots)]
    value = np.zeros((regimes, len(STATE_GRID), len(POSITIONS)))
    policy = np.zeros((slots, regimes, len(STATE_GRID), len(POSITIONS)), dtype=np.int8)
    for step in range(horizon_sessions * slots):
        slot = slots - 1 - step % slots
        ahead = np.einsum("kl,lxa->kxa", model.regime_transition, value)
        ahead = np.einsum("xy,kya->kxa", kernels[slot], ahead)
        gain = conditional_mean(model, slot)[:, :, None] * POSITIONS + ahead  # [K, X, action]
        choice = gain[:, :, None, :] - cost  # [K, X, held, action]
        policy[slot] = _argmax_least_trading(choice, turnover)
        value = choice.max(axis=-1)
        value -= value.mean()  # relative values stay small
    return policy


def conditional_mean(model: OracleModel, slot: int) -> FloatArray:
    """Return the mean simple return of a bar in ``slot`` per regime and grid state, float64[K, X]."""
    sigma = model.base_sigma * model.regime_multiples * model.volatility_shape[slot]
    mean: FloatArray = sigma[:, None] * _mean_in_sigmas(model, slot)
    return mean


def follow_policy(
    policy: NDArray[np.int8], *, slot: NDArray[np.int64], regime: NDArray[np.int64], state: FloatArray
) -> FloatArray:
    """Walk the policy over bars from a flat book; return the positions chosen, float64[T]."""
    spacing = STATE_GRID[1] - STATE_GRID[0]
    nearest = np.rint((state - STATE_GRID[0]) / spacing).clip(0, len(STATE_GRID) - 1).astype(np.int64)
    actions = policy[slot, regime, nearest].tolist()  # [T][held]
    chosen, held = np.empty(len(actions), dtype=np.int64), FLAT
    for t, row in enumerate(actions):
        held = row[held]
        chosen[t] = held
    return POSITIONS[chosen]


def myopic_targets(folder: Path, symbol: str) -> tuple[NDArray[np.int64], FloatArray]:
    """Return bar starts and the sign of the next bar's conditional mean: what ignores costs altogether."""
    truth = load_truth(folder, symbol)
    return start_ns_of(truth), np.sign(truth["drift_next"].to_numpy(np.float64))


def _mean_in_sigmas(model: OracleModel, slot: int) -> FloatArray:
    mean: FloatArray = -model.edge * model.edge_coefficient * model.edge_shape[slot] * np.tanh(STATE_GRID)
    return mean


def _state_kernel(model: OracleModel, slot: int) -> FloatArray:
    """Return the transition of the state over a bar in ``slot``, float64[X, X], rows sum to 1.

    x' = phi x + sqrt(1 - phi^2) z; z has the slot's mean and variance and that of its pauses, taken normal
    although the bars have fatter tails, which matters little to a sum that remembers about eight of them.
    """
    shape = model.volatility_shape[slot]
    variance = shape**2 + model.gap_sigmas[slot] ** 2
    intake = math.sqrt(1 - model.state_decay**2)
    mean = model.state_decay * STATE_GRID + intake * shape * _mean_in_sigmas(model, slot)
    distance = (STATE_GRID[None, :] - mean[:, None]) / (intake * math.sqrt(variance))
    weight = np.exp(-0.5 * distance**2)
    kernel: FloatArray = weight / weight.sum(axis=1, keepdims=True)
    return kernel


def _argmax_least_trading(choice: FloatArray, turnover: FloatArray) -> NDArray[np.int8]:
    best = choice >= choice.max(axis=-1, keepdims=True) - 1e-15
    actions: NDArray[np.int8] = np.where(best, turnover, np.inf).argmin(axis=-1).astype(np.int8)
    return actions
