from dataclasses import replace

import numpy as np
import pytest

from grandmodel.gates import g4_selection
from grandmodel.stats.sharpe import deflated_sharpe, sharpe_moments

RETURNS = np.random.default_rng(4).normal(0.002, 0.01, 500)


def _judge(returns: np.ndarray = RETURNS, trials: int = 10, counted: str = "5 seeds x 2 folds", **more: object):
    return g4_selection.judge(returns, trials=trials, counted=counted, minimum=0.95, **more)


def test_a_strong_record_over_few_trials_passes_and_says_how_they_were_counted() -> None:
    result = _judge()
    moments = sharpe_moments(RETURNS)
    assert moments is not None
    assert result.passed
    assert result.n == 500
    assert result.statistic == deflated_sharpe(moments, 10, 1 / 499)
    assert "N: 5 seeds x 2 folds" in result.reason
    assert result.evidence["trials"] == 10


def test_the_same_record_after_many_trials_is_refused() -> None:
    weaker = RETURNS - RETURNS.mean() + 0.0012
    assert _judge(weaker, trials=1).passed
    result = _judge(weaker, trials=1000)
    assert not result.passed
    assert "such days would do" in result.reason
    needed = result.evidence["minimum_track_record_days"]
    longer = sharpe_moments(weaker)
    assert longer is not None
    assert needed > 500
    longer = replace(longer, n=needed)
    assert deflated_sharpe(longer, 1000, 1 / (needed - 1)) == pytest.approx(0.95, abs=1e-3)


def test_trials_that_differ_more_than_chance_raise_the_hurdle_and_alike_ones_never_lower_it() -> None:
    alike = _judge(trial_sharpes=np.full(10, 0.2))
    wild = _judge(trial_sharpes=np.linspace(-0.3, 0.3, 10))
    assert alike.statistic == _judge().statistic
    assert wild.statistic is not None
    assert alike.statistic is not None
    assert wild.statistic < alike.statistic


def test_a_loss_is_refused_however_long_the_record() -> None:
    assert "more such days would not help" in _judge(-RETURNS).reason


def test_the_stated_power_is_about_the_measured_one() -> None:
    base = _judge(RETURNS - RETURNS.mean() + 0.002)
    effect = base.evidence["smallest_effect_80"] / np.sqrt(252) * 0.01
    passed = [_judge(np.random.default_rng(seed).normal(effect, 0.01, 500)).passed for seed in range(300)]
    assert np.mean(passed) == pytest.approx(0.8, abs=0.07)


@pytest.mark.parametrize(
    ("returns", "more"),
    [
        (np.zeros(100), {}),
        (RETURNS[:10], {}),
        (np.full(100, np.nan), {}),
        (RETURNS, {"trials": 0}),
        (RETURNS, {"counted": " "}),
        (RETURNS, {"trial_sharpes": np.array([0.1, np.nan])}),
    ],
)
def test_what_cannot_be_computed_is_refused(returns: np.ndarray, more: dict[str, object]) -> None:
    result = _judge(returns, **more)
    assert not result.passed
    assert result.statistic is None
