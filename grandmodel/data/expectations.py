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


def returns_plausible(bars: pd.DataFrame, log_return_max: float) -> pd.Series:
    """Return whether each close is within ``log_return_max`` of the one before it; columns symbol, close."""
    symbol, close = bars.iloc[:, 0].cat.codes.to_numpy(), bars.iloc[:, 1].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        far = np.abs(np.diff(np.log(close))) > log_return_max
    return pd.Series(np.r_[[True] * min(1, len(bars)), ~(far & (np.diff(symbol) == 0))], index=bars.index)


class BarEnvelope(MulticolumnMapMetricProvider):
    """Condition behind ``ExpectBarEnvelope``."""

    condition_metric_name = "multicolumn_values.bar_envelope"
    condition_domain_keys = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series:
        return envelope_holds(column_list)


class TickMultiples(MulticolumnMapMetricProvider):
    """Condition behind ``ExpectTickMultiples``."""

    condition_metric_name = "multicolumn_values.tick_multiples"
    condition_domain_keys = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series:
        return prices_on_ticks(column_list)


class BarStartsIncrease(MulticolumnMapMetricProvider):
    """Condition behind ``ExpectBarStartsToIncrease``."""

    condition_metric_name = "multicolumn_values.bar_starts_increase"
    condition_domain_keys = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series:
        return starts_increase(column_list)


class BarReturnsPlausible(MulticolumnMapMetricProvider):
    """Condition behind ``ExpectPlausibleBarReturns``."""

    condition_metric_name = "multicolumn_values.bar_returns_plausible"
    condition_domain_keys = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")
    condition_value_keys = ("log_return_max",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, log_return_max: float, **_: Any) -> pd.Series:
        return returns_plausible(column_list, log_return_max)


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


class ExpectPlausibleBarReturns(MulticolumnMapExpectation):
    """Expect each close to be near the one before it of the same instrument."""

    log_return_max: float = 0.1

    map_metric: ClassVar[str] = "multicolumn_values.bar_returns_plausible"
    success_keys: ClassVar[tuple[str, ...]] = ("log_return_max", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column_list", "log_return_max")
