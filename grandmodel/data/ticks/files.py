"""Tick files: columns by name, the zone of naive stamps by evidence or as told, and the short way to bars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.errors import DataError
from grandmodel.data.reading.timezones import CANDIDATE_ZONES, localise
from grandmodel.data.ticks.bars import TickBars
from grandmodel.data.ticks.stream import TickRules, TickStream, whole_lots

Integers = NDArray[np.int64]

COLUMNS: Final = {
    "ts": ("ts", "timestamp", "datetime", "time"),
    "price": ("price", "last", "last_price"),
    "volume": ("volume", "size", "qty"),
}

_NS_PER_DAY: Final = 24 * 60 * NS_PER_MINUTE
_OUTSIDE_FRAC_MAX: Final = 0.002
_GAP_NS: Final = 30 * NS_PER_MINUTE
_OPENING_NS: Final = 2_000_000_000


class TradingHours(NamedTuple):
    """When an exchange trades, on its own clock: spans of minutes of the day; one may cross midnight."""

    zone: str
    spans: tuple[tuple[int, int], ...]


GLOBEX_HOURS: Final = TradingHours("America/Chicago", ((17 * 60, 16 * 60),))
CFFEX_HOURS: Final = TradingHours("Asia/Shanghai", ((9 * 60 + 25, 11 * 60 + 31), (13 * 60, 15 * 60 + 1)))


@dataclass(frozen=True, slots=True)
class Ticks:
    """Ticks of one file as they stand there, in the order of the file, which is the order of trade."""

    file: str
    stamps_ns: Integers  # UTC
    price: NDArray[np.float64]
    volume: NDArray[np.float64]
    zone: str
    evidence: str  # why the stamps are read in that zone

    def __len__(self) -> int:
        return len(self.stamps_ns)


def read_ticks(path: Path | str, *, timezone: str | None = None, hours: TradingHours | None = None) -> Ticks:
    """Read ticks from Parquet; nothing is sorted, dropped or corrected.

    Args:
        path: a file with columns ts, price, volume (or a synonym in COLUMNS); others are left alone.
        timezone: IANA zone of naive stamps; must not contradict ``hours``, where both are given.
        hours: when the exchange trades. With it the zone is found as the one in which the file keeps these hours and
            trading resumes at an opening after each gap; the ticks of a few days often fit several zones.

    Raises:
        DataError: the file or a column cannot be read, the zone is neither given nor evident, or the ticks contradict
            the zone given.
    """
    path = Path(path)
    table = _read_columns(path)
    stamps = table["ts"]
    if not pd.api.types.is_datetime64_any_dtype(stamps.dtype):
        raise DataError(f"{path.name} column ts", "must be typed stamps", str(stamps.dtype), "Write it as a timestamp")
    if stamps.isna().any():
        row = int(np.argmax(stamps.isna().to_numpy())) + 1
        raise DataError(f"{path.name} row {row}", "the stamp must not be empty", do="Correct or remove the row")
    price, volume = (_numbers(table[name], name, path.name) for name in ("price", "volume"))
    if getattr(stamps.dtype, "tz", None) is not None:
        utc = stamps.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[ns]").astype(np.int64)
        return Ticks(path.name, utc, price, volume, "UTC", "stamps carry their zone")
    local = stamps.to_numpy().astype("datetime64[ns]").astype(np.int64)
    if timezone is not None:
        zone, evidence = timezone, f"stamps are read in {timezone} as told"
        if hours is not None and len(local):
            refuse_contradicted_zone(local, timezone, hours, path.name)
    else:
        zone, evidence = infer_tick_zone(local, hours, path.name)
    utc = localise(local, zone, np.arange(1, len(local) + 1), path.name)
    return Ticks(path.name, utc, price, volume, zone, evidence)


def infer_tick_zone(local_ns: Integers, hours: TradingHours | None, file: str) -> tuple[str, str]:
    """Return the zone of naive stamps and the sentence that says why.

    Of the zones in which at most 0.2 % of the ticks fall outside ``hours`` it is the one in which trading resumes
    within two seconds of an opening after most gaps of half an hour; zones with the same clock count as one.

    Raises:
        DataError: hours are not known, no zone keeps them, or two do equally well.
    """
    do = 'Give timezone="America/Chicago" or whichever it is'
    if hours is None or len(local_ns) == 0:
        raise DataError(file, "naive stamps need a zone, or trading hours to find it by", do=do)
    scores = _zone_scores(local_ns, hours, (hours.zone, *CANDIDATE_ZONES))
    ranked = sorted(scores, key=lambda zone: scores[zone], reverse=True)
    found = {zone: {"openings": scores[zone][0], "outside": -scores[zone][1]} for zone in ranked[:4]}
    tied = len(ranked) > 1 and scores[ranked[0]][0] == scores[ranked[1]][0]
    if not ranked or tied or scores[ranked[0]][0] == 0:
        raise DataError(file, "the time zone must be evident from trading hours and openings", found, do)
    best = found[ranked[0]]
    text = f"stamps are read in {ranked[0]}: {best['outside']} of {len(local_ns)} ticks fall outside trading hours"
    text += f", trading resumes at an opening {best['openings']} times"
    rest = f", at most {scores[ranked[1]][0]} times in {ranked[1]}" if len(ranked) > 1 else ", no other zone keeps them"
    return ranked[0], text + rest


def refuse_contradicted_zone(local_ns: Integers, zone: str, hours: TradingHours, file: str) -> None:
    """Raise DataError, with the scores of both, when the ticks tell another zone than ``zone``.

    They do when ``zone`` does not keep the hours, or in another zone trading resumes at an opening more often.
    """
    scores = _zone_scores(local_ns, hours, (zone, hours.zone, *CANDIDATE_ZONES))
    best = max(scores, key=lambda name: scores[name], default=None)
    if zone in scores and scores[zone][0] == max(openings for openings, _ in scores.values()):
        return
    told = _zone_scores(local_ns, hours, (zone,), outside_frac_max=1.0)
    found = {
        name: {"openings": openings, "outside": -inside}
        for name, (openings, inside) in (told | ({} if best is None else {best: scores[best]})).items()
    }
    rule = f"the ticks must not contradict timezone={zone!r}: it must keep the trading hours and meet most openings"
    raise DataError(file, rule, found, "Correct the timezone, or leave hours out to read the stamps as told")


def _zone_scores(
    local_ns: Integers, hours: TradingHours, zones: Iterable[str], outside_frac_max: float = _OUTSIDE_FRAC_MAX
) -> dict[str, tuple[int, int]]:
    """Return (openings met, less ticks outside) of each zone that keeps the hours, the first of each clock alone."""
    scores: dict[str, tuple[int, int]] = {}
    clocks: dict[bytes, str] = {}
    for zone in dict.fromkeys(zones):
        clock = _exchange_clock(local_ns, zone, hours.zone)
        if clock is None or clocks.setdefault(clock.tobytes(), zone) != zone:
            continue
        outside = int((~_within(clock, hours)).sum())
        if outside <= outside_frac_max * len(local_ns):
            scores[zone] = (_openings(clock, hours), -outside)
    return scores


def tick_bars(ticks: Ticks, rules: TickRules, spans: Integers | None = None) -> tuple[TickBars, dict[str, int]]:
    """Return bars with the features of their ticks, and how many ticks were rejected by reason.

    The last stamp of the file is its clock: a bar that ended by then is complete, the one it falls into is not.
    """
    stream = TickStream(rules, spans)
    stream.update(ticks.stamps_ns, ticks.price, whole_lots(ticks.volume, rules.lot_size))
    if len(ticks):
        stream.advance(int(ticks.stamps_ns[-1]))
    stream.flush()
    return stream.take(), dict(stream.rejected)


def ticks_to_bars(
    ticks: Ticks, rules: TickRules, spans: Integers | None = None, *, rejected_frac_max: float = 0.01
) -> Bars:
    """Return bars alone, refusing a file of which more than ``rejected_frac_max`` of the ticks break a rule.

    Raises:
        DataError: too many ticks are rejected, or no bar remains; says how many for which reason.
    """
    bars, rejected = tick_bars(ticks, rules, spans)
    broken = sum(rejected.values()) - (rejected["no_trade"] if rules.snapshots else 0)
    if broken > rejected_frac_max * len(ticks) or len(bars) == 0:
        found = {reason: count for reason, count in rejected.items() if count} | {"ticks": len(ticks)}
        rule = f"at most {rejected_frac_max:.1%} of the ticks may break the rules of {rules.symbol}"
        raise DataError(ticks.file, rule, found, "Check tick size, zone and trading spans")
    return bars.to_bars(ticks.zone)


def _read_columns(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(str(path), "the file must exist", do="Check the path given as ticks")
    if path.suffix == ".csv":
        raise DataError(path.name, "ticks as CSV have a reader of their own", do="Use csv_tick_bars or csv_blocks")
    try:
        headers = {str(name).strip().lower(): str(name) for name in pq.read_schema(path).names}
        chosen = {}
        for name, synonyms in COLUMNS.items():
            match = next((headers[synonym] for synonym in synonyms if synonym in headers), None)
            if match is None:
                raise DataError(path.name, f"must have a column {name!r}", list(headers), f"Name it {name!r}")
            chosen[match] = name
        table: pd.DataFrame = pq.read_table(path, columns=list(chosen)).to_pandas().rename(columns=chosen)
    except (pa.ArrowException, OSError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise DataError(path.name, "the file must be readable as Parquet", found, "Export it again") from error
    return table


def _numbers(cells: pd.Series, name: str, file: str) -> NDArray[np.float64]:
    if not pd.api.types.is_numeric_dtype(cells.dtype):
        raise DataError(f"{file} column {name}", "must be numbers", str(cells.dtype), "Write it as a number")
    return np.ascontiguousarray(cells.to_numpy(dtype=np.float64, na_value=np.nan))


def _exchange_clock(local_ns: Integers, zone: str, exchange_zone: str) -> Integers | None:
    """Return naive nanoseconds on the exchange's clock; None when ``zone`` lacks one of the stamps."""
    local = pd.DatetimeIndex(local_ns.astype("datetime64[ns]"))
    utc = local.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    if utc.isna().any():
        return None
    return np.asarray(utc.tz_convert(exchange_zone).tz_localize(None).as_unit("ns").asi8)


def _within(clock_ns: Integers, hours: TradingHours) -> NDArray[np.bool_]:
    """Return which stamps lie in trading hours; a span over midnight belongs to the day on which it ends."""
    minute = clock_ns % _NS_PER_DAY // NS_PER_MINUTE
    weekday = (clock_ns // _NS_PER_DAY + 3) % 7  # day 0 was a Thursday; Monday is 0
    inside = np.zeros(len(clock_ns), np.bool_)
    for start, stop in hours.spans:
        if start < stop:
            inside |= (minute >= start) & (minute < stop) & (weekday < 5)
        else:
            inside |= (minute >= start) & ((weekday + 1) % 7 < 5)
            inside |= (minute < stop) & (weekday < 5)
    return inside


def _openings(clock_ns: Integers, hours: TradingHours) -> int:
    """Return after how many gaps, the time before the file among them, the first tick stands at an opening."""
    resumed = np.r_[clock_ns[0], clock_ns[1:][np.diff(clock_ns) >= _GAP_NS]] % _NS_PER_DAY
    starts = np.array([start for start, _ in hours.spans], np.int64) * NS_PER_MINUTE
    late = resumed[:, None] - starts[None, :]
    return int(((late >= 0) & (late < _OPENING_NS)).any(axis=1).sum())
