"""Bad input is blocked with one sentence that names file, row, rule, value and what to do, before any registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.simulator.generate import simulate
from pipelines.ingest import ingest
from pipelines.validate import validate
from pipelines.workspace import PROJECT, Workspace

ISO = "%Y-%m-%dT%H:%M:%SZ"
SESSIONS = 20


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Simulated bars that pass: 5 minutes, whole sessions."""
    folder = tmp_path_factory.mktemp("market")
    simulate(folder, edge=0.0, seed=3, sessions=SESSIONS)
    return pd.read_parquet(folder / "NQ_5m.parquet")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "given" / "NQ_5m.csv"


@pytest.fixture
def blocked(tmp_path: Path) -> Callable[[Path], DataError]:
    """Return the error with which the stages before training block a path; nothing that stands for training is made."""

    def block(path: Path) -> DataError:
        workspace = Workspace(tmp_path / "run")
        with pytest.raises(DataError) as caught:
            _first_stages(workspace, path)
        assert {made.name for made in workspace.folder.glob("*")} <= {"ingest", "validate"}
        assert "\n" not in str(caught.value)
        assert caught.value.rule
        assert caught.value.do
        return caught.value

    return block


def _first_stages(workspace: Workspace, data: Path) -> None:
    ingest(workspace, data)
    validate(workspace)


def write(path: Path, frame: pd.DataFrame, form: str = ISO, zone: str = "UTC") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.assign(ts=frame["ts"].dt.tz_convert(zone).dt.strftime(form)).to_csv(path, index=False)
    return path


def changed(frame: pd.DataFrame, line: int, **values: float) -> pd.DataFrame:
    """Return ``frame`` with cells of one line of its CSV file (the header is line 1) replaced."""
    other = frame.copy()
    for name, value in values.items():
        other.loc[line - 2, name] = value
    return other


def test_the_good_file_passes(good: pd.DataFrame, file: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "run")
    _first_stages(workspace, write(file, good))
    assert (workspace.validate / "report.json").exists()


def test_an_empty_file(blocked: Callable[[Path], DataError], file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"")
    error = blocked(file)
    assert (error.subject, error.rule, error.found) == ("NQ_5m.csv", "the file must not be empty", "0 bytes")
    assert error.do == "Export it again"


def test_a_missing_column(blocked: Callable[[Path], DataError], good: pd.DataFrame, file: Path) -> None:
    error = blocked(write(file, good.drop(columns="low")))
    assert error.subject == "NQ_5m.csv row 1"
    assert error.rule == "the header must have a column 'low'"
    assert error.found == ["ts", "open", "high", "close", "volume"]
    assert "Name it 'low'" in error.do


def test_duplicate_rows(blocked: Callable[[Path], DataError], good: pd.DataFrame, file: Path) -> None:
    error = blocked(write(file, pd.concat([good.iloc[:1001], good.iloc[1000:]])))
    assert error.subject == "NQ_5m.csv row 1003"
    assert "none may repeat" in error.rule
    assert str(good["ts"][1000]) in str(error.found)
    assert "Remove the repeated row" in error.do


def test_high_below_low(blocked: Callable[[Path], DataError], good: pd.DataFrame, file: Path) -> None:
    row = good.iloc[500]
    error = blocked(write(file, changed(good, 502, high=row["low"] - 1, low=row["high"] + 1)))
    assert error.subject == "NQ_5m.csv row 502"
    assert error.rule == "high must be at least and low at most open and close"
    assert isinstance(error.found, dict)
    assert error.found["high"] < error.found["low"]
    assert "Correct or remove the row" in error.do


def test_a_price_that_is_not_a_number(blocked: Callable[[Path], DataError], good: pd.DataFrame, file: Path) -> None:
    error = blocked(write(file, changed(good, 702, close=np.nan)))
    assert error.subject == "NQ_5m.csv row 702"
    assert (error.rule, error.found) == ("close must be a number", {"close": None})


def test_several_bad_rows_are_counted(blocked: Callable[[Path], DataError], good: pd.DataFrame, file: Path) -> None:
    error = blocked(write(file, changed(changed(good, 702, open=-1.0), 802, open=-2.0)))
    assert error.subject == "NQ_5m.csv row 702 and 1 more"
    assert (error.rule, error.found) == ("open must be a positive price", {"open": -1.0})
    assert "1 further check fails, see" in error.do


def test_a_binary_file(blocked: Callable[[Path], DataError], file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(bytes(range(256)) * 50)
    error = blocked(file)
    assert (error.subject, error.do) == ("NQ_5m.csv row 1", "Export as CSV in UTF-8")
    assert "binary content" in str(error.found)


def test_a_parquet_file_cut_in_half(blocked: Callable[[Path], DataError], good: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "NQ_5m.parquet"
    good.to_parquet(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    error = blocked(path)
    assert (error.subject, error.rule) == ("NQ_5m.parquet", "the file must be readable as Parquet")
    assert error.do == "Export it again"


def test_a_csv_file_cut_in_a_row(blocked: Callable[[Path], DataError], good: pd.DataFrame, file: Path) -> None:
    text = write(file, good).read_text()
    file.write_text(text[: text.rindex("\n", 0, -1) + 30])
    error = blocked(file)
    assert error.subject == f"NQ_5m.csv row {len(good) + 1}"
    assert "looks cut off" in error.rule


def test_a_path_that_is_not_there(blocked: Callable[[Path], DataError], tmp_path: Path) -> None:
    error = blocked(tmp_path / "absent.csv")
    assert error.subject == str(tmp_path / "absent.csv")
    assert "must exist" in error.rule


def test_a_folder_without_data(blocked: Callable[[Path], DataError], file: Path) -> None:
    file.parent.mkdir()
    file.with_name("readme.txt").write_text("no bars here")
    error = blocked(file.parent)
    assert (error.subject, error.do) == (str(file.parent), "Check the path")


def test_too_few_bars(blocked: Callable[[Path], DataError], good: pd.DataFrame, file: Path) -> None:
    # Around the ends of sessions, so that the clock is evident.
    ends_of_sessions = [good.iloc[276 * day - 10 : 276 * day + 10] for day in range(1, 6)]
    error = blocked(write(file, pd.concat(ends_of_sessions)))
    assert (error.subject, error.found) == ("NQ_5m", 100)
    assert error.do == "Use a longer file"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project, so that the run meets no other and leaves nothing behind."""
    root = tmp_path / "checkout"
    for name in ("flows", "pipelines", "grandmodel", "models", "great_expectations", "configs"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("kernels-*", "uncommitted"))
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copy(PROJECT / name, root / name)
    return root


@pytest.mark.slow
def test_through_the_whole_flow_it_is_one_sentence_and_no_registry_appears(
    good: pd.DataFrame, file: Path, checkout: Path
) -> None:
    write(file, changed(good, 702, close=np.nan))
    own = {"PREFECT_HOME": str(checkout / ".prefect"), "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "flows.release", "--data", str(file)],
        cwd=checkout,
        env=os.environ | own,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == ""
    said = [line for line in done.stdout.splitlines() if not line.startswith("  ")]  # what the reader notes is indented
    sentence = "NQ_5m.csv row 702: close must be a number; found {'close': None}. Correct or remove the row"
    assert said == ["ingest", "validate", f"error: validate: {sentence}"]
    run = next((checkout / "runs").iterdir())
    assert {made.name for made in run.iterdir()} == {"params.yaml", "ingest", "validate"}
    assert not (checkout / "state").exists()
    assert not list(checkout.rglob("mlflow.db"))
    assert not list(checkout.rglob("ledger.jsonl"))
