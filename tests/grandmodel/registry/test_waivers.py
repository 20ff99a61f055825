"""A waiver is one person's word on one verdict: for anything else it does nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from grandmodel.core.errors import ConfigError, RegistryError
from grandmodel.core.hashing import hash_json
from grandmodel.registry.ledger import Entry
from grandmodel.registry.store import Registry
from grandmodel.registry.waivers import NEVER_WAIVED, waive, waived
from tests.grandmodel.registry.releases import SELECTED, make_bundle, register

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
REFUSED = {"selection": {"name": "g4_selection", "passed": False, "reason": "best of 50"}}


@pytest.fixture
def registry(state: Path, registry_of: Callable[..., Registry]) -> Registry:
    """Return a registry with one release in dev, by the author "trainer", that G3 refuses."""
    registry = registry_of(state)
    register(registry, make_bundle(state / "refused", state, failed=("g3_seeds",)))
    return registry


@pytest.fixture
def release_id(registry: Registry) -> str:
    return str(registry.status()[0]["release_id"])


def ask(registry: Registry, release_id: str, **changes: Any) -> list[Entry]:
    asked = {"gate": "g3_seeds", "by": "Ada", "reason": "seen live", "until": None, "now": NOW, **changes}
    return waive(registry, asked.pop("gate"), release_id, **asked)


def stage(registry: Registry, evidence: dict[str, Any] = SELECTED) -> tuple[str, ...]:
    return registry.promote("staging", "1", actor="flow", reason="asked", evidence=evidence).reasons


def test_a_waived_verdict_lets_the_release_in_by_name(registry: Registry, release_id: str) -> None:
    assert stage(registry) == ("gate g3_seeds did not pass: reason of g3_seeds",)
    (line,) = ask(registry, release_id, until="2026-12-31")
    assert (line.kind, line.actor, line.reason) == ("waiver", "Ada", "seen live")
    assert stage(registry) == ()
    row = registry.status()[1]
    assert row["release_id"] == release_id
    assert row["waivers"] == [f"g3_seeds of release {release_id} waived by Ada until 2026-12-31: seen live"]
    assert [(one["kind"], one["gate"], one["actor"]) for one in registry.history()][2] == ("waiver", "g3_seeds", "Ada")
    promotion = next(entry for entry in registry.ledger.read() if entry.kind == "promotion")
    assert registry.shown_before("staging", release_id)["waivers"] == [line.hash]
    assert promotion.evidence_sha256


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"by": " "}, "a named person"),
        ({"reason": ""}, "reason must be one line"),
        ({"by": " Trainer "}, "another person than the author"),
        ({"by": "auto-approver"}, "not a part of the house"),
        ({"by": "Release-Flow"}, "not a part of the house"),
        ({"until": "2026-03-02"}, "must not be past"),
        ({"until": "next week"}, "must be a day"),
        ({"gate": "g0_data"}, "cannot be waived"),
        ({"gate": "g1_leakage"}, "cannot be waived"),
    ],
)
def test_a_waiver_that_breaks_a_rule_is_not_written(
    registry: Registry, release_id: str, changes: dict[str, Any], rule: str
) -> None:
    before = registry.ledger.path.read_bytes()
    with pytest.raises(ConfigError, match=rule):
        ask(registry, release_id, **changes)
    assert registry.ledger.path.read_bytes() == before


@pytest.mark.parametrize(("gate", "release"), [("g2_sanity", None), ("g9_people", None), ("g3_seeds", "0" * 12)])
def test_where_nothing_refused_there_is_nothing_to_waive(
    registry: Registry, release_id: str, gate: str, release: str | None
) -> None:
    with pytest.raises(RegistryError, match="waiver of"):
        ask(registry, release or release_id, gate=gate)


def test_a_waiver_ends_with_its_last_day(registry: Registry, release_id: str) -> None:
    ask(registry, release_id, until="2026-03-03")
    (held,) = registry.waivers(release_id)
    assert held.is_in_force(datetime(2026, 3, 3, 23, 59, tzinfo=UTC))
    assert not held.is_in_force(datetime(2026, 3, 4, tzinfo=UTC))
    assert held.sentence(datetime(2026, 3, 4, tzinfo=UTC)).endswith("by Ada until 2026-03-03 (expired): seen live")


def test_an_expired_waiver_lets_nothing_pass(state: Path, registry_of: Callable[..., Registry]) -> None:
    registry = registry_of(state)  # its clock stands in March 2026
    register(registry, make_bundle(state / "refused", state, failed=("g3_seeds",)))
    release_id = str(registry.status()[0]["release_id"])
    ask(registry, release_id, until="2026-02-01", now=datetime(2026, 1, 31, tzinfo=UTC))
    assert stage(registry) == ("gate g3_seeds did not pass: reason of g3_seeds",)


def test_another_release_needs_another_waiver(registry: Registry, release_id: str, state: Path) -> None:
    ask(registry, release_id)
    register(registry, make_bundle(state / "other", state, weight=2.0, failed=("g3_seeds",)))
    outcome = registry.promote("staging", "2", actor="flow", reason="asked", evidence=SELECTED)
    assert outcome.reasons == ("gate g3_seeds did not pass: reason of g3_seeds",)


def test_another_verdict_needs_another_waiver(state: Path, registry_of: Callable[..., Registry]) -> None:
    registry = registry_of(state)
    register(registry, make_bundle(state / "bundle", state))
    release_id = str(registry.status()[0]["release_id"])
    assert stage(registry, REFUSED) == ("gate g4_selection over all trials did not pass: best of 50",)
    ask(registry, release_id, gate="g4_selection")
    worse = {"selection": {**REFUSED["selection"], "reason": "best of 51"}}
    assert stage(registry, worse) == ("gate g4_selection over all trials did not pass: best of 51",)
    assert stage(registry, REFUSED) == ()


@pytest.mark.parametrize("gate", NEVER_WAIVED)
def test_a_line_that_no_rule_would_allow_does_nothing(registry: Registry, release_id: str, gate: str) -> None:
    ask(registry, release_id)
    (held,) = registry.waivers(release_id)
    verdict = next(one for one in registry.bundle_of("dev", "1").read_json("gates.json") if one["name"] == "g3_seeds")
    assert waived(verdict, [held], author="trainer", now=NOW)
    assert not waived(verdict, [held], author="ADA", now=NOW)
    assert not waived({**verdict, "reason": "another"}, [held], author="trainer", now=NOW)
    never = {**verdict, "name": gate}
    smuggled = replace(held, gate=gate, verdict_sha256=hash_json(never))
    assert smuggled.covers(never)
    assert not waived(never, [smuggled], author="trainer", now=NOW)
