"""Expectations of our own for Great Expectations: what makes a row a possible bar.

Great Expectations drops expectations it does not know and still reports success, so this module must be imported
before a checkpoint runs; ``validation.validate`` also counts what was evaluated.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
    multicolumn_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import (
    MulticolumnMapMetricProvider,
)

TICK_TOLERANCE = 1e-6  # of a tick
_DOMAIN = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")


def envelope_holds(bars: pd.DataFrame) -> pd.Series:
    """Return whether open and close lie between low and high; columns open, high, low, close in this order."""
    open_, high, low, close = (bars.iloc[:, index].to_numpy() for index in range(4))
    holds = (high >= np.maximum(open_, close)) & (low <= np.minimum(open_, close))
    return pd.Series(holds, index=bars.index)


def prices_on_ticks(bars: pd.DataFrame) -> pd.Series:
    """Return whether all prices are multiples of the last column, the tick size."""
    ticks = bars.iloc[:, :-1].to_numpy() / bars.iloc[:, -1:].to_numpy()
    return pd.Series((np.abs(ticks - np.rint(ticks)) < TICK_TOLERANCE).all(axis=1), index=bars.index)


def starts_increase(bars: pd.DataFrame) -> pd.Series:
    """Return whether each bar starts after the one before it of the same instrument; columns symbol, ts."""
    symbol, start = bars.iloc[:, 0].cat.codes.to_numpy(), bars.iloc[:, 1].astype("int64").to_numpy()
    wrong = (np.diff(start) <= 0) & (np.diff(symbol) == 0)
    return pd.Series(np.r_[[True] * min(1, len(bars)), ~wrong], index=bars.index)


def moves_within(bars: pd.DataFrame, move_max_5m: float, move_max_30m: float, move_max_1d: float) -> pd.Series:
    """Return whether each move (log return) is within the limit for its bar length; columns move, bar_minutes.

    A bar of up to 5 minutes takes the first limit, of up to 30 the second, a longer one the third.
    """
    move, minutes = np.abs(bars.iloc[:, 0].to_numpy()), bars.iloc[:, 1].to_numpy()
    limit = np.where(minutes <= 5, move_max_5m, np.where(minutes <= 30, move_max_30m, move_max_1d))
    return pd.Series(move <= limit, index=bars.index)


class BarEnvelope(MulticolumnMapMetricProvider):
    """Condition behind ``ExpectBarEnvelope``."""

    condition_metric_name = "multicolumn_values.bar_envelope"
    condition_domain_keys = _DOMAIN
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series:
        return envelope_holds(column_list)


class TickMultiples(MulticolumnMapMetricProvider):
    """Condition behind ``ExpectTickMultiples``."""

    condition_metric_name = "multicolumn_values.tick_multiples"
    condition_domain_keys = _DOMAIN
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series:
        return prices_on_ticks(column_list)


class BarStartsIncrease(MulticolumnMapMetricProvider):
    """Condition behind ``ExpectBarStartsToIncrease``."""

    condition_metric_name = "multicolumn_values.bar_starts_increase"
    condition_domain_keys = _DOMAIN
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series:
        return starts_increase(column_list)


class MovesWithin(MulticolumnMapMetricProvider):
    """Condition behind ``ExpectMovesWithin``."""

    condition_metric_name = "multicolumn_values.moves_within"
    condition_domain_keys = _DOMAIN
    condition_value_keys = ("move_max_5m", "move_max_30m", "move_max_1d")

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls, column_list: pd.DataFrame, move_max_5m: float, move_max_30m: float, move_max_1d: float, **_: Any
    ) -> pd.Series:
        return moves_within(column_list, move_max_5m, move_max_30m, move_max_1d)


class ExpectBarEnvelope(MulticolumnMapExpectation):
    """Expect open and close to lie between low and high."""

    map_metric: ClassVar[str] = "multicolumn_values.bar_envelope"
    args_keys: ClassVar[tuple[str, ...]] = ("column_list",)


class ExpectTickMultiples(MulticolumnMapExpectation):
    """Expect every price to be a whole number of ticks; the last column holds the tick size."""

    map_metric: ClassVar[str] = "multicolumn_values.tick_multiples"
    args_keys: ClassVar[tuple[str, ...]] = ("column_list",)


class ExpectBarStartsToIncrease(MulticolumnMapExpectation):
    """Expect each bar to start after the one before it of the same instrument."""

    map_metric: ClassVar[str] = "multicolumn_values.bar_starts_increase"
    args_keys: ClassVar[tuple[str, ...]] = ("column_list",)


class ExpectMovesWithin(MulticolumnMapExpectation):
    """Expect each bar to close near the one before, by the limit for its length; columns move, bar_minutes."""

    move_max_5m: float
    move_max_30m: float
    move_max_1d: float

    map_metric: ClassVar[str] = "multicolumn_values.moves_within"
    success_keys: ClassVar[tuple[str, ...]] = ("move_max_5m", "move_max_30m", "move_max_1d", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column_list", "move_max_5m", "move_max_30m", "move_max_1d")
