"""Rates, their exact bounds, and which gate refused."""

from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import binom

from benchmarks.gate_table import lower_bound, rates, refusals, table, upper_bound


def row(seed: int, *refused_by: str, trained: int = 3, **figures: float | None) -> dict[str, Any]:
    gates = {name: {"passed": name not in refused_by} for name in ("g0_data", "g3_seeds", "g5_costs")}
    return {
        "seed": seed,
        "passed": not refused_by,
        "refused_by": list(refused_by),
        "gates": gates,
        "figures": {"days": 200, "oracle_sharpe": 8.0, "release_sharpe": 5.0} | figures,
        "cpu_seconds": 20.0 + seed,
        "trained": trained,
        "simulator": {"edge": 0.75},
    }


@pytest.mark.parametrize(("hits", "of"), [(0, 200), (5, 200), (90, 100), (99, 100)])
def test_at_the_upper_bound_so_few_hits_have_five_percent(hits: int, of: int) -> None:
    assert binom.cdf(hits, of, upper_bound(hits, of)) == pytest.approx(0.05)


@pytest.mark.parametrize(("hits", "of"), [(1, 200), (90, 100), (100, 100)])
def test_at_the_lower_bound_so_many_hits_have_five_percent(hits: int, of: int) -> None:
    assert binom.sf(hits - 1, of, lower_bound(hits, of)) == pytest.approx(0.05)


def test_the_bounds_end_at_zero_and_one() -> None:
    assert (lower_bound(0, 7), upper_bound(7, 7)) == (0.0, 1.0)


def test_the_acceptance_of_five_in_two_hundred_leaves_a_rate_below_5_3_percent() -> None:
    assert upper_bound(5, 200) == pytest.approx(0.0519, abs=1e-4)


def test_the_table_counts_passes_and_takes_the_middle_of_what_was_found() -> None:
    rows = [row(1), row(2, "g3_seeds", release_sharpe=1.0), row(3, release_sharpe=None), row(4, release_sharpe=4.0)]
    line = rates([rows]).splitlines()[-1]
    assert line.startswith("| 0.75 | 1 to 4 | 3 of 4 | 75.0% |")
    assert line.endswith("| 200 | 8 | 4 | 22 |")


def test_missing_seeds_are_told() -> None:
    assert "1 to 4, with holes" in rates([[row(1), row(4)]])


def test_releases_that_took_up_trainings_do_not_count_as_quick() -> None:
    assert rates([[row(1), row(80, trained=0)]]).endswith("| 21 |")
    assert rates([[row(1, trained=0)]]).endswith("| - |")


def test_refusals_tell_which_gate_was_alone_and_which_is_idle() -> None:
    rows = [row(1, "g3_seeds", "g5_costs"), row(2, "g3_seeds"), row(3), row(4, "a stage")]
    head, _, line = refusals([rows]).splitlines()
    assert head == "| edge | releases | a stage | G0 data | G3 seeds | G5 costs |"
    assert line == "| 0.75 | 4 | 1 (1) | 0 (0) | 2 (1) | 1 (0) |"


def test_without_a_release_there_is_no_table() -> None:
    assert table([[]]) == "No release is kept."
