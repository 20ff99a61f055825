"""What trading cost in a replay, held against what the instruments' terms say it must cost at least (gate G5).

What was paid is not read from the replay's own books: it is the growth that prices and positions give, less the equity
that was kept. So a cost that is stated and not taken is seen as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.instrument import Instrument
from grandmodel.gates.g5_costs import CostRow
from grandmodel.market.accounting import ORDER_LIMIT
from grandmodel.market.replay import Replay
from grandmodel.market.tape import MarketTape

Column = NDArray[np.float64]


def cost_rows(
    tape: MarketTape, runs: Sequence[Replay], instruments: Mapping[str, Instrument], bars: Mapping[str, Bars]
) -> tuple[CostRow, ...]:
    """Return per instrument what ``runs`` over ``tape``, without delay, traded and paid, summed over all of them.

    ``bars`` are those of the tape's clock and give the price that the terms are held against.
    """
    rows = []
    for symbol in tape.symbols:
        part, terms = tape.rows(symbol), instruments[symbol]
        spread, commission = stated_fracs(terms, bars[symbol], tape.start_ns[part])
        traded = paid = stated = 0.0
        for run in runs:
            notional = tape.leverage[part] * np.abs(np.diff(run.position[part], prepend=0.0))
            by_limit = np.append(False, run.order[part][:-1] == ORDER_LIMIT)
            traded += float(notional.sum())
            paid += float(paid_fracs(tape, run, symbol).sum())
            stated += float((notional * (commission + np.where(by_limit, 0.0, spread))).sum())
        rows.append(CostRow(symbol, terms.half_spread_ticks, _commission(terms), traded, paid, stated))
    return tuple(rows)


def stated_fracs(terms: Instrument, bars: Bars, start_ns: NDArray[np.int64]) -> tuple[Column, Column]:
    """Return half-spread and commission float64[n] at the opens of the bars that start at ``start_ns``, of notional."""
    at = np.searchsorted(bars.start_ns, start_ns)
    price = bars.open[at] / bars.price_factor[at]
    commission = terms.commission_frac + terms.commission_per_contract / (terms.multiplier * price)
    return terms.half_spread_ticks * terms.tick_size / price, commission


def paid_fracs(tape: MarketTape, run: Replay, symbol: str) -> Column:
    """Return what each bar took from equity besides the moves of the price, float64[n], a fraction of equity.

    The first bar of an instrument trades nothing and is 0.
    """
    part = tape.rows(symbol)
    after = run.position[part]
    before = np.append(0.0, after[:-1])
    by_limit = np.append(False, run.order[part][:-1] == ORDER_LIMIT)
    leverage, over_gap = tape.leverage[part], np.where(by_limit, after, before)
    growth = (1.0 + leverage * over_gap * tape.gap_frac[part]) * (1.0 + leverage * after * tape.body_frac[part])
    paid = growth - np.exp(run.log_return[part])
    paid[:1] = 0.0
    return np.asarray(paid, np.float64)


def joined(parts: Sequence[tuple[CostRow, ...]]) -> tuple[CostRow, ...]:
    """Return one row per instrument of several folds."""
    by_symbol: dict[str, CostRow] = {}
    for row in (row for rows in parts for row in rows):
        seen = by_symbol.get(row.symbol)
        if seen is None:
            by_symbol[row.symbol] = row
        else:
            by_symbol[row.symbol] = row._replace(
                traded=seen.traded + row.traded, paid=seen.paid + row.paid, stated=seen.stated + row.stated
            )
    return tuple(by_symbol[symbol] for symbol in sorted(by_symbol))


def _commission(terms: Instrument) -> float:
    return terms.commission_frac + terms.commission_per_contract
