import numpy as np

from grandmodel.gates import g5_costs

GAIN = np.random.default_rng(5).normal(0.002, 0.01, (5, 400))
LOSS = GAIN - 0.003


def _judge(at_cost: np.ndarray, with_delay: np.ndarray):
    return g5_costs.judge(
        returns_at_cost=at_cost,
        cost_multiple=2.0,
        returns_with_delay=with_delay,
        delay_bars=1,
        draws=500,
        confidence=0.95,
        seed=1,
    )


def test_an_edge_that_outlives_both_passes() -> None:
    result = _judge(GAIN, GAIN - 0.0001)
    assert result.passed
    assert set(result.evidence["scenarios"]) == {"2 x cost", "1 bar of delay"}
    assert result.statistic == min(found["lower"] for found in result.evidence["scenarios"].values()) > 0.0


def test_an_edge_that_dies_in_either_is_refused_by_that_scenario() -> None:
    dear, slow = _judge(LOSS, GAIN), _judge(GAIN, LOSS)
    assert not dear.passed
    assert dear.evidence["hardest_scenario"] == "2 x cost"
    assert not slow.passed
    assert slow.evidence["hardest_scenario"] == "1 bar of delay"
    assert "zero is not excluded" in slow.reason


def test_no_trading_at_all_is_refused() -> None:
    assert not _judge(np.zeros((5, 400)), np.zeros((5, 400))).passed


def test_what_cannot_be_computed_is_refused() -> None:
    result = _judge(GAIN, np.full((5, 400), np.nan))
    assert not result.passed
    assert result.statistic is None
