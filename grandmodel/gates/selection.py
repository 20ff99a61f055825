"""G4 as the trial ledger stands now: a release is judged by all that was ever tried on its market, not by its own run.

The released training is seed 0 of a configuration, named before anything is trained, so releasing it picks nothing. It
is a pick when other returns on the same test days were there to choose by: those of another configuration (other
parameters, inputs, code or base seed) that could have been released instead, or when a seed other than 0 is released.
Which came first does not matter: who keeps to the first after seeing the second has chosen too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import load_params
from grandmodel.core.errors import DataError
from grandmodel.gates import g4_selection
from grandmodel.gates.result import GateResult, refused
from grandmodel.gates.text import count
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.trial_runs import HEAD_KEY, head_of, lost_runs, verify_promised
from grandmodel.registry.trials import Known, Trial, known_on, read_returns, read_trials
from grandmodel.stats.overfitting import minimum_backtest_years, overfitting
from grandmodel.stats.trials import Trials, effective_trials

if TYPE_CHECKING:
    from grandmodel.registry.store import Registry

DEFLATED_PART = "deflated Sharpe ratio"
SHARPE_OF_NOTE = 1.0  # annual; the minimum backtest length is the record on which worthless trials stay below it


def selection_now(bundle: Bundle, ledger: Ledger) -> GateResult:
    """Return the verdict of G4 on a release over all trials of its search that the ledger holds.

    Equal ledgers give equal verdicts. Refused where the ledger holds no trial with the weights of the release.

    Raises:
        LedgerError: the trial ledger or a file of returns does not verify.
        RegistryError, ConfigError: a file of the bundle cannot be read.
    """
    params = load_params(bundle.folder / "params.json")
    with ledger.locked():
        released = released_trial(read_trials(ledger), bundle.folder)
        if released is None:
            why = "the trial ledger holds no training with the data and the weights of the release"
            return refused(g4_selection.NAME, params.gates.deflated_sharpe_min, why)
        own = read_returns(ledger, released)
        trials = trials_of(ledger, released, own.sessions)
    return g4_selection.judge(
        own.daily_returns,
        trials=trials,
        thresholds=params.gates,
        draws=params.evaluation.bootstrap_draws,
        seed=params.seed,
    )


def staging_evidence(bundle: Bundle, trials: Ledger, registry: Registry) -> dict[str, Any]:
    """Return what a release must show before staging: the verdict over all trials, and on which ledger it rests.

    Raises:
        LedgerError: the trial ledger does not verify, or lacks a line that an earlier move rested on.
        RegistryError: a file of the bundle cannot be read, or MLflow fails.
    """
    with registry.ledger.locked(), trials.locked():
        verify_promised(trials, registry)
        shown = {"selection": selection_now(bundle, trials).to_dict(), HEAD_KEY: head_of(trials)}
    lost = lost_runs(trials, registry)
    return shown | ({"lost_runs": lost} if lost else {})


def released_trial(trials: Sequence[Trial], bundle: Path) -> Trial | None:
    """Return the newest trial with the data and the weights of the bundle in a folder; None where there is none."""
    lineage = json.loads((bundle / "evidence.json").read_text()).get("lineage", {})
    named = (lineage.get("data"), lineage.get("weights"))
    return next((one for one in reversed(trials) if (one.data_hash, one.weights) == named), None)


def trials_of(ledger: Ledger, released: Trial, sessions: NDArray[np.int32]) -> Trials:
    """Return all trials of the search of ``released`` as G4 takes them, seen from the days int32[days].

    Raises LedgerError where the ledger or a file of returns does not verify.
    """
    known = known_on(ledger, released, sessions)
    return Trials(
        names=tuple(trial.id[:12] for trial in known.trials),
        sessions=sessions,
        daily_returns=known.daily_returns,
        unseen=known.unseen,
        picked=_is_pick(released, known.trials),
        counted=_in_words(known),
    )


def _is_pick(released: Trial, others: Sequence[Trial]) -> bool:
    choices = (one for one in others if one.releasable)
    return released.seed_number != 0 or any(one.configuration != released.configuration for one in choices)


def _in_words(known: Known) -> str:
    configurations = len({trial.configuration for trial in known.trials})
    words = f"{count(len(known.trials), 'training')} of {count(configurations, 'configuration')} on these days"
    return f"{words} and {known.unseen:,} on other days, all of the trial ledger"


def search_rows(ledger: Ledger, champions: Mapping[str, Bundle]) -> list[dict[str, Any]]:
    """Return one row for each data set: its trials, what they amount to, and what is left of its champion.

    ``effective`` is the effective number of trials, ``years_needed`` the minimum backtest length at an annual Sharpe
    ratio of ``SHARPE_OF_NOTE``, ``overfitting`` the probability of backtest overfitting over the trials whose returns
    are known on the champion's days, ``deflated`` its deflated Sharpe ratio, ``passes`` what G4 says of it now. None
    where something has no value.

    Args:
        ledger: the trial ledger.
        champions: by hash of the raw data the release to judge; data without one have none.
    """
    trials = read_trials(ledger)
    return [
        _row(ledger, [trial for trial in trials if trial.data_hash == data_hash], champions.get(data_hash))
        for data_hash in dict.fromkeys(trial.data_hash for trial in trials)
    ]


def _row(ledger: Ledger, trials: Sequence[Trial], champion: Bundle | None) -> dict[str, Any]:
    last = (released_trial(trials, champion.folder) if champion else None) or trials[-1]
    seen = trials_of(ledger, last, read_returns(ledger, last).sessions)
    verdict = selection_now(champion, ledger) if champion else None
    deflated = verdict.evidence.get("parts", {}).get(DEFLATED_PART) if verdict else None
    return {
        "data_hash": last.data_hash[:12],
        "data": f"{last.data} (simulated)" if last.simulated else last.data,
        "trials": len(trials),
        "effective": effective_trials(seen),
        "best_sharpe": max((one.sharpe for one in trials if one.sharpe is not None), default=None),
        "years_needed": minimum_backtest_years(effective_trials(seen), SHARPE_OF_NOTE),
        "overfitting": _overfitting(seen),
        "champion": champion.release_id if champion else None,
        "deflated": deflated["confidence"] if deflated else None,
        "passes": verdict.passed if verdict else None,
    }


def _overfitting(trials: Trials) -> float | None:
    """Return the probability of backtest overfitting; None where trials or days are too few to tell."""
    try:
        return overfitting(trials).probability
    except DataError:
        return None
