from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import coverage_study
from benchmarks.coverage_study import (
    BY_TIME,
    FIRST,
    PLAIN,
    Setting,
    choose,
    judge,
    quantile_loss,
    rows_of,
    scaled,
    table,
    tails_of,
    write_page,
)
from benchmarks.futures_portfolio import Series
from grandmodel.core.random import random_stream
from grandmodel.risk.tail import METHODS

DAY = 86_400_000_000_000
STOP = FIRST + 10_000 * DAY


def _days(count: int = 700, after: int = 300) -> Series:
    """Return a series of days of which the last ``after`` lie in the judged years."""
    returns = 0.01 * random_stream(1, "days").standard_normal(count)
    return Series("1 day", returns, FIRST + (np.arange(count) - count + after) * DAY, np.zeros(count, np.int64))


def _changed(series: Series, row: int) -> Series:
    returns = series.returns.copy()
    returns[row:] *= -30.0
    return series._replace(returns=returns)


def test_the_choice_knows_nothing_of_the_judged_years() -> None:
    chosen = choose(_days(), PLAIN)
    assert set(chosen) == {("1 day", PLAIN, method) for method in METHODS}
    assert choose(_changed(_days(), 400), PLAIN) == chosen
    assert choose(_changed(_days(), 390), PLAIN) != chosen


@pytest.mark.parametrize("kind", [PLAIN, BY_TIME])
def test_no_forecast_knows_its_own_bar(kind: str) -> None:
    row = 500
    before, after = (tails_of(*scaled(series, kind), 200, 0.94) for series in (_days(), _changed(_days(), row)))
    cut = row - (20 if kind == BY_TIME else 0)  # bars that have no scale yet are left out
    for method in METHODS:
        np.testing.assert_array_equal(before[method][: cut + 1], after[method][: cut + 1])
        assert not np.array_equal(before[method][cut + 1 :], after[method][cut + 1 :])


def test_a_scale_does_not_change_what_is_realised() -> None:
    part, scale = scaled(_days(), BY_TIME)
    assert len(part.returns) == len(scale) == 680
    np.testing.assert_array_equal(part.returns, _days().returns[20:])


def test_quantile_loss_is_least_at_the_quantile() -> None:
    returns = random_stream(2, "loss").standard_normal(200_000)
    losses = {var: quantile_loss(returns, np.full(len(returns), var)) for var in (2.0, 2.3263, 2.7)}
    assert min(losses, key=losses.__getitem__) == 2.3263


def test_all_six_are_judged_on_the_asked_bars_alone() -> None:
    chosen = {("1 day", PLAIN, method): Setting(100, 0.94, True) for method in METHODS}
    verdicts = judge(_days(), PLAIN, chosen, FIRST, FIRST + 200 * DAY)
    assert [one.method for one in verdicts] == list(METHODS)
    assert {one.n for one in verdicts} == {200}
    assert {one.missing for one in verdicts} == {0}


def test_every_method_has_its_row_in_the_table() -> None:
    chosen = {("1 day", PLAIN, method): Setting(100, 0.94, method != "parametric") for method in METHODS}
    lines = table(rows_of([_days()], chosen, FIRST, STOP)).splitlines()
    assert len(lines) == 2 + len(METHODS)
    assert len({line.count("|") for line in lines}) == 1
    assert [line for line in lines if "100 *" in line] == [line for line in lines if "parametric" in line]
    assert "100, 0.94" in next(line for line in lines if "filtered historical" in line)


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "risk.md"
    page.write_text(f"# Risk\n\n{coverage_study.BEGIN}\nold\n{coverage_study.END}\n\n## Shocks\n\n<!-- end -->\n")
    monkeypatch.setattr(coverage_study, "PAGE", page)
    write_page("new")
    text = page.read_text()
    assert "old" not in text
    assert text.startswith(f"# Risk\n\n{coverage_study.BEGIN}\n\nnew\n\n{coverage_study.END}")
    assert text.endswith("\n\n## Shocks\n\n<!-- end -->\n")
