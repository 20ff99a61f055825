"""What was cut stays cut: across restarts, kills at any call, and files that somebody touched."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.hashing import hash_json
from grandmodel.risk.guard_inputs import Book, RiskNumbers
from grandmodel.risk.guard_state import GuardState
from grandmodel.risk.journal import EVENTS_FILE, STATE_FILE, Journal, read_events
from grandmodel.risk.state import TradingState
from tests.grandmodel.risk.killed_journal import RECORD, configured, operate

CALM = RiskNumbers(0.01, (0.01, 0.01), np.eye(2))
PROJECT = Path(__file__).resolve().parents[3]


def begin(folder: Path) -> Journal:
    return Journal.begin(folder, configured(), actor="ann", reason="first start")


def restart(folder: Path) -> Journal:
    return Journal.restore(folder, configured())


def cut(folder: Path) -> Journal:
    journal = begin(folder)
    operate(journal, "cut")
    return journal


def why_halted(journal: Journal) -> str:
    assert journal.state.trading is TradingState.HALTED
    last = read_events(journal.folder)[-1]
    assert (last["kind"], last["trading"]) == ("unreadable", "HALTED")
    return str(last["reason"])


def test_a_restart_goes_on_latched(tmp_path: Path) -> None:
    before = cut(tmp_path).state
    assert (before.breaker.level, before.gross_cap) == (1, pytest.approx(0.5))
    after = restart(tmp_path)
    assert after.state == before
    operate(after, "calm")
    assert restart(tmp_path).state.gross_cap == pytest.approx(0.5)


def test_every_transition_is_a_line_and_the_lines_are_a_chain(tmp_path: Path) -> None:
    journal = cut(tmp_path)
    journal.reset(1e6, journal.state.clock_ns, actor="ann", reason="looked at it")
    journal.decide(None, None, None, None, journal.state.clock_ns)
    lines = read_events(tmp_path)
    assert [line["kind"] for line in lines if "state" in line] == ["begin", "cut", "reset", "equity_unknown"]
    assert [line["kind"] for line in lines].count("input_unknown") == 1
    assert [line["actor"] for line in lines if line["kind"] == "reset"] == ["ann"]
    content = (tmp_path / EVENTS_FILE).read_text()
    (tmp_path / EVENTS_FILE).write_text(content.replace('"cut"', '"cat"'))
    with pytest.raises(DataError, match="hash of the line before"):
        read_events(tmp_path)


@pytest.mark.parametrize("operation", ["cut", "reset"])
def test_a_kill_at_any_call_leaves_the_old_state_or_the_new_one(tmp_path: Path, operation: str) -> None:
    jobs = [{"call": call, "half": False} for call in range(1, len(RECORD) + 2)]
    jobs.append({"call": RECORD.index("write") + 1, "half": True})
    for number, job in enumerate(jobs):
        job.update(folder=str(tmp_path / str(number)), operation=operation)
        (begin if operation == "cut" else cut)(tmp_path / str(number))
    run = subprocess.run(
        [sys.executable, "-m", "tests.grandmodel.risk.killed_journal"],
        input=json.dumps(jobs), capture_output=True, text=True, cwd=PROJECT, check=True,
    )  # fmt: skip
    statuses = json.loads(run.stdout)
    *killed, (last_job, last) = list(zip(jobs, statuses, strict=True))[:-1]
    killed.append((jobs[-1], statuses[-1]))
    assert (last_job["call"], last) == (len(RECORD) + 1, 0), "a record makes no more calls than the tests name"
    assert {status for _, status in killed} == {signal.SIGKILL}
    old, new = (0, 1) if operation == "cut" else (1, 0)
    for job, status in zip(jobs, statuses, strict=True):
        folder = Path(job["folder"])
        journal = restart(folder)
        written = job["call"] > RECORD.index("write") + 1
        assert journal.state.breaker.level == (new if written else old), job
        assert journal.state.trading is TradingState.ACTIVE
        assert {one.name for one in folder.iterdir()} <= {STATE_FILE, EVENTS_FILE, "handed_out"}
        assert (folder / "handed_out").exists() == (status == 0), "nothing is handed out before it is on disk"
        operate(journal, "cut")
        assert restart(folder).state == journal.state
        assert journal.state.breaker.level == 1
        assert read_events(folder)[0]["kind"] == "begin"


@pytest.mark.parametrize("torn", [b'{"kind":"cu', b"\x00\x00", b'{"kind":"cut","previous":"elsewhere"}'])
def test_a_torn_tail_is_no_line(tmp_path: Path, torn: bytes) -> None:
    before = cut(tmp_path).state
    with (tmp_path / EVENTS_FILE).open("ab") as stream:
        stream.write(torn)
    journal = restart(tmp_path)
    assert journal.state == before
    operate(journal, "cut")
    assert read_events(tmp_path)[-1]["kind"] in ("alarm_while_latched", "overruled", "limit")


def test_a_last_line_without_its_newline_still_counts(tmp_path: Path) -> None:
    begin(tmp_path)
    loose = (tmp_path / STATE_FILE).read_bytes()
    operate(restart(tmp_path), "cut")
    (tmp_path / STATE_FILE).write_bytes(loose)
    lines = (tmp_path / EVENTS_FILE).read_bytes().splitlines()
    (tmp_path / EVENTS_FILE).write_bytes(b"\n".join(lines[:2]))  # the cut, and what followed it lost
    journal = restart(tmp_path)
    assert (journal.state.breaker.level, journal.state.trading) == (1, TradingState.ACTIVE)
    operate(journal, "cut")
    assert len(read_events(tmp_path)) > 2


def spoiled(folder: Path, name: str, content: bytes | None) -> Journal:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    return restart(folder)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"null", b"\xff\xfe", b'{"sha256":"0","state":{}}'])
@pytest.mark.parametrize("name", [STATE_FILE, EVENTS_FILE])
def test_a_missing_or_unreadable_file_halts_with_the_reason(tmp_path: Path, name: str, content: bytes | None) -> None:
    cut(tmp_path)
    journal = spoiled(tmp_path, name, content)
    assert why_halted(journal)
    assert restart(tmp_path).state.trading is TradingState.HALTED
    journal = restart(tmp_path)
    journal.reset(1e6, journal.state.clock_ns, actor="ann", reason="restored by hand")
    assert restart(tmp_path).state.trading is TradingState.ACTIVE


def test_deleting_everything_is_no_way_to_arm_anew(tmp_path: Path) -> None:
    cut(tmp_path / "book")
    shutil.rmtree(tmp_path / "book")
    assert "that a person began" in why_halted(restart(tmp_path / "book"))


def test_a_book_begins_by_name_and_once(tmp_path: Path) -> None:
    for actor, reason in (("", "why"), ("ann", " ")):
        with pytest.raises(ConfigError, match="actor and reason"):
            Journal.begin(tmp_path, configured(), actor=actor, reason=reason)
    assert not any(tmp_path.iterdir())
    begin(tmp_path)
    with pytest.raises(ConfigError, match="must not exist yet"):
        begin(tmp_path)


def test_a_reset_without_a_name_or_a_reason_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    cut(tmp_path)
    journal = restart(tmp_path)
    for actor, reason in (("", "fine again"), ("ann", "")):
        with pytest.raises(ConfigError, match="actor and reason"):
            journal.reset(1e6, journal.state.clock_ns, actor=actor, reason=reason)
    assert restart(tmp_path).state.breaker.level == 1


def sealed(state: GuardState, last_line: bytes) -> bytes:
    body = {"state": state.to_dict(), "last_line_sha256": hashlib.sha256(last_line).hexdigest()}
    return json.dumps({**body, "sha256": hash_json(body)}).encode()


def loosened(state: GuardState) -> GuardState:
    breaker = replace(state.breaker, level=0, trading=TradingState.ACTIVE, kept_cap=math.inf)
    return replace(state, breaker=breaker, revision=state.revision + 1)


def test_a_state_file_that_allows_more_than_the_last_line_halts(tmp_path: Path) -> None:
    state = cut(tmp_path).state
    last_line = (tmp_path / EVENTS_FILE).read_bytes().splitlines()[-1]
    assert "must allow what" in why_halted(spoiled(tmp_path, STATE_FILE, sealed(loosened(state), last_line)))


def test_lines_cut_off_the_end_halt_though_the_state_agrees(tmp_path: Path) -> None:
    journal = cut(tmp_path)
    operate(journal, "cut")  # while latched: lines that change nothing
    lines = (tmp_path / EVENTS_FILE).read_bytes().splitlines(keepends=True)
    assert "state" not in json.loads(lines[-1])
    assert "cut off the end" in why_halted(spoiled(tmp_path, EVENTS_FILE, b"".join(lines[:-1])))


def test_an_older_state_file_put_back_does_not_loosen(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    loose = (tmp_path / STATE_FILE).read_bytes()
    operate(journal, "cut")
    assert spoiled(tmp_path, STATE_FILE, loose).state.breaker.level == 1


def test_a_line_that_loosens_without_a_name_halts(tmp_path: Path) -> None:
    state = loosened(cut(tmp_path).state)
    lines = (tmp_path / EVENTS_FILE).read_bytes().splitlines()
    line = {"kind": "calm", "actor": "", "reason": "", "revision": state.revision, "state": state.to_dict()}
    line["previous"] = hashlib.sha256(lines[-1]).hexdigest()
    (tmp_path / EVENTS_FILE).write_bytes(b"\n".join([*lines, json.dumps(line).encode(), b""]))
    journal = spoiled(tmp_path, STATE_FILE, sealed(state, lines[-1]))
    assert "only a named person" in why_halted(journal)
    assert (tmp_path / f"{EVENTS_FILE}.broken-1").exists(), "what cannot be gone on with is evidence"


def test_an_older_state_file_lowers_no_peak(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    old = {}
    for number in range(1, 5):
        book, moment = Book(1e6 * (1 + number / 10), (0.0, 0.0)), journal.state.clock_ns + 10**9
        decision = journal.decide(book, (100.0, 50.0), (0.0, 0.0), CALM, moment)
        assert decision.events == ()
        old[number] = (tmp_path / STATE_FILE).read_bytes()
    assert restart(tmp_path).state.breaker.peak_equity == 1.4e6
    assert "an older file was put back" in why_halted(spoiled(tmp_path, STATE_FILE, old[2]))


def test_an_older_state_file_with_events_after_it_halts(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    operate(journal, "calm")
    old = (tmp_path / STATE_FILE).read_bytes()
    for target in (0.0, 1e6):  # the second breaks limits, which are events that carry no state
        moment = journal.state.clock_ns + 1
        journal.decide(Book(1.5e6, (0.0, 0.0)), (100.0, 50.0), (target, 0.0), CALM, moment)
    assert "state" not in read_events(tmp_path)[-1]
    assert "an older file was put back" in why_halted(spoiled(tmp_path, STATE_FILE, old))


def test_one_decision_that_was_not_handed_out_is_gone_on_from_and_again(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    for _ in range(3):
        before = (tmp_path / STATE_FILE).read_bytes()
        operate(journal, "calm")
        (tmp_path / STATE_FILE).write_bytes(before)  # as a kill between lines and file leaves it
        revision = journal.state.revision
        journal = restart(tmp_path)
        assert (journal.state.trading, journal.state.revision) == (TradingState.ACTIVE, revision)


@pytest.mark.parametrize("revision", [None, -1, "3"])
def test_a_line_whose_revision_falls_halts(tmp_path: Path, revision: Any) -> None:
    begin(tmp_path)
    line = json.loads((tmp_path / EVENTS_FILE).read_bytes())
    (tmp_path / EVENTS_FILE).write_text(json.dumps({**line, "revision": revision}) + "\n")
    assert "revision that does not fall" in why_halted(restart(tmp_path))


def test_what_cannot_be_written_is_not_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begin(tmp_path)

    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        operate(journal, "cut")
    monkeypatch.undo()
    assert restart(tmp_path).state.breaker.level == 1


def test_other_limits_in_the_configuration_do_not_replace_those_of_record(tmp_path: Path) -> None:
    before = begin(tmp_path).state
    wider = replace(configured(), limits=before.limits.model_copy(update={"gross_exposure_max": 50.0}))
    journal = Journal.restore(tmp_path, wider)
    assert (journal.state.limits, journal.state.trading) == (before.limits, TradingState.REDUCING)
    assert read_events(tmp_path)[-1]["kind"] == "limits_differ"


def test_unreadable_files_are_no_way_to_other_limits(tmp_path: Path) -> None:
    before = cut(tmp_path).state
    (tmp_path / STATE_FILE).unlink()
    wider = replace(configured(), limits=before.limits.model_copy(update={"gross_exposure_max": 50.0}))
    assert Journal.restore(tmp_path, wider).state.limits == before.limits


def test_other_instruments_than_those_of_record_halt(tmp_path: Path) -> None:
    begin(tmp_path)
    other = replace(configured(), symbols=("ES", "GC"))
    assert "configured instruments" in why_halted(Journal.restore(tmp_path, other))
