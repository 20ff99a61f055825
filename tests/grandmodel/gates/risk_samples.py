"""Risk data of a report, small enough to be checked by eye."""

from __future__ import annotations

from grandmodel.gates.report_risk import (
    CorrelationShock,
    Coverage,
    CoverageTest,
    LossRow,
    MethodCoverage,
    ShockPair,
)

HOSTILE = "A<b>&\"'"
POWERS = {"exact binomial": 0.14, "independence": 0.05, "conditional coverage": 0.09}


def method(
    name: str, var_frac: tuple[float | None, ...], exceptions: tuple[int, ...], *, votes: bool = True
) -> MethodCoverage:
    tests = tuple(CoverageTest(test, "passed", 0.159, power) for test, power in POWERS.items())
    return MethodCoverage(name, var_frac, exceptions, votes, "green" if votes else "red", 0.01, tests)


def coverage(*methods: MethodCoverage) -> Coverage:
    """Return four days: +1 %, -3 %, -1 %, 0 %."""
    told = methods or (
        method("historical", (0.02, 0.02, 0.02, None), (1, 3)),
        method("ewma_normal", (0.01, 0.04, 0.01, 0.01), ()),
        method("monte_carlo", (0.001, 0.001, 0.001, 0.001), (1, 2), votes=False),
    )
    days = ("2025-01-06", "2025-01-07", "2025-01-08", "2025-01-09")
    return Coverage(0.99, 100, days, (0.01, -0.03, -0.01, 0.0), told, 0.32)


def shock(symbols: tuple[str, ...] = ("ES", "NQ"), worst: bool = True) -> CorrelationShock:
    """Return four days with an alarm on the third; the last asset has never moved."""
    n = len(symbols)
    rows = tuple(tuple(None if n - 1 in (i, j) else 1.0 if i == j else -0.25 for j in range(n)) for i in range(n))
    after = tuple(tuple(1.0 if i == j else 0.75 for j in range(n)) for i in range(n))
    return CorrelationShock(
        symbols,
        ("2025-01-06", "2025-01-07", "2025-01-08", "2025-01-09"),
        (None, 0.1, 0.6, 0.5),
        (None, 0.0, 15.0, -1.0),
        (2,) if worst else (),
        7.0,
        14.0,
        ShockPair("2025-01-07", "2025-01-08", "CRITICAL", 15.0, rows, after) if worst else None,
    )


LOSSES = (
    LossRow("gap_down", "scenario", 0.05),
    LossRow("gfc_2008", "dated", 0.21, 0.47),
    LossRow("yen_carry_2024", "dated", 0.09, 0.08),  # the breaker sold at the bottom
    LossRow("flash_crash", "scenario", -0.02, -0.02),
    LossRow("breaker_drill", "drill", 0.2, 0.6),
)
