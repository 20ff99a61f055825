from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from grandmodel.core.errors import LedgerError, RegistryError
from grandmodel.registry.bundle import seal, verify
from grandmodel.registry.signing import development_key
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import (
    SELECTED,
    STEPS,
    Killed,
    assert_one_champion,
    champions,
    killer,
    register,
    spoil,
)

ROOT = Path(__file__).parents[3]
Opener = Callable[..., Registry]


def promote_all_the_way(registry: Registry, version: str, weight: float) -> None:
    evidence = SELECTED | {"decision_hash": f"decisions-{weight}"}
    for target in ("staging", "canary", "production"):
        outcome = registry.promote(target, version, actor="flow", reason="green", evidence=evidence, approver="bob")
        assert outcome.accepted
        assert outcome.version is not None
        version = outcome.version


def test_a_release_walks_through_all_four_registries(
    state: Path, registry_of: Opener, make: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    registry = registry_of(state)
    bundle = make(1.0)
    promote_all_the_way(registry, register(registry, bundle), 1.0)
    release = verify(bundle).release_id
    assert champions(registry) == dict.fromkeys(("dev", "staging", "canary", "production"), release)
    served = registry.load_champion("production")
    assert (served / "strategic.safetensors").read_bytes() == (bundle / "strategic.safetensors").read_bytes()
    kinds = [row["kind"] for row in registry.history()]
    assert kinds == ["registration", "promotion", "promotion", "promotion"]
    assert registry.history()[-1]["approver"] == "bob"
    assert registry.ledger.verify().entries == 8
    assert capfd.readouterr() == ("", "")


def test_the_run_holds_metrics_params_tags_and_the_report(
    state: Path, registry_of: Opener, make: Callable[..., Path]
) -> None:
    registry = registry_of(state)
    register(registry, make(1.0))
    client = registry._tracking.client
    version = client.get_model_version("dev.grandmodel", "1")
    assert version.run_id is not None
    run = client.get_run(version.run_id)
    assert run.data.metrics == {"sharpe": 1.5}
    assert run.data.params == {"seed": "7", "lags": "1"}
    assert run.data.tags["git_commit"] == "abc"
    assert "bundle/report.html" in {item.path for item in client.list_artifacts(version.run_id, "bundle")}
    assert version.tags["release_id"] == run.data.tags["release_id"]
    assert version.tags["key_name"] == "development key"


def test_the_run_holds_the_learning_curves(state: Path, registry_of: Opener, make: Callable[..., Path]) -> None:
    registry = registry_of(state)
    entropy = [(step * 100, 1.0 - step / 2000) for step in range(1500)]
    curves = {"strategic/entropy": entropy, "strategic/kl": [(100, 0.01)]}
    registry.register(make(1.0), author="trainer", tags={}, metrics={}, params={}, curves=curves)
    client = registry._tracking.client
    run_id = client.get_model_version("dev.grandmodel", "1").run_id
    assert run_id is not None
    history = client.get_metric_history(run_id, "strategic/entropy")
    assert [(one.step, one.value) for one in history] == entropy
    assert client.get_run(run_id).data.metrics["strategic/kl"] == 0.01


def test_registering_or_promoting_a_champion_again_writes_nothing(
    state: Path, registry_of: Opener, make: Callable[..., Path]
) -> None:
    registry = registry_of(state)
    bundle = make(1.0)
    promote_all_the_way(registry, register(registry, bundle), 1.0)
    before = registry.ledger.path.read_bytes()
    again = registry.register(bundle, author="trainer", tags={}, metrics={}, params={})
    moved = registry.promote("production", "1", actor="flow", reason="again")
    assert (again.version, again.changed, moved.version, moved.changed) == ("1", False, "1", False)
    assert registry.ledger.path.read_bytes() == before
    assert len(registry._tracking.client.search_model_versions("name = 'production.grandmodel'")) == 1


def test_a_release_that_returns_to_dev_keeps_its_version(
    two_releases: Registry, shelf: tuple[Path, dict[Path, bytes]]
) -> None:
    assert register(two_releases, shelf[0] / "bundle-1.0") == "1"
    assert [row["version"] for row in two_releases.status() if row["environment"] == "dev"] == ["1"]


def test_a_refusal_leaves_the_target_registry_untouched(
    state: Path, registry_of: Opener, make: Callable[..., Path]
) -> None:
    registry = registry_of(state)
    register(registry, make(1.0, failed=("g3_seeds",)))
    outcome = registry.promote("staging", "1", actor="flow", reason="scheduled", evidence=SELECTED)
    assert not outcome.accepted
    assert outcome.reasons == ("gate g3_seeds did not pass: reason of g3_seeds",)
    client = registry._tracking.client
    assert client.search_model_versions("name = 'staging.grandmodel'") == []
    assert registry._tracking.aliases("staging.grandmodel") == {}
    last = registry.history()[-1]
    assert (last["kind"], last["environment"], last["reason"]) == ("refusal", "staging", outcome.reasons[0])
    entries = registry.ledger.verify().entries
    registry.promote("staging", "1", actor="flow", reason="scheduled", evidence=SELECTED)
    assert registry.ledger.verify().entries == entries


def test_the_author_cannot_approve(state: Path, registry_of: Opener, make: Callable[..., Path]) -> None:
    registry = registry_of(state)
    register(registry, make(1.0))
    registry.promote("staging", "1", actor="flow", reason="green", evidence=SELECTED)
    registry.promote("canary", "1", actor="flow", reason="green", evidence={"decision_hash": "decisions-1.0"})
    outcome = registry.promote("production", "1", actor="flow", reason="green", approver="Trainer")
    assert not outcome.accepted
    assert champions(registry)["production"] is None


def test_environments_cannot_be_skipped(two_releases: Registry) -> None:
    with pytest.raises(RegistryError, match=r"canary.grandmodel version 1: the ledger must have let it in"):
        two_releases.promote("production", "1", actor="flow", reason="hurry", approver="bob")


def test_a_version_the_ledger_never_let_in_is_refused(two_releases: Registry) -> None:
    client = two_releases._tracking.client
    client.create_model_version("dev.grandmodel", "file:///elsewhere")
    with pytest.raises(RegistryError, match="version 3"):
        two_releases.promote("staging", "3", actor="eve", reason="smuggled")


def test_evidence_is_kept_under_its_hash(two_releases: Registry, state: Path) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED | {"p99_ms": 3.5})
    digest = two_releases.ledger.read()[-1].evidence_sha256
    assert json.loads((state / "artifacts" / "evidence" / f"{digest}.json").read_text())["p99_ms"] == 3.5


# --- kills ---------------------------------------------------------------------------------------------------------


KILLS = [("promotion", step) for step in STEPS] + [("registration", "version"), ("rollback", "previous")]
AFTER = {"registration": ("dev", "3", "2", 3), "promotion": ("staging", "2", "1", 2), "rollback": ("dev", "1", None, 2)}


def test_a_move_killed_after_any_step_is_finished_by_the_next_call(
    two_releases: Registry, state: Path, registry_of: Opener, make: Callable[..., Path], tmp_path: Path
) -> None:
    third = make(3.0)
    jobs = []
    for operation, step in KILLS:
        copy = tmp_path / f"{operation}-{step}"
        copy.mkdir()
        for name in ("mlflow.db", "ledger.jsonl", "ledger.jsonl.head"):
            shutil.copy(state / name, copy / name)
        jobs.append(
            {
                "state": str(copy),
                "configs": str(ROOT / "configs"),
                "operation": operation,
                "step": step,
                "bundle": str(third),
            }
        )
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_moves.py"))],
        check=True,
        text=True,
        input=json.dumps(jobs),
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert json.loads(done.stdout) == [signal.SIGKILL] * len(KILLS), done.stderr
    for job in jobs:
        check_finished(registry_of(Path(job["state"])), job["operation"], job["step"])


def check_finished(registry: Registry, operation: str, step: str) -> None:
    environment, version, previous, versions = AFTER[operation]
    before = registry._tracking.aliases(f"{environment}.grandmodel")["champion"]
    assert before in ("1", "2", "3")  # one champion at the moment of death, too
    done = registry.reconcile()
    assert len(done) == (step != "completion")
    assert_one_champion(registry, environment, version=version, previous=previous, versions=versions)


@pytest.mark.parametrize("step", ["version", "champion"])
def test_a_move_whose_bundle_broke_meanwhile_is_taken_back(
    two_releases: Registry, state: Path, registry_of: Opener, step: str
) -> None:
    with pytest.raises(Killed):
        registry_of(state, after_step=killer(step)).promote(
            "staging", "2", actor="flow", reason="green", evidence=SELECTED
        )
    spoil(two_releases._tracking.bundle_path("dev.grandmodel", "2") / "limits.json")
    done = registry_of(state).reconcile()
    assert len(done) == 1
    assert "taken back" in done[0]
    assert two_releases._tracking.aliases("staging.grandmodel") == {"champion": "1"}
    assert two_releases.history()[-1]["kind"] == "abandonment"
    two_releases.load_champion("staging")
    assert two_releases.reconcile() == []


def test_two_promoters_at_once_leave_one_version(two_releases: Registry, state: Path, registry_of: Opener) -> None:
    barrier = threading.Barrier(2)
    outcomes = []

    def promote(name: str) -> None:
        registry = registry_of(state)
        barrier.wait()
        outcomes.append(registry.promote("staging", "2", actor=name, reason="race", evidence=SELECTED))

    threads = [threading.Thread(target=promote, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.changed for outcome in outcomes) == [False, True]
    assert_one_champion(two_releases, "staging", version="2", previous="1")


# --- tampering -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["strategic.safetensors", "limits.json", "gates.json", "manifest.json", "signature.json"]
)
def test_a_tampered_bundle_is_neither_served_nor_promoted(two_releases: Registry, name: str) -> None:
    path = two_releases.load_champion("dev") / name
    path.write_bytes(path.read_bytes().replace(b"1", b"2") if name == "signature.json" else path.read_bytes() + b" ")
    with pytest.raises(RegistryError, match=name if name != "manifest.json" else "manifest|signature"):
        two_releases.load_champion("dev")
    with pytest.raises(RegistryError):
        two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    assert two_releases._tracking.aliases("staging.grandmodel") == {"champion": "1"}
    assert two_releases.history()[-1]["kind"] == "refusal"


def test_a_bundle_resealed_with_other_gates_is_not_the_one_registered(two_releases: Registry, tmp_path: Path) -> None:
    folder = two_releases.load_champion("dev")
    spoil(folder / "gates.json")
    seal(folder, development_key(tmp_path / "stranger"))
    with pytest.raises(RegistryError, match="must be the one registered"):
        two_releases.load_champion("dev")


def test_a_bundle_signed_anew_by_a_stranger_is_refused(two_releases: Registry, tmp_path: Path) -> None:
    seal(two_releases.load_champion("dev"), development_key(tmp_path / "stranger"))
    with pytest.raises(RegistryError, match="signed by the key of its registration"):
        two_releases.load_champion("dev")


def test_only_trusted_keys_may_register(state: Path, registry_of: Opener, make: Callable[..., Path]) -> None:
    bundle = make(1.0)
    with pytest.raises(RegistryError, match="trusted key"):
        register(registry_of(state, trusted_keys=("00" * 32,)), bundle)
    assert register(registry_of(state, trusted_keys=(development_key(state).public_hex,)), bundle) == "1"


def test_a_changed_tag_is_named(two_releases: Registry) -> None:
    two_releases._tracking.client.set_model_version_tag("staging.grandmodel", "1", "release_id", "0" * 12)
    with pytest.raises(RegistryError, match="tag release_id"):
        two_releases.load_champion("staging")


def test_nothing_moves_on_a_broken_ledger(two_releases: Registry) -> None:
    path = two_releases.ledger.path
    path.write_bytes(path.read_bytes().replace(b"gates passed", b"gates missed", 1))
    for act in (
        two_releases.reconcile,
        two_releases.status,
        lambda: two_releases.load_champion("staging"),
        lambda: two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED),
    ):
        with pytest.raises(LedgerError, match="line"):
            act()
    assert two_releases._tracking.aliases("staging.grandmodel") == {"champion": "1"}


def test_an_unreachable_database_is_one_sentence(state: Path, registry_of: Opener, make: Callable[..., Path]) -> None:
    (state / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(RegistryError, match="MLflow at sqlite"):
        register(registry_of(state), make(1.0))


def test_a_database_left_half_made_by_a_kill_is_made_anew(
    tmp_path: Path, registry_of: Opener, make: Callable[..., Path]
) -> None:
    state = tmp_path / "fresh"
    state.mkdir()
    (state / ".mlflow.db.unfinished").write_bytes(b"half a schema")
    assert register(registry_of(state), make(1.0)) == "1"
    assert sorted(path.name for path in state.iterdir() if "mlflow" in path.name) == ["mlflow.db"]
