"""Ingest says on the terminal what it decided, and keeps the truth of a simulated market aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandmodel.data.dataset import RawDataset
from pipelines.ingest import ingest
from pipelines.workspace import Workspace
from tests.conftest import SHARED_DATA


def test_what_was_decided_is_told_one_line_each(
    market_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "given" / "NQ_export.parquet"
    alone.parent.mkdir()
    alone.write_bytes((market_folder / "NQ_5m.parquet").read_bytes())
    ingest(Workspace(tmp_path / "run"), alone)
    lines = capsys.readouterr().out.splitlines()
    report = RawDataset.load(tmp_path / "run" / "ingest").report
    assert lines == [f"  {finding.subject}: {finding.text}" for finding in report]
    assert any("bar starts in UTC" in line for line in lines)


def test_the_truth_of_a_simulated_market_stays_beside_the_rows(workspace: Workspace, market_folder: Path) -> None:
    names = {path.name for path in (market_folder / "truth").iterdir()}
    assert {path.name for path in (workspace.ingest / "truth" / "truth").iterdir()} == names
    assert "state" not in RawDataset.load(workspace.ingest).frame.columns


@pytest.mark.shared
def test_a_large_folder_is_cut_to_its_core_six_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest(Workspace(tmp_path), SHARED_DATA / "cn_futures_5m")
    core = "CFFEX.IF, CFFEX.IC, CFFEX.T, SHFE.cu, SHFE.rb, INE.sc"
    assert f"24 instruments found, {core} are used: at most 6 unless named" in capsys.readouterr().out
    assert sorted(RawDataset.load(tmp_path / "ingest").instruments) == sorted(core.split(", "))
