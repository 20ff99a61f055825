"""What is traded: contract size, tick, costs, session and calendar of one instrument."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

AssetClass = Literal["index_future", "commodity_future", "bond_future", "fx", "crypto", "equity"]


class Instrument(BaseModel):
    """One futures contract family. Money is in ``currency``; fractions are of notional value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    multiplier: float = Field(gt=0, description="money per point of price per contract")
    tick_size: float = Field(gt=0, description="smallest price step, in points")
    currency: str = "USD"
    commission_per_contract: float = Field(0.0, ge=0, description="money per contract and side")
    commission_frac: float = Field(0.0, ge=0, description="fraction of notional per side, where fees are so quoted")
    half_spread_ticks: float = Field(0.5, ge=0, description="ticks paid on each side by a market order")
    timezone: str = Field("UTC", description="IANA zone of the exchange")
    session_bars_5m: int = Field(gt=0, description="5-minute bars in a full trading day")
    calendar: str = Field(
        "",
        exclude_if=lambda name: not name,  # an instrument without one is written as it was before there were calendars
        description="market hours: globex, fx, 24/7, chinese or a code of exchange_calendars; found by symbol if empty",
    )
    asset_class: AssetClass | None = Field(
        None, exclude_if=lambda kind: kind is None, description="what kind it is; found by symbol if None"
    )
