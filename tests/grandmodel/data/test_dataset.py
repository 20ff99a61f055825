"""Saved bars come back equal, and equal bars are equal bytes."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.bars import Bars
from grandmodel.core.errors import DataError
from grandmodel.core.hashing import hash_folder
from grandmodel.data.dataset import Dataset, Finding, RawDataset
from grandmodel.data.reading.readers import read_dataset, read_raw


def test_save_and_load_return_the_same(globex, csv, tmp_path: Path):
    data = read_dataset(csv(globex(minutes=5)), stamp="start")
    data.save(tmp_path / "a")
    back = Dataset.load(tmp_path / "a")
    assert (back.name, back.raw_hash, back.report, back.instruments) == (
        data.name,
        data.raw_hash,
        data.report,
        data.instruments,
    )
    for clock in ("tactical", "strategic"):
        bars, again = getattr(data, clock)["NQ"], getattr(back, clock)["NQ"]
        assert len(again) > 0
        for field in fields(Bars):
            np.testing.assert_array_equal(getattr(bars, field.name), getattr(again, field.name))


def test_raw_rows_come_back_with_their_types(globex, csv, tmp_path: Path):
    raw = read_raw(csv(globex()))
    raw.save(tmp_path)
    back = RawDataset.load(tmp_path)
    assert str(back.frame["ts"].dtype) == "datetime64[ns, UTC]"
    pd.testing.assert_frame_equal(back.frame, raw.frame)
    assert (back.report, back.rolls, back.instruments) == (raw.report, raw.rolls, raw.instruments)


def test_equal_bars_are_equal_bytes(globex, csv, tmp_path: Path):
    for name in ("a", "b"):
        read_dataset(csv(globex(minutes=5)), stamp="start").save(tmp_path / name)
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")


def test_a_folder_without_bars_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="must hold saved bars"):
        Dataset.load(tmp_path)


def test_findings_keep_their_first_rows(globex, csv, tmp_path: Path):
    raw = read_raw(csv(globex()))
    finding = Finding("warning", "NQ", "rows", "NQ.csv", tuple(range(50)), 50)
    assert len(finding.rows) == 20
    replace(raw, report=(finding,)).save(tmp_path)
    assert RawDataset.load(tmp_path).report == (finding,)
