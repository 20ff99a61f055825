import numpy as np
import pytest

from benchmarks.selection_study import (
    TRIALS,
    best_first,
    false_passes,
    judged,
    named_passes,
    picked_passes,
    with_edge,
    worthless,
)
from grandmodel.core.random import random_stream


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_the_best_of_fifty_worthless_trials_rarely_passes_with_all_in_the_ledger(shared: float) -> None:
    # Not told as picked, so that overfitting, which could only refuse more, is left out. At 5 %: 2 of 40.
    tables = [best_first(worthless(random_stream(draw, "test"), TRIALS, 200, shared)) for draw in range(40)]
    passes = sum(judged(table, draw, picked=False).passed for draw, table in enumerate(tables))
    assert passes <= 5
    if shared == 0.0:  # and where nobody counted it nearly always does
        assert sum(judged(table[:1], draw, picked=False).passed for draw, table in enumerate(tables)) >= 30


def test_strong_releases_pass_where_they_were_named() -> None:
    assert named_passes(20, 200, 8.0)["named_in_advance"]["passes"] >= 19


def test_rows_tell_parts_and_whether_the_search_found_the_good_one() -> None:
    row, good_row = false_passes(5, 200, 0.0, trials=6), picked_passes(1, 200, 12.0, trials=6)
    assert [row[kind]["draws"] for kind in ("ledger", "picked", "without_ledger")] == [5, 1, 5]
    assert row["ledger"]["passes"] <= min(row["ledger"]["parts"].values())
    assert set(row["picked"]["parts"]) - set(row["ledger"]["parts"]) == {"backtest overfitting"}
    assert row["ledger"]["median_effective_trials"] == 6.0
    assert (good_row["found"], good_row["picked"]["passes"]) == (1, 1)


def test_the_bound_of_a_rate_is_that_of_clopper_and_pearson() -> None:
    none, every = false_passes(3, 200, 0.0, trials=6)["ledger"], named_passes(3, 200, 12.0)["named_in_advance"]
    assert (none["passes"], every["passes"]) == (0, 3)
    assert none["upper_95"] == pytest.approx(1 - 0.05 ** (1 / 3))  # (1 - p)^3 = 5 %
    assert every["upper_95"] == 1.0


def test_searches_are_as_wild_and_as_much_alike_as_they_say() -> None:
    table = worthless(random_stream(1, "law"), 40, 4000, 0.5)
    assert table.std() == pytest.approx(0.01, rel=0.1)
    between = np.corrcoef(table)[np.triu_indices(40, 1)]
    assert between.mean() == pytest.approx(0.5, abs=0.05)
    assert abs(table.mean()) < 4 * 0.01 / np.sqrt(4000)
    assert with_edge(table, 2.0).mean() - table.mean() == pytest.approx(2.0 / np.sqrt(252) * 0.01)


def test_the_best_stands_first_and_none_is_lost() -> None:
    table = worthless(random_stream(1, "order"), 6, 50, 0.0)
    ordered = best_first(table)
    sharpes = ordered.mean(axis=1) / ordered.std(axis=1)
    assert sharpes.argmax() == 0
    assert sorted(map(tuple, ordered)) == sorted(map(tuple, table))
