"""What the report shows of risk, as plain data: value at risk against what was earned, a shock, what the guard saved.

Losses are positive fractions of equity. None stands where there is no number. What cannot be drawn at all is a sentence
in place of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grandmodel.gates.text import number, percent, plain_name

Matrix = tuple[tuple[float | None, ...], ...]
NAMES = {"cornish_fisher": "Cornish-Fisher", "monte_carlo": "Monte Carlo", "ewma_normal": "EWMA normal"}
VERDICTS = {"passed": "not rejected", "rejected": "rejected", "unknown": "cannot tell"}


@dataclass(frozen=True)
class CoverageTest:
    """One test of one method over all days."""

    test: str  # as in ``stats.backtest``
    verdict: str  # one of VERDICTS
    p: float | None
    power: float | None  # probability to reject under the alternative of the test


@dataclass(frozen=True)
class MethodCoverage:
    """What one method said before each day, and how that stood against what the release then earned."""

    method: str
    var_frac: tuple[float | None, ...]  # one a day
    exceptions: tuple[int, ...]  # days, from 0, that lost more than that, or had no number
    may_vote: bool
    light: str  # of Basel, in lower case; "not judged" where there are too few days
    mean_var_frac: float | None
    tests: tuple[CoverageTest, ...]

    def of(self, test: str) -> CoverageTest:
        """Return the result of one test by its name."""
        return next(one for one in self.tests if one.test == test)


@dataclass(frozen=True)
class Coverage:
    """Value at risk of one day of the release as it trades, against its returns of those days."""

    level: float
    window_days: int  # each forecast looks back on so many
    days: tuple[str, ...]  # ISO dates
    returns_frac: tuple[float, ...]
    methods: tuple[MethodCoverage, ...]
    yellow_power: float | None  # that the light leaves green when exceptions are twice as frequent as stated

    @property
    def expected(self) -> float:
        """Return how many exceptions a right forecast has in the mean."""
        return len(self.days) * (1.0 - self.level)

    @property
    def voters(self) -> tuple[MethodCoverage, ...]:
        """Return the methods that may vote."""
        return tuple(one for one in self.methods if one.may_vote)

    @property
    def voted_frac(self) -> tuple[float | None, ...]:
        """Return the number that counts on each day, the largest of the voters'; None where a voter has none."""
        columns = zip(*(one.var_frac for one in self.voters), strict=True)
        return tuple(None if None in day else max(value for value in day if value is not None) for day in columns)


@dataclass(frozen=True)
class ShockPair:
    """The correlations of two successive days, the second of which raised an alarm; None where an asset has none."""

    day_before: str
    day: str
    severity: str
    score: float
    before: Matrix
    after: Matrix


@dataclass(frozen=True)
class CorrelationShock:
    """What the shock detector saw over the out-of-sample days; entries of one length, None where it had no number."""

    symbols: tuple[str, ...]
    days: tuple[str, ...]  # ISO dates
    mean_correlation: tuple[float | None, ...]
    score: tuple[float | None, ...]
    alarms: tuple[int, ...]  # days, from 0, on which an alarm began
    score_high: float
    score_critical: float
    worst: ShockPair | None  # of the alarm with the largest score; None where there was no alarm


@dataclass(frozen=True)
class LossRow:
    """One scenario with and without the guard; None where it was not replayed without."""

    scenario: str
    kind: str  # "scenario", "dated" or "drill"
    loss_frac: float
    loss_without_breaker_frac: float | None = None

    @property
    def saved_frac(self) -> float:
        """Return what the guard took from the loss, negative where it made it larger; 0 where that is not known."""
        return 0.0 if self.loss_without_breaker_frac is None else self.loss_without_breaker_frac - self.loss_frac


def by_loss(rows: Sequence[LossRow]) -> list[LossRow]:
    """Return ``rows`` by what they lose without the guard, the worst first; where that is not known, with it."""
    return sorted(rows, key=lambda row: (-(row.loss_frac + row.saved_frac), row.scenario))


def method_words(method: str) -> str:
    """Return the name of a method of value at risk as people write it."""
    words = plain_name(method)
    return NAMES.get(method, words[:1].upper() + words[1:])


def verdict_words(test: CoverageTest) -> str:
    """Return a verdict with its p-value, such as ``not rejected, p 0.159``."""
    words = VERDICTS[test.verdict]
    if test.p is None:
        return words
    return f"{words}, p\N{NO-BREAK SPACE}{'< 0.001' if test.p < 0.001 else number(test.p, 3)}"


def votes_words(coverage: Coverage) -> str:
    """Return in a sentence who may vote, and how often the number that counts was exceeded."""
    lost = [method_words(one.method) for one in coverage.methods if not one.may_vote]
    if not coverage.voters:
        return "No method may vote, so there is no number that counts."
    exceeded = sum(
        var is None or -earned > var for var, earned in zip(coverage.voted_frac, coverage.returns_frac, strict=True)
    )
    return (
        f"{len(coverage.voters)} of {len(coverage.methods)} methods may vote"
        + (f"; {', '.join(lost)} may not" if lost else "")
        + f". The number that counts, the largest of theirs, was exceeded on {exceeded} of {len(coverage.days)} days, "
        f"where {coverage.expected:.1f} are stated. Who votes was decided on these same days."
    )


def power_words(coverage: Coverage) -> str:
    """Return in a sentence how often tests over so few days would notice a forecast that is wrong."""
    one = coverage.methods[0]
    return (
        f"A test that does not reject shows little: over {len(coverage.days)} days, exceptions twice as frequent as "
        f"stated are noticed by the exact binomial in {_chance(one.of('exact binomial').power)} of cases and turn the "
        f"light from green in {_chance(coverage.yellow_power)}; exceptions of which one in ten is followed by another "
        f"on the next day are noticed by Christoffersen's test of independence in "
        f"{_chance(one.of('independence').power)}, by that of conditional coverage in "
        f"{_chance(one.of('conditional coverage').power)}."
    )


def _chance(power: float | None) -> str:
    return "an unknown share" if power is None else percent(power, 0)
