"""How figures are spelt in sentences and tables."""

from __future__ import annotations

from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"


def percent(fraction: float, decimals: int = 1, *, signed: bool = False) -> str:
    """Return ``fraction`` as a percentage, such as ``12.3 %``."""
    return f"{number(100.0 * fraction, decimals, signed=signed)} %"


def number(value: float, decimals: int = 2, *, signed: bool = False) -> str:
    """Return ``value`` with thousands separators and a true minus sign, and never a negative zero."""
    rounded = round(value, decimals) + 0.0
    text = f"{rounded:+,.{decimals}f}" if signed and rounded != 0.0 else f"{rounded:,.{decimals}f}"
    return text.replace("-", MINUS)


def count(n: int, noun: str, plural: str = "") -> str:
    """Return ``1 day`` or ``3 days``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def plain_name(name: str) -> str:
    """Return an identifier as words: ``buy_and_hold`` as ``buy and hold``."""
    return name.replace("_", " ")


def gate_title(name: str) -> str:
    """Return the name of a gate as people say it: ``g3_seeds`` as ``G3 seeds``."""
    head, _, rest = name.partition("_")
    return f"{head.upper()} {plain_name(rest)}".strip()


def listing(items: Sequence[str], most: int = 4) -> str:
    """Return ``a, b and c``; beyond ``most`` items only their number is told."""
    shown = list(items[:most])
    if len(items) > most:
        return f"{', '.join(shown)} and {len(items) - most} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else "none"
