from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.registry.conditions import ENVIRONMENTS
from grandmodel.registry.ledger import GENESIS, Entry
from grandmodel.registry.moves import Move, moment_of, move_that_made, open_intents, standing_at

MOVE = Move("promotion", "staging", "1", "r", "m", "k", "key", "ann", None, "s", "b", "run", None, None, None)
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def line(sequence: int, time: datetime, move: Move, kind: str = "promotion", intent: str = "") -> Entry:
    subject = {**move.to_subject(), "intent": intent}
    return Entry(sequence, time.isoformat(), kind, "flow", "why", subject, "", GENESIS, f"hash {sequence}")


def test_a_move_survives_the_ledger() -> None:
    assert Move.from_subject(line(0, MOMENT, MOVE).subject) == MOVE


@pytest.mark.parametrize("seed", range(5))
def test_what_stood_is_right_at_every_instant_of_200_random_moves(seed: int) -> None:
    """The twin keeps the champions in a dict as the moves are made, and writes the dict down at each instant."""
    stream = random_stream(seed, "history")
    entries: list[Entry] = []
    standing: dict[str, str | None] = dict.fromkeys(ENVIRONMENTS)
    stood: dict[str, list[str]] = {name: [] for name in ENVIRONMENTS}
    instants: list[tuple[datetime, dict[str, str | None]]] = [(MOMENT - timedelta(microseconds=1), dict(standing))]
    now, moves, kinds = MOMENT, 0, set()
    while moves < 200:
        name = ENVIRONMENTS[int(stream.integers(4))]
        kind = str(
            stream.choice(["promotion", "registration", "rollback", "refusal", "intent", "abandonment", "waiver"])
        )
        version = str(len(stood[name]) + 1)
        if kind == "rollback":
            if not stood[name]:
                continue
            version = stood[name][int(stream.integers(len(stood[name])))]
        entries.append(line(len(entries), now, replace(MOVE, environment=name, version=version), kind))
        kinds.add(kind)
        if kind in ("promotion", "registration", "rollback"):
            moves += 1
            standing[name] = version
            stood[name].append(version)
        instants.append((now, dict(standing)))
        now += timedelta(microseconds=int(stream.integers(1, 10**9)))
        instants.append((now - timedelta(microseconds=1), dict(standing)))
    assert len(kinds) == 7
    for moment, expected in instants:
        rows = standing_at(entries, moment, ENVIRONMENTS)
        assert {row["environment"]: row["version"] for row in rows} == expected
    assert {row["environment"]: row["version"] for row in standing_at(entries, None, ENVIRONMENTS)} == standing


def test_an_intent_is_open_until_completed_or_abandoned() -> None:
    entries = [line(number, MOMENT, MOVE, "intent") for number in range(3)]
    assert open_intents(entries) == entries
    entries.append(line(3, MOMENT, MOVE, "promotion", intent="hash 0"))
    entries.append(line(4, MOMENT, MOVE, "abandonment", intent="hash 2"))
    assert [entry.sequence for entry in open_intents(entries)] == [1]


def test_only_completed_moves_made_a_champion() -> None:
    assert move_that_made([line(0, MOMENT, MOVE, "intent")], "staging", "1") is None
    assert move_that_made([line(0, MOMENT, MOVE)], "staging", "1") == MOVE
    assert move_that_made([line(0, MOMENT, MOVE)], "canary", "1") is None


def test_a_time_without_zone_is_utc() -> None:
    assert moment_of("2026-01-01") == moment_of("2026-01-01T01:00+01:00") == moment_of(MOMENT) == MOMENT


def test_a_time_in_other_words_is_refused() -> None:
    with pytest.raises(ConfigError, match="ISO"):
        moment_of("3 March")
