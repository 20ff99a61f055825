"""The quality judgement of one instrument: which rows stay, what mends them, which of them could not be traded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.data.asset_classes import asset_class, class_limits
from grandmodel.data.cleaning import report
from grandmodel.data.cleaning.masks import (
    Column,
    Flags,
    dead_rows,
    locked_rows,
    runs,
    spike_rows,
    stale_rows,
    volume_is_known,
)
from grandmodel.data.cleaning.report import Rows
from grandmodel.data.cleaning.rolls import price_factors
from grandmodel.data.cleaning.stretches import frozen_rows, strayed_stretches, volume_stretches
from grandmodel.data.cleaning.units import holding_gaps, listing_start, unit_stretches
from grandmodel.data.dataset import Finding
from grandmodel.data.instruments import snap_to_ticks


@dataclass(frozen=True, slots=True)
class Quality:
    """What becomes of the rows. Rows that are not ``kept`` are cut: neither filled in nor traded nor trained on."""

    kept: NDArray[np.int64]  # positions in the rows judged, ascending; all other columns are on these
    mend: Column  # what each price is to be multiplied by: a power of ten, nearly always 1
    locked: Flags  # at the price limit: real, but not to be filled
    joints: tuple[int, ...]  # bars that follow a cut-out contract: the edges are to be joined like a roll
    splits: tuple[tuple[int, float], ...]  # (bar, ratio): all prices before the bar are to be multiplied
    findings: tuple[Finding, ...]


def judge(rows: Rows) -> Quality:
    """Judge rows that are possible bars (positive prices, envelope, ascending starts); the masks say by which rules.

    The order matters: other listings and dead stretches go first, then units are made one, and only then is a bar
    compared with its neighbours.
    """
    limits = class_limits(rows.instrument, rows.bar_minutes)
    tick = {"tick_size": rows.instrument.tick_size, "impossible_move": limits.impossible_move}
    kept, cuts, findings = _whole_stretches(rows, limits.impossible_move)
    prices = rows.prices[:, kept] * price_factors(len(kept), _known_steps(rows, kept, cuts))

    stretches = unit_stretches(prices, **tick)
    findings += report.about_units(rows, kept, stretches)
    mend = np.ones(len(kept))
    for stretch in stretches:
        mend[stretch.start : stretch.stop] = stretch.mend
    stays = mend > 0
    kept, prices, mend = kept[stays], (prices * mend)[:, stays], mend[stays]

    volume = rows.values["volume"]
    stays, found = _real_stretches(rows, kept, prices, limits.limit_lock_move)
    findings += found
    kept, prices, mend = kept[stays], prices[:, stays], mend[stays]

    stale = stale_rows(prices, volume[kept])
    spikes = spike_rows(rows.start_ns[kept], rows.bar_minutes, prices, volume[kept], **tick)
    findings += report.about_bars(rows, kept, stale, spikes)
    stays = ~(stale | spikes.bad)
    kept, prices, mend = kept[stays], prices[:, stays], mend[stays]

    gaps = holding_gaps(prices, volume[kept], splits=asset_class(rows.instrument, rows.bar_minutes) == "equity", **tick)
    findings += report.about_gaps(rows, kept, gaps, limits.impossible_move)
    _, high, low, close = prices
    locked = locked_rows(rows.session[kept], high, low, close, volume[kept], limits.limit_lock_move)
    findings += report.about_trading(rows, kept, locked) + report.about_sessions(rows, kept)
    return Quality(
        kept,
        mend,
        locked,
        joints=tuple(sorted({int(np.searchsorted(kept, cut)) for cut in cuts} - {0, len(kept)})),
        splits=tuple((gap.row, float(gap.fraction)) for gap in gaps if gap.adjusted and gap.fraction is not None),
        findings=tuple(findings),
    )


def mended(rows: Rows, quality: Quality, names: Iterable[str]) -> dict[str, Column]:
    """Return float64[len(quality.kept)] unadjusted prices by name, in one unit.

    A price times a power of ten is a hair off (0.1 * 36.3 is no 3.63): it is put back on the tick grid.
    """
    values = {name: rows.values[name][quality.kept] for name in names}
    wrong = quality.mend != 1
    for column in values.values():
        column[wrong] = snap_to_ticks(column[wrong] * quality.mend[wrong], rows.instrument.tick_size)
    return values


def _whole_stretches(rows: Rows, impossible_move: float) -> tuple[NDArray[np.int64], list[int], list[Finding]]:
    """Return the rows of one living listing, the rows that follow a cut contract, and what is to be said."""
    first = listing_start(rows.start_ns, rows.values["open"], rows.values["close"], impossible_move)
    dead = np.zeros(len(rows.session), np.bool_)
    if volume_is_known(rows.values["volume"]):
        dead[first:] = dead_rows(rows.session[first:], rows.values["volume"][first:])
    findings = report.about_listing(rows, first) + report.about_dead(rows, dead)
    cuts = [stop for start, stop in runs(dead) if start > first and stop < len(dead)]
    dead[:first] = True
    return np.flatnonzero(~dead), cuts, findings


def _real_stretches(
    rows: Rows, kept: NDArray[np.int64], prices: NDArray[np.float64], lock_move: float
) -> tuple[Flags, list[Finding]]:
    """Return which rows of ``kept`` are no part of a frozen or strayed stretch, and what is to be said."""
    volume, session = rows.values["volume"][kept], rows.session[kept]
    _, high, low, close = prices
    locked = locked_rows(session, high, low, close, volume, lock_move)
    frozen = frozen_rows(session, prices, volume, locked, rows.bar_minutes)
    tick_size = rows.instrument.tick_size
    strayed = strayed_stretches(rows.start_ns[kept], session, rows.bar_minutes, prices, volume, tick_size)
    stays = ~frozen
    for start, stop in strayed:
        stays[start:stop] = False
    return stays, report.about_stretches(rows, kept, frozen, strayed, volume_stretches(volume))


def _known_steps(rows: Rows, kept: NDArray[np.int64], cuts: list[int]) -> list[tuple[int, float]]:
    """Return (bar, ratio) of rolls and cuts, so that neither is a gap; a roll at a cut is part of it."""
    steps = {int(np.searchsorted(rows.session[kept], day)): ratio for day, ratio in rows.rolls}
    open_, close = rows.values["open"][kept], rows.values["close"][kept]
    joints = [int(np.searchsorted(kept, cut)) for cut in cuts]
    steps |= {bar: float(open_[bar] / close[bar - 1]) for bar in joints}
    return sorted((bar, ratio) for bar, ratio in steps.items() if 0 < bar < len(kept))
