"""What is traded: contract size, tick, costs and session of one instrument."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
