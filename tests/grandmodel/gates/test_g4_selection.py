import json

import numpy as np
import pytest

from grandmodel.core.config import GateParams
from grandmodel.gates import g4_selection
from grandmodel.gates.g4_selection import trial_sharpe_variance
from grandmodel.gates.result import GateResult
from grandmodel.gates.selection_parts import Part, ability_part, deflated_part, track_record_part
from grandmodel.stats.overfitting import overfitting
from grandmodel.stats.predictive_ability import predictive_ability
from grandmodel.stats.sharpe import SharpeMoments, deflated_sharpe, sharpe_moments
from grandmodel.stats.trials import Trials, effective_trials

DAYS = 400
NOISE = np.random.default_rng(4).normal(0.0, 0.01, (12, DAYS))
PARTS = ["deflated Sharpe ratio", "minimum track record", "superior predictive ability"]


def _with_sharpe(row: np.ndarray, annual: float) -> np.ndarray:
    """Return ``row`` moved so that its annual Sharpe ratio is exactly this."""
    return row - row.mean() + annual / np.sqrt(252) * row.std(ddof=1)


def _trials(table: np.ndarray, *, unseen: int = 0, picked: bool = False) -> Trials:
    names, sessions = tuple(f"trial_{row}" for row in range(len(table))), np.arange(table.shape[1], dtype=np.int32)
    return Trials(names, sessions, table, unseen, picked, "12 drawn")


def _table(annual: float) -> np.ndarray:
    return np.vstack([_with_sharpe(NOISE[0], annual), NOISE[1:]])


def _judge(trials: Trials, **thresholds: float) -> GateResult:
    return g4_selection.judge(
        trials.daily_returns[0], trials=trials, thresholds=GateParams(**thresholds), draws=500, seed=1
    )


def test_a_strong_release_passes_with_the_figures_of_its_parts() -> None:
    trials = _trials(_table(5.0))
    result = _judge(trials)
    moments = sharpe_moments(trials.daily_returns[0])
    assert moments is not None
    assert result.passed
    assert result.n == DAYS
    assert list(result.evidence["parts"]) == PARTS
    effective = effective_trials(trials)
    assert result.evidence["effective_trials"] == effective == 12
    deflated = deflated_sharpe(moments, effective, trial_sharpe_variance(trials))
    assert result.evidence["parts"]["deflated Sharpe ratio"]["confidence"] == deflated
    ability = predictive_ability(trials, draws=500, seed=1)
    assert result.evidence["parts"]["superior predictive ability"]["confidence"] == 1.0 - ability.p_consistent
    assert "12 trials (12 drawn) count as 12" in result.reason
    assert GateResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@pytest.mark.parametrize("annual", [5.0, 2.2, 0.5, -1.0])
def test_the_statistic_is_the_confidence_of_the_part_with_the_smallest_margin(annual: float) -> None:
    result = _judge(_trials(_table(annual)))
    parts = result.evidence["parts"]
    margins = {name: part["confidence"] - part["threshold"] for name, part in parts.items()}
    decides = min(margins, key=lambda name: margins[name])
    assert result.evidence["decides"] == decides
    assert result.statistic == parts[decides]["confidence"]
    assert result.threshold == parts[decides]["threshold"]
    assert result.power == parts[decides]["power"]
    assert result.passed == all(part["passed"] for part in parts.values()) == (min(margins.values()) >= 0.0)


def test_trials_whose_returns_are_not_known_raise_the_hurdle_one_by_one() -> None:
    table = _table(3.5)
    few, many = _judge(_trials(table)), _judge(_trials(table, unseen=500))
    assert few.passed
    assert not many.passed
    assert many.evidence["effective_trials"] == few.evidence["effective_trials"] + 500
    assert "512 trials (12 drawn, 500 of them unseen) count as 512" in many.reason
    assert "refused by deflated Sharpe ratio, " in many.reason


def test_the_best_of_many_worthless_trials_is_refused_though_alone_it_would_pass() -> None:
    table = np.random.default_rng(4).normal(0.0, 0.01, (20, DAYS))
    best = int((table.mean(axis=1) / table.std(axis=1)).argmax())
    table[[0, best]] = table[[best, 0]]
    assert _judge(_trials(table[:1])).passed
    result = _judge(_trials(table, picked=True))
    assert not result.passed
    refused = [name for name, part in result.evidence["parts"].items() if not part["passed"]]
    assert refused == ["deflated Sharpe ratio", "superior predictive ability", "backtest overfitting"]


def test_overfitting_is_shown_and_not_judged_where_nothing_was_picked() -> None:
    result = _judge(_trials(_table(5.0)))
    shown = overfitting(_trials(_table(5.0))).probability
    assert result.evidence["overfitting_shown"] == shown
    assert "nothing was picked, so the probability of overfitting" in result.reason
    assert "backtest overfitting" not in result.evidence["parts"]


def test_a_pick_is_held_against_searches_without_skill() -> None:
    strong = _judge(_trials(_table(6.0), picked=True))
    part = strong.evidence["parts"]["backtest overfitting"]
    assert strong.passed
    assert part["figures"]["probability"] < part["figures"]["null_quantiles"][0]
    alike = _table(0.0)
    alike[1:] = 0.2 * alike[1:] + np.stack([_with_sharpe(row, 6.0) for row in alike[1:]])
    alike[0] = _with_sharpe(alike[0], 6.0)
    arbitrary = _judge(_trials(alike, picked=True))  # all twelve earn the same: whichever is picked, it earns
    assert arbitrary.passed
    figures = arbitrary.evidence["parts"]["backtest overfitting"]["figures"]
    assert figures["probability"] > figures["null_quantiles"][0]
    assert figures["loss_probability"] <= figures["null_loss_quantiles"][0]
    worthless = _judge(_trials(_table(0.0), picked=True))
    assert not worthless.evidence["parts"]["backtest overfitting"]["passed"]


def test_a_pick_from_too_few_days_or_trials_to_judge_it_is_refused() -> None:
    for trials in (_trials(_table(9.0)[:1], picked=True), _trials(_table(9.0)[:, :30], picked=True)):
        result = _judge(trials)
        assert not result.passed
        assert result.statistic is None
        assert "needs two trials and 2 days in each of 16 blocks" in result.reason


def test_the_days_that_would_do_are_those_at_which_the_part_passes() -> None:
    moments = SharpeMoments(1.5 / np.sqrt(252), -0.2, 5.0, 200)
    part = deflated_part(moments, 20, 1 / 199, 0.95, np.sqrt(252))
    assert part is not None
    assert part.days_needed is not None
    assert part.days_needed > 200
    longer = SharpeMoments(moments.sharpe, -0.2, 5.0, part.days_needed)
    assert deflated_sharpe(longer, 20, 1 / (part.days_needed - 1)) == pytest.approx(0.95, abs=1e-3)


def test_a_loss_is_refused_however_long_the_record() -> None:
    assert "more such days would not help" in _judge(_trials(_table(-2.0))).reason


def test_trials_that_differ_more_than_chance_raise_the_hurdle_and_alike_ones_never_lower_it() -> None:
    alike = np.stack([_with_sharpe(row, 3.0) for row in NOISE])
    wild = np.stack([_with_sharpe(row, annual) for row, annual in zip(NOISE, np.linspace(-8, 8, 12), strict=True)])
    assert trial_sharpe_variance(_trials(alike)) == 1.0 / (DAYS - 1)
    assert trial_sharpe_variance(_trials(wild)) > 10.0 / (DAYS - 1)


@pytest.mark.parametrize("part", PARTS)
def test_the_stated_power_is_about_the_measured_one(part: str) -> None:
    # One trial alone: the effect that the part says it sees in 80 of 100, drawn 200 times.
    smallest = _part(part, _table(3.0)[:1]).smallest_sharpe_80
    assert smallest is not None
    effect = smallest / np.sqrt(252) * 0.01
    drawn = [np.random.default_rng(seed).normal(effect, 0.01, (1, DAYS)) for seed in range(200)]
    assert np.mean([_part(part, row).passed for row in drawn]) == pytest.approx(0.8, abs=0.085)  # 3 standard errors


def _part(name: str, table: np.ndarray) -> Part:
    moments, annual = sharpe_moments(table[0]), np.sqrt(252)
    assert moments is not None
    made = {
        "deflated Sharpe ratio": lambda: deflated_part(moments, 1, 1 / (DAYS - 1), 0.95, annual),
        "minimum track record": lambda: track_record_part(moments, 0.95, annual),
        "superior predictive ability": lambda: ability_part(_trials(table), moments, 0.05, annual, 200, 1),
    }
    found = made[name]()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("returns", "why"),
    [
        (np.zeros(DAYS), "never vary"),
        (NOISE[0, :10], "fewer than 20 days"),
    ],
)
def test_what_cannot_be_computed_is_refused(returns: np.ndarray, why: str) -> None:
    result = _judge(_trials(returns[None]))
    assert not result.passed
    assert result.statistic is None
    assert why in result.reason


@pytest.mark.parametrize("returns", [NOISE[0] + 1e-9, NOISE[0, :-1], np.full(DAYS, np.nan)])
def test_a_release_that_is_none_of_its_trials_is_refused(returns: np.ndarray) -> None:
    result = g4_selection.judge(returns, trials=_trials(NOISE), thresholds=GateParams(), draws=200, seed=1)
    assert not result.passed
    assert "not among its trials" in result.reason


def test_thresholds_come_from_the_parameters() -> None:
    trials = _trials(_table(3.5))
    assert _judge(trials).passed
    for name, value in (("deflated_sharpe_min", 0.9999), ("predictive_ability_p_max", 0.0001)):
        assert not _judge(trials, **{name: value}).passed
    longer = _judge(_trials(_table(3.5)[:1]), track_record_confidence=0.999999)
    assert longer.evidence["decides"] == "minimum track record"
    assert not longer.passed
