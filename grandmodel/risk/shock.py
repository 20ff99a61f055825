"""Correlation shocks on event time: is this bar a joint move that its own past did not lead to expect?

On each bar the EWMA second moments of the returns are moved on, and two numbers come out:

    jump  the change of s = largest eigenvalue of the EWMA correlations / N, the share of the common factor
          (absorption ratio of Kritzman et al. 2011 with one factor)
    size  the mean of |z_i z_j| over the pairs of assets that traded, z = return / EWMA volatility forecast before the
          bar: ((sum |z|)^2 - sum z^2) / (N (N - 1))

Each is measured against its own EWMA band, mean and deviation as they stood before the bar:

    score = (jump - mean_jump) / deviation_jump + (size - mean_size) / deviation_size

so that a bar counts that is large *and* common: one asset alone, or one bad print, hardly moves a mean over pairs, and
lowers the share. Magnitude and correlation are told apart as in Kinlaw and Turkington (2014), "Correlation surprise".
The severity is HIGH from ``score_high`` on and CRITICAL from ``score_critical`` on. An alarm begins (``onset``) when
the severity exceeds the one that is latched; the latch opens after ``rearm_bars`` known bars below ``score_high``. The
bar that causes an alarm is the bar whose update returns it. The bands give way slowly: a long crisis becomes the norm.

Beside them stands the mean off-diagonal correlation, which needs no matrix: (E[((sum z)^2 - sum z^2) / (N - 1)] /
E[sum z^2]), E the EWMA and z the returns over their volatility with this bar included.

**Missing returns.** NaN says that an asset did not trade: it adds nothing to the moments while its weight decays. An
asset counts as live while at least half of its EWMA weight lies on bars on which it traded; when the set of live
assets changes, the next jump is measured within the new set.

**Unknown.** What cannot be computed is NaN with severity UNKNOWN and a reason, and whoever acts on it only reduces: the
guard takes ``severity.name`` as its alarm, and UNKNOWN is none that it knows. A return that is infinite, and a bar on
which fewer than two assets traded, change nothing else.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.risk import shock_kernels as kernels
from grandmodel.risk.covariance import Floats
from grandmodel.risk.shock_kernels import MISFIT, step


class Severity(IntEnum):
    """What a bar is; HIGH and CRITICAL cut leverage, UNKNOWN reduces."""

    UNKNOWN = -1
    NONE = 0
    HIGH = 1
    CRITICAL = 2


@dataclass(frozen=True)
class ShockParams:
    """Settings of the detector. The thresholds belong to one length of bar and one set of assets."""

    decay: float = 0.94  # lambda of the second moments
    band_decay: float = 0.99  # lambda of the bands
    score_high: float = 7.0
    score_critical: float = 14.0
    rearm_bars: int = 5  # known bars below score_high before the next alarm can begin
    warmup_bars: int = 60  # bars with two live assets before the first answer


class ShockMemory(NamedTuple):
    """All that a detector knows: one plain array, so that saving it saves everything. Written in place."""

    state: Floats  # float64[26 + 7 N + N N]; places in ``shock_kernels.py``

    @property
    def moments(self) -> Floats:
        """EWMA second moments of the returns, float64[N, N]; a view."""
        assets = int(self.state[kernels.ASSETS])
        return self.state[-assets * assets :].reshape(assets, assets)


class ShockReading(NamedTuple):
    """One bar. Where ``reason`` is not empty the severity is UNKNOWN and every number NaN."""

    severity: Severity
    onset: bool  # an alarm begins with this bar, or becomes CRITICAL
    mean_correlation: float  # mean of the EWMA correlations off the diagonal
    eigenvalue_share: float  # largest eigenvalue of the EWMA correlations over the number of live assets, in [1/N, 1]
    jump_score: float  # change of the share, in deviations
    size_score: float  # mean product of two absolute standardised returns, in deviations
    score: float  # sum of the two
    reason: str


@dataclass(frozen=True)
class ShockHistory:
    """The readings of T bars as columns; ``reason`` indexes ``REASONS``."""

    severity: NDArray[np.int8]
    onset: NDArray[np.bool_]
    mean_correlation: Floats
    eigenvalue_share: Floats
    jump_score: Floats
    size_score: Floats
    score: Floats
    reason: NDArray[np.int8]


REASONS = (
    "",
    "a return is infinite or beyond any market",
    "fewer than two assets traded",
    "still warming up",
    "the series of an asset is constant",
    "the correlations of this bar cannot be computed",
)
_SEVERITIES = (Severity.NONE, Severity.HIGH, Severity.CRITICAL, Severity.UNKNOWN)  # the last one is found at -1
_FLOAT = np.dtype(np.float64)


def new_memory(assets: int, params: ShockParams) -> ShockMemory:
    """Return the memory of a detector that has seen nothing.

    Raises:
        ConfigError: fewer than two assets, or a setting outside its range.
    """
    if assets < 2:
        raise ConfigError("correlation shock", "needs at least two assets", assets)
    for name, value in (("decay", params.decay), ("band decay", params.band_decay)):
        if not 0.0 < value < 1.0:
            raise ConfigError(f"correlation shock {name}", "must lie strictly between 0 and 1", value)
    if not 0.0 < params.score_high < params.score_critical < np.inf:
        found = (params.score_high, params.score_critical)
        raise ConfigError("correlation shock scores", "must be positive and rise from HIGH to CRITICAL", found)
    if params.rearm_bars < 1 or params.warmup_bars < 2:
        raise ConfigError("correlation shock bars", "rearm_bars >= 1 and warmup_bars >= 2", astuple(params)[4:])
    state = np.zeros(kernels.HEAD + kernels.ROWS * assets + assets * assets)
    state[: kernels.WARMUP_BARS + 1] = (assets, *astuple(params))
    state[kernels.REASON], state[kernels.SEVERITY] = kernels.WARMING, Severity.UNKNOWN
    state[kernels.MEAN_CORRELATION : kernels.HEAD] = np.nan
    return ShockMemory(state)


def update(memory: ShockMemory, returns: Floats) -> Severity:
    """Take in one bar and return what it is; ``reading`` has its numbers.

    Args:
        memory: of ``new_memory``; written in place.
        returns: float64[N], one bar's return of each asset, each in a unit that stays; NaN where it did not trade.

    Raises:
        DataError: not one float64 return for each asset; the memory stays as it was.
    """
    if returns.dtype != _FLOAT or returns.ndim != 1:
        raise _unfit(memory, returns)
    severity = step(memory.state, returns)
    if severity == MISFIT:
        raise _unfit(memory, returns)
    return _SEVERITIES[severity]


def reading(memory: ShockMemory) -> ShockReading:
    """Return all that is known of the newest bar. Before the first it is UNKNOWN, still warming up."""
    reason, severity, onset, correlation, share, jump, size, score = memory.state[
        kernels.REASON : kernels.HEAD
    ].tolist()
    known = Severity(int(severity)), onset > 0.0
    return ShockReading(*known, correlation, share, jump, size, score, REASONS[int(reason)])


def shock_history(memory: ShockMemory, returns: Floats) -> ShockHistory:
    """Take in many bars at once, as ``update`` would one by one, to the same bit.

    Args:
        memory: of ``new_memory``; written in place.
        returns: float64[T, N], oldest first.

    Raises:
        DataError: the rows do not have one float64 return for each asset.
    """
    if returns.ndim != 2 or returns.shape[1] != memory.state[kernels.ASSETS] or returns.dtype != _FLOAT:
        raise _unfit(memory, returns)
    outputs = np.empty((len(returns), kernels.HEAD - kernels.REASON))
    kernels.walk(*memory, np.ascontiguousarray(returns), outputs)
    reason, severity, onset, correlation, share, jump, size, score = np.ascontiguousarray(outputs.T)
    flags = severity.astype(np.int8), onset > 0.0
    return ShockHistory(*flags, correlation, share, jump, size, score, reason.astype(np.int8))


def onsets_of(scores: Floats, params: ShockParams) -> NDArray[np.bool_]:
    """Return where alarms begin among the ``scores`` of a history (float64[T]) under other thresholds or latch."""
    return kernels.find_onsets(scores, params.score_high, params.score_critical, params.rearm_bars) > 0.0


def _unfit(memory: ShockMemory, returns: Floats) -> DataError:
    rule = f"must be float64, one for each of {memory.state[kernels.ASSETS]:g} assets"
    return DataError("returns", rule, (returns.shape, str(returns.dtype)))
