"""The trial ledger counts every training once, and notices whatever happens to its lines and returns."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grandmodel.core.errors import DataError, LedgerError
from grandmodel.core.hashing import canonical_json, hash_json
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.trials import (
    Returns,
    Trial,
    known_on,
    open_trials,
    read_returns,
    read_trials,
    record,
    returns_path,
    verify_trials,
)
from tests.grandmodel.registry.releases import ticking_clock

ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from pathlib import Path
from grandmodel.core.clock import system_clock
from grandmodel.registry.trials import open_trials, record
from tests.grandmodel.registry.test_trials import trial, returns
ledger = open_trials(Path(sys.argv[1]), system_clock)
print("ready", flush=True)
sys.stdin.readline()
for number in range(8):
    record(ledger, [(trial(f"{sys.argv[2]}{number}"), returns(number))], actor="test", reason="race")
    record(ledger, [(trial(f"both{number}"), returns(number))], actor="test", reason="race")
"""


def trial(name: str, *, bars: str = "bars", configuration: str = "c", seed_number: int = 0) -> Trial:
    return Trial(
        id=hash_json(name),
        data_hash=bars,
        bars_hash=bars,
        symbols=("ES", "NQ"),
        data="market",
        simulated=True,
        configuration=configuration,
        code="code",
        weights=f"weights of {name}",
        seed_number=seed_number,
        sharpe=1.5,
    )


def returns(seed: int, first: int = 100, days: int = 20) -> Returns:
    drawn = np.random.default_rng(seed).normal(0.0, 0.01, days)
    return Returns(np.arange(first, first + days, dtype=np.int32), drawn)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_trials(tmp_path, ticking_clock())


@pytest.fixture
def three(ledger: Ledger) -> Ledger:
    record(ledger, [(trial(name), returns(seed)) for seed, name in enumerate("abc")], actor="test", reason="measured")
    return ledger


def test_a_trial_is_read_as_it_was_recorded(three: Ledger) -> None:
    found = read_trials(three)
    assert [one.weights for one in found] == ["weights of a", "weights of b", "weights of c"]
    assert {one.days for one in found} == {20}
    assert len({one.returns_sha256 for one in found}) == 3
    kept = read_returns(three, found[1])
    np.testing.assert_array_equal(kept.daily_returns, returns(1).daily_returns)
    np.testing.assert_array_equal(kept.sessions, returns(1).sessions)


def test_the_same_run_twice_adds_nothing(three: Ledger) -> None:
    before = three.path.read_bytes()
    assert record(three, [(trial("b"), returns(1)), (trial("a"), returns(0))], actor="test", reason="again") == 0
    assert three.path.read_bytes() == before


def test_a_trial_measured_anew_counts_once_as_it_was_measured_last(three: Ledger) -> None:
    assert record(three, [(trial("b"), returns(9))], actor="test", reason="costs were wrong") == 1
    assert len(three.read()) == 4
    assert len(verify_trials(three)) == 3
    np.testing.assert_array_equal(
        known_on(three, trial("a"), returns(9).sessions).daily_returns[1], returns(9).daily_returns
    )


@pytest.mark.parametrize(
    "broken",
    [
        Returns(np.arange(3, dtype=np.int32), np.zeros(4)),
        Returns(np.zeros(0, dtype=np.int32), np.zeros(0)),
        Returns(np.array([3, 2], dtype=np.int32), np.zeros(2)),
        Returns(np.array([3, 3], dtype=np.int32), np.zeros(2)),
        Returns(np.arange(2, dtype=np.int32), np.array([0.0, np.nan])),
    ],
)
def test_returns_that_say_nothing_are_refused_and_leave_no_line(ledger: Ledger, broken: Returns) -> None:
    with pytest.raises(DataError, match="trial"):
        record(ledger, [(trial("a"), broken)], actor="test", reason="measured")
    assert not ledger.path.exists()


# --- what is done to the files


def test_a_line_that_was_edited_is_found(three: Ledger) -> None:
    three.path.write_text(three.path.read_text().replace('"sharpe":1.5', '"sharpe":0.5', 1))
    with pytest.raises(LedgerError, match="line 1: its hash must match"):
        verify_trials(three)


def test_a_line_that_was_edited_with_a_fitting_hash_is_found(three: Ledger) -> None:
    lines = three.path.read_text().splitlines()
    line = json.loads(lines[0])
    line["subject"]["sharpe"] = 0.5
    body = {key: value for key, value in line.items() if key != "hash"}
    lines[0] = canonical_json({**body, "hash": hash_json(body)})
    three.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LedgerError, match="line 2: must hold the hash of the line before"):
        verify_trials(three)


@pytest.mark.parametrize(("cut", "named"), [(1, "line 2"), (2, "line 3")])
def test_a_line_cut_out_of_the_middle_or_off_the_end_is_found(three: Ledger, cut: int, named: str) -> None:
    lines = three.path.read_text().splitlines(keepends=True)
    three.path.write_text("".join(lines[:cut] + lines[cut + 1 :]))
    with pytest.raises(LedgerError, match=named):
        verify_trials(three)


def test_a_ledger_cut_off_within_a_line_is_found_and_no_trial_added(three: Ledger) -> None:
    three.path.write_bytes(three.path.read_bytes()[:-30])
    with pytest.raises(LedgerError, match="the end was cut off"):
        verify_trials(three)
    with pytest.raises(LedgerError, match="the end was cut off"):
        record(three, [(trial("d"), returns(4))], actor="test", reason="measured")


def test_returns_that_were_changed_are_found(three: Ledger) -> None:
    path = returns_path(three, read_trials(three)[1].id)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=rf"{path.name}: must have the SHA-256 of its line"):
        verify_trials(three)
    with pytest.raises(LedgerError, match=path.name):
        known_on(three, trial("a"), returns(0).sessions)


def test_returns_that_are_gone_are_found(three: Ledger) -> None:
    returns_path(three, read_trials(three)[2].id).unlink()
    with pytest.raises(LedgerError, match="the returns of a recorded trial must be there"):
        verify_trials(three)


def test_a_kill_before_the_line_leaves_returns_that_nobody_misses(three: Ledger, monkeypatch) -> None:
    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append", kill)
        with pytest.raises(KeyboardInterrupt):
            record(three, [(trial("d"), returns(3))], actor="test", reason="measured")
    assert returns_path(three, trial("d").id).exists()
    assert len(verify_trials(three)) == 3
    assert record(three, [(trial("d"), returns(3))], actor="test", reason="measured") == 1


def test_two_processes_at_once_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n")
    assert [writer.returncode for writer in writers] == [0, 0]
    found = verify_trials(open_trials(tmp_path, ticking_clock()))
    expected = {trial(f"{name}{number}").id for name in ("left", "right", "both") for number in range(8)}
    assert sorted(one.id for one in found) == sorted(expected)


# --- what a release sees of them


def test_trials_on_other_days_are_counted_and_not_compared(three: Ledger) -> None:
    late = (trial("late"), returns(3, first=110))
    short = (trial("short"), returns(4, days=10))
    longer = (trial("longer"), returns(5, first=90, days=40))
    other = (trial("other", bars="other bars"), returns(6))
    record(three, [late, short, longer, other], actor="test", reason="measured")
    days = returns(0).sessions
    known = known_on(three, trial("a"), days)
    assert [one.weights for one in known.trials] == [f"weights of {name}" for name in ("a", "b", "c", "longer")]
    assert known.daily_returns.shape == (4, 20)
    np.testing.assert_array_equal(known.daily_returns[3], returns(5, first=90, days=40).daily_returns[10:30])
    assert known.unseen == 2
    assert known_on(three, trial("a", bars="nothing"), days).daily_returns.shape == (0, 20)


@pytest.mark.parametrize(
    ("looked_at", "counted"),
    [
        ({"data_hash": "a comment more in a file beside"}, True),
        ({"simulated": True}, False),
        ({"bars_hash": "one bar more"}, True),
        ({"bars_hash": "one instrument less", "symbols": ("NQ",)}, True),
        ({"bars_hash": "another market", "symbols": ("CL",)}, False),
    ],
)
def test_a_search_on_real_instruments_goes_on_with_other_bars_of_them(
    ledger: Ledger, looked_at: dict[str, object], counted: bool
) -> None:
    real = {"simulated": False, "bars_hash": "real bars"}
    released, other = replace(trial("a"), **real), replace(trial("b"), **real | looked_at)
    if "simulated" in looked_at:
        other = replace(other, bars_hash="other bars")
    measured = [(released, returns(0)), (other, returns(1))]
    record(ledger, measured, actor="test", reason="measured")
    assert len(known_on(ledger, released, returns(0).sessions).trials) == (2 if counted else 1)


def test_other_bars_count_only_where_a_day_is_shared(ledger: Ledger) -> None:
    released, other = (replace(trial(name), simulated=False, bars_hash=name) for name in "ab")
    measured = [(released, returns(0)), (other, returns(1, first=119)), (replace(other, id="c"), returns(2, first=120))]
    record(ledger, measured, actor="test", reason="measured")
    known = known_on(ledger, released, returns(0).sessions)
    assert (len(known.trials), known.unseen) == (1, 1)


def test_days_with_a_hole_in_them_are_not_covered(ledger: Ledger) -> None:
    holed = Returns(np.array([100, 101, 103, 104], dtype=np.int32), np.full(4, 0.01))
    record(ledger, [(trial("holed"), holed)], actor="test", reason="measured")
    assert known_on(ledger, trial("a"), np.arange(100, 104, dtype=np.int32)).unseen == 1
    assert known_on(ledger, trial("a"), np.array([100, 103], dtype=np.int32)).unseen == 0


def test_trials_that_decide_alike_are_one(three: Ledger) -> None:
    record(three, [(trial("twin of b"), returns(1))], actor="test", reason="measured")
    known = known_on(three, trial("a"), returns(0).sessions)
    assert len(read_trials(three)) == 4
    assert [one.weights for one in known.trials] == ["weights of a", "weights of b", "weights of c"]
