"""Dated and instantaneous stress scenarios as data: moves of factors, when they came, and where the figures are from.

They stand in ``historical.yaml`` beside this file and are checked when read. Here a scenario is a list of moves; in
``scenarios.py`` it is a change of 5-minute bars. What an instrument does in one is the matter of ``mapping.py``.
"""

from __future__ import annotations

import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from grandmodel.core.config import Section
from grandmodel.core.errors import ConfigError

FILE = Path(__file__).with_name("historical.yaml")

Move = Literal[
    "equity_frac",
    "nasdaq_frac",
    "nikkei_frac",
    "rate_2y_bp",
    "rate_10y_bp",
    "rate_30y_bp",
    "oil_frac",
    "brent_frac",
    "gold_frac",
    "eurusd_frac",
    "usdjpy_frac",
    "dollar_frac",
    "high_yield_bp",
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=-1, allow_inf_nan=False)]


class Follows(Section):
    """Which listed move an instrument makes."""

    move: Move
    inverse: bool = Field(False, description="quoted the other way round: 1 / (1 + move) - 1")
    duration_years: float | None = Field(None, gt=0, lt=40, description="of a bond: price moves by minus this x yield")

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if self.move.endswith("_bp") != (self.duration_years is not None) or (self.inverse and self.duration_years):
            raise ValueError("a yield needs a duration, and nothing else may have one")
        return self

    def price_frac(self, value: float) -> float:
        """Return the price move as a fraction, given the listed move in its own unit."""
        if self.duration_years is not None:
            return -self.duration_years * value / 10_000.0
        return 1.0 / (1.0 + value) - 1.0 if self.inverse else value


class StressScenario(Section):
    """One shock: what moved, over how many sessions, and who says so."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str = Field(min_length=10)
    first_close: datetime.date | None = Field(None, description="close before the move; None: instantaneous")
    last_close: datetime.date | None = None
    steps: int = Field(1, ge=1, description="closes of the S&P 500 after the first one, up to the last one")
    stated_steps: dict[int, Fraction] = Field(
        {}, description="return of the S&P 500 in a step, from 1; others are even"
    )
    moves: dict[Move, Finite] = Field({}, description="whole moves; what is not listed is unknown")
    absolute: dict[str, Finite] = Field({}, description="change of price in points, for a symbol that may cross zero")
    all_prices_frac: Fraction | None = Field(None, description="move of every price")
    sources: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.first_close is None) != (self.last_close is None):
            raise ValueError("a dated scenario has both closes")
        if self.first_close and self.last_close and self.first_close >= self.last_close:
            raise ValueError("first_close must be before last_close")
        if self.first_close is None and self.steps != 1:
            raise ValueError("an instantaneous scenario has one step")
        if not self.moves and self.all_prices_frac is None:
            raise ValueError("something must move")
        if any(value <= -1 for name, value in self.moves.items() if name.endswith("_frac")):
            raise ValueError("a fraction must exceed -1; a price that crosses zero moves in points, under absolute")
        shares = step_shares(self.steps, self.stated_steps, self.moves.get("equity_frac"))
        if not np.isfinite(shares).all() or abs(shares.sum() - 1.0) > 0.02:
            raise ValueError("the stated steps must make up the move of equity_frac, to 2 % of it")
        return self

    @property
    def dated(self) -> bool:
        """Return whether this happened."""
        return self.first_close is not None

    def shares(self) -> NDArray[np.float64]:
        """Return float64[steps]: the part of every whole move that each step brings, summing to 1."""
        shares = step_shares(self.steps, self.stated_steps, self.moves.get("equity_frac"))
        # Stated returns are rounded; where all steps are stated, nothing else evens that out.
        return np.asarray(shares / shares.sum())


class Library(Section):
    """The content of ``historical.yaml``."""

    sources: dict[str, str]
    follows: dict[Literal["symbols", "classes"], dict[str, Follows]]
    scenarios: tuple[StressScenario, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [scenario.name for scenario in self.scenarios]
        if len(set(names)) < len(names):
            raise ValueError("every scenario needs a name of its own")
        unknown = {source for scenario in self.scenarios for source in scenario.sources} - set(self.sources)
        if unknown:
            raise ValueError(f"sources that are not listed: {sorted(unknown)}")
        return self


def load_library(path: Path = FILE) -> Library:
    """Read a library of scenarios. Raises ConfigError naming the key, the rule and the value."""
    try:
        return Library.model_validate(yaml.safe_load(path.read_text()))
    except (FileNotFoundError, yaml.YAMLError) as error:
        raise ConfigError(str(path), "the file must exist and be YAML", str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "(top level)"
        raise ConfigError(f"{path} key {key}", first["msg"], first.get("input"), "Correct the key") from error


@cache
def library() -> Library:
    """Return the library of the package, read once."""
    return load_library()


def step_shares(steps: int, stated: dict[int, float], total_frac: float | None) -> NDArray[np.float64]:
    """Return float64[steps]: the part of the whole move of a price that each step brings.

    Stated steps are returns on the price before them; the others move by equal amounts of the first price, chosen so
    that the whole comes out. The price before the first step is 1, after the last 1 + ``total_frac``. As the price
    is linear in the equal amount e, one pass keeps it as a + b e. NaN where no such path exists.
    """
    if not stated:
        return np.full(steps, 1.0 / steps)
    if not total_frac or min(stated) < 1 or max(stated) > steps:
        return np.full(steps, np.nan)
    price, slope = 1.0, 0.0
    for step in range(1, steps + 1):
        if step in stated:
            price, slope = price * (1.0 + stated[step]), slope * (1.0 + stated[step])
        else:
            slope += 1.0
    even = (1.0 + total_frac - price) / slope if slope else 0.0
    prices = [1.0]
    for step in range(1, steps + 1):
        prices.append(prices[-1] * (1.0 + stated[step]) if step in stated else prices[-1] + even)
    return np.diff(np.array(prices)) / total_frac
