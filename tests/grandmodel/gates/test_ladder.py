from grandmodel.gates.ladder import Verdict, verdict
from grandmodel.gates.result import GateResult, refused


def _passed(name: str) -> GateResult:
    return GateResult(name, True, 1.0, 0.0, 1.0, 1, f"{name} is well.", {"power_statement": "Exact."})


def test_all_required_gates_passed() -> None:
    found = verdict([_passed("g0"), _passed("g1")], ["g0", "g1"])
    assert found == Verdict(True, (), "All 2 required gates passed.")


def test_the_first_refusal_gives_its_reason_and_all_are_named() -> None:
    found = verdict([_passed("g0"), refused("g3", 0.0, "no days"), refused("g4", 0.9, "no days")], ["g0", "g3", "g4"])
    assert not found.passed
    assert found.refused_by == ("g3", "g4")
    assert found.sentence.startswith("Refused by G3 and G4. First, G3: Refused because")


def test_a_required_gate_that_was_not_run_refuses() -> None:
    found = verdict([_passed("g0")], ["g0", "g1"])
    assert found.refused_by == ("g1",)
    assert "it was not run" in found.sentence


def test_one_of_two_results_under_one_name_is_enough_to_refuse() -> None:
    assert verdict([_passed("g0"), refused("g0", 0.0, "x")], ["g0"]).refused_by == ("g0",)


def test_a_gate_that_is_not_required_is_told_but_does_not_decide() -> None:
    found = verdict([_passed("g0"), refused("g5", 0.0, "x")], ["g0"])
    assert found.passed
    assert "Not required here, but refusing: G5." in found.sentence


def test_without_requirements_nothing_refuses() -> None:
    assert verdict([], []).passed


def test_a_waived_refusal_lets_pass_and_is_told_first() -> None:
    refusal = refused("g3", 0.0, "no days")
    found = verdict([_passed("g0"), refusal], ["g0", "g3"], [refusal])
    assert found == Verdict(True, (), "Refused by G3 and let pass by waiver.", ("g3",))


def test_a_waiver_lets_one_verdict_pass_and_no_other_under_that_name() -> None:
    first, second = refused("g4", 0.9, "best of 50"), refused("g4", 0.9, "best of 51")
    found = verdict([first, second], ["g4"], [first])
    assert (found.passed, found.refused_by, found.waived) == (False, ("g4",), ("g4",))
    assert "best of 51" in found.sentence


def test_a_gate_that_was_not_run_has_no_verdict_to_waive() -> None:
    assert verdict([], ["g1"], [refused("g1", 0.0, "x")]).refused_by == ("g1",)
