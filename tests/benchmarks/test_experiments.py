"""Pages hold what the kept results say, and a result that is not there is said to be absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import experiments, gate_study
from benchmarks.experiments import BEGIN, END, experiments_page, futures_part, gates_section, with_section
from benchmarks.gate_study import PLAN, Study, line_of

MACHINE = {"processor": "a processor", "cores": 2, "python": "3.11.7", "system": "Linux"}
ORIGIN = {"measured": "2026-01-02T03:04:05+00:00", "commit": "abcdef0123456789+changes", "machine": MACHINE}


def release_row(study: Study, seed: int, *refused_by: str) -> dict[str, Any]:
    return ORIGIN | {
        "seed": seed,
        "passed": not refused_by,
        "refused_by": list(refused_by),
        "gates": {"g3_seeds": {}},
        "figures": {"days": 200, "oracle_sharpe": 9.0, "release_sharpe": 7.0},
        "cpu_seconds": 20.0,
        "trained": 3,
        "simulator": {"edge": study.edge},
        "params_hash": "0123456789abcdef",
    }


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder of results."""
    monkeypatch.setattr(gate_study, "RESULTS", tmp_path)
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    return tmp_path


def test_both_pages_are_what_the_kept_results_make_of_them() -> None:
    assert experiments.PAGE.read_text() == experiments_page(), "run `python -m benchmarks.experiments`"
    page = experiments.GATES.read_text()
    assert page == with_section(page, gates_section()), "run `python -m benchmarks.experiments`"


def test_releases_that_are_planned_and_not_kept_are_told(results: Path) -> None:
    (_, first), (edge, second) = PLAN
    assert f"planned: {first} at edge 0 and {second} at edge {edge:g}" in gates_section()
    study = Study(edge)
    study.path.write_text("".join(line_of(release_row(study, seed)) for seed in range(1, second + 1)))
    section = gates_section()
    assert f"planned: {first} at edge 0 (" in section
    assert f"| {edge:g} | 1 to {second} | {second} of {second} | 100.0% |" in section
    assert "Measured 2026-01-02 on a processor, 2 cores, Python 3.11.7; commit `abcdef012345` with changes" in section


def test_a_pilot_stands_beside_the_study_and_not_in_it(results: Path) -> None:
    pilot = Study(0.5, pilot=True)
    pilot.path.write_text(line_of(release_row(pilot, 1001, "g3_seeds")))
    page = experiments_page()
    assert "python -m benchmarks.gate_study --edge 0.5 --releases 1 --pilot" in page
    assert "| 0.5 | 1001 to 1001 | 0 of 1 | 0.0% |" in page
    assert "1001" not in gates_section()


def test_a_walk_forward_is_told_with_every_verdict(tmp_path: Path) -> None:
    gate = {"name": "g0_data", "passed": False, "reason": "No licence."}
    strategy = {"name": "buy_and_hold", "net_return_annual_frac": 0.012, "sharpe_annual": None}
    strategy |= {"max_drawdown_frac": 0.2, "turnover_per_year": 3.0}
    found = ORIGIN | {
        "seed": 7, "params_hash": "f" * 64, "data_hash": "e" * 64, "folds": 4, "seeds": 5, "memory_gib": 3.2,
        "first_day": "2017-01-03", "last_day": "2020-12-31", "bars": {"A": 1000, "B": 2000},
        "left_out": {"C": "row 5: low must be positive."}, "metrics": {"days": 970}, "sentence": "Refused by G0 data.",
        "gates": [gate], "strategies": [strategy], "seconds": {"train": 60.0, "all": 90.0},
    }  # fmt: skip
    path = tmp_path / "found.json"
    assert futures_part(path).startswith("Absent")
    path.write_text(json.dumps(found))
    text = " ".join(futures_part(path).split())
    for words in (
        "2 futures of China, 3,000 bars", "5 trainings on each of 4 folds", "from 2017-01-03 to 2020-12-31, 970 days",
        "Left out by name: C. The data suite blocks it: row 5", "| G0 data | **refused** | No licence. |",
        "| buy and hold | 1.2 % | - | 20.0 % | 3 |", "train 1.0.",
    ):  # fmt: skip
        assert words in text, words


def test_a_page_without_marks_is_not_written_over() -> None:
    assert with_section(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb\n"
    with pytest.raises(AssertionError, match="both marks"):
        with_section("a page", "new")
