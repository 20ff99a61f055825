"""The tape: all instruments of one clock laid end to end, with everything the simulated broker needs in each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.instrument import Instrument
from grandmodel.market.observation import TapeArrays
from grandmodel.market.processor import aligned
from grandmodel.market.team import INTENT_SIZE

TRADING_DAYS_PER_YEAR = 252
FLAT_INTENT = (0.0, 1.0, 0.0, 0.0, 0.0, 1.0)  # short, flat, long, size, confidence, age_frac
_ROW_FIELDS_FROM = 3  # the fields of MarketTape before it are not per row


@dataclass(frozen=True)
class MarketTape:
    """Rows of all instruments, one instrument after the other; row t of an instrument is one bar.

    Fractions of price are plain returns; costs are fractions of notional. The first row of an instrument has no gap.
    """

    symbols: tuple[str, ...]
    bar_minutes: int
    offsets: NDArray[np.int64]  # [I + 1] first row of each instrument
    start_ns: NDArray[np.int64]
    close_ns: NDArray[np.int64]
    session: NDArray[np.int32]
    features: NDArray[np.float32]  # [T, F], scaled, no NaN
    gap_frac: NDArray[np.float64]  # open / previous close - 1
    body_frac: NDArray[np.float64]  # close / open - 1
    high_frac: NDArray[np.float64]  # high / previous close - 1
    low_frac: NDArray[np.float64]  # low / previous close - 1
    half_spread_frac: NDArray[np.float64]
    commission_frac: NDArray[np.float64]
    impact_frac: NDArray[np.float64]  # of a position change of 1, times |change|**0.5
    leverage: NDArray[np.float64]  # notional over equity at position 1
    reward_scale: NDArray[np.float64]  # 1 / volatility target of one bar
    session_left: NDArray[np.float32]  # share of the session still to come after this bar
    tradable: NDArray[np.bool_]
    rolled: NDArray[np.bool_]  # first bar of a new contract: a position carried into it is traded twice
    intent: NDArray[np.float32]  # [T, 6] short, flat, long, size, confidence, age_frac

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)[_ROW_FIELDS_FROM:]}
        if set(lengths.values()) != {int(self.offsets[-1])} or len(self.offsets) != len(self.symbols) + 1:
            raise DataError("market tape", "all columns must reach exactly to the last offset", lengths)

    def __len__(self) -> int:
        return len(self.start_ns)

    @cached_property
    def arrays(self) -> TapeArrays:
        """Return all but the features as packed arrays for compiled code (market columns as in accounting.py)."""
        columns = (
            self.gap_frac,
            self.body_frac,
            self.high_frac,
            self.low_frac,
            self.half_spread_frac,
            self.commission_frac,
            self.impact_frac,
            self.leverage,
            self.reward_scale,
            self.tradable.astype(np.float64),
            self.rolled.astype(np.float64),
            self.session_left.astype(np.float64),
        )
        return TapeArrays(
            market=aligned(np.stack(columns, axis=1)),
            intent=np.array(self.intent, np.float32, order="C"),
        )

    def rows(self, symbol: str) -> slice:
        """Return the rows of one instrument. Raises DataError when the tape does not hold it."""
        if symbol not in self.symbols:
            raise DataError(f"instrument {symbol}", "must be on the tape", self.symbols)
        index = self.symbols.index(symbol)
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def window(self, start_ns: int, stop_ns: int) -> MarketTape:
        """Return the rows that start in [start_ns, stop_ns), for every instrument that has any.

        Lags do not look behind the cut. Raises DataError when no row is left.
        """
        keep = (self.start_ns >= start_ns) & (self.start_ns < stop_ns)
        kept = [int(keep[self.rows(symbol)].sum()) for symbol in self.symbols]
        if not any(kept):
            raise DataError("market tape", "a window must hold at least one row", (start_ns, stop_ns))
        return replace(
            self,
            symbols=tuple(symbol for symbol, count in zip(self.symbols, kept, strict=True) if count),
            offsets=np.cumsum([0, *(count for count in kept if count)], dtype=np.int64),
            **{f.name: getattr(self, f.name)[keep] for f in fields(self)[_ROW_FIELDS_FROM:]},
        )

    def windows(self, spans_ns: Sequence[tuple[int, int]]) -> MarketTape:
        """Return the windows of several spans laid end to end; of one span, its window.

        Of several, the rows of instrument ES in span k stand under the name ES#k, as an instrument of their own: no
        episode and no replay crosses the hole between two spans.
        """
        if len(spans_ns) == 1:
            return self.window(*spans_ns[0])
        parts = [self.window(*span) for span in spans_ns]
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        names = [f.name for f in fields(self)[_ROW_FIELDS_FROM:]]
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return replace(
            self,
            symbols=tuple(f"{symbol}#{k}" for k, part in enumerate(parts) for symbol in part.symbols),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            **columns,
        )

    def only(self, symbol: str) -> MarketTape:
        """Return the tape of one instrument. Raises DataError when the tape does not hold it."""
        part = self.rows(symbol)
        return replace(
            self,
            symbols=(symbol,),
            offsets=np.array([0, part.stop - part.start], np.int64),
            **{f.name: getattr(self, f.name)[part] for f in fields(self)[_ROW_FIELDS_FROM:]},
        )

    def with_cost_multiple(self, multiple: float) -> MarketTape:
        """Return the tape with spread, commission and impact multiplied. Raises ConfigError when negative."""
        if not multiple >= 0:
            raise ConfigError("cost multiple", "must be 0 or more", multiple)
        return replace(
            self,
            half_spread_frac=self.half_spread_frac * multiple,
            commission_frac=self.commission_frac * multiple,
            impact_frac=self.impact_frac * multiple,
        )

    def with_intents(self, intents: Mapping[str, NDArray[np.float32]]) -> MarketTape:
        """Return the tape with each instrument's intent rows [t, 6] replaced. Raises DataError on a wrong shape."""
        parts = []
        for symbol in self.symbols:
            part = self.rows(symbol)
            parts.append(_checked_intent(symbol, intents.get(symbol), part.stop - part.start))
        return replace(self, intent=np.concatenate(parts))


def bars_per_year(instrument: Instrument, bar_minutes: int) -> float:
    """Return how many bars of ``bar_minutes`` a year of full sessions holds."""
    return float(TRADING_DAYS_PER_YEAR * session_bars(instrument, bar_minutes))


def session_bars(instrument: Instrument, bar_minutes: int) -> int:
    """Return how many bars of ``bar_minutes`` a full session holds; the last may be shorter."""
    return math.ceil(instrument.session_bars_5m * 5 / bar_minutes)


def bar_volatility(stretches: Sequence[Bars]) -> float:
    """Return the root mean square log return of one bar, over stretches of bars of one instrument.

    Raises DataError when the bars never moved or are fewer than two.
    """
    returns = np.concatenate([np.diff(np.log(bars.close)) for bars in stretches])
    volatility = float(np.sqrt(np.mean(returns**2))) if len(returns) else 0.0
    if not volatility > 0.0:
        found = f"{sum(map(len, stretches))} bars"
        raise DataError(stretches[0].symbol, "needs bars that moved before its volatility can be known", found)
    return volatility


def leverage_of(bars: Bars, stop: int, bars_per_year: float, params: MarketParams) -> float:
    """Return notional over equity that gives position 1 the target volatility, from bars [0, stop) alone."""
    return leverage_over([bars.rows(0, stop)], bars_per_year, params)


def leverage_over(stretches: Sequence[Bars], bars_per_year: float, params: MarketParams) -> float:
    """Return notional over equity that gives position 1 the target volatility, from ``stretches`` alone."""
    annual_frac = bar_volatility(stretches) * math.sqrt(bars_per_year)
    return min(params.volatility_target_annual_frac / annual_frac, params.leverage_max)


def build_tape(
    bars: Mapping[str, Bars],
    features: Mapping[str, NDArray[np.float32]],
    instruments: Mapping[str, Instrument],
    params: MarketParams,
    leverage: Mapping[str, float],
    intents: Mapping[str, NDArray[np.float32]] | None = None,
) -> MarketTape:
    """Lay the instruments of ``bars`` end to end, in sorted order of symbol.

    Args:
        bars: per symbol, all on one clock.
        features: per symbol, scaled [T, F] without NaN.
        instruments: per symbol, costs and session.
        params: equity per instrument, volatility target, impact coefficient.
        leverage: per symbol, from ``leverage_of`` on the training span.
        intents: per symbol [T, 6]; where missing, the flat intent stands in every row.

    Raises:
        DataError: bars on several clocks, features of a wrong length, or NaN in them.
    """
    symbols = tuple(sorted(bars))
    clocks = {bars[symbol].bar_minutes for symbol in symbols}
    if len(clocks) != 1:
        raise DataError("market tape", "all bars must be on one clock", sorted(clocks))
    parts = []
    for symbol in symbols:
        _check_features(bars[symbol], features[symbol])
        intent = _checked_intent(symbol, None if intents is None else intents.get(symbol), len(bars[symbol]))
        columns = _instrument_columns(bars[symbol], instruments[symbol], params, leverage[symbol])
        parts.append(columns | {"features": np.asarray(features[symbol], np.float32), "intent": intent})
    return MarketTape(
        symbols=symbols,
        bar_minutes=clocks.pop(),
        offsets=np.cumsum([0, *(len(bars[symbol]) for symbol in symbols)], dtype=np.int64),
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    )


def _instrument_columns(
    bars: Bars, instrument: Instrument, params: MarketParams, leverage: float
) -> dict[str, NDArray[np.generic]]:
    previous_close = np.concatenate([bars.open[:1], bars.close[:-1]])
    raw_open = bars.open / bars.price_factor
    yearly_bars = bars_per_year(instrument, bars.bar_minutes)
    bar_volatility_target = params.volatility_target_annual_frac / math.sqrt(yearly_bars)
    return {
        "start_ns": bars.start_ns,
        "close_ns": bars.close_ns,
        "session": bars.session,
        "gap_frac": bars.open / previous_close - 1.0,
        "body_frac": bars.close / bars.open - 1.0,
        "high_frac": bars.high / previous_close - 1.0,
        "low_frac": bars.low / previous_close - 1.0,
        "half_spread_frac": instrument.half_spread_ticks * instrument.tick_size / raw_open,
        "commission_frac": instrument.commission_frac
        + instrument.commission_per_contract / (instrument.multiplier * raw_open),
        "impact_frac": _impact_frac(bars, instrument, params, leverage),
        "leverage": np.full(len(bars), leverage, np.float64),
        "reward_scale": np.full(len(bars), 1.0 / bar_volatility_target, np.float64),
        "session_left": _session_left(bars.session, session_bars(instrument, bars.bar_minutes)),
        "tradable": bars.tradable & (bars.volume > 0.0),
        "rolled": np.diff(bars.price_factor, prepend=bars.price_factor[:1]) != 0.0,
    }


def _impact_frac(bars: Bars, instrument: Instrument, params: MarketParams, leverage: float) -> NDArray[np.float64]:
    """Return the square-root impact of a position change of 1 (Almgren et al. 2005; Toth et al. 2011).

    coefficient x sigma x sqrt(q / V): sigma and V are those of one bar, averaged over the session's length of bars
    before the fill, so nothing of the bar itself is used but its price.
    """
    window = session_bars(instrument, bars.bar_minutes)
    returns = np.diff(np.log(bars.close), prepend=np.log(bars.open[:1]))
    sigma = np.sqrt(_mean_before(returns**2, window))
    volume = np.maximum(_mean_before(bars.volume, window), 1.0)
    contracts = leverage * params.equity / (instrument.multiplier * bars.open / bars.price_factor)
    return np.asarray(params.impact_coefficient * sigma * np.sqrt(contracts / volume), np.float64)


def _mean_before(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return at t the mean of up to ``window`` values before t; at 0 the first value itself."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    stop = np.arange(len(values))
    start = np.maximum(stop - window, 0)
    mean = (total[stop] - total[start]) / np.maximum(stop - start, 1)
    mean[:1] = values[:1]
    return np.asarray(np.maximum(mean, 0.0), np.float64)


def _session_left(session: NDArray[np.int32], bars_in_session: int) -> NDArray[np.float32]:
    """Return the share of a full session still to come after each bar, from what is known at its close."""
    starts = np.flatnonzero(np.diff(session, prepend=session[:1] - 1))
    position = np.arange(len(session)) - np.repeat(starts, np.diff(starts, append=len(session)))
    return np.maximum(1.0 - (position + 1) / bars_in_session, 0.0).astype(np.float32)


def _check_features(bars: Bars, features: NDArray[np.float32]) -> None:
    if features.ndim != 2 or len(features) != len(bars):
        raise DataError(bars.symbol, f"features must have {len(bars)} rows", features.shape)
    if not bool(np.isfinite(features).all()):
        row = int(np.argmin(np.isfinite(features).all(axis=1)))
        raise DataError(bars.symbol, "features must be finite", f"row {row}", "Scale them with FittedScaler first")


def _checked_intent(symbol: str, intent: NDArray[np.float32] | None, length: int) -> NDArray[np.float32]:
    if intent is None:
        return np.tile(np.array(FLAT_INTENT, np.float32), (length, 1))
    if intent.shape != (length, INTENT_SIZE) or not bool(np.isfinite(intent).all()):
        raise DataError(symbol, f"intent must be finite with shape ({length}, {INTENT_SIZE})", intent.shape)
    return np.asarray(intent, np.float32)
