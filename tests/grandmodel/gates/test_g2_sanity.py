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


@pytest.mark.parametrize("row", range(4))
def test_a_profit_on_one_draw_alone_is_refused_and_the_draw_is_named(row: int) -> None:
    leaking = np.random.default_rng(2).normal(-0.0001, 0.01, (4, 200))
    leaking[row] += 0.025  # an annual Sharpe ratio of 40
    result = _judge(0.9, NOISE[:, :200] - 0.0002, leaking)
    assert not result.passed
    assert result.evidence["draws_won"] == [f"draw {row + 1} on mirrored bars"]
    assert f"draw {row + 1} on mirrored bars" in result.reason


def test_a_leak_in_one_draw_of_four_is_found_as_often_as_stated() -> None:
    statements, found = [], 0
    for trial in range(100):
        tables = np.random.default_rng(trial).normal(0.0, 0.01, (2, 4, 200))
        tables[1, 0] += 4.0 / np.sqrt(252) * 0.01
        result = _judge(0.9, *tables)
        found += "draw 1 on mirrored bars" in result.evidence["draws_won"]
        statements.append(result.evidence["power_statement"])
    assert all("with 80 % at a Sharpe ratio of 4.05" in told for told in statements)
    assert 70 <= found <= 90


def _clean(stream: np.random.Generator, kind: str) -> np.ndarray:
    """Return what teams earn where nothing is, float64[2, 4, 200]: fat tails, clusters, or few days of trading."""
    if kind == "fat tails":
        return stream.standard_t(4, (2, 4, 200)) * 0.007
    if kind == "clusters":
        return stream.normal(size=(2, 4, 200)) * np.exp(np.cumsum(stream.normal(0.0, 0.15, (2, 4, 200)), axis=2)) * 0.01
    return stream.normal(0.0, 0.01, (2, 4, 200)) * (stream.random((2, 4, 200)) < 0.05)


@pytest.mark.parametrize("kind", ["fat tails", "clusters", "few days"])
def test_clean_placebos_are_refused_as_rarely_as_stated(kind: str) -> None:
    refusals = sum(not _judge(0.9, *_clean(np.random.default_rng(trial), kind)).passed for trial in range(200))
    assert refusals <= 18  # 5 % of 200 is 10; the chance of 19 or more is 0.5 %


def test_teams_that_never_trade_pass_and_say_that_they_show_nothing() -> None:
    result = _judge(0.9, np.zeros((3, 300)))
    assert result.passed
    assert result.power == 0.0
    assert "hardly traded" in result.reason
    assert "hardly traded" in result.evidence["power_statement"]
    assert "hardly traded" in result.evidence["smallest_defect"]


def test_idle_teams_among_others_are_counted_and_lend_no_power() -> None:
    busy = _judge(0.9, NOISE - 0.0002)
    idle = _judge(0.9, NOISE - 0.0002, np.zeros((3, 300)))
    assert idle.passed
    assert idle.evidence["draws_idle"] == 3
    assert "3 of 6 teams hardly traded and show nothing" in idle.evidence["power_statement"]
    assert "hardly traded" not in busy.evidence["power_statement"]
    assert "where bars are shuffled is caught" in idle.evidence["power_statement"]


@pytest.mark.parametrize(
    ("share", "placebos"),
    [
        (float("nan"), [NOISE]),
        (0.9, [np.full((3, 300), np.nan)]),
        (0.9, [np.zeros((3, 5))]),
        (0.9, []),
        (0.9, [np.zeros((0, 300))]),
    ],
)
def test_what_cannot_be_computed_is_refused(share: float, placebos: list[np.ndarray]) -> None:
    result = _judge(share, *placebos)
    assert not result.passed
    assert result.statistic is None
