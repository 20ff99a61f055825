"""Limits change by a line of the ledger that the journal is given, once, and in no other way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from grandmodel.core.config import BreakerLimits, RiskLimits
from grandmodel.core.errors import ConfigError, LedgerError
from grandmodel.registry.ledger import Ledger
from grandmodel.risk.journal import STATE_FILE, Journal
from grandmodel.risk.limits import limit_change
from grandmodel.risk.state import TradingState
from tests.grandmodel.risk.killed_journal import configured
from tests.grandmodel.risk.test_journal import begin, cut, restart


def test_limits_change_by_a_ledger_line_and_a_cut_stays_cut(tmp_path: Path) -> None:
    journal = cut(tmp_path / "book")
    state = journal.state
    wider = state.limits.model_copy(update={"gross_exposure_max": 8.0})
    ledger = Ledger(tmp_path / "ledger.jsonl", lambda: datetime(2026, 1, 2, tzinfo=UTC))
    subject = limit_change(state.limits, state.breaker.limits, wider, state.breaker.limits)
    ledger.append("limit_change", actor="ben", reason="more capital", subject=subject)
    (event,) = journal.adopt_limits(ledger, 0, state.clock_ns)
    assert (event.kind, event.actor) == ("limit_change", "ben")
    assert "gross_exposure_max 5.0 -> 8.0" in event.reason
    after = Journal.restore(tmp_path / "book", replace(configured(), limits=wider)).state
    assert (after.limits, after.trading, after.gross_cap) == (wider, TradingState.ACTIVE, state.gross_cap)
    journal.reset(1e6, state.clock_ns, actor="ann", reason="looked at it")
    assert journal.state.gross_cap == 8.0


def test_levels_that_do_not_rise_are_refused(tmp_path: Path) -> None:
    journal = begin(tmp_path / "book")
    limits = journal.state.limits
    flat = BreakerLimits(half_drawdown_frac=0.15)
    subject = limit_change(limits, BreakerLimits(), limits, flat)
    ledger = Ledger(tmp_path / "ledger.jsonl", lambda: datetime(2026, 1, 2, tzinfo=UTC))
    ledger.append("limit_change", actor="ben", reason="later", subject=subject)
    with pytest.raises(ConfigError, match="must rise"):
        journal.adopt_limits(ledger, 0, journal.state.clock_ns)


def changed(ledger: Ledger, before: RiskLimits, after: RiskLimits) -> int:
    subject = limit_change(before, BreakerLimits(), after, BreakerLimits())
    return ledger.append("limit_change", actor="ben", reason="trial", subject=subject).sequence


def test_a_limit_change_needs_the_ledger_in_which_its_line_stands(tmp_path: Path) -> None:
    journal = begin(tmp_path / "book")
    before = journal.state
    wide = before.limits.model_copy(update={"gross_exposure_max": 50.0})
    ledger = Ledger(tmp_path / "ledger.jsonl", lambda: datetime(2026, 1, 2, tzinfo=UTC))
    changed(ledger, before.limits, wide)
    with pytest.raises(LedgerError, match="needs the ledger"):
        journal.adopt_limits(None, 0, before.clock_ns)
    for sequence in (-1, 1):
        with pytest.raises(LedgerError, match="one of the 1 lines"):
            journal.adopt_limits(ledger, sequence, before.clock_ns)
    with pytest.raises(ConfigError, match="must not run backwards"):
        journal.adopt_limits(ledger, 0, before.clock_ns - 1)
    ledger.path.write_text(ledger.path.read_text().replace("trial", "truth"))
    with pytest.raises(LedgerError, match="hash must match"):
        journal.adopt_limits(ledger, 0, before.clock_ns)
    assert journal.state == before


def test_an_old_limit_change_is_not_made_again_and_the_ledger_stays_the_same(tmp_path: Path) -> None:
    journal = begin(tmp_path / "book")
    narrow = journal.state.limits
    wide = narrow.model_copy(update={"gross_exposure_max": 50.0})
    ledger, other = (Ledger(tmp_path / name, lambda: datetime(2026, 1, 2, tzinfo=UTC)) for name in ("a", "b"))
    for before, after in ((narrow, wide), (wide, narrow)):
        journal.adopt_limits(ledger, changed(ledger, before, after), journal.state.clock_ns)
    journal = restart(tmp_path / "book")
    assert (journal.state.limits, journal.state.limits_sequence) == (narrow, 1)
    with pytest.raises(LedgerError, match="later than line 1"):
        journal.adopt_limits(ledger, 0, journal.state.clock_ns)
    for _ in range(3):
        sequence = changed(other, narrow, wide)
    with pytest.raises(LedgerError, match="must stand in the ledger whose line 1"):
        journal.adopt_limits(other, sequence, journal.state.clock_ns)
    (tmp_path / "book" / STATE_FILE).unlink()
    doubtful = restart(tmp_path / "book")
    with pytest.raises(LedgerError, match="later than line 1"):
        doubtful.adopt_limits(ledger, 0, doubtful.state.clock_ns)
    assert doubtful.state.limits == narrow
