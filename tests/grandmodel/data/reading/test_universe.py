"""What the instruments were chosen from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import Listing
from grandmodel.data.reading.readers import read_raw
from grandmodel.data.reading.universe import read_universe, universe_table
from grandmodel.data.simulator.generate import simulate


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("universe") / "data"
    simulate(folder, edge=0.0, seed=1, sessions=12)
    return folder


@pytest.fixture
def folder(market: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(market, tmp_path / "data"))


def _universe(folder: Path, *symbols: str) -> dict[str, Listing]:
    return {listing.symbol: listing for listing in read_raw(folder, symbols=symbols).universe}


def _day(text: str) -> int:
    return int(np.datetime64(text).astype("datetime64[D]").astype(int))


def test_members_are_dated_by_their_bars_and_files_left_out_by_their_stamps(folder: Path) -> None:
    raw = read_raw(folder, symbols=("NQ",))
    found = {listing.symbol: listing for listing in raw.universe}
    assert {symbol for symbol, one in found.items() if one.is_member} == {"NQ"}
    assert set(found) == {"CL", "ES", "GC", "NQ"}
    session = raw.frame["session"]
    assert (found["NQ"].first_session, found["NQ"].last_session) == (session.min(), session.max())
    assert abs(found["CL"].last_session - found["NQ"].last_session) <= 1  # stamps in UTC, sessions in Chicago


def test_a_file_that_ends_early_is_dated_so(folder: Path) -> None:
    path = folder / "CL_5m.parquet"
    rows = pd.read_parquet(path)
    rows.iloc[: len(rows) // 2].to_parquet(path)
    found = _universe(folder, "NQ")
    assert found["CL"].last_session < found["NQ"].last_session - 5


def test_a_file_that_is_no_bars_stays_undated(folder: Path) -> None:
    (folder / "notes.csv").write_text("remember,the milk\n1,2\n")
    found = _universe(folder, "NQ")["notes"]
    assert (found.first_session, found.last_session, found.is_member) == (None, None, False)


def test_a_table_names_what_nobody_kept_and_does_not_redate_members(folder: Path) -> None:
    text = "symbol,first,last\nNQ,1999-01-01,2001-01-01\nDEAD,2020-01-01,2024-01-05\nCL,1990-01-01,\n"
    (folder / "universe.csv").write_text(text)
    found = _universe(folder, "NQ", "ES")
    assert (found["DEAD"].last_session, found["DEAD"].is_member) == (_day("2024-01-05"), False)
    assert found["CL"].first_session == _day("1990-01-01")
    assert found["CL"].last_session > _day("2100-01-01")
    assert found["NQ"].is_member
    assert found["NQ"].first_session > _day("2020-01-01")


def test_what_a_copy_leaves_behind_is_read_back_from_its_table(folder: Path, tmp_path: Path) -> None:
    (folder / "universe.csv").write_text("symbol,first,last\nDEAD,2020-01-01,2024-01-05\nCL,1990-01-01,\n")
    (folder / "notes.csv").write_text("remember,the milk\n1,2\n")
    whole = read_raw(folder, symbols=("NQ",)).universe
    path = tmp_path / "universe.csv"
    path.write_text(universe_table(whole))
    found = {one.symbol: (one.first_session, one.last_session) for one in read_universe(path)}
    assert found == {one.symbol: (one.first_session, one.last_session) for one in whole if one.symbol in found}
    assert set(found) == {"CL", "DEAD", "ES", "GC"}
    assert universe_table(one for one in whole if one.is_member) == ""


def test_the_table_is_part_of_the_hash(folder: Path) -> None:
    before = read_raw(folder).raw_hash
    (folder / "universe.csv").write_text("symbol,first,last\nDEAD,2020-01-01,2024-01-05\n")
    assert read_raw(folder).raw_hash != before


def test_a_lone_file_is_a_universe_of_one(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(folder / "NQ_5m.parquet", alone / "NQ.parquet")
    shutil.copy(folder / "ES_5m.parquet", alone / "ES.parquet")
    assert [one.symbol for one in read_raw(alone / "NQ.parquet").universe] == ["NQ"]


@pytest.mark.parametrize(
    "text",
    [
        "symbol,first\nDEAD,2020-01-01\n",
        "symbol,first,last\nDEAD,soon,2024-01-05\n",
        "symbol,first,last\nDEAD,2020-01-01,2024-01-05\nDEAD,2020-01-01,2024-01-06\n",
    ],
)
def test_a_table_that_cannot_be_read_is_refused_by_name(folder: Path, text: str) -> None:
    (folder / "universe.csv").write_text(text)
    with pytest.raises(DataError, match=r"universe\.csv"):
        read_raw(folder)
