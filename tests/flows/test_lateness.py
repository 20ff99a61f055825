from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flows.lateness import late_sentence, too_late

DUE = datetime(2026, 3, 3, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize("minutes", [-1, 0, 30])
def test_a_run_up_to_one_bar_late_goes_on(minutes: int) -> None:
    assert late_sentence(DUE, DUE + timedelta(minutes=minutes)) == ""


def test_a_run_later_than_one_bar_is_skipped_with_a_sentence() -> None:
    said = late_sentence(DUE, DUE + timedelta(minutes=31))
    assert said.startswith("Skipped: due at 2026-03-03 23:30 UTC, it is 31 minutes late")


def test_what_a_person_calls_is_never_late() -> None:
    assert too_late() == ""
