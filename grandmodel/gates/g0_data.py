"""G0: the data passed its suite, is known by hash, may be used, has no holes, and was chosen without hindsight.

Survivorship: whoever picks the instruments of a backtest today picks among those that are still there. So everything
that could have been picked is dated, and what could be picked when the test began and ended since must be among the
members. What ended before the test began could not be picked and may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from grandmodel.data.calendar.absent import AbsentSessions
from grandmodel.data.dataset import Listing
from grandmodel.gates.result import GateResult, plain, power_evidence
from grandmodel.gates.text import count, listing, percent

NAME = "g0_data"
POWER = (
    "Exact: a failing expectation, an absent session and an instrument left out after it ended are each caught. Not "
    "seen: wrong prices that are possible, instruments that neither a file nor universe.csv names, and a choice among "
    "those that still trade."
)


def judge(
    *,
    checks: Mapping[str, bool],
    data_hash: str,
    licence: str,
    rows: int,
    simulated: bool,
    universe: Sequence[Listing],
    first_test_session: int,
    sessions: Mapping[str, AbsentSessions],
    universe_grace_days: int,
    absent_sessions_max_frac: float,
    source: str = "",
) -> GateResult:
    """Refuse data with any fault; the statistic counts faults, and n is the number of expectations.

    Args:
        checks: each critical expectation of the validation suite, and whether it held.
        data_hash: SHA-256 in hex.
        licence: must not be blank.
        rows: bars read.
        simulated: shown, not judged.
        universe: all that could have been chosen, members and others.
        first_test_session: first day out of sample, as days since 1970-01-01.
        sessions: by member, trading days of its market that lack bars.
        universe_grace_days: an instrument whose bars stop at most this long before the newest still trades.
        absent_sessions_max_frac: largest share of trading days without a bar.
        source: shown.
    """
    faults = [f"expectation {name} failed" for name, held in checks.items() if not held]
    if not checks:
        faults.append("the validation suite has no expectations")
    if not re.fullmatch(r"[0-9a-f]{64}", data_hash):
        faults.append("the data hash is unknown")
    if not licence.strip():
        faults.append("the licence is missing (state it as `licence:` in a dataset.yaml beside the data)")
    if rows < 1:
        faults.append("there are no rows")
    faults += universe_faults(universe, first_test_session, universe_grace_days)
    faults += session_faults(sessions, absent_sessions_max_frac)
    taken = f"{sum(one.is_member for one in universe)} of {count(len(universe), 'dated instrument')} taken"
    evidence = {
        "checks": dict(checks),
        "faults": faults,
        "data_hash": data_hash,
        "licence": licence,
        "source": source,
        "simulated": simulated,
        "rows": rows,
        "universe": {one.symbol: _listing_dict(one) for one in universe},
        "first_test_day": _date(first_test_session),
        "absent_sessions": {symbol: len(found.absent) for symbol, found in sessions.items()},
        "statistic_name": "faults",
    } | power_evidence(POWER, smallest="one fault of a kind that is looked for", data="none: the check is exact")
    if faults:
        reason = f"The data is refused: {listing(faults)}."
    else:
        held = count(len(checks), "critical expectation held", "critical expectations held")
        reason = (
            f"All {held} on {count(rows, 'row')}; {taken} and none left out "
            f"that ended since {_date(first_test_session)}; hash {data_hash[:12]}, licence {licence.strip()}."
        )
    return GateResult(NAME, not faults, float(len(faults)), 0.0, 1.0, len(checks), reason, plain(evidence))


def universe_faults(universe: Sequence[Listing], first_test_session: int, grace_days: int) -> list[str]:
    """Return what hindsight there is in the choice of instruments, in words; empty where none can be seen."""
    if not any(one.is_member for one in universe):
        return ["the universe of instruments is not dated: no member is listed"]
    dated = [
        (one, one.first_session, one.last_session)
        for one in universe
        if one.first_session is not None and one.last_session is not None
    ]
    faults = [
        f"the universe is not dated: {one.symbol} has no first and last day ({one.dated_by})"
        for one in universe
        if one.first_session is None or one.last_session is None
    ]
    newest = max((last for one, _, last in dated if one.is_member), default=0)
    test = _date(first_test_session)
    for one, first, last in dated:
        if one.is_member and first > first_test_session:
            began = f"{one.symbol} began on {_date(first)}, after the test began on {test}"
            faults.append(f"{began}: nobody could have chosen it then")
        if not one.is_member and first <= first_test_session <= last < newest - grace_days:
            there = f"{one.symbol} could be chosen on {test}, ended on {_date(last)}"
            faults.append(f"{there} and is left out: the universe holds survivors")
    return faults


def session_faults(sessions: Mapping[str, AbsentSessions], absent_max_frac: float) -> list[str]:
    """Return which member lacks more trading days than ``absent_max_frac`` of them; one without any is a fault too."""
    faults = ["no instrument was held against its calendar"] if not sessions else []
    for symbol, (expected, absent) in sessions.items():
        if expected == 0:
            faults.append(f"{symbol} has no trading day")
        elif len(absent) > absent_max_frac * expected:
            longest = max(np.split(absent, np.flatnonzero(np.diff(absent) > 7) + 1), key=len)
            faults.append(
                f"{symbol} lacks {len(absent)} of {count(expected, 'trading day')} ({percent(len(absent) / expected)}, "
                f"allowed {percent(absent_max_frac)}; most between {_date(longest[0])} and {_date(longest[-1])})"
            )
    return faults


def _listing_dict(one: Listing) -> dict[str, object]:
    days = {
        name: None if day is None else _date(day)
        for name, day in (("first_day", one.first_session), ("last_day", one.last_session))
    }
    return {"is_member": one.is_member, **days, "dated_by": one.dated_by}


def _date(session: int) -> str:
    return str(np.datetime64(int(session), "D"))
