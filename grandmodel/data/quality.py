"""The hard mask: stretches in which a series is evidently not the traded contract are found by liquidity alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.instrument import Instrument
from grandmodel.data.dataset import Finding

DEAD_VOLUME_FRAC = 0.05
DEAD_SESSIONS_MIN = 5
_REFERENCE_SESSIONS = 501  # about two years, so that half a year of nothing cannot become the norm
_SESSIONS_MIN = 60
_SHORT_SESSION_FRAC = 0.6
_LISTED_MAX = 6


def dead_rows(session: NDArray[np.int32], volume: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return bool[n], True in runs of at least five sessions that each trade under 5 % of the usual volume.

    The usual volume is the median session of the two years around. A limit-locked day or a holiday is one or two
    sessions long and stays: true crashes are not masked.
    """
    sessions, inverse = np.unique(session, return_inverse=True)
    if len(sessions) < _SESSIONS_MIN:
        return np.zeros(len(session), np.bool_)
    total = np.bincount(inverse, weights=volume)
    usual = pd.Series(total).rolling(_REFERENCE_SESSIONS, center=True, min_periods=1).median().to_numpy()
    dead = total < DEAD_VOLUME_FRAC * usual
    edges = np.flatnonzero(np.diff(np.r_[False, dead, False].astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start < DEAD_SESSIONS_MIN:
            dead[start:stop] = False
    return np.asarray(dead[inverse])


def date_text(day: int) -> str:
    """Return days since 1970-01-01 as an ISO date."""
    return str(np.datetime64(int(day), "D"))


def describe_sessions(
    instrument: Instrument, bar_minutes: int, session: NDArray[np.int32], volume: NDArray[np.float64]
) -> list[Finding]:
    """Return what is unusual but left alone: short and overlong sessions, bars without volume."""
    days, counts = np.unique(session, return_counts=True)
    usual = int(np.median(counts))
    full = instrument.session_bars_5m * 5 // bar_minutes
    findings = [
        _session_finding(instrument.symbol, f"shorter than 60 % of the usual {usual} bars", days, counts, short)
        for short in [counts < _SHORT_SESSION_FRAC * usual]
        if short.any()
    ]
    overlong = counts > full
    if overlong.any():
        text = f"longer than the {full} bars of a full trading day"
        findings.append(_session_finding(instrument.symbol, text, days, counts, overlong))
    empty = int((volume == 0).sum())
    if empty:
        findings.append(Finding("info", instrument.symbol, f"{empty} bars have no volume: they stay but fill nothing"))
    return findings


def _session_finding(
    symbol: str, rule: str, days: NDArray[np.int32], counts: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> Finding:
    listed = [f"{date_text(d)} ({c})" for d, c in zip(days[chosen], counts[chosen], strict=True)]
    more = f" and {len(listed) - _LISTED_MAX} more" if len(listed) > _LISTED_MAX else ""
    are = "session is" if len(listed) == 1 else "sessions are"
    return Finding("info", symbol, f"{len(listed)} {are} {rule}: {', '.join(listed[:_LISTED_MAX])}{more}")
