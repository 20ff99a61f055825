"""The committed suite runs whole, writes nothing into the checkout, and builds pages that stand alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from grandmodel.core.errors import ConfigError
from grandmodel.core.hashing import hash_folder
from grandmodel.data import build_suites
from grandmodel.data.readers import read_raw
from grandmodel.data.validation import validate


def test_every_expectation_of_the_suite_is_evaluated(globex, csv, context_root: Path, tmp_path: Path):
    report = validate(read_raw(csv(globex())), context_root, tmp_path / "docs")
    suite = json.loads((context_root / "expectations" / "bars.json").read_text())
    assert len(report.checks) == len(suite["expectations"]) == len(build_suites.bar_expectations())
    assert report.passed
    report.raise_if_blocked()


def test_committed_files_are_those_that_the_builder_writes(context_root: Path, tmp_path: Path):
    build_suites.build(tmp_path)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) == 5
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


def test_checks_are_plain_data(globex, csv, context_root: Path, tmp_path: Path):
    frame = globex()
    frame.loc[3, "close"] = float("nan")
    report = validate(read_raw(csv(frame)), context_root, tmp_path / "docs")
    assert not report.passed
    assert json.loads(json.dumps(report.checks, allow_nan=False)) == report.checks


def test_an_unknown_expectation_is_not_dropped_in_silence(globex, csv, context_root: Path, tmp_path: Path):
    root = tmp_path / "context"
    shutil.copytree(context_root, root)
    suite = root / "expectations" / "bars.json"
    suite.write_text(suite.read_text().replace("expect_bar_envelope", "expect_bar_unheard_of"))
    with pytest.raises(ConfigError, match="expectations must be evaluated"):
        validate(read_raw(csv(globex())), root, tmp_path / "docs")


def test_a_missing_context_is_refused(globex, csv, tmp_path: Path):
    with pytest.raises(ConfigError, match="Great Expectations context"):
        validate(read_raw(csv(globex())), tmp_path / "nowhere", tmp_path / "docs")


def test_the_context_folder_is_no_package(context_root: Path):
    assert not list(context_root.rglob("*.py"))
