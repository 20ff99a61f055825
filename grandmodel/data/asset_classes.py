"""What is possible for a kind of instrument: the limits by which quality masks and validation suites judge it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from grandmodel.core.instrument import AssetClass, Instrument

MINUTES_PER_DAY = 1440


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """Limits of one class; moves are absolute log returns, fractions are of all rows.

    ``usual_*`` moves are rare but real and only reported; above ``impossible_*`` no bar has ever closed against the
    one before without a change of contract, unit or listing.
    """

    usual_move_5m: float
    usual_move_30m: float
    usual_move_1d: float
    impossible_move: float
    limit_lock_move: float  # a flat bar further than this from the last close is limit-locked; 0 where no limits exist
    zero_volume_frac_max: float
    on_tick_frac_min: float  # below 1 where trades off the grid are reported too, as within the cent for shares


# The usual moves are about those that the largest of two million real bars reach. Chinese index futures lock at 10 %
# and American ones halt at 20 %; commodity limits are 4 to 15 % a day; the ten-year bond future locks at 2 %; EURCHF
# fell 30 % within minutes in January 2015; AIG lost 61 % in a day of September 2008.
LIMITS: dict[AssetClass, ClassLimits] = {
    "index_future": ClassLimits(0.03, 0.05, 0.10, 0.30, 0.045, 0.01, 1.0),
    "commodity_future": ClassLimits(0.05, 0.08, 0.12, 0.40, 0.03, 0.02, 1.0),
    "bond_future": ClassLimits(0.01, 0.015, 0.03, 0.15, 0.01, 0.05, 1.0),
    "fx": ClassLimits(0.01, 0.02, 0.05, 0.35, 0.0, 0.05, 0.98),
    "crypto": ClassLimits(0.05, 0.10, 0.25, 0.70, 0.0, 0.05, 0.98),
    "equity": ClassLimits(0.05, 0.10, 0.25, 1.30, 0.0, 0.02, 0.98),
}

_INDEX = {"NQ", "ES", "YM", "RTY", "MNQ", "MES", "MYM", "M2K", "FESX", "FDAX", "NKD"}
_BOND = {"ZN", "ZB", "ZF", "ZT", "UB", "TN", "FGBL"}
_CHINESE_BOND = {"T", "TF", "TS", "TL"}  # the other symbols of CFFEX are index futures
_FX_FUTURE = {"6E", "6J", "6B", "6A", "6C", "6S", "6N", "6M"}
_CURRENCIES = "USD|EUR|JPY|GBP|CHF|AUD|NZD|CAD|CNH|CNY|SEK|NOK|MXN|ZAR|TRY|SGD|HKD"
_FX_PAIR = re.compile(rf"({_CURRENCIES})[/._-]?({_CURRENCIES})")
_CRYPTO = re.compile(r"(BTC|XBT|ETH|SOL|XRP|LTC|DOGE|ADA|BNB)\b|(BTC|XBT|ETH|SOL|XRP|LTC|DOGE|ADA|BNB)-?(USD|PERP|EUR)")
_MONTH_CODE = re.compile(r"[FGHJKMNQUVXZ]\d{1,2}$")
_EQUITIES = {"SPY", "QQQ", "IWM", "EEM", "USO", "DIA", "GLD", "TLT"}


def asset_class(instrument: Instrument, bar_minutes: int) -> AssetClass:
    """Return the class an instrument states, else the one its symbol or its bars speak for.

    Daily bars of an unknown symbol are taken for a share, any other unknown symbol for a commodity future, whose limits
    are the widest of the traded futures.
    """
    if instrument.asset_class is not None:
        return instrument.asset_class
    symbol = instrument.symbol.upper()
    exchange, _, root = symbol.rpartition(".")
    if exchange:
        in_index = exchange == "CFFEX" and root not in _CHINESE_BOND
        return "index_future" if in_index else "bond_future" if exchange == "CFFEX" else "commodity_future"
    root = root if root in _FX_FUTURE else _MONTH_CODE.sub("", root) or root
    if root in _INDEX:
        return "index_future"
    if root in _BOND:
        return "bond_future"
    if root in _FX_FUTURE or _FX_PAIR.fullmatch(symbol):
        return "fx"
    if _CRYPTO.match(symbol):
        return "crypto"
    return "equity" if root in _EQUITIES or bar_minutes >= MINUTES_PER_DAY else "commodity_future"


def class_limits(instrument: Instrument, bar_minutes: int) -> ClassLimits:
    """Return the limits of the class of ``instrument``."""
    return LIMITS[asset_class(instrument, bar_minutes)]
