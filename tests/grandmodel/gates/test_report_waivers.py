"""Every waiver stands in red beside the verdict that it waives."""

from __future__ import annotations

from dataclasses import replace

from grandmodel.gates.ladder import verdict
from grandmodel.gates.report import ReportInput, render_report
from grandmodel.gates.result import GateResult
from tests.grandmodel.gates.test_report import example

SENTENCE = "g3_seeds of release 2f9c1e7a waived by Ada <ops> until 2026-12-31: seen live"


def waived_example() -> ReportInput:
    """Return a release in production although G3 refused it, by waiver."""
    report = example()
    gates = tuple(
        replace(gate, passed=False, reason="No edge.") if gate.name == "g3_seeds" else gate for gate in report.gates
    )
    refusals = [gate for gate in gates if not gate.passed]
    ruling = verdict(gates, [gate.name for gate in gates], refusals)
    return replace(report, gates=gates, verdict=ruling, waivers=(("g3_seeds", SENTENCE),))


def row_of(page: str, reason: str) -> str:
    """Return the table row with the words of one verdict."""
    return next(row for row in page.split("<tr") if reason in row)


def test_a_waiver_stands_in_red_beside_its_gate_and_escaped() -> None:
    page = render_report(waived_example())
    told = f'<p class="bad">Waiver: {SENTENCE.replace("<", "&lt;").replace(">", "&gt;")}</p>'
    assert page.count(told) == 1
    assert told in row_of(page, "No edge.")


def test_a_release_that_a_person_answers_for_is_not_called_passed() -> None:
    page = render_report(waived_example())
    assert '<h1 class="refuse">Waived: a named person answers for the release, which stands in production.</h1>' in page
    assert "<title>Waived ·" in page


def test_the_verdict_over_all_trials_carries_the_waiver_of_its_gate() -> None:
    report = waived_example()
    last = GateResult("g4_selection_all_trials", False, 0.3, 0.95, 0.1, 300, "Best of fifty.", {})
    page = render_report(replace(report, gates=(*report.gates, last), waivers=(("g4_selection", "waived by Ada"),)))
    assert "G4 selection all trials" in page
    assert '<p class="bad">Waiver: waived by Ada</p>' in row_of(page, "Best of fifty.")


def test_a_waiver_of_what_passed_in_the_end_is_not_told_beside_it() -> None:
    assert "Waiver:" not in render_report(replace(example(), waivers=(("g3_seeds", SENTENCE),)))
