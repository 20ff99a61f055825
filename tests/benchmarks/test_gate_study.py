"""The study of error rates: one release is one market, lines survive a kill, and other settings stop it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gate_study
from benchmarks.gate_study import Study, append, read_lines, refuse_other_settings, release, run
from grandmodel.core.config import Params
from grandmodel.core.errors import ConfigError

TEAM = {"frames": 2048, "environments": 32, "rollout_steps": 16, "window_bars": 32, "hidden": 16, "critic_hidden": 16}
SETTINGS = {"simulator": {"edge": 1.0}, "params_hash": "p", "code_hash": "c"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Study:
    """A study of small markets and hardly any training, whose files lie in a folder of the test."""
    quick = gate_study.study_params(0)
    teams = {name: getattr(quick.training, name).model_copy(update=TEAM) for name in ("strategic", "tactical")}
    tiny = quick.model_copy(
        update={
            "training": quick.training.model_copy(update={"seeds": 2, **teams}),
            "evaluation": quick.evaluation.model_copy(update={"bootstrap_draws": 200, "random_baseline_draws": 2}),
            "gates": quick.gates.model_copy(update={"truncation_points": 1}),
            "stress": quick.stress.model_copy(update={"warmup_bars": 1104}),
        }
    )

    def params(seed: int) -> Params:
        return tiny.model_copy(update={"seed": seed})

    monkeypatch.setattr(gate_study, "study_params", params)
    monkeypatch.setattr(gate_study, "SESSIONS", 40)
    monkeypatch.setattr(gate_study, "SYMBOLS", ("ES", "NQ"))
    monkeypatch.setattr(gate_study, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(gate_study, "TRAININGS", tmp_path / "trainings")
    return Study(1.0)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, small: Study) -> list[int]:
    """Return the seeds of the releases that were made; making one takes no time."""
    seeds: list[int] = []

    def finished(study: Study, missing: Sequence[int], processes: int) -> Iterator[dict[str, Any]]:
        for seed in missing:
            seeds.append(seed)
            yield {"seed": seed, "cpu_seconds": 1.0, "sentence": "Made.", "passed": seed % 2 == 0}

    monkeypatch.setattr(gate_study, "finished", finished)
    return seeds


def test_a_release_goes_through_all_stages_and_gates_and_its_trainings_are_kept(small: Study) -> None:
    row = release(small, 3)
    assert list(row["gates"]) == [
        "g0_data", "g1_leakage", "g2_sanity", "g3_seeds", "g4_selection", "g5_costs", "g6_risk",
    ]  # fmt: skip
    assert row["passed"] is (row["refused_by"] == [])
    assert row["figures"]["days"] == 20
    assert row["trained"] == len(list(gate_study.trainings(small, 3).glob("*/weights"))) == 2


def test_a_market_that_a_stage_refuses_is_not_promoted(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_study, "SESSIONS", 4)
    row = release(small, 3)
    assert (row["passed"], row["refused_by"], row["gates"]) == (False, ["a stage"], {})
    assert "needs at least 500 training bars" in row["sentence"]


def test_a_study_goes_on_where_it_was(small: Study, made: list[int]) -> None:
    assert len(run(small, 3, 1)) == 3
    assert [row["seed"] for row in run(small, 5, 1)] == [1, 2, 3, 4, 5]
    assert made == [1, 2, 3, 4, 5]
    assert {name for row in read_lines(small.path) for name in row} >= {"commit", "machine", "measured", "params_hash"}


def test_a_line_that_a_kill_cut_short_is_made_again(small: Study, made: list[int]) -> None:
    run(small, 2, 1)
    text = small.path.read_text()
    small.path.write_text(text[: len(text) - 20])
    run(small, 2, 1)
    assert made == [1, 2, 2]
    assert [json.loads(line)["seed"] for line in small.path.read_text().splitlines()] == [1, 2]


def test_a_shorter_study_leaves_the_lines_beyond_it_out_of_its_table(small: Study, made: list[int]) -> None:
    run(small, 4, 1)
    assert [row["seed"] for row in run(small, 2, 1)] == [1, 2]
    assert len(read_lines(small.path)) == 4


@pytest.mark.parametrize("name", list(SETTINGS))
def test_lines_of_other_settings_stop_the_study(name: str) -> None:
    rows = [{"seed": 1, **SETTINGS}, {"seed": 2, **SETTINGS, name: "another"}]
    refuse_other_settings(Path("kept"), rows[:1], SETTINGS)
    with pytest.raises(ConfigError, match=f"one {name}; seed 2"):
        refuse_other_settings(Path("kept"), rows, SETTINGS)


def test_a_pilot_has_seeds_and_a_file_of_its_own() -> None:
    study, pilot = Study(0.5), Study(0.5, pilot=True)
    assert study.path != pilot.path
    assert not set(study.seeds(1000)) & set(pilot.seeds(1000))


def test_lines_come_back_in_the_order_of_their_seeds(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    for seed in (3, 1, 2):
        append(path, {"seed": seed})
    assert [row["seed"] for row in read_lines(path)] == [1, 2, 3]
    assert read_lines(tmp_path / "none.jsonl") == []
