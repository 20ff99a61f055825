"""The commands around raw bars: check, import, drift, simulate."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from grandmodel.core.random import random_stream
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.reading.readers import read_raw
from tests.grandmodel.command_line import call, parsed, refuse

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "simulated"
    about = parsed("data", "simulate", "--edge", 0.5, "--seed", 3, "--sessions", 12, "--out", folder)
    assert about == {"path": str(folder), "simulated": True, "edge": 0.5, "seed": 3, "sessions": 12}
    return folder


def test_a_simulated_market_is_not_written_over_other_files(market: Path) -> None:
    assert "must be new or empty" in refuse(1, "data", "simulate", "--out", market)


def test_check_passes_good_bars_and_builds_pages(market: Path, tmp_path: Path) -> None:
    report = parsed("data", "check", market, "--docs", tmp_path / "docs")
    assert report["passed"]
    assert report["simulated"]
    assert len(report["checks"]) > 10
    assert Path(report["docs"]).is_file()


def quarter_of_bars() -> pd.DataFrame:
    """Return 80 sessions of 30-minute bars in Chicago time around the roll of March 2025, day first, with one roll."""
    days = pd.bdate_range("2025-01-06", periods=80)
    starts = [day - pd.Timedelta(hours=7) + pd.Timedelta(minutes=30 * slot) for day in days for slot in range(46)]
    stamps = pd.DatetimeIndex(starts)
    steps = random_stream(1, "test", "quarter").integers(-4, 5, len(stamps))
    steps[::46] = 1  # a small gap at the open of each session
    steps[list(days).index(pd.Timestamp("2025-03-18")) * 46] = 800  # 200 points, one per cent
    close = 20_000 + 0.25 * np.cumsum(steps)
    opening = np.r_[close[0], close[:-1]]
    gap = np.arange(len(stamps)) % 46 == 0
    opening[gap] = close[gap]
    return pd.DataFrame(
        {
            "Timestamp": stamps.strftime("%d/%m/%Y %H:%M:%S"),
            "Open": opening,
            "High": np.maximum(opening, close),
            "Low": np.minimum(opening, close),
            "Close": close,
            "Volume": random_stream(1, "test", "volume").integers(500, 1500, len(stamps)),
        }
    )


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "NQ_2025.csv"
    quarter_of_bars().to_csv(path, index=False)
    return path


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty checkout with a DVC repository, as the working folder."""
    folder = tmp_path / "checkout"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "flows").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    shutil.copy(PROJECT / "params.yaml", folder)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(folder)
    return folder


def test_import_says_how_it_read_the_file_and_why(csv: Path) -> None:
    report = parsed("data", "import", csv, "--instrument", "NQ", "--tz", "America/Chicago")
    texts = " ".join(finding["text"] for finding in report["findings"])
    assert "dates are read day-first" in texts
    assert "2025-03-18" in texts
    assert report["instruments"][0] | {"bars": 3680, "sessions": 80, "minutes": 30} == report["instruments"][0]
    assert report["tracked"] is None
    assert "day-first" in call("data", "import", csv, "--tz", "America/Chicago").stdout


def test_import_tracks_bars_that_read_back_alike(csv: Path, checkout: Path) -> None:
    options = ("--tz", "America/Chicago", "--track", "--name", "nq", "--licence", "private", "--source", "a vendor")
    folder = Path(parsed("data", "import", csv, *options)["tracked"])
    assert folder == checkout / "imported" / "nq"
    pointer = yaml.safe_load((checkout / "imported" / "nq.dvc").read_text())
    assert pointer["meta"] == {"simulated": False, "licence": "private", "source": "a vendor"}
    raw = read_raw(folder)
    assert (raw.licence, raw.source, raw.simulated) == ("private", "a vendor", False)
    source, copy = (to_bars(item).strategic["NQ"] for item in (read_raw(csv, timezone="America/Chicago"), raw))
    assert source.price_factor[0] != 1.0
    assert np.array_equal(source.close, copy.close)
    assert np.array_equal(source.start_ns, copy.start_ns)


def test_import_again_changes_nothing_and_other_bars_need_another_name(csv: Path, checkout: Path) -> None:
    options = ("--tz", "America/Chicago", "--track", "--name", "nq")
    parsed("data", "import", csv, *options)
    before = (checkout / "imported" / "nq.dvc").read_text()
    parsed("data", "import", csv, *options)
    assert (checkout / "imported" / "nq.dvc").read_text() == before
    quarter_of_bars().iloc[:-46].to_csv(csv, index=False)
    assert "must not hold other data already" in refuse(1, "data", "import", csv, *options)
    assert sorted(path.name for path in (checkout / "imported").iterdir()) == ["nq", "nq.dvc"]


def test_import_refuses_a_name_that_leads_elsewhere(csv: Path, checkout: Path) -> None:
    message = refuse(1, "data", "import", csv, "--tz", "America/Chicago", "--track", "--name", "../nq")
    assert "must be letters" in message
    assert not (checkout / "imported").exists()


def _cell(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    table[column] = table[column].astype(object)
    table.loc[48, column] = value
    return table


BAD = {
    "missing column": (lambda table: table.drop(columns="High"), "row 1: the header must have a column 'high'"),
    "duplicate row": (lambda table: pd.concat([table, table.tail(1)]), "row 3682: bar starts of one instrument must"),
    "high below low": (lambda table: _cell(table, "High", 1.0), "row 50: high must be at least"),
    "no price": (lambda table: _cell(table, "Close", "NaN"), "row 50: close must be a number"),
    "no number": (
        lambda table: _cell(table, "Close", "a lot"),
        "row 50 column close: the cell must be a finite number",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_check_blocks_bad_bars_with_one_sentence(name: str, csv: Path, tmp_path: Path) -> None:
    spoil, sentence = BAD[name]
    spoil(quarter_of_bars()).to_csv(csv, index=False)
    message = refuse(1, "data", "check", csv, "--tz", "America/Chicago", "--docs", tmp_path / "docs")
    assert "NQ_2025.csv" in message
    assert sentence in message


def test_bars_of_the_future_are_refused(csv: Path, tmp_path: Path) -> None:
    table = quarter_of_bars()
    table["Timestamp"] = table["Timestamp"].str.replace("2025", "2125").str.replace("2024", "2124")
    table.to_csv(csv, index=False)
    arguments = ("--date-order", "day-first", "--tz", "America/Chicago", "--docs", tmp_path / "docs")
    assert "future" in refuse(1, "data", "check", csv, *arguments)


def test_check_shows_what_was_masked_and_where(csv: Path, tmp_path: Path) -> None:
    table = quarter_of_bars()
    table.loc[999, ["Open", "High", "Low", "Close"]] += 5000
    table.to_csv(csv, index=False)
    arguments = ("data", "check", csv, "--tz", "America/Chicago", "--docs", tmp_path / "docs")
    report = parsed(*arguments)
    (masked,) = [finding for finding in report["findings"] if "bad prints" in finding["text"]]
    assert (masked["level"], masked["file"], masked["rows"]) == ("warning", "NQ_2025.csv", [1001])
    shown = call(*arguments).stdout
    assert "bad prints" in shown
    assert "1001" in shown
    assert f"{len(report['checks'])} of {len(report['checks'])} checks pass" in shown


def test_check_lists_blocking_rows_before_it_exits(csv: Path, tmp_path: Path) -> None:
    table = quarter_of_bars()
    table.loc[[20, 21, 30], "High"] = 1.0
    table.to_csv(csv, index=False)
    result = call("data", "check", csv, "--tz", "America/Chicago", "--docs", tmp_path / "docs")
    assert result.exit_code == 1
    assert "blocking" in result.stdout
    assert "22-23, 32" in result.stdout


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02" * 100])
def test_check_blocks_files_that_hold_no_table(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "NQ.csv").write_bytes(content)
    message = refuse(1, "data", "check", tmp_path / "NQ.csv")
    assert "NQ.csv" in message
    assert "the file must" in message


def test_check_of_an_absent_path_is_an_error(tmp_path: Path) -> None:
    assert "must exist" in refuse(1, "data", "check", tmp_path / "absent.csv")


# --- drift


@pytest.fixture(scope="module")
def quarters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return 60 sessions of a simulated market and 25 of the next, as two folders."""
    folder = tmp_path_factory.mktemp("drift")
    parsed("data", "simulate", "--seed", 5, "--sessions", 60, "--out", folder / "before")
    parsed("data", "simulate", "--seed", 6, "--sessions", 25, "--out", folder / "after")
    return folder / "before", folder / "after"


def test_drift_passes_the_same_market_and_keeps_its_reference(quarters: tuple[Path, Path], tmp_path: Path) -> None:
    before, _ = quarters
    kept, pages = tmp_path / "reference.json", ("--docs", tmp_path / "docs")
    report = parsed("data", "drift", before, "--against", before, "--save", kept, *pages)
    assert report["passed"]
    assert {row["measure"] for row in report["measures"]} == {"log_return", "log_range", "log_volume", "session_bars"}
    again = parsed("data", "drift", before, "--against", kept, *pages)
    assert again["measures"] == report["measures"]
    assert "4 of 4 checks pass" in call("data", "drift", before, "--against", kept, *pages).stdout


def test_drift_beyond_a_blocking_bound_exits_with_1(quarters: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = quarters
    batch = tmp_path / "batch"
    shutil.copytree(after, batch)
    for path in batch.glob("*.parquet"):
        table = pd.read_parquet(path)
        table["volume"] = table["volume"] * 5
        table.to_parquet(path)
    message = refuse(1, "data", "drift", batch, "--against", before, "--docs", tmp_path / "docs")
    assert "the population stability index must be at most 0.25" in message
    assert "log_volume" in message


def test_drift_needs_a_reference_that_is_one(quarters: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert "must hold a drift reference" in refuse(1, "data", "drift", quarters[0], "--against", tmp_path / "x.json")
    assert "must exist" in refuse(1, "data", "drift", quarters[0], "--against", tmp_path / "absent")


# --- a folder of Chinese futures


@pytest.fixture
def chinese(tmp_path: Path) -> Path:
    """Return two made-up contracts with their tables, in the layout of Chinese futures."""
    folder = tmp_path / "chinese"
    folder.mkdir()
    days = pd.bdate_range("2019-03-04", periods=8)
    slots = [*range(575, 691, 5), *range(785, 901, 5)]
    closes = [day + pd.Timedelta(minutes=slot) for day in days for slot in slots]
    for number, symbol in enumerate(("CFFEX.IF", "CFFEX.IC")):
        steps = random_stream(number, "test", "chinese").integers(-5, 6, len(closes))
        close = (18_000 + np.cumsum(steps)) * 0.2
        opening = np.r_[close[0], close[:-1]]
        table = {
            "ts": closes,
            "trading_day": [int(stamp.strftime("%Y%m%d")) for stamp in closes],
            "open": opening,
            "high": np.maximum(opening, close) + 0.2,
            "low": np.minimum(opening, close) - 0.2,
            "close": close,
            "volume": random_stream(number, "test", "lots").integers(300, 900, len(closes)),
        }
        pd.DataFrame(table).to_parquet(folder / f"{symbol}.parquet")
    spans = "\"[{'from': 930, 'to': 1130}, {'from': 1300, 'to': 1500}]\""
    header = "symbol,multiplier,tick,session,fee_open,fee_close,fee_closetoday,fee_by_lot"
    lines = [f"{symbol},300,0.2,{spans},2e-05,2e-05,2e-04,False" for symbol in ("CFFEX.IF", "CFFEX.IC")]
    (folder / "instruments.csv").write_text("\n".join([header, *lines]) + "\n")
    rolls = ["symbol,date,from_contract,to_contract,old_close,new_close"]
    rolls += [f"{symbol},20190308,A,B,100.0,101.0" for symbol in ("CFFEX.IF", "CFFEX.IC")]
    (folder / "rolls.csv").write_text("\n".join(rolls) + "\n")
    return folder


def test_import_tracks_a_part_of_a_chinese_folder(chinese: Path, checkout: Path) -> None:
    options = ("--symbol", "CFFEX.IC", "--track", "--name", "ic", "--licence", "MIT", "--source", "a vendor")
    folder = Path(parsed("data", "import", chinese, *options)["tracked"])
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["CFFEX.IC.parquet", "dataset.yaml", "instruments.csv", "rolls.csv", "universe.csv"]
    assert "IF" not in (folder / "instruments.csv").read_text() + (folder / "rolls.csv").read_text()
    raw = read_raw(folder)
    assert (raw.name, raw.licence, raw.source, list(raw.instruments)) == ("ic", "MIT", "a vendor", ["CFFEX.IC"])
    assert {one.symbol: one.is_member for one in raw.universe} == {"CFFEX.IC": True, "CFFEX.IF": False}
    part, whole = to_bars(raw).tactical["CFFEX.IC"], to_bars(read_raw(chinese)).tactical["CFFEX.IC"]
    assert part.price_factor[0] == pytest.approx(1.01)
    assert np.array_equal(part.close, whole.close)
    assert np.array_equal(part.session, whole.session)


@pytest.mark.shared
def test_the_real_file_of_two_spellings_is_read_with_its_evidence(shared_data: Path) -> None:
    report = parsed("data", "import", shared_data / "futures_30m" / "NQ_30min_2020_2025.csv", "--instrument", "NQ")
    texts = " ".join(finding["text"] for finding in report["findings"])
    assert "dates are read day-first" in texts
    assert "stamps are bar starts in Asia/Jerusalem" in texts
    assert "strategic-only" in texts
