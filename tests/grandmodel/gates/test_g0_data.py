from dataclasses import replace

import numpy as np
import pytest

from grandmodel.data.calendar.absent import AbsentSessions
from grandmodel.data.dataset import Listing
from grandmodel.gates import g0_data

TEST_START, NEWEST, GRACE = 18_000, 18_400, 14
ALIVE = Listing("AA", 17_000, NEWEST, True, "AA.csv")
DEAD = Listing("BB", 17_000, 18_200, True, "BB.csv")  # ended while the test ran
UNDATED = Listing("CC", None, None, False, "notes.csv")
GOOD = {
    "checks": {"high is highest": True, "no duplicates": True},
    "data_hash": "ab" * 32,
    "licence": "CC0-1.0",
    "rows": 100,
    "simulated": True,
    "universe": (ALIVE, DEAD),
    "first_test_session": TEST_START,
    "sessions": {"AA": AbsentSessions(100, np.array([18_001, 18_002, 18_003, 18_300, 18_301], np.int32))},
    "universe_grace_days": GRACE,
    "absent_sessions_max_frac": 0.05,
}


def test_clean_known_licensed_and_dated_data_passes() -> None:
    result = g0_data.judge(**GOOD)
    assert result.passed
    assert result.statistic == 0.0
    assert result.n == 2
    assert "All 2 critical expectations held on 100 rows; 2 of 2 dated instruments taken" in result.reason
    assert "CC0-1.0" in result.reason
    assert result.evidence["universe"]["BB"]["last_day"] == "2019-10-31"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"checks": {"no duplicates": False}}, "expectation no duplicates failed"),
        ({"checks": {}}, "no expectations"),
        ({"data_hash": "unknown"}, "hash is unknown"),
        ({"licence": "  "}, "licence is missing"),
        ({"rows": 0}, "no rows"),
        ({"universe": ()}, "not dated: no member is listed"),
        (
            {"universe": (ALIVE, Listing("CC", None, None, False, "notes.csv"))},
            r"CC has no first and last day (notes.csv)",
        ),
        ({"universe": (ALIVE, replace(ALIVE, first_session=None))}, "AA has no first and last day"),
        (
            {"universe": (ALIVE, replace(DEAD, is_member=False))},
            "chosen on 2019-04-14, ended on 2019-10-31",
        ),
        ({"universe": (replace(ALIVE, first_session=TEST_START + 1),)}, "nobody could have chosen it then"),
        ({"sessions": {}}, "no instrument was held against its calendar"),
        ({"sessions": {"AA": AbsentSessions(0, np.empty(0, np.int32))}}, "AA has no trading day"),
    ],
)
def test_each_fault_refuses_and_is_named(change: dict[str, object], words: str) -> None:
    result = g0_data.judge(**{**GOOD, **change})
    assert not result.passed
    assert result.statistic == 1.0
    assert words in result.reason


def test_one_absent_session_more_than_allowed_refuses_and_names_the_longest_hole() -> None:
    absent = np.append(GOOD["sessions"]["AA"].absent, np.int32(18_302))
    result = g0_data.judge(**{**GOOD, "sessions": {"AA": AbsentSessions(100, absent)}})
    assert not result.passed
    assert (
        "AA lacks 6 of 100 trading days (6.0 %, allowed 5.0 %; most between 2019-04-15 and 2019-04-17)" in result.reason
    )


@pytest.mark.parametrize(
    "left_out",
    [
        replace(DEAD, is_member=False, last_session=TEST_START - 1),  # gone before anybody could choose it
        replace(DEAD, is_member=False, first_session=TEST_START + 1),  # not there yet
        replace(DEAD, is_member=False, last_session=NEWEST - GRACE),  # still trades, as far as bars can say
        replace(ALIVE, symbol="CC", is_member=False),  # a choice among the living, which no date can judge
    ],
)
def test_what_did_not_end_during_the_test_may_be_left_out(left_out: Listing) -> None:
    assert g0_data.judge(**{**GOOD, "universe": (ALIVE, left_out)}).passed
