"""What head and ledger together cannot notice: both cut, both put back, both gone."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from grandmodel.core.errors import LedgerError
from grandmodel.registry.anchors import Checkpoint, read_checkpoints, write_checkpoint
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.trials import Returns, open_trials, read_trials, record, verify_trials
from tests.grandmodel.registry.test_trials import trial


def clock() -> datetime:
    return datetime(2026, 3, 3, 14, 30, tzinfo=UTC)


@pytest.fixture
def anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "elsewhere" / "anchor.jsonl"
    path.parent.mkdir()
    monkeypatch.setenv("GRANDMODEL_ANCHOR", str(path))
    return path


def written(folder: Path, lines: int) -> Ledger:
    ledger = Ledger(folder / "ledger.jsonl", clock)
    for number in range(lines):
        ledger.append("halt", actor="ann", reason=f"drawdown {number}", subject={"n": number})
    return ledger


def cut(ledger: Ledger, keep: int, tmp_path: Path) -> None:
    """Cut ledger and head to ``keep`` lines, as if the rest had never been."""
    kept = ledger.path.read_bytes().splitlines(keepends=True)[:keep]
    shorter = written(tmp_path / "shorter", keep)  # equal lines, so an equal head
    head = "ledger.jsonl.head"
    if keep:
        shutil.copy(shorter.path.with_name(head), ledger.path.with_name(head))
    else:
        ledger.path.with_name(head).unlink()
    ledger.path.write_bytes(b"".join(kept))


def test_each_line_leaves_a_checkpoint_that_holds(tmp_path: Path, anchor: Path) -> None:
    ledger = written(tmp_path, 3)
    assert ledger.verify().checkpoints == 3
    assert [one.hash for one in read_checkpoints(anchor, "ledger.jsonl")] == [one.hash for one in ledger.read()]


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_a_cut_of_ledger_and_head_goes_unnoticed_without_an_anchor_and_is_named_with_one(
    tmp_path: Path, anchor: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    ledger = written(tmp_path, 4)
    with monkeypatch.context() as patch:
        patch.delenv("GRANDMODEL_ANCHOR")
        cut(ledger, keep, tmp_path)
        assert Ledger(ledger.path, clock).verify().entries == keep
    before = ledger.path.read_bytes()
    with pytest.raises(LedgerError, match=f"line {keep + 1}: a checkpoint knows a line with sequence"):
        ledger.verify()
    with pytest.raises(LedgerError, match="cut off"):
        ledger.append("reset", actor="eve", reason="nothing happened", subject={})
    assert ledger.path.read_bytes() == before


def test_a_history_written_anew_is_named_at_its_first_other_line(tmp_path: Path, anchor: Path) -> None:
    ledger = written(tmp_path, 2)
    other = Ledger(tmp_path / "other" / "ledger.jsonl", clock)
    anchor.rename(anchor.with_suffix(".kept"))
    for number, reason in enumerate(("drawdown 0", "drawdown one", "drawdown 2")):
        other.append("halt", actor="ann", reason=reason, subject={"n": number})
    anchor.with_suffix(".kept").rename(anchor)
    for name in ("ledger.jsonl", "ledger.jsonl.head"):
        shutil.copy(other.path.with_name(name), ledger.path.with_name(name))
    with pytest.raises(LedgerError, match="line 2: must be the line that a checkpoint names"):
        ledger.verify()


def test_a_kill_between_line_and_checkpoint_is_no_break(tmp_path: Path, anchor: Path) -> None:
    ledger = written(tmp_path, 3)
    for torn in (1, 40):
        lines = anchor.read_bytes().splitlines(keepends=True)
        anchor.write_bytes(b"".join(lines[:-1]) + lines[-1][:torn])
        assert ledger.verify().checkpoints == len(lines) - 1
        ledger.append("reset", actor="ann", reason="reviewed", subject={})
        assert ledger.verify().checkpoints == ledger.verify().entries == len(lines) + 1


def test_any_changed_byte_of_the_checkpoints_is_named(tmp_path: Path, anchor: Path) -> None:
    ledger, content, seen = written(tmp_path, 3), anchor.read_bytes(), 0
    for position in range(len(content) - 1):
        changed = bytearray(content)
        changed[position] ^= 1
        anchor.write_bytes(changed)
        if b'"ledger":"ledger.jsonl"' in changed.splitlines()[content[:position].count(b"\n")]:
            with pytest.raises(LedgerError, match="line"):
                ledger.verify()
            seen += 1
    assert seen > 200


def test_ledgers_that_stood_before_are_anchored_by_hand(
    tmp_path: Path, anchor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("GRANDMODEL_ANCHOR")
        before = written(tmp_path, 3)
        with pytest.raises(LedgerError, match="Set GRANDMODEL_ANCHOR"):
            before.anchor()
        cut(shorter := written(tmp_path / "second", 3), 2, tmp_path)
    ledger = Ledger(before.path, clock)
    assert ledger.anchor() == Checkpoint("ledger.jsonl", 2, ledger.read()[-1].hash)
    for name in ("ledger.jsonl", "ledger.jsonl.head"):
        shutil.copy(shorter.path.with_name(name), ledger.path.with_name(name))
    with pytest.raises(LedgerError, match="line 3: a checkpoint knows"):
        ledger.read()


def test_the_trial_ledger_is_anchored_in_the_same_file(
    tmp_path: Path, anchor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = open_trials(tmp_path, clock)
    returns = Returns(np.arange(5, dtype=np.int32), np.linspace(-0.01, 0.02, 5))
    tried = [trial(f"number {n}") for n in range(3)]
    record(trials, [(one, returns) for one in tried[:2]], actor="evaluate", reason="measured")
    kept = {path: path.read_bytes() for path in (trials.path, trials.path.with_name("trials.jsonl.head"))}
    record(trials, [(tried[2], returns)], actor="evaluate", reason="measured")
    assert len(verify_trials(trials)) == 3
    assert written(tmp_path, 1).verify().checkpoints == 1
    for path, content in kept.items():
        path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"trials\.jsonl line 3: a checkpoint knows"):
        read_trials(trials)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANDMODEL_ANCHOR", str(tmp_path / "unmounted" / "anchor.jsonl"))
    with pytest.raises(LedgerError, match="GRANDMODEL_ANCHOR must name a file in a folder that is there"):
        written(tmp_path, 1)


def test_a_disk_that_is_not_mounted_is_noticed_by_all_but_the_command_that_anchors(
    tmp_path: Path, anchor: Path
) -> None:
    ledger = written(tmp_path, 3)
    anchor.unlink()  # the folder, where the disk would be, is still there
    for look in (ledger.read, ledger.verify):
        with pytest.raises(LedgerError, match=r"anchor\.jsonl: must hold checkpoints of .*ledger\.jsonl"):
            look()
    before = ledger.path.read_bytes()
    with pytest.raises(LedgerError, match="Mount its disk"):
        ledger.append("reset", actor="ann", reason="reviewed", subject={})
    assert ledger.path.read_bytes() == before
    assert ledger.anchor().sequence == 2
    assert ledger.verify().checkpoints == 1


def test_checkpoints_of_the_other_ledger_alone_do_not_make_this_one_known(tmp_path: Path, anchor: Path) -> None:
    ledger = written(tmp_path, 2)
    anchor.unlink()
    write_checkpoint(anchor, Checkpoint("trials.jsonl", 0, "0" * 64))
    with pytest.raises(LedgerError, match="must hold checkpoints of"):
        ledger.read()


def test_a_kill_between_the_first_line_and_its_checkpoint_is_no_break(tmp_path: Path, anchor: Path) -> None:
    ledger = written(tmp_path, 1)
    anchor.unlink()
    assert ledger.verify().checkpoints == 0
    ledger.append("reset", actor="ann", reason="reviewed", subject={})
    assert ledger.verify().checkpoints == 2


def test_a_ledger_that_only_a_checkpoint_remembers_is_gone(tmp_path: Path, anchor: Path) -> None:
    ledger = written(tmp_path, 2)
    for path in (ledger.path, ledger.path.with_name("ledger.jsonl.head")):
        path.unlink()
    with pytest.raises(LedgerError, match="the ledger is gone"):
        ledger.begun()


@pytest.mark.parametrize("content", [b"milk, eggs", b'{"hash":"not one"}', b'{"hash": "0', b"\xff", b"[]"])
def test_a_file_of_somebody_else_keeps_its_end(tmp_path: Path, anchor: Path, content: bytes) -> None:
    anchor.write_bytes(content)
    for write in (lambda: written(tmp_path, 1), lambda: write_checkpoint(anchor, Checkpoint("x", 0, "0" * 64))):
        with pytest.raises(LedgerError, match="must name a file of checkpoints alone"):
            write()
    assert anchor.read_bytes() == content
    assert not (tmp_path / "ledger.jsonl").exists()


def test_a_checkpoint_torn_anywhere_is_removed(tmp_path: Path) -> None:
    path, last = tmp_path / "anchor.jsonl", Checkpoint("ledger.jsonl", 12, "0123456789abcdef" * 4)
    write_checkpoint(path, last)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole + whole[:length])
        assert read_checkpoints(path, "ledger.jsonl") == [last]
        write_checkpoint(path, last)
        assert path.read_bytes() == whole * 2


def test_a_home_that_nobody_has_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANDMODEL_ANCHOR", "~nobody-of-this-name/anchor.jsonl")
    with pytest.raises(LedgerError, match="GRANDMODEL_ANCHOR: must name a file"):
        Ledger(tmp_path / "ledger.jsonl", clock)


def test_many_writers_leave_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "anchor.jsonl"
    for number in range(20):
        write_checkpoint(path, Checkpoint("trials.jsonl" if number % 2 else "ledger.jsonl", number, "0" * 64))
    assert [one.sequence for one in read_checkpoints(path, "trials.jsonl")] == list(range(1, 20, 2))
