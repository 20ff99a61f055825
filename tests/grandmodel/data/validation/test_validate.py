"""The committed suite runs whole, writes nothing into the checkout, and builds pages that stand alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.hashing import hash_folder
from grandmodel.data.asset_classes import LIMITS
from grandmodel.data.reading.readers import read_raw
from grandmodel.data.validation import build_suites
from grandmodel.data.validation.expectations import moves_within
from grandmodel.data.validation.suite_batch import suite_batches
from grandmodel.data.validation.validate import validate


def test_every_expectation_of_the_suite_is_evaluated(globex, csv, context_root: Path, tmp_path: Path):
    report = validate(read_raw(csv(globex())), context_root, tmp_path / "docs")
    suite = json.loads((context_root / "expectations" / "bars_index_future.json").read_text())
    expected = build_suites.bar_expectations(LIMITS["index_future"])
    assert len(report.checks) == len(suite["expectations"]) == len(expected)
    assert {check["suite"] for check in report.checks} == {"bars_index_future"}
    assert len({check["name"] for check in report.checks if check["level"] == "critical"}) >= 15
    assert report.passed
    report.raise_if_blocked()


def test_committed_files_are_those_that_the_builder_writes(context_root: Path, tmp_path: Path):
    build_suites.build(tmp_path)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    committed = {path.relative_to(context_root) for path in context_root.rglob("*.json")}
    assert len(build_suites.suites()) == len(LIMITS) + 1
    assert len(written) == 3 * len(build_suites.suites()) + 2
    assert committed == {path for path in written if path.suffix == ".json"}
    for path in written:
        assert (context_root / path).read_bytes() == (tmp_path / path).read_bytes()


def test_a_run_leaves_the_context_untouched(globex, csv, context_root: Path, tmp_path: Path):
    root = tmp_path / "context"
    shutil.copytree(context_root, root)
    before = hash_folder(root)
    validate(read_raw(csv(globex())), root, tmp_path / "docs")
    assert hash_folder(root) == before


def test_a_second_run_replaces_the_pages(globex, csv, context_root: Path, tmp_path: Path):
    raw = read_raw(csv(globex()))
    pages = [
        len(list((validate(raw, context_root, tmp_path / "docs").docs_index.parent / "validations").rglob("*.html")))
        for _ in range(2)
    ]
    assert pages == [1, 1]


def test_pages_fetch_nothing_and_link_to_each_other(globex, csv, context_root: Path, tmp_path: Path):
    index = validate(read_raw(csv(globex())), context_root, tmp_path / "docs").docs_index
    pages = list(index.parent.rglob("*.html"))
    assert len(pages) == 3
    for page in pages:
        html = page.read_text()
        assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", html)
        assert "<script" not in html
        assert "<style>" in html
    links = re.findall(r'<li><a href="([^"]+\.html)">', index.read_text())
    assert len(links) == 2
    assert all((index.parent / link).is_file() for link in links)


def test_a_warning_does_not_block(globex, csv, context_root: Path, tmp_path: Path):
    frame = globex()
    frame.loc[700:, ["open", "high", "low", "close"]] += 2000
    frame.loc[:100, "volume"] = 0
    report = validate(read_raw(csv(frame)), context_root, tmp_path / "docs")
    failed = [check for check in report.checks if not check["passed"]]
    assert {check["level"] for check in failed} == {"warning"}
    assert len(failed) == 2
    assert failed[0]["failing_rows"][0]["row"] == 702
    report.raise_if_blocked()


def test_a_level_that_nothing_explains_is_blocked_with_its_row(globex, csv, context_root: Path, tmp_path: Path):
    frame = globex()
    frame.loc[700:, ["open", "high", "low", "close"]] += 9000
    report = validate(read_raw(csv(frame)), context_root, tmp_path / "docs")
    with pytest.raises(DataError, match=r"NQ\.csv row 702: a close more than 35% from the one before"):
        report.raise_if_blocked()


def test_what_a_mask_explains_does_not_block(globex, csv, context_root: Path, tmp_path: Path):
    frame = globex(sessions=40)
    prices = ["open", "high", "low", "close"]
    frame.loc[700:709, prices] *= 10
    frame.loc[900:909, prices] = (frame.loc[900:909, prices] * 2).round()
    report = validate(read_raw(csv(frame)), context_root, tmp_path / "docs")
    assert report.passed
    assert {check["failing_count"] for check in report.checks if "masked" in check["name"]} <= {0, 10}


def test_too_little_left_is_blocked(globex, csv, context_root: Path, tmp_path: Path):
    frame = globex()
    for name in ("open", "high", "low", "close", "volume"):
        frame.loc[100:900, name] = frame.loc[99, name]
    report = validate(read_raw(csv(frame)), context_root, tmp_path / "docs")
    with pytest.raises(DataError, match="at least half of the rows must be left after masking"):
        report.raise_if_blocked()


def test_each_class_has_its_suite_and_one_set_of_pages(globex, csv, context_root: Path, tmp_path: Path):
    for name in ("NQ.csv", "CL.csv", "BTC.csv"):
        csv(globex(), name=name)
    report = validate(read_raw(tmp_path, timezone="UTC", stamp="start"), context_root, tmp_path / "docs")
    assert {check["suite"] for check in report.checks} == {"bars_index_future", "bars_commodity_future", "bars_crypto"}
    assert len(list((tmp_path / "docs").rglob("*.html"))) == 1 + 2 * 3


def test_the_first_page_lists_the_rows_that_fail(globex, csv, context_root: Path, tmp_path: Path):
    frame = globex()
    good = validate(read_raw(csv(frame)), context_root, tmp_path / "good").docs_index.read_text()
    assert "All 21 checks pass" in good
    frame.loc[3, "high"] = 1.0
    bad = validate(read_raw(csv(frame)), context_root, tmp_path / "bad").docs_index.read_text()
    assert "1 of 21 checks fail" in bad
    assert "file NQ.csv, row 5" in bad
    assert "high 1.0" in bad


def test_limits_of_a_class_follow_the_length_of_a_bar():
    table = pd.DataFrame({"move": [0.04, -0.04, 0.04, 0.2], "bar_minutes": [1, 5, 30, 1440]})
    assert moves_within(table, 0.03, 0.05, 0.10).tolist() == [False, False, True, False]


def test_the_batch_carries_what_the_masks_found(globex, csv):
    frame = globex(sessions=40)
    frame.loc[700:702, ["open", "high", "low", "close"]] *= 1.25
    (batch,) = suite_batches(read_raw(csv(frame))).values()
    assert np.flatnonzero(batch["masked"]).tolist() == [700, 701, 702]
    assert np.flatnonzero(np.isnan(batch["move"])).tolist() == [0, 700, 701, 702]
    assert batch["move"].abs().max() < 0.01
    whole = batch["session_frac"].dropna()
    assert len(whole) == 38
    assert (whole >= 1).all()  # on Good Friday the calendar expects none or few


def test_checks_are_plain_data(globex, csv, context_root: Path, tmp_path: Path):
    frame = globex()
    frame.loc[3, "close"] = float("nan")
    report = validate(read_raw(csv(frame)), context_root, tmp_path / "docs")
    assert not report.passed
    assert json.loads(json.dumps(report.checks, allow_nan=False)) == report.checks


def test_an_unknown_expectation_is_not_dropped_in_silence(globex, csv, context_root: Path, tmp_path: Path):
    root = tmp_path / "context"
    shutil.copytree(context_root, root)
    suite = root / "expectations" / "bars_index_future.json"
    suite.write_text(suite.read_text().replace("expect_bar_envelope", "expect_bar_unheard_of"))
    with pytest.raises(ConfigError, match="expectations must be evaluated"):
        validate(read_raw(csv(globex())), root, tmp_path / "docs")


def test_a_missing_context_is_refused(globex, csv, tmp_path: Path):
    with pytest.raises(ConfigError, match="Great Expectations context"):
        validate(read_raw(csv(globex())), tmp_path / "nowhere", tmp_path / "docs")


def test_the_context_folder_is_no_package(context_root: Path):
    assert not list(context_root.rglob("*.py"))
