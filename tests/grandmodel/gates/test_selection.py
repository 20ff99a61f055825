"""A release is judged by all that was tried on its data, whatever its own run says it tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.config import load_params
from grandmodel.core.errors import LedgerError
from grandmodel.gates import g4_selection
from grandmodel.gates.selection import search_rows, selection_now, trials_of
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.trials import Returns, Trial, open_trials, record, returns_path
from grandmodel.stats.trials import Trials
from tests.grandmodel.registry.releases import ticking_clock
from tests.grandmodel.registry.test_trials import trial

PARAMS = load_params(Path(__file__).parents[3] / "params.yaml")
DAYS = np.arange(300, dtype=np.int32)
SEARCHED, NOISE_SEED = 50, 28

Daily = NDArray[np.float64]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_trials(tmp_path, ticking_clock())


@pytest.fixture
def bundle_of(tmp_path: Path) -> Callable[[Trial], Bundle]:
    """Return a function that gives a bundle with the lineage of a trial."""

    def build(released: Trial) -> Bundle:
        lineage: dict[str, Any] = {"lineage": {"data": released.data_hash, "weights": released.weights}}
        (tmp_path / "evidence.json").write_text(json.dumps(lineage))
        (tmp_path / "params.json").write_text(json.dumps(PARAMS.model_dump()))
        return Bundle(tmp_path, "abc", "0" * 64, {"evidence.json": "", "params.json": ""}, "development key", "")

    return build


def noise(seed: int, rows: int, sharpe: float = 0.0) -> Daily:
    """Return daily returns float64[rows, days] with this annual Sharpe ratio in truth."""
    return np.random.default_rng(seed).normal(sharpe / np.sqrt(252) * 0.01, 0.01, (rows, len(DAYS)))


def put(ledger: Ledger, table: Daily, *, configuration: str = "c", first_seed: int = 0) -> list[Trial]:
    made = [
        trial(f"{configuration}/{seed}", configuration=configuration, seed_number=seed)
        for seed in range(first_seed, first_seed + len(table))
    ]
    measured = [(one, Returns(DAYS, row)) for one, row in zip(made, table, strict=True)]
    record(ledger, measured, actor="test", reason="measured")
    return made


def judged_by_its_own_run(released: Daily, others: Daily) -> bool:
    """Return what G4 says when it is shown five trainings and told that none was picked."""
    table = np.concatenate([released[None], others])
    trials = Trials(tuple(f"seed {row}" for row in range(len(table))), DAYS, table, 0, False, "as the run says")
    verdict = g4_selection.judge(released, trials=trials, thresholds=PARAMS.gates, draws=400, seed=1)
    return verdict.passed


def test_the_best_of_fifty_useless_trials_is_caught_although_its_run_claims_five(
    ledger: Ledger, bundle_of: Callable[[Trial], Bundle]
) -> None:
    tried = noise(NOISE_SEED, SEARCHED)
    best = int(np.argmax(tried.mean(axis=1) / tried.std(axis=1)))
    siblings = 0.8 * tried[best] + 0.6 * noise(1000, 4)  # other seeds of one configuration trade much alike
    assert judged_by_its_own_run(tried[best], siblings)
    made = [trial(f"number {number}", configuration=f"number {number}") for number in range(SEARCHED)]
    measured = [(one, Returns(DAYS, row)) for one, row in zip(made, tried, strict=True)]
    record(ledger, measured, actor="test", reason="measured")
    put(ledger, siblings, configuration=f"number {best}", first_seed=1)
    verdict = selection_now(bundle_of(made[best]), ledger)
    assert not verdict.passed
    assert "54 trainings of 50 configurations" in verdict.reason
    assert verdict.evidence["picked"] is True


def test_a_good_release_with_few_trials_passes(ledger: Ledger, bundle_of: Callable[[Trial], Bundle]) -> None:
    made = put(ledger, noise(1, 5, sharpe=6.0))
    verdict = selection_now(bundle_of(made[0]), ledger)
    assert verdict.passed, verdict.reason
    assert "5 trainings of 1 configuration on these days" in verdict.reason
    assert verdict == selection_now(bundle_of(made[0]), ledger)


def test_each_new_trial_makes_the_verdict_harder(ledger: Ledger, bundle_of: Callable[[Trial], Bundle]) -> None:
    bundle = bundle_of(put(ledger, noise(1, 1, sharpe=3.0))[0])
    confidences = []
    for round_number in range(3):
        verdict = selection_now(bundle, ledger)
        confidences.append(verdict.evidence["parts"]["deflated Sharpe ratio"]["confidence"])
        put(ledger, noise(10 + round_number, 3), configuration=f"later {round_number}")
    assert confidences[0] > confidences[1] > confidences[2]


def test_trials_on_other_days_count_too(ledger: Ledger, bundle_of: Callable[[Trial], Bundle]) -> None:
    (released,) = put(ledger, noise(1, 1, sharpe=3.0))
    before = selection_now(bundle_of(released), ledger)
    early = Returns(DAYS - 1000, noise(2, 1)[0])
    record(ledger, [(trial(f"swept {number}"), early) for number in range(6)], actor="sweep", reason="validated")
    after = selection_now(bundle_of(released), ledger)
    assert (before.evidence["effective_trials"], after.evidence["effective_trials"]) == (1, 7)
    assert after.evidence["trials_unseen"] == 6


def test_a_release_that_the_ledger_never_saw_is_refused(ledger: Ledger, bundle_of: Callable[[Trial], Bundle]) -> None:
    put(ledger, noise(1, 3, sharpe=6.0))
    verdict = selection_now(bundle_of(trial("elsewhere")), ledger)
    assert (verdict.passed, verdict.statistic) == (False, None)
    assert "no training with the data and the weights of the release" in verdict.reason


def test_a_ledger_that_does_not_verify_gives_no_verdict(ledger: Ledger, bundle_of: Callable[[Trial], Bundle]) -> None:
    made = put(ledger, noise(1, 3, sharpe=6.0))
    returns_path(ledger, made[2].id).write_bytes(b"better")
    with pytest.raises(LedgerError, match="must have the SHA-256"):
        selection_now(bundle_of(made[0]), ledger)


# --- what is a pick


def picked(ledger: Ledger, released: Trial) -> bool:
    return trials_of(ledger, released, DAYS).picked


def test_the_seed_named_in_advance_is_no_pick(ledger: Ledger) -> None:
    made = put(ledger, noise(1, 5))
    assert not picked(ledger, made[0])


def test_another_seed_is_a_pick(ledger: Ledger) -> None:
    made = put(ledger, noise(1, 5))
    assert picked(ledger, made[3])


@pytest.mark.parametrize("place", [0, 1])
def test_one_of_two_configurations_on_the_same_days_is_a_pick_whichever_came_first(ledger: Ledger, place: int) -> None:
    made = [put(ledger, noise(seed, 2), configuration=name)[0] for seed, name in enumerate(("old", "new"))]
    assert picked(ledger, made[place])


def test_a_configuration_that_decides_alike_or_on_other_days_is_no_choice(ledger: Ledger) -> None:
    table = noise(1, 2)
    made = put(ledger, table)
    put(ledger, table, configuration="another comment in the code")
    record(ledger, [(trial("early", configuration="e"), Returns(DAYS - 400, table[0]))], actor="sweep", reason="early")
    assert not picked(ledger, made[0])


def test_a_look_that_could_not_be_released_counts_and_is_no_choice(ledger: Ledger) -> None:
    made = put(ledger, noise(1, 2))
    look = replace(trial("quick", configuration="quick"), releasable=False)
    record(ledger, [(look, Returns(DAYS, noise(2, 1)[0]))], actor="test", reason="measured")
    seen = trials_of(ledger, made[0], DAYS)
    assert (len(seen.names), seen.picked) == (3, False)


# --- the table


def test_the_table_has_a_row_for_each_search_and_judges_its_champion(
    ledger: Ledger, bundle_of: Callable[[Trial], Bundle]
) -> None:
    made = put(ledger, noise(1, 5, sharpe=6.0))
    record(
        ledger,
        [(trial("x", bars="other"), Returns(DAYS[:5], np.zeros(5)))],
        actor="test",
        reason="measured",
    )
    first, second = search_rows(ledger, {"bars": bundle_of(made[0])})
    verdict = selection_now(bundle_of(made[0]), ledger)
    assert first["data"] == "market (simulated)"
    assert (first["trials"], first["champion"], first["passes"]) == (5, "abc", True)
    assert first["deflated"] == verdict.evidence["parts"]["deflated Sharpe ratio"]["confidence"]
    assert first["effective"] == verdict.evidence["effective_trials"]
    assert 0.0 <= first["overfitting"] <= 1.0
    assert (second["trials"], second["champion"], second["passes"], second["overfitting"]) == (
        1,
        None,
        None,
        None,
    )
