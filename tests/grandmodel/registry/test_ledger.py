from __future__ import annotations

import json
import resource
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from grandmodel.core.errors import LedgerError
from grandmodel.core.hashing import canonical_json, hash_json
from grandmodel.registry.ledger import GENESIS, Ledger


def fixed_clock() -> datetime:
    return datetime(2026, 3, 3, 14, 30, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", fixed_clock)


@pytest.fixture
def three(ledger: Ledger) -> Ledger:
    for kind in ("promotion", "refusal", "rollback"):
        ledger.append(kind, actor="ann", reason=f"because of {kind}", subject={"environment": "staging", "n": 1})
    return ledger


def test_each_line_holds_the_hash_of_the_line_before(three: Ledger) -> None:
    entries = three.read()
    assert [entry.previous for entry in entries] == [GENESIS, entries[0].hash, entries[1].hash]
    assert entries[0].time == "2026-03-03T14:30:00.000000+00:00"
    body = {key: value for key, value in vars(entries[2]).items() if key != "hash"}
    assert entries[2].hash == hash_json(body)


def test_an_empty_ledger_verifies(ledger: Ledger) -> None:
    report = ledger.verify()
    assert (report.entries, report.head, report.torn_bytes) == (0, GENESIS, 0)


def test_verify_reports_entries_and_head(three: Ledger) -> None:
    assert three.verify().entries == 3
    assert three.verify().head == three.read()[-1].hash


def test_any_changed_byte_is_found_and_its_line_named(three: Ledger) -> None:
    content = three.path.read_bytes()
    seen = 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        three.path.write_bytes(changed)
        line = content[:position].count(b"\n") + 1
        with pytest.raises(LedgerError, match=rf"line {line}\b"):
            three.verify()
        seen += 1
    assert seen > 900


def test_a_line_rewritten_with_a_fitting_hash_breaks_the_line_after(three: Ledger) -> None:
    lines = three.path.read_text().splitlines()
    record = json.loads(lines[1])
    record["actor"] = "bob"
    body = {key: value for key, value in record.items() if key != "hash"}
    lines[1] = canonical_json({**body, "hash": hash_json(body)})
    three.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LedgerError, match="line 3: must hold the hash of the line before"):
        three.verify()


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_deleted_line_is_found_wherever_it_stood(three: Ledger, cut: int) -> None:
    lines = three.path.read_text().splitlines(keepends=True)
    three.path.write_text("".join(lines[:cut] + lines[cut + 1 :]))
    with pytest.raises(LedgerError, match=rf"line {cut + 1}\b"):
        three.verify()


def test_an_emptied_ledger_is_found(three: Ledger) -> None:
    three.path.write_bytes(b"")
    with pytest.raises(LedgerError, match="cut off"):
        three.verify()


def test_a_missing_head_is_found(three: Ledger) -> None:
    three.path.with_name("ledger.jsonl.head").unlink()
    with pytest.raises(LedgerError, match="head file must exist"):
        three.verify()


def test_a_forged_line_beyond_the_head_is_found_once_two_stand_there(three: Ledger) -> None:
    head = three.path.with_name("ledger.jsonl.head")
    kept = head.read_bytes()
    for _ in range(2):
        three.append("promotion", actor="eve", reason="forged", subject={})
    head.write_bytes(kept)
    with pytest.raises(LedgerError, match="line 5: was not written by this program"):
        three.verify()


def test_a_broken_ledger_takes_no_new_line(three: Ledger) -> None:
    content = three.path.read_bytes().replace(b"because of refusal", b"because of Refusal")
    three.path.write_bytes(content)
    with pytest.raises(LedgerError, match="line 2"):
        three.append("promotion", actor="ann", reason="more", subject={})
    assert three.path.read_bytes() == content


def test_a_torn_tail_is_reported_and_only_its_bytes_are_removed(three: Ledger) -> None:
    whole = three.path.read_bytes()
    next_line = whole.splitlines(keepends=True)[-1]
    for torn in (1, len(next_line) // 2, len(next_line) - 2):
        three.path.write_bytes(whole + next_line[:torn])
        assert three.verify().torn_bytes == torn
        assert len(three.read()) == 3
        assert three.repair() == torn
        assert three.path.read_bytes() == whole


def test_append_goes_on_after_a_torn_tail(three: Ledger) -> None:
    with three.path.open("ab") as stream:
        stream.write(b'{"actor":"an')
    three.append("reset", actor="ann", reason="fixed", subject={})
    assert three.verify().entries == 4
    assert three.verify().torn_bytes == 0


def test_a_full_disk_is_one_sentence_and_the_torn_line_is_repaired_once_there_is_room(three: Ledger) -> None:
    whole = three.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, limits[1]))  # EFBIG where a full disk says ENOSPC
    try:
        with pytest.raises(LedgerError, match=r"must take a line of kind reset.*Make room and repeat"):
            three.append("reset", actor="ann", reason="fixed", subject={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert three.verify().torn_bytes == 20
    three.append("reset", actor="ann", reason="fixed", subject={})
    assert (three.verify().entries, three.verify().torn_bytes) == (4, 0)


def test_a_whole_entry_that_lost_only_its_newline_is_kept(three: Ledger) -> None:
    head = three.path.with_name("ledger.jsonl.head")
    before = head.read_bytes()
    three.append("halt", actor="ann", reason="drawdown", subject={})
    whole = three.path.read_bytes()
    three.path.write_bytes(whole[:-1])  # as a kill between the bytes and the newline leaves it
    head.write_bytes(before)
    assert three.repair() == 0
    assert three.path.read_bytes() == whole
    assert three.verify().entries == 4


def test_a_kill_between_line_and_head_is_no_break(three: Ledger) -> None:
    head = three.path.with_name("ledger.jsonl.head")
    before = head.read_bytes()
    three.append("halt", actor="ann", reason="drawdown", subject={})
    head.write_bytes(before)
    assert three.verify().entries == 4
    three.append("reset", actor="ann", reason="reviewed", subject={})
    assert three.verify().entries == 5


@pytest.mark.parametrize("kills", [1, 2, 5])
def test_kills_in_a_row_between_line_and_head_are_no_break(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    write = ledger._write

    def write_and_die(content: bytes) -> None:
        write(content)
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "_write", write_and_die)
    for _ in range(kills):
        with pytest.raises(KeyboardInterrupt):
            ledger.append("halt", actor="ann", reason="drawdown", subject={})
    monkeypatch.undo()
    assert ledger.verify().entries == kills
    ledger.append("reset", actor="ann", reason="reviewed", subject={})
    assert ledger.verify().entries == kills + 1


def test_a_ledger_that_was_never_begun_is_told_from_one_that_is_gone(ledger: Ledger) -> None:
    assert not ledger.begun()
    ledger.append("halt", actor="ann", reason="drawdown", subject={})
    assert ledger.begun()
    ledger.path.unlink()
    with pytest.raises(LedgerError, match="the ledger is gone, though its head"):
        ledger.begun()
    with pytest.raises(LedgerError, match="cut off"):
        ledger.read()


def test_a_folder_that_takes_no_lock_is_read_and_not_written(three: Ledger) -> None:
    three.path.with_name("ledger.jsonl.lock").unlink()
    three.path.with_name("ledger.jsonl.lock").mkdir()  # no file can be opened there, not even by root
    auditor, before = Ledger(three.path, fixed_clock), three.path.read_bytes()
    assert len(auditor.read()) == auditor.verify().entries == 3
    with pytest.raises(LedgerError, match="its folder must take a lock"):
        auditor.append("reset", actor="ann", reason="reviewed", subject={})
    assert three.path.read_bytes() == before


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.jsonl.head"])
def test_a_file_that_cannot_be_read_is_one_sentence(three: Ledger, name: str) -> None:
    path = three.path.with_name(name)
    path.unlink()
    path.mkdir()
    for look in (three.read, three.verify, three.repair if name == "ledger.jsonl" else three.read):
        with pytest.raises(LedgerError, match=f"{name}: must be readable"):
            look()


def test_a_torn_end_that_cannot_be_mended_is_one_sentence(three: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with three.path.open("ab") as stream:
        stream.write(b'{"actor":"an')

    def refuse(size: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(three, "_cut", refuse)
    with pytest.raises(LedgerError, match="its torn end must be mended"):
        three.append("reset", actor="ann", reason="reviewed", subject={})


@pytest.mark.parametrize(("reason", "subject"), [("why", {"share": float("nan")}), ("\udcff", {}), ("why", {"n": {1}})])
def test_a_line_that_is_no_json_is_one_sentence(three: Ledger, reason: str, subject: dict[str, object]) -> None:
    before = three.path.read_bytes()
    with pytest.raises(LedgerError, match="new reset: must be plain JSON"):
        three.append("reset", actor="ann", reason=reason, subject=subject)
    assert three.path.read_bytes() == before


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("ann", " ")])
def test_actor_and_reason_must_be_named(ledger: Ledger, actor: str, reason: str) -> None:
    with pytest.raises(LedgerError, match="actor and reason"):
        ledger.append("reset", actor=actor, reason=reason, subject={})
    assert not ledger.path.exists()


def test_writers_at_once_keep_one_chain(tmp_path: Path) -> None:
    barrier = threading.Barrier(4)

    def write(name: str) -> None:
        own = Ledger(tmp_path / "ledger.jsonl", fixed_clock)
        barrier.wait()
        for number in range(5):
            own.append("refusal", actor=name, reason="race", subject={"number": number})

    threads = [threading.Thread(target=write, args=(f"writer {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = Ledger(tmp_path / "ledger.jsonl", fixed_clock).read()
    assert len(entries) == 20
    assert len({entry.actor for entry in entries}) == 4
