"""What the report says of risk in words, and which number counts."""

from __future__ import annotations

import pytest

from grandmodel.gates.report_risk import (
    CoverageTest,
    LossRow,
    by_loss,
    method_words,
    power_words,
    verdict_words,
    votes_words,
)
from tests.grandmodel.gates.risk_samples import LOSSES, coverage, method


def test_the_largest_number_of_the_voters_counts_and_none_where_one_of_them_has_none() -> None:
    assert coverage().voted_frac == (0.02, 0.04, 0.02, None)


def test_the_sentence_counts_days_beyond_the_number_that_counts_and_names_who_may_not_vote() -> None:
    words = votes_words(coverage())
    assert words.startswith("2 of 3 methods may vote; Monte Carlo may not.")
    assert "exceeded on 1 of 4 days, where 0.0 are stated" in words  # the day without a number


def test_without_a_voter_there_is_no_number_that_counts() -> None:
    alone = coverage(method("historical", (0.001,) * 4, (1, 2), votes=False))
    assert alone.voted_frac == ()
    assert votes_words(alone) == "No method may vote, so there is no number that counts."


def test_power_stands_in_words() -> None:
    words = power_words(coverage())
    for part in ("over 4 days", "binomial in 14 %", "green in 32 %", "independence in 5 %", "coverage in 9 %"):
        assert part in words


@pytest.mark.parametrize(
    ("verdict", "p", "words"),
    [
        ("passed", 0.1587, "not rejected, p\N{NO-BREAK SPACE}0.159"),
        ("rejected", 0.0002, "rejected, p\N{NO-BREAK SPACE}< 0.001"),
        ("unknown", None, "cannot tell"),
    ],
)
def test_a_verdict_stands_beside_its_p_value(verdict: str, p: float | None, words: str) -> None:
    assert verdict_words(CoverageTest("independence", verdict, p, 0.05)) == words


def test_methods_bear_the_names_of_their_authors() -> None:
    assert [method_words(name) for name in ("cornish_fisher", "filtered_historical")] == [
        "Cornish-Fisher",
        "Filtered historical",
    ]


def test_scenarios_are_ordered_by_the_loss_without_the_breaker() -> None:
    names = [row.scenario for row in by_loss(LOSSES)]
    assert names == ["breaker_drill", "gfc_2008", "yen_carry_2024", "gap_down", "flash_crash"]


def test_what_the_breaker_saved_is_nothing_where_the_other_replay_is_absent() -> None:
    assert LossRow("x", "dated", 0.21, 0.47).saved_frac == pytest.approx(0.26)
    assert LossRow("x", "scenario", 0.21).saved_frac == 0.0
    assert LossRow("x", "dated", 0.09, 0.08).saved_frac == pytest.approx(-0.01)
