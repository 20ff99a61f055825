import numpy as np
import pytest

from grandmodel.gates import g3_seeds
from grandmodel.stats.iqm import interquartile_mean

STREAM = np.random.default_rng(3)
MARKET = STREAM.normal(0.0002, 0.01, 400)
RELEASE = STREAM.normal(0.002, 0.01, (5, 400))
BASELINES = {
    "flat": np.zeros(400),
    "buy_and_hold": MARKET,
    "moving_average": STREAM.normal(0.0, 0.01, 400),
    "random": STREAM.normal(0.0, 0.01, (20, 400)),
}
FLAT = {"flat": np.zeros(400)}


def _judge(returns: np.ndarray, baselines: dict[str, np.ndarray] = BASELINES, margin: float = 0.0, **options: object):
    options = {"seeds_min": 3, "draws": 500, "confidence": 0.95, "seed": 1} | options
    return g3_seeds.judge(returns, baselines, margin=margin, **options)


def test_a_release_ahead_of_every_baseline_passes_with_evidence_for_each() -> None:
    result = _judge(RELEASE)
    assert result.passed
    assert result.n == 400
    assert set(result.evidence["baselines"]) == set(BASELINES)
    for name, baseline in BASELINES.items():
        found = result.evidence["baselines"][name]
        point = interquartile_mean(RELEASE.mean(axis=1)) - interquartile_mean(np.atleast_2d(baseline).mean(axis=1))
        assert found["estimate"] == pytest.approx(float(point) * 252)
        assert 0.0 < found["lower"] < found["estimate"] < found["upper"]
    assert result.statistic == min(found["lower"] for found in result.evidence["baselines"].values())


def test_one_baseline_not_beaten_refuses_and_is_named_with_the_data_still_needed() -> None:
    champion = RELEASE.mean(axis=0) - 0.00002 + np.random.default_rng(5).normal(0.0, 0.004, 400)
    result = _judge(RELEASE, {**BASELINES, "champion": champion})
    assert not result.passed
    assert result.evidence["not_beaten"] == ["champion"]
    assert "not shown to beat champion" in result.reason


def test_the_margin_must_be_exceeded_too() -> None:
    assert not _judge(RELEASE, margin=1.0).passed


def test_a_tie_does_not_pass() -> None:
    result = _judge(np.zeros((5, 400)), FLAT, required=("flat",))
    assert not result.passed
    assert result.statistic == 0.0
    assert "not shown to beat flat" in result.reason


def test_one_training_told_as_five_seeds_is_refused() -> None:
    for copied in (RELEASE[[0, 0, 0, 0, 0]], RELEASE[[0, 1, 0, 1, 1]]):
        result = _judge(copied)
        assert not result.passed
        held = len(np.unique(copied, axis=0))
        assert f"at least 3 trained seeds, and 5 rows of returns hold {held}" in result.reason
    assert _judge(RELEASE[[0, 1, 2, 2]]).statistic is not None


def test_seeds_that_all_stand_flat_are_no_copies_and_beat_nothing() -> None:
    result = _judge(np.zeros((5, 400)))
    assert not result.passed
    assert result.statistic is not None
    assert "not shown to beat flat" in result.reason
    one_trades = np.concatenate([np.zeros((4, 400)), RELEASE[:1]])
    assert "not shown to beat flat" in _judge(one_trades).reason


@pytest.mark.parametrize("name", g3_seeds.REQUIRED)
def test_a_baseline_that_is_missing_is_named(name: str) -> None:
    result = _judge(RELEASE, {other: table for other, table in BASELINES.items() if other != name})
    assert not result.passed
    assert f"there is no baseline to compare with: {name.replace('_', ' ')}" in result.reason


def test_who_asks_for_another_baseline_gets_it_alone() -> None:
    champion = {"champion": MARKET}
    assert _judge(RELEASE, champion, required=("champion",)).passed
    assert not _judge(RELEASE, {}, required=()).passed


def test_one_lucky_seed_does_not_carry_the_release() -> None:
    lucky = STREAM.normal(-0.0005, 0.01, (5, 400))
    lucky[0] += 0.02
    assert lucky.mean() * 252 > 0.5
    assert "not shown to beat flat" in _judge(lucky, FLAT, required=("flat",)).reason


@pytest.mark.parametrize(
    ("returns", "baselines"),
    [
        (RELEASE[:2], BASELINES),
        (RELEASE, {}),
        (np.full((5, 400), np.nan), BASELINES),
        (RELEASE, BASELINES | {"flat": np.zeros(399)}),
        (RELEASE[:, :10], {name: table[..., :10] for name, table in BASELINES.items()}),
    ],
)
def test_what_cannot_be_computed_is_refused(returns: np.ndarray, baselines: dict[str, np.ndarray]) -> None:
    result = _judge(returns, baselines)
    assert not result.passed
    assert result.statistic is None
    assert "cannot be computed" in result.reason
