"""What fired is found in the lines that guard and registries really write; what cannot be read is not known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandmodel.compliance.controls import Control, load_controls
from grandmodel.compliance.report import NEVER, Line, Record, Row, as_json, journal_record, ledger_record, report
from grandmodel.core.config import BreakerLimits, RiskLimits, load_environment
from grandmodel.core.errors import DataError, LedgerError
from grandmodel.core.hashing import canonical_json
from grandmodel.registry.ledger import Ledger
from grandmodel.risk.guard_inputs import Book, RiskNumbers
from grandmodel.risk.guard_state import opened
from grandmodel.risk.journal import EVENTS_FILE, STATE_FILE, Journal, read_events
from grandmodel.risk.limits import limit_change
from tests.grandmodel.registry.releases import ticking_clock

PROJECT = Path(__file__).resolve().parents[3]
PRODUCTION = load_environment(PROJECT / "configs" / "production.yaml")
CONTROLS = load_controls(PROJECT / "configs" / "controls.yaml", PROJECT, PRODUCTION)
CONFIG = "configs/production.yaml"
SECOND_NS = 1_000_000_000
START_NS = 1_600_000_000 * SECOND_NS
PRICES = (100.0, 50.0)
UNRELATED = np.eye(2)
CALM = RiskNumbers(0.01, (0.01, 0.01), UNRELATED)
EMPTY = (Record("journal", "guard"), Record("ledger", "ledger.jsonl"))


def rows_of(*records: Record) -> dict[str, Row]:
    return {row.control: row for row in report(CONTROLS, PRODUCTION, CONFIG, records)}


def journal_of(folder: Path, limits: RiskLimits) -> Journal:
    state = opened(("ES", "CL"), (50.0, 1000.0), PRICES, 1e6, limits, PRODUCTION.breaker, START_NS)
    return Journal.begin(folder, state, actor="ann", reason="first start")


def decide(journal: Journal, held: Any, targets: Any, *, after_s: float = 300.0, **changes: Any) -> None:
    given = {"equity": 1e6, "prices": PRICES, "risk": CALM, **changes}
    moment = journal.state.clock_ns + int(after_s * SECOND_NS)
    journal.decide(Book(given["equity"], held), given["prices"], targets, given["risk"], moment)


def rearm(journal: Journal) -> None:
    journal.reset(1e6, journal.state.clock_ns + SECOND_NS, actor="ann", reason="looked at it")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the journal of a book in which every control of the guard fired once at least."""
    folder = tmp_path_factory.mktemp("lived") / "guard"
    limits = PRODUCTION.limits.model_copy(update={"positions_max": 1, "messages_per_minute_max": 1})
    journal = journal_of(folder, limits)
    decide(journal, (0.0, 0.0), (20.0, 0.0))
    decide(journal, (0.0, 0.0), (20.0, 0.0), after_s=0.5)  # the same order again
    decide(journal, (20.0, 0.0), (30.0, 0.0), after_s=1)  # one message too many
    decide(journal, (20.0, 0.0), (1000.0, 100.0))  # too much of everything
    decide(journal, (20.0, 0.0), (20.0, 1.0), risk=replace(CALM, correlation=np.ones((2, 2))))
    decide(journal, (20.0, 0.0), (30.0, 0.0), prices=(110.0, 50.0))
    decide(journal, (20.0, 0.0), (30.0, 0.0), risk=replace(CALM, value_at_risk_frac=0.06))
    decide(journal, (20.0, 0.0), (20.0, 0.0), risk=replace(CALM, value_at_risk_frac=math.nan))
    rearm(journal)
    decide(journal, (20.0, 0.0), (20.0, 0.0), equity=0.94e6)
    decide(journal, (20.0, 0.0), (20.0, 0.0), risk=replace(CALM, alarm="HIGH"))
    rearm(journal)
    decide(journal, (20.0, 0.0), (20.0, 0.0), equity=0.89e6)
    decide(journal, (20.0, 0.0), (20.0, 0.0), equity=0.7e6)
    journal = Journal.restore(folder, replace(journal.state, limits=PRODUCTION.limits))
    (folder / STATE_FILE).write_text("not a state")
    Journal.restore(folder, journal.state)
    return folder


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", ticking_clock())


def asks(control: Control, record: str) -> bool:
    return any(trigger.record == record for trigger in control.triggers)


def test_every_control_of_the_guard_finds_the_lines_that_the_guard_writes(lived: Path) -> None:
    found = rows_of(journal_record(lived, read_events(lived)), EMPTY[1])
    guarded = [control.id for control in CONTROLS if asks(control, "journal")]
    assert len(guarded) > 15
    assert [name for name in guarded if found[name].last is None] == []
    assert found["drawdown_halt"].trigger == "halt: drawdown 0.3000"
    assert found["reset_by_name"].times == 2
    assert found["correlation_shock"].trigger == "cut: correlation shock HIGH"
    assert found["value_at_risk_known"].trigger == "input_unknown: value at risk is nan"


def test_the_last_trigger_is_told_with_its_time(lived: Path) -> None:
    events = read_events(lived)
    row = rows_of(journal_record(lived, events), EMPTY[1])["daily_loss"]
    last = [event for event in events if event["limit"] == "daily_loss_max_frac"][-1]
    moment = np.datetime64(last["clock_ns"], "ns").astype("datetime64[us]")
    assert row.last == f"{moment}+00:00"
    assert row.trigger == f"limit: {last['reason']}"


@pytest.mark.parametrize(
    ("control", "kind", "reason"),
    [
        ("gates", "refusal", "gate g3_seeds did not pass: one baseline is not beaten"),
        ("gates", "refusal", "gate g6_risk was not run"),
        ("gates", "refusal", "the bundle holds no gates.json, so gates g0_data were not shown to pass"),
        ("parity", "refusal", "the packaged weights decide otherwise than the trained ones: a against b"),
        ("parity", "refusal", "parity was not measured: the evidence of this move holds no decision_hash"),
        ("profile", "refusal", "staging takes releases of profile full, found quick"),
        ("approval", "refusal", "approval: a named person must answer for it"),
        ("approval", "refusal", "approval: another person than the author must answer for it, found 'ann'"),
        ("bundle_intact", "refusal", "bundle x file y: must have the SHA-256 of the manifest, 'a'; found 'b'"),
        ("bundle_intact", "refusal", "bundle x file y: is in the manifest but absent from the folder"),
        ("bundle_intact", "refusal", "bundle x file y: is in the folder but not in the manifest"),
        ("bundle_intact", "refusal", "bundle x: must be the one registered, a; found 'b'"),
        ("bundle_intact", "abandonment", "the bundle broke"),
        ("rollback", "rollback", "slippage"),
        ("limit_change", "limit_change", "the market became wilder"),
    ],
)
def test_a_line_of_the_ledger_fires_its_control_and_no_other(
    ledger: Ledger, control: str, kind: str, reason: str
) -> None:
    entry = ledger.append(kind, actor="ann", reason=reason, subject={})
    found = rows_of(EMPTY[0], ledger_record(ledger.path, ticking_clock()))
    assert [name for name, row in found.items() if row.times] == [control]
    assert (found[control].last, found[control].trigger) == (entry.time, f"{kind}: {reason}")


def test_a_promotion_fires_nothing(ledger: Ledger) -> None:
    ledger.append(
        "promotion", actor="ann", reason="all conditions met; gate g0_data did not pass by halves", subject={}
    )
    found = rows_of(EMPTY[0], ledger_record(ledger.path, ticking_clock()))
    assert {row.trigger for row in found.values()} == {NEVER}


def test_without_records_nothing_ever_fired_and_the_configured_limits_are_shown() -> None:
    found = rows_of(*EMPTY)
    assert {(row.last, row.trigger, row.times) for row in found.values()} == {(None, NEVER, 0)}
    assert found["daily_loss"].limit["limits.daily_loss_max_frac"] == PRODUCTION.limits.daily_loss_max_frac
    assert found["daily_loss"].limit_from == CONFIG
    assert found["approval"].limit == {"approval_required": True}
    assert (found["rollback"].limit, found["rollback"].limit_from) == ({}, "")


def test_a_record_that_cannot_be_read_makes_its_controls_unknown_and_no_others() -> None:
    broken = Record("journal", "guard", fault="line 2 must be JSON")
    found = rows_of(broken, EMPTY[1])
    assert (found["drawdown_cut"].trigger, found["drawdown_cut"].times) == (
        "not known: the journal cannot be read",
        None,
    )
    assert found["limit_change"].trigger == "not known: the journal cannot be read"
    assert found["gates"].trigger == NEVER
    assert found["daily_loss"].limit_from == f"{CONFIG}; what is in force is not known"
    both = rows_of(broken, Record("ledger", "ledger.jsonl", fault="its hash must match"))
    assert both["limit_change"].trigger == "not known: the journal and the ledger cannot be read"


def test_a_record_that_is_not_given_is_no_record_without_lines() -> None:
    assert rows_of(EMPTY[0])["gates"].trigger == "not known: the ledger cannot be read"


def test_the_limits_in_force_are_those_of_the_journal(tmp_path: Path) -> None:
    journal_of(tmp_path / "same", PRODUCTION.limits)
    same = rows_of(journal_record(tmp_path, read_events(tmp_path / "same")), EMPTY[1])["positions"]
    assert (same.limit, same.limit_from) == ({"limits.positions_max": 20}, f"journal and {CONFIG}")
    journal = journal_of(tmp_path / "other", PRODUCTION.limits)
    tighter = PRODUCTION.limits.model_copy(update={"positions_max": 3})
    subject = limit_change(PRODUCTION.limits, PRODUCTION.breaker, tighter, PRODUCTION.breaker)
    ledger = Ledger(tmp_path / "l.jsonl", ticking_clock())
    line = ledger.append("limit_change", actor="ann", reason="r", subject=subject)
    journal.adopt_limits(ledger, line.sequence, START_NS + 1)
    found = rows_of(journal_record(tmp_path, read_events(tmp_path / "other")), EMPTY[1])
    assert found["positions"].limit == {"limits.positions_max": 3}
    assert found["positions"].limit_from == f"journal; {CONFIG} says limits.positions_max 20"
    assert found["net_exposure"].limit_from == f"journal and {CONFIG}"
    assert found["drawdown_halt"].limit == {"breaker.halt_drawdown_frac": BreakerLimits().halt_drawdown_frac}


@pytest.mark.parametrize(
    "change",
    [{"clock_ns": None}, {"clock_ns": "soon"}, {"clock_ns": 10**30}, {"state": {"limits": {}}}, {"state": 3}],
)
def test_a_line_that_is_no_event_is_refused_by_number(tmp_path: Path, change: dict[str, Any]) -> None:
    journal_of(tmp_path, PRODUCTION.limits)
    (event,) = read_events(tmp_path)
    with pytest.raises(DataError, match="line 2: must be an event of the guard"):
        journal_record(tmp_path, [event, {**event, **change}])
    with pytest.raises(DataError, match="line 1: must be an event of the guard"):
        journal_record(tmp_path, [{name: value for name, value in event.items() if name != "reason"}])


def test_a_ledger_that_does_not_verify_is_no_record(ledger: Ledger) -> None:
    ledger.append("refusal", actor="ann", reason="approval: a named person must answer for it", subject={})
    ledger.path.write_text(ledger.path.read_text().replace("named", "nice"))
    with pytest.raises(LedgerError, match="its hash must match"):
        ledger_record(ledger.path, ticking_clock())


def test_the_newest_of_several_lines_is_the_last_whatever_their_order() -> None:
    lines = tuple(Line(f"2026-11-{day}T00:00:00+00:00", "halt", f"day {day}") for day in ("03", "09", "05"))
    row = rows_of(Record("journal", "guard", lines), EMPTY[1])["drawdown_halt"]
    assert (row.last, row.trigger, row.times) == ("2026-11-09T00:00:00+00:00", "halt: day 09", 3)


def test_the_report_is_plain_json(lived: Path) -> None:
    records = (journal_record(lived, read_events(lived)), EMPTY[1])
    plain = as_json(report(CONTROLS, PRODUCTION, CONFIG, records), records)
    assert canonical_json(plain)
    assert plain["records"][0]["lines"] == len((lived / EVENTS_FILE).read_text().splitlines())
    assert len(plain["controls"]) == len(CONTROLS)
