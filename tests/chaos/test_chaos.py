"""Whatever befalls a move, there is one champion throughout, the ledger verifies, and a second try completes it once.

A few seeds of each case; ``make bench-chaos`` runs twenty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests import postgres
from tests.chaos.cases import OPERATIONS, STEPS, raced, run, sound
from tests.chaos.servers import outage
from tests.chaos.shelf import Shelf

pytestmark = pytest.mark.slow
DOWN_S = 2.0


@dataclass(frozen=True)
class Setting:
    """A kind of database under test."""

    shelf: Shelf
    server: postgres.Server | None


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def setting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        yield Setting(Shelf(folder, None), None)
    elif postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    else:
        with postgres.running() as server:
            yield Setting(Shelf(folder, server), server)


def test_a_move_killed_between_any_two_steps(setting: Setting) -> None:
    rows = run(
        setting.shelf,
        [
            {"case": "killed", "operation": operation, "step": step, "seed": seed}
            for operation in OPERATIONS
            for seed, step in enumerate(STEPS)
        ],
    )
    assert len(rows) == 18
    for row in rows:
        assert row["befell"] == {"signal": "SIGKILL"}, row
        assert sound(row), row


def test_a_move_on_a_full_disk(setting: Setting) -> None:
    steps = ("start", *STEPS[:-1])
    rows = run(
        setting.shelf,
        [
            {"case": "disk_full", "operation": OPERATIONS[number % 3], "step": step, "seed": number}
            for number, step in enumerate(steps)
        ],
    )
    assert len(rows) == 6
    for row in rows:
        assert "error" in row["befell"], row
        assert sound(row), row


def test_two_movers_at_once(setting: Setting) -> None:
    jobs = [("promotion", "intent"), ("rollback", "champion"), ("unnamed rollback", "previous")]
    rows = run(setting.shelf, [{"case": "race", "operation": one, "step": step, "seed": 0} for one, step in jobs])
    assert len(rows) == 3
    for row in rows:
        assert raced(row), row
        assert sound(row), row


def test_a_server_that_falls_on_the_way(setting: Setting) -> None:
    row = outage(setting.shelf, setting.server, "promotion", "tags", DOWN_S)
    assert row["befell"]["took_s"] > 0, row
    assert row["befell"].get("changed") or "MLflow at" in row["befell"]["refused"], row
    assert sound(row), row
