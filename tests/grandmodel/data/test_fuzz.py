"""Two thousand damaged files: each is refused in words, or what comes out are true bars and the report says the rest.

Seeds walk through all good files and all corruptions of each. A seed passes where

- a ``GrandModelError`` names the file and says what to do, on reading or on making bars, or validation would block, or
- every bar that comes out is one of the true bars, bit for bit, and nothing is missing unless the corruption allows it
  and, where it asks for that, the report says something that it does not say of the good file, or
- the repair that the report names has put earlier prices into a new unit: then prices are the true ones times one
  factor.

The full suite of validation takes a third of a second, so its blocking rules are asked here by the functions behind
them, only where a bar came out wrong; one test runs the suite itself on a sample and finds both of one mind.
``corruptions.py`` lists what no reader can catch.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.errors import GrandModelError
from grandmodel.core.random import random_stream
from grandmodel.data.dataset import Dataset, Finding, RawDataset
from grandmodel.data.reading.readers import read_raw, to_bars
from grandmodel.data.validation.expectations import envelope_holds, prices_on_ticks
from grandmodel.data.validation.validate import validate
from tests.grandmodel.data import good_files
from tests.grandmodel.data.corruptions import Damaged, scale_rest, scale_stretch
from tests.grandmodel.data.corruptions_of_text import corruptions_of
from tests.grandmodel.data.good_files import PRICES, Good

SEEDS, CHUNK = 2000, 50
SHARED_SEEDS, SHARED_CHUNK = 300, 100
STRIDE = 13  # shares no factor with any number of corruptions, so that all are reached; a test counts them
MAKERS = (
    good_files.simulated_csv,
    good_files.price_last_csv,
    good_files.half_hour_csv,
    good_files.project_folder,
    good_files.chinese_folder,
)


@dataclass(frozen=True)
class Known:
    """A good file, what the report says of it while it is good, without the digits, and its prices across rolls."""

    good: Good
    said: frozenset[str]
    adjusted: NDArray[np.float64]  # [n, 4]


@dataclass(frozen=True)
class Outcome:
    """What became of a damaged file."""

    kind: str  # blocked, blocked by validation, read, or wrong
    detail: str  # the sentence, or what is wrong
    whole: bool = False  # whether all true bars came out
    said: str = ""  # what the report says beyond what it says of the good file


def lay(good: Good, content: bytes, folder: Path) -> Path:
    """Write ``good`` with ``content`` in its main file below ``folder`` and return what is to be read."""
    folder = folder / good.name
    folder.mkdir(exist_ok=True)
    for name, beside in good.beside.items():
        (folder / name).write_bytes(beside)
    (folder / good.main).write_bytes(content)
    return folder / good.given


def read(good: Good, content: bytes, folder: Path) -> tuple[RawDataset, Dataset]:
    raw = read_raw(lay(good, content, folder))
    return raw, to_bars(raw)


def texts(report: tuple[Finding, ...]) -> frozenset[str]:
    return frozenset(re.sub(r"[\d.,:%-]+", "", finding.text) for finding in report)


def known(good: Good, folder: Path) -> Known:
    data = read(good, good.content, folder)[1]
    return Known(good, texts(data.report), prices_of(bars_of(good, data)))


def prices_of(bars: Bars) -> NDArray[np.float64]:
    return np.stack([getattr(bars, name) for name in PRICES], axis=1)


@pytest.fixture(scope="session")
def simulated_files(tmp_path_factory: pytest.TempPathFactory) -> list[Known]:
    return [known(make(), tmp_path_factory.mktemp("good")) for make in MAKERS]


@pytest.fixture(scope="session")
def real_files(tmp_path_factory: pytest.TempPathFactory) -> list[Known]:
    folder = Path(__file__).parents[4] / "shared" / "data"
    goods = (
        good_files.real_half_hours(folder),
        good_files.real_chinese(folder, "CFFEX.IF", 30_000),
        good_files.real_chinese(folder, "SHFE.cu", 50_000),
    )
    return [known(good, tmp_path_factory.mktemp("good")) for good in goods]


def bars_of(good: Good, data: Dataset) -> Bars:
    """Return the bars on the clock of the file."""
    (bars,) = (data.strategic if good.bar_minutes == 30 else data.tactical).values()
    return bars


def differences(file: Known, bars: Bars, said: str) -> str:
    """Return in words what is wrong with ``bars``, or nothing.

    Unadjusted prices are the true ones: bit for bit, or within rounding where they were adjusted at a roll or the
    report says that they were mended; or, across a new unit that the report names, the true ones times one factor.
    """
    true = file.good.true_starts
    place = np.minimum(np.searchsorted(true, bars.start_ns), len(true) - 1)
    strange = true[place] != bars.start_ns
    if strange.any():
        moment = np.datetime64(int(bars.start_ns[int(np.argmax(strange))]), "ns")
        return f"{int(strange.sum())} bars at times that have none, first {moment}"
    prices, wanted = prices_of(bars), file.good.true_prices[place]
    raw = prices / bars.price_factor[:, None]
    rounded = np.isclose(raw, wanted, rtol=1e-12, atol=0)
    right = (raw == wanted) | (rounded & (bool(said) or (bars.price_factor[:, None] != 1)))
    ratio = prices / file.adjusted[place]
    if right.all() or (said and np.allclose(ratio, ratio[0, 0], rtol=1e-9, atol=0)):
        return ""
    row = int(np.argmin(right.all(axis=1)))
    return f"{int((~right.all(axis=1)).sum())} bars changed, first bar {place[row]}: {raw[row]} for {wanted[row]}"


def blocking_rule(raw: RawDataset) -> str:
    """Return a rule of the blocking suite that the rows break, or nothing."""
    prices = raw.frame[list(PRICES)]
    tick_size = next(iter(raw.instruments.values())).tick_size
    rules = {
        "prices must be positive": bool((prices > 0).all(axis=None)),
        "the envelope must hold": bool(envelope_holds(prices).all()),
        "prices must be whole ticks": bool(prices_on_ticks(prices.assign(tick_size=tick_size)).all()),
    }
    return next((rule for rule, holds in rules.items() if not holds), "")


def outcome(file: Known, damaged: Damaged, folder: Path) -> Outcome:
    good = file.good
    try:
        raw, data = read(good, damaged.content, folder)
    except GrandModelError as error:
        names_file = good.main in str(error)
        return Outcome("blocked" if names_file and error.do else "wrong", str(error))
    said = " | ".join(sorted(texts(data.report) - file.said))
    bars = bars_of(good, data) if data.tactical or good.bar_minutes == 30 else None
    problem = "no bars on the clock of the file" if bars is None else differences(file, bars, said)
    if problem or bars is None:
        rule = blocking_rule(raw)
        return Outcome("blocked by validation", rule) if rule else Outcome("wrong", f"{problem}; told: {said}")
    return Outcome("read", "", len(bars) == len(good.rows), said)


def is_allowed(damaged: Damaged, found: Outcome) -> bool:
    if found.kind != "read" or damaged.allowed == "blocked":
        return found.kind in ("blocked", "blocked by validation")
    return {"part": True, "told": bool(found.said), "whole": found.whole}[damaged.allowed]


def place_of(seed: int, files: int, corruptions: int) -> int:
    """Return which corruption ``seed`` takes: neighbours take different ones, and all come round."""
    return seed // files * STRIDE % corruptions


def attempt(files: list[Known], seed: int, folder: Path) -> tuple[str, Damaged, Outcome]:
    """Return the name of the case of ``seed``, the damaged file and its outcome."""
    file = files[seed % len(files)]
    corruptions = corruptions_of(file.good)
    corruption = corruptions[place_of(seed, len(files), len(corruptions))]
    damaged = corruption(file.good, random_stream(seed, "fuzz", file.good.name))
    return f"seed {seed}, {file.good.name}, {corruption.__name__}", damaged, outcome(file, damaged, folder)


def refused_cases(files: list[Known], seeds: range, folder: Path) -> tuple[list[str], Counter[str]]:
    """Return a line for each seed whose outcome is not allowed, and how often which outcome was seen."""
    wrong, seen = [], Counter[str]()
    for seed in seeds:
        case, damaged, found = attempt(files, seed, folder)
        seen[found.kind] += 1
        if not is_allowed(damaged, found):
            wrong.append(f"{case}: {damaged.what}: {found}")
    return wrong, seen


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_damage_is_refused_in_words_or_repaired_as_the_report_says(simulated_files, first: int, tmp_path: Path):
    wrong, seen = refused_cases(simulated_files, range(first, first + CHUNK), tmp_path)
    assert wrong == []
    assert seen["blocked"] > CHUNK / 4
    assert seen["read"] > 3


@pytest.mark.shared
@pytest.mark.parametrize("first", range(0, SHARED_SEEDS, SHARED_CHUNK))
def test_damage_to_real_bars_is_refused_in_words_or_repaired_as_the_report_says(real_files, first: int, tmp_path: Path):
    wrong, seen = refused_cases(real_files, range(first, first + SHARED_CHUNK), tmp_path)
    assert wrong == []
    assert min(seen["blocked"], seen["read"]) > 0


def test_good_files_give_all_their_bars_and_pass_validation(simulated_files, context_root: Path, tmp_path: Path):
    for file in simulated_files:
        raw, data = read(file.good, file.good.content, tmp_path)
        bars = bars_of(file.good, data)
        np.testing.assert_array_equal(bars.start_ns, file.good.true_starts)
        np.testing.assert_array_equal(prices_of(bars), file.good.true_prices)
        assert validate(raw, context_root, tmp_path / "docs").passed


def test_every_corruption_damages_its_file_and_is_reached_by_some_seed(simulated_files):
    for number, file in enumerate(simulated_files):
        corruptions, content = corruptions_of(file.good), file.good.content
        count = len(simulated_files)
        reached = {place_of(seed, count, len(corruptions)) for seed in range(number, SEEDS, count)}
        assert reached == set(range(len(corruptions)))
        for corruption in corruptions:
            versions = (corruption(file.good, random_stream(seed, "changed")).content for seed in range(20))
            assert any(version != content for version in versions), corruption.__name__


def test_the_oracle_sees_a_changed_price_a_moved_stamp_and_a_hole_that_nobody_tells(simulated_files, tmp_path: Path):
    good = simulated_files[0].good
    rows = good.rows.copy()
    rows.loc[100, "high"] += good.tick_size
    damaged = Damaged(good.write(rows), "a high is one tick higher", "told")
    assert outcome(simulated_files[0], damaged, tmp_path).kind == "wrong"
    damaged = Damaged(good.write(good.rows.iloc[10:]), "ten bars are missing at the start", "told")
    assert not is_allowed(damaged, Outcome("read", "", whole=False, said=""))
    folder = simulated_files[3].good  # the stamps of a project's own folder are taken as they are
    rows = folder.rows.copy()
    rows["start_ns"] += 7 * 24 * 60 * good_files.MINUTE_NS
    damaged = Damaged(folder.write(rows), "all bars are a week later", "told")
    assert "at times that have none" in outcome(simulated_files[3], damaged, tmp_path).detail


def test_the_suite_of_validation_blocks_what_its_rules_block(simulated_files, context_root: Path, tmp_path: Path):
    blocked = 0
    for seed in range(SEEDS):
        file = simulated_files[seed % len(simulated_files)]
        corruptions = corruptions_of(file.good)
        if corruptions[place_of(seed, len(simulated_files), len(corruptions))] not in (scale_stretch, scale_rest):
            continue
        _, damaged, found = attempt(simulated_files, seed, tmp_path)
        if found.kind != "blocked by validation":
            continue
        report = validate(read_raw(lay(file.good, damaged.content, tmp_path)), context_root, tmp_path / "docs")
        with pytest.raises(GrandModelError, match=re.escape(file.good.main)):
            report.raise_if_blocked()
        blocked += 1
        if blocked == 5:
            return
    pytest.fail(f"only {blocked} seeds are blocked by validation")
