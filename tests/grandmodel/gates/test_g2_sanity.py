import numpy as np
import pytest

from grandmodel.gates import g2_sanity

STREAM = np.random.default_rng(1)
NOISE = STREAM.normal(0.0, 0.01, (3, 300))
NOISE -= NOISE.mean()


def _judge(share: float, *placebos: np.ndarray):
    tables = dict(zip(("shuffled", "mirrored"), placebos, strict=False))
    return g2_sanity.judge(
        foresight_share=share,
        foresight_share_min=0.5,
        placebo_daily_returns=tables,
        draws=500,
        confidence=0.95,
        seed=1,
    )


def test_a_learner_that_takes_the_shown_answer_and_nothing_else_passes() -> None:
    result = _judge(0.8, NOISE - 0.0002, NOISE - 0.0001)
    assert result.passed
    assert result.statistic == 0.8
    assert result.n == 1800
    assert "captures 80 % of perfect foresight" in result.reason
    assert [len(annual) for annual in result.evidence["placebo_annual"].values()] == [3, 3]


def test_a_learner_that_misses_the_shown_answer_is_refused() -> None:
    assert not _judge(0.49, NOISE).passed
    assert _judge(np.float64(0.5), NOISE).passed


@pytest.mark.parametrize("won", ["shuffled", "mirrored"])
def test_a_profit_on_either_placebo_is_refused_and_the_placebo_is_named(won: str) -> None:
    tables = {"shuffled": NOISE, "mirrored": NOISE, won: NOISE + 0.003}
    result = _judge(0.9, tables["shuffled"], tables["mirrored"])
    assert not result.passed
    assert result.evidence["placebos_won"] == [won]
    assert f"a profit where there is nothing to find: {won}" in result.reason


def test_clean_placebos_are_refused_as_rarely_as_stated() -> None:
    refusals = 0
    for trial in range(200):
        stream = np.random.default_rng(trial)
        placebos = stream.standard_t(4, (2, 3, 250)) * 0.007
        refusals += not _judge(0.9, *placebos).passed
    assert refusals <= 11  # 2.5 % of 200 is 5; the chance of 12 or more is 0.5 %


def test_teams_that_never_trade_pass_and_say_that_they_show_nothing() -> None:
    result = _judge(0.9, np.zeros((3, 300)))
    assert result.passed
    assert result.power is None
    assert "hardly traded" in result.evidence["power_statement"]
    assert "hardly traded" in result.evidence["smallest_defect"]


@pytest.mark.parametrize(
    ("share", "placebos"),
    [(float("nan"), [NOISE]), (0.9, [np.full((3, 300), np.nan)]), (0.9, [np.zeros((3, 5))]), (0.9, [])],
)
def test_what_cannot_be_computed_is_refused(share: float, placebos: list[np.ndarray]) -> None:
    result = _judge(share, *placebos)
    assert not result.passed
    assert result.statistic is None
