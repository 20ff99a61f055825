"""Raw rows to bars: dead stretches are cut out, rolls and cuts become no return, both clocks are made."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.errors import DataError
from grandmodel.data.dataset import PRICE_COLUMNS, VALUE_COLUMNS, Dataset, Finding, RawDataset, Roll
from grandmodel.data.quality import DEAD_VOLUME_FRAC, date_text, dead_rows, describe_sessions
from grandmodel.data.resample import resample_to_30
from grandmodel.data.rolls import QUARTERLY_SYMBOLS, detect_quarterly_rolls, price_factors

_DO = "Correct or remove the row; validation lists all such rows"


def to_bars(raw: RawDataset) -> Dataset:
    """Return the bars of ``raw`` on both clocks; 30-minute sources have no tactical clock, and the report says so.

    Raises:
        DataError: a row is not a possible bar (validation would have named it), or nothing is left after masking.
    """
    bars: dict[str, Bars] = {}
    findings = list(raw.report)
    for symbol, rows in raw.frame.groupby("symbol", sort=False, observed=True):
        bars[str(symbol)], found = _adjusted(raw, str(symbol), rows)
        findings += found
    if raw.bar_minutes == 5:
        tactical, strategic = bars, {symbol: resample_to_30(item)[0] for symbol, item in bars.items()}
    else:
        tactical, strategic = {}, bars
        text = "30-minute bars only: there is no tactical clock, a strategic-only release can be made"
        findings.append(Finding("warning", raw.name, text))
    return Dataset(
        raw.name,
        raw.simulated,
        raw.licence,
        raw.source,
        raw.raw_hash,
        tactical,
        strategic,
        raw.instruments,
        tuple(findings),
    )


def _adjusted(raw: RawDataset, symbol: str, rows: pd.DataFrame) -> tuple[Bars, list[Finding]]:
    values = {name: rows[name].to_numpy(np.float64) for name in VALUE_COLUMNS}
    start_ns = pd.DatetimeIndex(rows["ts"]).as_unit("ns").asi8
    session = rows["session"].to_numpy(np.int32)
    _refuse_impossible(rows, values, start_ns, session)
    dead = dead_rows(session, values["volume"])
    findings, joints = _describe_cuts(symbol, dead, session)
    values = {name: column[~dead] for name, column in values.items()}
    start_ns, session = start_ns[~dead], session[~dead]
    if len(session) < 2:
        raise DataError(f"{rows['file'].iloc[0]}", "bars must remain after masking", 0, "Use another file")
    rolls, found = _rolls(raw, symbol, session, values, joints)
    findings += found + describe_sessions(raw.instruments[symbol], raw.bar_minutes, session, values["volume"])
    factor = price_factors(len(session), _steps(rolls, joints, session, values))
    prices = {name: values[name] * factor for name in PRICE_COLUMNS}
    close_ns = start_ns + raw.bar_minutes * NS_PER_MINUTE
    volume = values["volume"]
    bars = Bars(
        symbol,
        raw.bar_minutes,
        start_ns,
        close_ns,
        **prices,
        volume=volume,
        session=session,
        price_factor=factor,
        tradable=volume > 0,
    )
    return bars, findings


def _refuse_impossible(
    rows: pd.DataFrame,
    values: dict[str, NDArray[np.float64]],
    start_ns: NDArray[np.int64],
    session: NDArray[np.int32],
) -> None:
    prices = np.stack([values[name] for name in PRICE_COLUMNS])
    open_, high, low, close = prices
    rules = {
        "prices must be positive numbers": ~(np.isfinite(prices) & (prices > 0)).all(axis=0),
        "volume must be a number of at least 0": ~(np.isfinite(values["volume"]) & (values["volume"] >= 0)),
        "high must be at least open and close": high < np.maximum(open_, close),
        "low must be at most open and close": low > np.minimum(open_, close),
        "bar starts must strictly increase": np.r_[False, np.diff(start_ns) <= 0],
        "the trading day must not run backwards": np.r_[False, np.diff(session) < 0],
    }
    for rule, wrong in rules.items():
        if wrong.any():
            row = rows.iloc[int(np.argmax(wrong))]
            found = {"ts": str(row["ts"]), **{name: float(row[name]) for name in VALUE_COLUMNS}}
            raise DataError(f"{row['file']} row {row['row']}", rule, found, _DO)


def _describe_cuts(symbol: str, dead: NDArray[np.bool_], session: NDArray[np.int32]) -> tuple[list[Finding], list[int]]:
    """Return a finding per dead stretch, and the rows (counted after cutting) that follow one."""
    edges = np.flatnonzero(np.diff(np.r_[False, dead, False].astype(np.int8)))
    kept_before = np.cumsum(~dead)
    findings, joints = [], []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        text = (
            f"{stop - start} bars of the sessions {date_text(session[start])} to {date_text(session[stop - 1])} trade "
            f"under {DEAD_VOLUME_FRAC:.0%} of the usual volume, evidently not the traded contract: they are cut out "
            "and the edges joined like a roll"
        )
        findings.append(Finding("warning", symbol, text))
        joints += [int(kept_before[start - 1])] if start > 0 and stop < len(dead) else []
    return findings, joints


def _rolls(
    raw: RawDataset,
    symbol: str,
    session: NDArray[np.int32],
    values: dict[str, NDArray[np.float64]],
    joints: list[int],
) -> tuple[list[Roll], list[Finding]]:
    """Return the rolls inside the data and what the report says of them."""
    first, last = int(session[0]), int(session[-1])
    if not raw.detect_rolls:
        rolls = [roll for roll in raw.rolls if roll.symbol == symbol and first < roll.session <= last]
        text = f"{len(rolls)} rolls of the table are adjusted by ratio"
        return rolls, [Finding("info", symbol, text)] if raw.rolls else []
    if symbol not in QUARTERLY_SYMBOLS:
        text = "no table of rolls and no calendar to detect them: prices are taken as they are"
        return [], [Finding("warning", symbol, text)]
    found, unclear = detect_quarterly_rolls(symbol, session, values["open"], values["close"])
    joint_days = {int(session[joint]) for joint in joints}
    rolls = [roll for roll in found if roll.session not in joint_days]
    texts = [
        f"{len(rolls)} rolls are detected (calendar and opening gap agree) and adjusted by ratio"
        + "".join(f", {date_text(roll.session)} {roll.ratio - 1:+.2%}" for roll in rolls)
    ]
    if unclear:
        days = ", ".join(map(date_text, unclear))
        texts.append(f"on {len(unclear)} expected roll days no gap stands out, prices are left as they are: {days}")
    return rolls, [Finding("info", symbol, text) for text in texts]


def _steps(
    rolls: list[Roll], joints: list[int], session: NDArray[np.int32], values: dict[str, NDArray[np.float64]]
) -> list[tuple[int, float]]:
    """Return (row, ratio) of rolls and joints; a roll that falls on or into a joint is already part of it."""
    steps = {int(np.searchsorted(session, roll.session)): roll.ratio for roll in rolls}
    steps |= {joint: float(values["open"][joint] / values["close"][joint - 1]) for joint in joints}
    return sorted(steps.items())
