"""The release flow on a real Prefect server, with stages that only say that they ran."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.testing.utilities import prefect_test_harness

from flows import release as door
from flows.commands import StageFailed
from pipelines.promote import Outcome
from pipelines.workspace import STAGES, STATE_VARIABLE, Workspace, open_workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """Return what the flow tells its stages to do; promotion refuses at the last gate."""
    calls: list[tuple[str, ...]] = []

    def promote(workspace: Workspace, state: Path, **_: Any) -> Outcome:
        calls.append(("promote", str(workspace.folder), str(state)))
        (tmp_path / "report.html").write_text("report")
        gates = [{"name": "g6_risk", "passed": False, "reason": "the loss is too large"}]
        registries = [{"registry": "dev.grandmodel", "version": "1", "release_id": "abc", "alias": "champion -> 1"}]
        sentence = "The release abc stays in dev."
        report, ledger = tmp_path / "report.html", tmp_path / "ledger.jsonl"
        return Outcome("abc", "dev", False, sentence, gates, registries, {"stress": "worst loss"}, report, ledger)

    monkeypatch.setenv(STATE_VARIABLE, "put back after the flow has set it")
    monkeypatch.setattr(door, "PROJECT", tmp_path)
    monkeypatch.setattr(door, "run_stage_module", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(door, "promote", promote)
    monkeypatch.setattr(door, "one_run_at_a_time", nullcontext)  # another test may run in this checkout
    return calls


def test_all_stages_run_in_order_and_the_verdict_is_an_artifact(told: list[tuple[str, ...]], tmp_path: Path) -> None:
    (tmp_path / "bars").mkdir()
    outcome = door.release(data=str(tmp_path / "bars"), symbols=["NQ"], state=str(tmp_path / "state"))
    assert outcome.reached == "dev"
    assert os.environ[STATE_VARIABLE] == told[-1][-1] == str(tmp_path / "state")
    assert [call[0] for call in told] == [*STAGES, "promote"]
    assert told[0][-2:] == ("--symbol", "NQ")
    folders = {call[call.index("--workspace") + 1] for call in told if "--workspace" in call}
    assert len(folders) == 1
    assert Path(folders.pop()).parent == tmp_path / "runs"
    with get_client(sync_client=True) as client:
        found = {
            item.key: item.data for item in client.read_artifacts(artifact_filter=_keys("verdict", "gates", "report"))
        }
    assert "stays in dev" in str(found["verdict"])
    assert "the loss is too large" in str(found["gates"])
    assert "report.html" in str(found["report"])


def test_a_quick_look_gets_a_folder_of_its_own_that_carries_its_parameters(
    told: list[tuple[str, ...]], tmp_path: Path
) -> None:
    (tmp_path / "bars").mkdir()
    for profile in ("quick", "full"):
        door.release(data=str(tmp_path / "bars"), state=str(tmp_path / "state"), profile=profile)
    folders = [call[call.index("--workspace") + 1] for call in told if call[0] == "package"]
    assert folders[0] == f"{folders[1]}-quick"
    params = [open_workspace(Path(folder)).params for folder in folders]
    assert [one.profile for one in params] == ["quick", "full"]


def test_a_failed_stage_ends_the_flow_before_promotion(
    told: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(stage: str, *_: str) -> None:
        told.append((stage,))
        if stage == "validate":
            raise StageFailed("validate: bars.csv row 3: low is above high")

    monkeypatch.setattr(door, "run_stage_module", fail)
    with pytest.raises(StageFailed, match="row 3"):
        door.release(data=str(tmp_path), state=str(tmp_path / "state"))
    assert [call[0] for call in told] == ["ingest", "validate"]


def _keys(*names: str) -> ArtifactFilter:
    return ArtifactFilter(key=ArtifactFilterKey(any_=list(names)))
