"""Survivorship in the universe: gate G0 refuses a choice without the instrument that ended since the test began."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from grandmodel.data.simulator.generate import simulate
from grandmodel.gates.result import GateResult
from tests.sabotage.conftest import SHARED, lay_out, read_market


def end_early(path: Path, share: float) -> None:
    """Keep the first ``share`` of the bars of a file, as of an instrument that nobody trades any more."""
    bars = pd.read_parquet(path)
    bars.iloc[: int(share * len(bars))].to_parquet(path)


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.shared)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder of three instruments of which one ended in the middle of the test."""
    data = tmp_path / "data"
    if request.param == "simulated":
        simulate(data, edge=0.0, seed=3, sessions=80)
        (data / "CL_5m.parquet").unlink()
        end_early(data / "GC_5m.parquet", 0.7)
        return data
    data.mkdir()
    for name in ("instruments.csv", "rolls.csv", "CFFEX.IF.parquet", "CFFEX.IC.parquet", "CFFEX.T.parquet"):
        shutil.copy(SHARED / "cn_futures_5m" / name, data / name)
    (data / "dataset.yaml").write_text("name: three futures\nlicence: MIT\nsource: FinRL-Meta\n")
    end_early(data / "CFFEX.T.parquet", 0.95)
    return data


def verdict(folder: Path, symbols: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> GateResult:
    """Return the verdict of gate G0 on a choice of instruments."""
    workspace = folder.parent / "workspace"
    workspace.mkdir()
    market = read_market(workspace, folder, symbols, sessions=250)
    return lay_out(market, workspace).verdicts(monkeypatch)["g0_data"]


def chosen(folder: Path) -> tuple[tuple[str, ...], str]:
    """Return the instruments that still trade, and the one that does not."""
    return (("ES", "NQ"), "GC") if (folder / "NQ_5m.parquet").exists() else (("CFFEX.IC", "CFFEX.IF"), "CFFEX.T")


def test_a_universe_with_its_dead_passes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, dead = chosen(folder)
    result = verdict(folder, (*alive, dead), monkeypatch)
    assert result.passed, result.reason


def test_a_universe_of_survivors_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, dead = chosen(folder)
    result = verdict(folder, alive, monkeypatch)
    assert not result.passed
    assert f"{dead} could be chosen on " in result.reason
    assert "is left out: the universe holds survivors" in result.reason
