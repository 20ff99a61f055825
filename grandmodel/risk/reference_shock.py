"""Slow, obvious twin of the shock detector: plain lists, one loop for each sum, the same order of arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from grandmodel.risk.shock import REASONS, Severity, ShockParams, ShockReading

KNOWN, NOT_FINITE, TOO_FEW, WARMING, CONSTANT, UNDEFINED = range(6)


class Band:
    """EWMA mean and variance; a plain mean until it has seen 1 / (1 - decay) values."""

    def __init__(self, decay: float) -> None:
        self.decay, self.mean, self.variance, self.seen = decay, 0.0, 0.0, 0

    def score(self, value: float) -> float:
        """Return how many deviations ``value`` lies above the mean of what was taken in before."""
        return (value - self.mean) / math.sqrt(self.variance)

    def take_in(self, value: float) -> None:
        """Move mean and variance on."""
        gain = max(1.0 - self.decay, 1.0 / (self.seen + 1.0))
        apart = value - self.mean
        self.mean += gain * apart
        self.variance = (1.0 - gain) * (self.variance + gain * apart * apart)
        self.seen += 1


def multiply(matrix: list[list[float]], vector: list[float]) -> list[float]:
    """Return the matrix, given by its rows and symmetric, times the vector."""
    product = [0.0] * len(vector)
    for row, lean in zip(matrix, vector, strict=True):
        product = [total + value * lean for total, value in zip(product, row, strict=True)]
    return product


def dot(left: list[float], right: list[float]) -> float:
    """Return the sum of products, from the first on."""
    total = 0.0
    for a, b in zip(left, right, strict=True):
        total += a * b
    return total


def sum_of(values: list[float]) -> float:
    """Return the sum, from the first on; the one of Python compensates for rounding."""
    total = 0.0
    for value in values:
        total += value
    return total


def largest_eigenvalue(
    moments: list[list[float]], scale: list[float], direction: list[float]
) -> tuple[float, list[float]]:
    """Return the largest eigenvalue of the scaled moments, and its direction, by power iteration from ``direction``."""

    def image(vector: list[float]) -> list[float]:
        scaled = multiply(moments, [value * factor for value, factor in zip(vector, scale, strict=True)])
        return [value * factor for value, factor in zip(scaled, scale, strict=True)]

    vector, quotient = image(direction), 0.0
    for _ in range(30):
        following = image(vector)
        quotient = dot(vector, following) / dot(vector, vector)
        residual_squared = dot(following, following) / dot(vector, vector) - quotient * quotient
        vector = following
        if residual_squared <= (0.01 * quotient) ** 2:
            break
    shrink = 1.0 / math.sqrt(dot(vector, vector))
    return quotient, [value * shrink for value in vector]


class ReferenceDetector:
    """The detector of ``shock.py``, bar by bar."""

    def __init__(self, assets: int, params: ShockParams) -> None:
        self.params = params
        self.moments = [[0.0] * assets for _ in range(assets)]
        self.weight, self.live, self.direction = [0.0] * assets, [False] * assets, [0.0] * assets
        self.forecast = [0.0] * assets  # one over the volatility expected of the next bar; 0 where it is not live
        self.share, self.pairs, self.squares = 0.0, 0.0, 0.0
        self.jump_band, self.size_band = Band(params.band_decay), Band(params.band_decay)
        self.latched, self.quiet_bars = Severity.NONE, 0

    def update(self, returns: Sequence[float]) -> ShockReading:
        """Take in one bar and return its reading."""
        traded = [not math.isnan(value) for value in returns]
        if any(not abs(value) <= 1e100 for value, is_there in zip(returns, traded, strict=True) if is_there):
            return self._unknown(NOT_FINITE)
        if sum(traded) < 2:
            return self._unknown(TOO_FEW)
        filled = [value if is_there else 0.0 for value, is_there in zip(returns, traded, strict=True)]
        z = [abs(value * factor) for value, factor in zip(filled, self.forecast, strict=True)]
        pairs = sum_of(z) * sum_of(z) - dot(z, z)  # of |z_i| |z_j| over i != j
        self._move_moments(filled, traded)
        scale = self._scale()
        share = self._new_share(filled, scale)
        traded_live = sum(a and b for a, b in zip(traded, self.live, strict=True))
        reason, numbers = WARMING, None
        if traded_live >= 2:
            self._move_correlation(filled, scale, traded_live)
            numbers = self._judge(share, share - self.share, pairs / (traded_live * (traded_live - 1)))
            reason = KNOWN if numbers else WARMING
        elif self.size_band.seen >= self.params.warmup_bars:
            reason = TOO_FEW
        self.share = share
        constant = any(w >= 0.5 and not self.moments[i][i] > 0.0 for i, w in enumerate(self.weight))
        now_live = [w >= 0.5 and self.moments[i][i] > 0.0 for i, w in enumerate(self.weight)]
        if now_live != self.live:
            self.live = now_live
            scale = self._scale()
            self._restart(scale)
        self.forecast = [math.sqrt(w) * factor for w, factor in zip(self.weight, scale, strict=True)]
        if constant or numbers is None:
            return self._unknown(CONSTANT if constant else reason)
        return numbers

    def _unknown(self, reason: int) -> ShockReading:
        unknown = math.nan
        return ShockReading(Severity.UNKNOWN, False, unknown, unknown, unknown, unknown, unknown, REASONS[reason])

    def _move_moments(self, filled: list[float], traded: list[bool]) -> None:
        decay = self.params.decay
        for i, row in enumerate(self.moments):
            for j in range(len(row)):
                row[j] = decay * row[j] + (1.0 - decay) * (filled[i] * filled[j])
            self.weight[i] = decay * self.weight[i] + (1.0 - decay if traded[i] else 0.0)

    def _scale(self) -> list[float]:
        return [
            1.0 / math.sqrt(self.moments[i][i]) if is_live and self.moments[i][i] > 0.0 else 0.0
            for i, is_live in enumerate(self.live)
        ]

    def _new_share(self, filled: list[float], scale: list[float]) -> float:
        if sum(self.live) < 2:
            return 0.0
        own = [value * factor for value, factor in zip(filled, scale, strict=True)]
        length = dot(own, own)
        if length > 0.0:
            kick = math.copysign(0.1, dot(own, self.direction)) / math.sqrt(length)
            self.direction = [a + kick * b for a, b in zip(self.direction, own, strict=True)]
        eigenvalue, self.direction = largest_eigenvalue(self.moments, scale, self.direction)
        return eigenvalue / sum(self.live)

    def _restart(self, scale: list[float]) -> None:
        self.direction = [math.sqrt(2.0 + i) if is_live else 0.0 for i, is_live in enumerate(self.live)]
        self.share = 0.0
        if sum(self.live) >= 2:
            for _ in range(10):
                eigenvalue, self.direction = largest_eigenvalue(self.moments, scale, self.direction)
                self.share = eigenvalue / sum(self.live)

    def _move_correlation(self, filled: list[float], scale: list[float], traded: int) -> None:
        z = [a * b * math.sqrt(w) for a, b, w in zip(filled, scale, self.weight, strict=True)]
        total, squares = sum_of(z), dot(z, z)
        decay = self.params.decay
        self.pairs = decay * self.pairs + (1.0 - decay) * ((total * total - squares) / (traded - 1))
        self.squares = decay * self.squares + (1.0 - decay) * squares

    def _judge(self, share: float, jump: float, size: float) -> ShockReading | None:
        found = None
        warm = self.size_band.seen >= self.params.warmup_bars
        if warm and self.jump_band.variance > 1e-26 and self.size_band.variance > 1e-26:
            scores = self.jump_band.score(jump), self.size_band.score(size)
            severity, onset = self._flag(scores[0] + scores[1])
            correlation = self.pairs / self.squares
            found = ShockReading(severity, onset, correlation, share, *scores, scores[0] + scores[1], "")
        self.jump_band.take_in(jump)
        self.size_band.take_in(size)
        return found

    def _flag(self, score: float) -> tuple[Severity, bool]:
        severity = Severity(int(score >= self.params.score_high) + int(score >= self.params.score_critical))
        onset = severity > self.latched
        if severity > Severity.NONE:
            self.latched, self.quiet_bars = max(self.latched, severity), 0
        else:
            self.quiet_bars += 1
            if self.quiet_bars >= self.params.rearm_bars:
                self.latched = Severity.NONE
        return severity, onset
