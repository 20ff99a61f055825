import numpy as np
import pytest

from grandmodel.gates import g2_sanity

STREAM = np.random.default_rng(1)
NOISE = STREAM.normal(0.0, 0.01, (3, 300))
NOISE -= NOISE.mean()


def _judge(share: float, placebo: np.ndarray):
    return g2_sanity.judge(foresight_share=share, placebo_daily_returns=placebo, draws=500, confidence=0.95, seed=1)


def test_a_learner_that_takes_the_shown_answer_and_nothing_else_passes() -> None:
    result = _judge(0.8, NOISE - 0.0002)
    assert result.passed
    assert result.statistic == 0.8
    assert result.n == 900
    assert "captures 80 % of perfect foresight" in result.reason


def test_a_learner_that_misses_the_shown_answer_is_refused() -> None:
    assert not _judge(0.49, NOISE).passed
    assert _judge(np.float64(0.5), NOISE).passed


def test_a_profit_on_shuffled_time_is_refused() -> None:
    result = _judge(0.9, NOISE + 0.003)
    assert not result.passed
    assert result.evidence["placebo"]["lower"] > 0.0
    assert "a profit where there is nothing to find" in result.reason


def test_clean_placebos_are_refused_as_rarely_as_stated() -> None:
    refusals = 0
    for trial in range(200):
        market = np.random.default_rng(trial).standard_t(4, 250) * 0.007
        placebo = market + np.random.default_rng(9000 + trial).normal(0.0, 0.007, (3, 250))
        refusals += not _judge(0.9, placebo).passed
    assert refusals <= 11  # 2.5 % of 200 is 5; the chance of 12 or more is 0.5 %


@pytest.mark.parametrize(
    ("share", "placebo"), [(float("nan"), NOISE), (0.9, np.full((3, 300), np.nan)), (0.9, np.zeros((3, 5)))]
)
def test_what_cannot_be_computed_is_refused(share: float, placebo: np.ndarray) -> None:
    result = _judge(share, placebo)
    assert not result.passed
    assert result.statistic is None
