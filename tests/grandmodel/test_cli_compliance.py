from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from grandmodel.registry.ledger import Ledger
from grandmodel.risk.journal import EVENTS_FILE, STATE_FILE, Journal
from tests.grandmodel.command_line import call, parsed, refuse
from tests.grandmodel.registry.releases import ticking_clock
from tests.grandmodel.risk.killed_journal import configured, operate

REPORT = ("compliance", "report")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state folder in which the guard cut and production was refused."""
    folder = tmp_path / "state"
    journal = Journal.begin(folder / "guard", configured(), actor="ann", reason="first start")
    operate(journal, "cut")
    ledger = Ledger(folder / "ledger.jsonl", ticking_clock())
    ledger.append("refusal", actor="ann", reason="approval: a named person must answer for it", subject={})
    return folder


def rows(*options: object) -> dict[str, dict[str, object]]:
    return {row["control"]: row for row in parsed(*REPORT, *options)["controls"]}


def test_what_fired_is_shown_with_its_time_and_what_did_not_says_so(state: Path) -> None:
    found = rows("--state", state)
    assert found["correlation_shock"]["trigger"] == "cut: correlation shock CRITICAL"
    assert str(found["correlation_shock"]["last"]).startswith("2020-09-13T")
    assert found["approval"]["trigger"] == "refusal: approval: a named person must answer for it"
    assert (found["daily_loss"]["trigger"], found["daily_loss"]["last"]) == ("never fired here", None)


def test_the_table_carries_rule_limit_test_and_last_trigger(state: Path) -> None:
    said = call(*REPORT, "--state", state).stdout
    assert "journal  " in said
    assert "Rule checks with evidence" in said
    for words in ("limit", "last trigger", "positions_max 20", "::test_", "never fired here", "2020-09-13"):
        assert words in said
    assert "limits from configs/production.yaml: gates, profile, approval\n" in said
    assert "limits from journal and configs/production.yaml: drawdown_cut, drawdown_halt" in said
    assert "compliant" not in said.lower()


def test_a_journal_elsewhere_is_read_there(state: Path, tmp_path: Path) -> None:
    (state / "guard").rename(tmp_path / "elsewhere")
    assert rows("--state", state)["correlation_shock"]["trigger"] == "never fired here"
    named = rows("--state", state, "--journal", tmp_path / "elsewhere")
    assert named["correlation_shock"]["times"] == 1


def test_where_nothing_ran_nothing_fired(tmp_path: Path) -> None:
    found = parsed(*REPORT, "--state", tmp_path / "nothing")
    assert [(one["name"], one["lines"], one["fault"]) for one in found["records"]] == [
        ("journal", 0, ""),
        ("ledger", 0, ""),
    ]
    assert {row["trigger"] for row in found["controls"]} == {"never fired here"}
    assert not (tmp_path / "nothing").exists()


def altered(path: Path) -> None:
    path.write_text(path.read_text().replace("ann", "bob"))


def cut_off(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def loosened(path: Path) -> None:
    """Write level 0 into the state, without the hash that goes with it."""
    path.write_text(path.read_text().replace('"level":1', '"level":0'))


def rearmed_by_nobody(path: Path) -> None:
    """Append the state of the beginning once more, as a line of the guard with a hash that fits."""
    lines = path.read_bytes().splitlines()
    line = {**json.loads(lines[0]), "kind": "cut", "actor": "guard", "revision": 99}
    line["previous"] = hashlib.sha256(lines[-1]).hexdigest()
    path.write_bytes(b"\n".join([*lines, json.dumps(line).encode(), b""]))


@pytest.mark.parametrize(
    ("file", "break_it", "words"),
    [
        (f"guard/{EVENTS_FILE}", altered, "line 2 must be JSON with the hash of the line before"),
        (f"guard/{EVENTS_FILE}", cut_off, "lines were cut off the end"),
        (f"guard/{EVENTS_FILE}", Path.unlink, "must exist beside the rest of the journal"),
        (f"guard/{STATE_FILE}", Path.unlink, "must exist beside the rest of the journal"),
        (f"guard/{STATE_FILE}", lambda path: path.write_text("[]"), "must be a state of the guard"),
        (f"guard/{STATE_FILE}", loosened, "its hash must match its content"),
        (f"guard/{EVENTS_FILE}", rearmed_by_nobody, "loosens, and only a named person may"),
        ("ledger.jsonl", altered, "its hash must match its content"),
        ("ledger.jsonl", Path.unlink, "the end was cut off"),
    ],
)
def test_a_broken_record_is_said_in_the_report_and_ends_with_one(
    state: Path, file: str, break_it: object, words: str
) -> None:
    break_it(state / file)  # type: ignore[operator]
    assert words in refuse(1, *REPORT, "--state", state)
    name, other = ("journal", "approval") if "guard" in file else ("ledger", "correlation_shock")
    table = call(*REPORT, "--state", state).stdout
    assert "CANNOT BE READ" in table
    result = call(*REPORT, "--state", state, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert [one["name"] for one in told["records"] if words in one["fault"]] == [name]
    found = {row["control"]: row["trigger"] for row in told["controls"]}
    assert found[other] not in ("never fired here", f"not known: the {name} cannot be read")
    assert found["limit_change"] == f"not known: the {name} cannot be read"


def test_a_journal_that_was_set_aside_is_told(state: Path) -> None:
    altered(state / "guard" / EVENTS_FILE)
    Journal.restore(state / "guard", configured())
    found = rows("--state", state)
    assert found["correlation_shock"]["trigger"] == "never fired here since an earlier journal was set aside"
    assert str(found["journal_in_doubt"]["trigger"]).startswith("unreadable: ")
    assert "1 earlier set aside, not counted here" in call(*REPORT, "--state", state).stdout


def test_a_folder_that_holds_no_journal_is_refused_where_it_was_named(state: Path, tmp_path: Path) -> None:
    assert "must exist beside the rest" in refuse(1, *REPORT, "--state", state, "--journal", tmp_path / "empty")
