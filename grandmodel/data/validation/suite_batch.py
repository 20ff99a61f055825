"""The table that a validation suite judges: the rows as read, and beside each what the masks make of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.instrument import AssetClass
from grandmodel.data.asset_classes import asset_class
from grandmodel.data.calendar import schedules as calendars
from grandmodel.data.cleaning.adjust import impossible_rows, price_steps, rows_of
from grandmodel.data.cleaning.quality import judge, mended
from grandmodel.data.cleaning.report import Rows
from grandmodel.data.cleaning.rolls import price_factors
from grandmodel.data.dataset import RawDataset


def suite_batches(raw: RawDataset) -> dict[AssetClass, pd.DataFrame]:
    """Return the rows of ``raw`` by class of instrument, in file order.

    To the columns of ``RawDataset.frame`` come ``tick_size``, ``bar_minutes``, ``move`` (log return against the bar
    before that is left, without rolls, splits and joined cuts; NaN for a cut row), ``masked`` (1 where the row is cut)
    and, on the first row of each session but the first and last of the file, ``session_frac``: its bars over those it
    should have; NaN elsewhere.
    Where some row is no possible bar nothing is masked: the suite blocks then anyway.
    """
    parts: dict[AssetClass, list[pd.DataFrame]] = {}
    for symbol, frame in raw.frame.groupby("symbol", sort=False, observed=True):
        rows = rows_of(raw, str(symbol), frame)
        move, masked = _moves(rows)
        extra = frame.assign(
            tick_size=rows.instrument.tick_size,
            bar_minutes=raw.bar_minutes,
            move=move,
            masked=masked.astype(np.int64),
            session_frac=_session_fractions(rows),
        )
        parts.setdefault(asset_class(rows.instrument, raw.bar_minutes), []).append(extra)
    return {kind: pd.concat(frames, ignore_index=True) for kind, frames in parts.items()}


def _moves(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    count = len(rows.session)
    move, masked = np.full(count, np.nan), np.zeros(count, np.bool_)
    if any(wrong.any() for wrong in impossible_rows(rows).values()):
        close = rows.values["close"]
        positive = np.where(close > 0, close, np.nan)
        move[1:] = np.diff(np.log(positive))
        return move, masked
    quality = judge(rows)
    masked[np.setdiff1d(np.arange(count), quality.kept)] = True
    values = mended(rows, quality, ("open", "close"))
    steps = price_steps(rows.rolls, quality, rows.session[quality.kept], values)
    close = values["close"] * price_factors(len(quality.kept), steps)
    move[quality.kept[1:]] = np.diff(np.log(close))
    return move, masked


def _session_fractions(rows: Rows) -> NDArray[np.float64]:
    days, first, counts = np.unique(rows.session, return_index=True, return_counts=True)
    usual = np.full(len(days), int(np.median(counts)))
    if not rows.simulated:
        expected = calendars.expected_session_bars(rows.instrument, days, rows.bar_minutes)
        usual = np.where(expected > 0, expected, usual)
    fractions = np.full(len(rows.session), np.nan)
    fractions[first[1:-1]] = (counts / usual)[1:-1]  # an export rarely begins or ends with a session
    return fractions
