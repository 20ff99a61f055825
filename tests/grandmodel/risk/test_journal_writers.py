"""Second writers and full disks: what is on disk is known, or nothing is decided; alone and in any order."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from grandmodel.core.errors import DataError
from grandmodel.risk.guard_inputs import Book, RiskNumbers
from grandmodel.risk.journal import EVENTS_FILE, STATE_FILE, read_events
from grandmodel.risk.journal_lines import alone
from grandmodel.risk.state import TradingState
from tests.grandmodel.risk.killed_journal import operate
from tests.grandmodel.risk.test_journal import CALM, begin, restart


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    first, second = begin(tmp_path), restart(tmp_path)
    operate(first, "cut")
    with pytest.raises(DataError, match="one process"):
        operate(second, "cut")


def test_a_second_writer_without_events_is_one_too_many(tmp_path: Path) -> None:
    first, second = begin(tmp_path), restart(tmp_path)
    operate(first, "calm")
    lines = read_events(tmp_path)
    assert [line["kind"] for line in lines] == ["begin", "decided"]
    assert len((tmp_path / EVENTS_FILE).read_bytes().splitlines()[-1]) < 400
    with pytest.raises(DataError, match="one process"):
        operate(second, "calm")
    with pytest.raises(DataError, match="last write"):
        operate(second, "calm")
    assert read_events(tmp_path) == lines
    operate(first, "calm")


def test_after_a_halt_a_stale_writer_adds_nothing(tmp_path: Path) -> None:
    first, stale = begin(tmp_path), restart(tmp_path)
    halted = first.decide(Book(0.7e6, (10.0, 0.0)), (100.0, 50.0), (10.0, 0.0), CALM, first.state.clock_ns + 1)
    assert halted.state.trading is TradingState.HALTED
    with pytest.raises(DataError, match="one process"):
        stale.decide(Book(1e6, (0.0, 0.0)), (100.0, 50.0), (10.0, 0.0), CALM, stale.state.clock_ns + 2)
    assert restart(tmp_path).state == halted.state


def test_two_writers_at_the_same_moment_are_refused(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    with alone(tmp_path):
        with pytest.raises(DataError, match="one process"):
            operate(journal, "calm")
        with pytest.raises(DataError, match="one process"):
            restart(tmp_path)
    operate(journal, "calm")
    assert restart(tmp_path).state == journal.state


def broken_disk(*given: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["ftruncate", "write", "fsync", "replace"])
def test_a_cut_whose_write_failed_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    journal = begin(tmp_path)
    monkeypatch.setattr(os, call, broken_disk)
    with pytest.raises(OSError, match="No space"):
        operate(journal, "cut")
    monkeypatch.undo()
    for _ in range(2):  # the same object goes on, and finds that it may not
        with pytest.raises(DataError, match="last write must not have failed"):
            operate(journal, "calm")
    with pytest.raises(DataError, match="last write must not have failed"):
        journal.reset(1e6, 2 * 10**18, actor="ann", reason="looked at it")
    assert restart(tmp_path).state.breaker.level == (1 if call in ("fsync", "replace") else 0)


class GuardedBook(RuleBasedStateMachine):
    """Decisions, alarms, losses, faults, restarts, torn tails, spoiled files and resets in any order."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.journal = begin(self.folder)
        self.held = np.zeros(2)
        self.equity = 1e6
        self.remember()

    def remember(self) -> None:
        state = self.journal.state
        self.allowed = (state.trading, state.breaker.level, -state.gross_cap)

    def decide(self, risk: RiskNumbers, prices: Any = (100.0, 50.0), side: int = 1) -> None:
        before, moment = np.abs(self.held), self.journal.state.clock_ns + 10**10
        level = self.journal.state.breaker.level
        targets = (side * 120.0, side * -12.0)
        decision = self.journal.decide(Book(self.equity, self.held), prices, targets, risk, moment)
        assert decision.state == self.journal.state
        if decision.state.trading is not TradingState.ACTIVE or decision.state.breaker.level > level:
            assert (np.abs(decision.permitted) <= before).all()
        self.held = decision.permitted

    @rule(side=st.sampled_from([-1, 1]))
    def calm(self, side: int = 1) -> None:
        self.decide(CALM, side=side)

    @rule()
    def alarm(self) -> None:
        self.decide(replace(CALM, alarm="HIGH"))
        assert self.journal.state.breaker.level >= 1

    @rule(share=st.sampled_from([0.97, 0.9, 0.84]))
    def loss(self, share: float) -> None:
        self.equity *= share
        self.decide(CALM)

    @rule()
    def fault(self) -> None:
        self.decide(CALM, prices=(math.nan, 50.0))
        assert self.journal.state.trading >= TradingState.REDUCING

    @rule(call=st.sampled_from(["write", "fsync", "replace"]))
    def go_on_after_a_failed_write(self, call: str) -> None:
        before = self.journal.state
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, call, broken_disk)
            with pytest.raises(OSError, match="No space"):
                self.decide(replace(CALM, alarm="HIGH"))
        with pytest.raises(DataError, match="last write"):
            self.journal.decide(Book(self.equity, self.held), (100.0, 50.0), (0.0, 0.0), CALM, before.clock_ns + 10**10)
        self.journal = restart(self.folder)
        assert call == "write" or self.journal.state.breaker.level >= 1
        self.calm()

    @rule()
    def a_second_writer_comes(self) -> None:
        stale, self.journal = self.journal, restart(self.folder)
        moment = stale.state.clock_ns + 10**10
        self.calm()
        with pytest.raises(DataError, match="one process"):
            stale.decide(Book(self.equity, self.held), (100.0, 50.0), self.held, CALM, moment)

    @rule()
    def an_older_state_file_is_put_back(self) -> None:
        old = (self.folder / STATE_FILE).read_bytes()
        self.calm()
        self.calm()
        (self.folder / STATE_FILE).write_bytes(old)
        self.journal = restart(self.folder)
        assert self.journal.state.trading is TradingState.HALTED

    @rule(torn=st.binary(max_size=20).filter(lambda torn: b"\n" not in torn))
    def restart_with_a_torn_tail(self, torn: bytes) -> None:
        with (self.folder / EVENTS_FILE).open("ab") as stream:
            stream.write(torn)
        before = self.journal.state
        self.journal = restart(self.folder)
        assert self.journal.state == before
        self.calm()  # mends the tail, as in the rule above; no write comes after a torn one without mending it

    @rule(name=st.sampled_from([STATE_FILE, EVENTS_FILE]), kept=st.floats(0, 0.9))
    def restart_with_a_cut_off_file(self, name: str, kept: float) -> None:
        content = (self.folder / name).read_bytes()
        (self.folder / name).write_bytes(content[: int(len(content) * kept)])
        self.journal = restart(self.folder)
        if name == STATE_FILE:
            assert self.journal.state.trading is TradingState.HALTED

    @precondition(lambda self: self.journal.state.trading is not TradingState.ACTIVE)
    @rule()
    def reset_by_name(self) -> None:
        self.journal.reset(self.equity, self.journal.state.clock_ns, actor="ann", reason="looked at it")
        self.remember()

    @invariant()
    def nothing_loosens_without_a_name(self) -> None:
        if not hasattr(self, "journal"):
            return
        before = self.allowed
        self.remember()
        assert all(now >= then for now, then in zip(self.allowed, before, strict=True)), (self.allowed, before)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


TestGuardedBook = GuardedBook.TestCase
TestGuardedBook.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
