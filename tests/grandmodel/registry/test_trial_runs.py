"""Each trial has a run in MLflow; a run or a line that somebody takes away is missed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from grandmodel.core.errors import LedgerError
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.store import Registry
from grandmodel.registry.trial_runs import HEAD_KEY, head_of, lost_runs, track, tracked_runs, verify_all
from grandmodel.registry.trials import known_on, open_trials, read_trials, record
from tests.grandmodel.registry.releases import SELECTED, make_bundle, register, ticking_clock
from tests.grandmodel.registry.test_trials import returns, trial

Opener = Callable[..., Registry]


@pytest.fixture
def registry(state: Path, registry_of: Opener) -> Registry:
    return registry_of(state)


@pytest.fixture
def trials(state: Path) -> Ledger:
    ledger = open_trials(state, ticking_clock())
    record(ledger, [(trial("a"), returns(0)), (trial("b"), returns(1))], actor="test", reason="measured")
    return ledger


def test_every_trial_gets_one_run_with_tags_and_metrics(trials: Ledger, registry: Registry) -> None:
    assert track(trials, registry, ticking_clock()) == 2
    assert track(trials, registry, ticking_clock()) == 0
    for one in read_trials(trials):
        run = registry.tracking.client.get_run(tracked_runs(trials)[one.id])
        assert run.data.metrics == {"days": 20.0, "sharpe": 1.5}
        assert run.data.tags["trial_id"] == one.id
        assert run.data.tags["returns_sha256"] == one.returns_sha256
        assert run.info.status == "FINISHED"
    report = verify_all(trials, registry)
    assert (report.trials, report.tracked, report.head) == (2, 2, trials.read()[-1].hash)


def test_a_kill_between_run_and_line_leaves_one_run(
    trials: Ledger, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append", kill)
        with pytest.raises(KeyboardInterrupt):
            track(trials, registry, ticking_clock())
    assert track(trials, registry, ticking_clock()) == 2
    experiment = registry.tracking.client.get_experiment_by_name("trials")
    assert experiment is not None
    assert len(registry.tracking.client.search_runs([experiment.experiment_id])) == 2


def test_a_deleted_run_is_noticed_and_its_trial_counts_all_the_same(trials: Ledger, registry: Registry) -> None:
    track(trials, registry, ticking_clock())
    _, second = tracked_runs(trials).values()
    registry.tracking.client.delete_run(second)
    assert lost_runs(trials, registry) == [
        f"MLflow no longer shows run {second} of trial {trial('b').id[:12]}; the trial counts all the same"
    ]
    with pytest.raises(LedgerError, match=f"run {second} of trial"):
        verify_all(trials, registry)
    assert len(known_on(trials, trial("a"), returns(0).sessions).trials) == 2
    registry.tracking.client.restore_run(second)
    assert verify_all(trials, registry).tracked == 2


def test_where_nothing_was_tracked_no_run_is_missed(trials: Ledger, registry: Registry) -> None:
    assert registry.tracking.trial_runs() == set()
    assert lost_runs(trials, registry) == []


def test_runs_beyond_the_first_page_are_not_missed(
    trials: Ledger, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(trials, registry, ticking_clock())
    search = registry.tracking.client.search_runs
    monkeypatch.setattr(registry.tracking.client, "search_runs", partial(search, max_results=1))
    assert registry.tracking.trial_runs() == set(tracked_runs(trials).values())


def test_a_ledger_that_was_put_in_anothers_place_is_found_by_the_moves_that_rested_on_it(
    trials: Ledger, registry: Registry, state: Path
) -> None:
    version = register(registry, make_bundle(state / "bundle", state))
    shown = SELECTED | {HEAD_KEY: head_of(trials)}
    assert registry.promote("staging", version, actor="flow", reason="green", evidence=shown).accepted
    verify_all(trials, registry)
    for path in (trials.path, trials.path.with_name("trials.jsonl.head")):
        path.unlink()
    with pytest.raises(LedgerError, match="every line that a move rested on"):
        verify_all(trials, registry)
    record(trials, [(trial("a"), returns(0))], actor="test", reason="measured")
    with pytest.raises(LedgerError, match="every line that a move rested on"):
        verify_all(trials, registry)


def test_without_registries_the_ledger_verifies_alone(trials: Ledger) -> None:
    assert verify_all(trials, None).tracked == 0
