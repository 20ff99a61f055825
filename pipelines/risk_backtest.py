"""Judge the risk numbers of the release: six VaR forecasts before each out-of-sample day, against what it then earned.

The series is that of the released seed after costs, so a forecast speaks of the book as the release trades it, not of
the positions of one moment. Forecasts see only days before their own, and only out-of-sample ones: returns of training
days flatter. With the 100 days that a forecast looks back on, the 200 days of the project's own release leave 100 to
judge, the fewest that can be judged at 99 %; the power that is printed beside each test says how little that shows.
The decay is the one that ``benchmarks/coverage_study.py`` chose for daily returns, on other data.

It is no stage: it changes nothing that a release is made of. Run by the flow every night, or by hand::

    python -m pipelines.risk_backtest
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from grandmodel.core.errors import DataError
from grandmodel.core.files import write_json_atomic
from grandmodel.core.hashing import hash_file
from grandmodel.core.random import random_stream
from grandmodel.gates.risk_number import DECAY, WINDOW
from grandmodel.risk.state import TradingState, fail_closed
from grandmodel.risk.tail import METHODS
from grandmodel.risk.tail_kernel import rolling_tails
from grandmodel.stats.backtest import MethodForecasts, MethodVerdict, backtest, voted, voting
from grandmodel.stats.shortfall import normal_excess, pareto_excess
from pipelines.workspace import PROJECT, Workspace, finish, open_workspace

LEVEL = 0.99  # that of the limit which the number is held against
WINDOW_DAYS = WINDOW
DAYS_MIN = WINDOW_DAYS + 2  # two judged days: the tests of clustering look at pairs
HORIZON = "1 day"
NORMAL = ("parametric", "ewma_normal")  # their tails beyond VaR are those of the normal
RELEASED_SEED = 0


@dataclass(frozen=True)
class RiskBacktest:
    """What the night found out."""

    sentence: str
    trading: str  # what the vote alone leaves: ACTIVE, or REDUCING where there is no number
    voters: tuple[str, ...]
    value_at_risk_frac: float | None  # of the next day, the largest of the voters' numbers; None where there is none
    methods: tuple[dict[str, Any], ...]
    cornish_fisher_outside_domain_frac: float  # of the days judged; there its number means little
    days: int  # judged
    first_day: str
    last_day: str
    level: float
    window_days: int
    decay: float
    returns_sha256: str  # of the file with the returns that were judged


@dataclass(frozen=True)
class JudgedDays:
    """The days that had a forecast, oldest first, and what all tests say of each method over them."""

    returns_frac: NDArray[np.float64]  # [days]
    sessions: NDArray[np.int32]  # [days], as days since 1970
    forecasts: tuple[MethodForecasts, ...]  # in the order of METHODS, each number made before its day
    next_day_var_frac: NDArray[np.float64]  # [methods]
    in_domain: NDArray[np.bool_]  # [days], whether Cornish-Fisher's quantile rose everywhere
    verdicts: tuple[MethodVerdict, ...]


def risk_backtest(workspace: Workspace) -> RiskBacktest:
    """Return the verdict on each method over the out-of-sample days of ``workspace``, and who may vote.

    Raises:
        DataError: there are no out-of-sample returns, one is not finite, or there are too few to forecast from.
    """
    path = returns_path(workspace)
    judged = judge_days(path, workspace.params.seed)
    verdicts, sessions = judged.verdicts, judged.sessions
    voters = voting(verdicts)
    next_day = dict(zip(METHODS, judged.next_day_var_frac.tolist(), strict=True))
    number = voted(next_day, voters)
    trading = fail_closed(TradingState.ACTIVE, number)
    return RiskBacktest(
        sentence=_sentence(verdicts, voters, number),
        trading=trading.name,
        voters=voters,
        value_at_risk_frac=_plain(number),
        methods=tuple(_row(verdict, verdict.method in voters, next_day[verdict.method]) for verdict in verdicts),
        cornish_fisher_outside_domain_frac=float(1.0 - judged.in_domain.mean()),
        days=len(sessions),
        first_day=str(np.datetime64(int(sessions[0]), "D")),
        last_day=str(np.datetime64(int(sessions[-1]), "D")),
        level=LEVEL,
        window_days=WINDOW_DAYS,
        decay=DECAY,
        returns_sha256=hash_file(path),
    )


def judge_days(path: Path, seed: int) -> JudgedDays:
    """Return the days of ``path`` that had a forecast with the verdict on each method; ``seed`` serves the tests of ES.

    Raises:
        DataError: there are no out-of-sample returns, one is not finite, or there are too few to forecast from.
    """
    returns, sessions = daily_returns(path)
    if len(returns) < DAYS_MIN:
        raise DataError(str(path), f"must hold {DAYS_MIN} days", len(returns), "Give the release more bars")
    # One more row than there are days: the last holds the forecasts for the day to come.
    tails, in_domain = rolling_tails(np.append(returns, 0.0), (LEVEL,), WINDOW_DAYS, DECAY)
    forecasts = tuple(
        MethodForecasts(
            method,
            HORIZON,
            LEVEL,
            tails[WINDOW_DAYS:-1, place, 0, 0],
            tails[WINDOW_DAYS:-1, place, 0, 1],
            normal_excess(LEVEL) if method in NORMAL else pareto_excess(),
        )
        for place, method in enumerate(METHODS)
    )
    verdicts = backtest(returns[WINDOW_DAYS:], forecasts, random_stream(seed, "risk backtest"))
    return JudgedDays(
        returns[WINDOW_DAYS:],
        sessions[WINDOW_DAYS:],
        forecasts,
        tails[-1, :, 0, 0],
        in_domain[WINDOW_DAYS:-1],
        tuple(verdicts),
    )


def returns_path(workspace: Workspace) -> Path:
    """Return where the out-of-sample returns of the release stand."""
    return workspace.evaluate / "evidence" / "daily.safetensors"


def daily_returns(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return the released seed's daily returns after costs, float64[days], and their sessions as days since 1970.

    Returns are simple, so that a loss is a fraction of equity. Raises DataError where the file cannot be used.
    """
    do = "Run the release flow, or the evaluate stage, again"
    try:
        tables = load_file(path)
        log_returns, sessions = tables["release"][RELEASED_SEED], tables["sessions"]
    except (OSError, SafetensorError, KeyError, IndexError) as error:
        found = f"{type(error).__name__}: {error}"
        raise DataError(str(path), "must hold the out-of-sample returns of a release", found, do) from error
    if log_returns.shape != sessions.shape or not np.isfinite(log_returns).all():
        raise DataError(str(path), "must hold one finite return for each session", log_returns.shape, do)
    return np.expm1(log_returns), sessions


def write(result: RiskBacktest, path: Path) -> None:
    """Write ``result`` as JSON."""
    write_json_atomic(path, asdict(result))


def _row(verdict: MethodVerdict, may_vote: bool, next_day: float) -> dict[str, Any]:
    return {
        "method": verdict.method,
        "exceptions": verdict.exceptions,
        "expected": round(verdict.n * (1.0 - verdict.level), 9),
        "days_without_number": verdict.missing,
        "light": verdict.light.name.lower() if verdict.light is not None else "not judged",
        "may_vote": may_vote,
        "mean_var_frac": _plain(verdict.mean_var_frac),
        "next_day_var_frac": _plain(next_day),
        "reason": verdict.reason,
        "tests": {
            one.test: {"p": _plain(one.p), "verdict": one.verdict.value, "power": _plain(one.power)}
            for one in verdict.results
        },
    }


def _sentence(verdicts: Sequence[MethodVerdict], voters: tuple[str, ...], number: float) -> str:
    lost = [_words(one.method) for one in verdicts if one.method not in voters]
    if not voters:
        return "REDUCING: no method may vote, so there is no value at risk."
    who = f"{len(voters)} of {len(verdicts)} methods may vote" + (f"; {', '.join(lost)} may not" if lost else "")
    if not math.isfinite(number):
        return f"REDUCING: {who}, and a voter has no number for the next day."
    return f"{who}. The next day's value at risk is {number:.2%} of equity."


def _words(method: str) -> str:
    return method.replace("_", " ")


def _plain(value: float) -> float | None:
    """Return a number that JSON knows: None where it is not finite."""
    return value if math.isfinite(value) else None


def main() -> None:
    """Judge, write the result, and say it in one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=PROJECT / "artifacts", help="where stages keep their files")
    parser.add_argument("--to", type=Path, help="JSON to write; default: risk_backtest.json in the workspace")
    given = parser.parse_args()

    def work() -> None:
        result = risk_backtest(open_workspace(given.workspace))
        write(result, given.to or given.workspace / "risk_backtest.json")
        print(result.sentence)

    finish(work)


if __name__ == "__main__":
    main()
