import numpy as np
import pytest

from grandmodel.gates import g5_costs
from grandmodel.gates.g5_costs import CostRow

GAIN = np.random.default_rng(5).normal(0.002, 0.01, (5, 400))
LOSS = GAIN - 0.003


PAID = CostRow("NQ", half_spread_ticks=0.5, commission=2.0, traded=100.0, paid=0.02, stated=0.015)
DEARER = PAID._replace(paid=0.04)
IDLE = PAID._replace(traded=0.0, paid=0.0, stated=0.0)


PLAIN = GAIN + 0.0002


def _judge(at_cost: np.ndarray, with_delay: np.ndarray, costs=(PAID,), costs_at_multiple=(DEARER,), returns=PLAIN):
    return g5_costs.judge(
        returns=returns,
        returns_at_cost=at_cost,
        cost_multiple=2.0,
        returns_with_delay=with_delay,
        delay_bars=1,
        costs=costs,
        costs_at_multiple=costs_at_multiple,
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


def test_no_trading_at_all_is_refused_for_earning_nothing() -> None:
    nothing = np.zeros((5, 400))
    result = _judge(nothing, nothing, (IDLE,), (IDLE,), nothing)
    assert not result.passed
    assert "zero is not excluded" in result.reason


def test_what_cannot_be_computed_is_refused() -> None:
    result = _judge(GAIN, np.full((5, 400), np.nan))
    assert not result.passed
    assert result.statistic is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"costs": (PAID._replace(half_spread_ticks=0.0),)}, "the half-spread of NQ is 0"),
        ({"costs": (PAID._replace(commission=0.0),)}, "the commission of NQ is 0"),
        ({"costs": (PAID._replace(half_spread_ticks=float("nan")),)}, "the half-spread of NQ is nan"),
        ({"costs": (PAID._replace(paid=0.0149),)}, "NQ paid 1.49 bp of what it traded, not the 1.50 bp of its terms"),
        ({"costs": (PAID, PAID._replace(symbol="ES", paid=0.0))}, "ES paid 0.00 bp"),
        ({"costs": (PAID._replace(paid=float("nan")),)}, "NQ paid"),
        ({"costs_at_multiple": (PAID,)}, "NQ paid 2.00 bp of what it traded, not the 3.00 bp"),
        ({"costs": ()}, "no instrument says what it costs"),
        ({"costs": (PAID._replace(half_spread_ticks=float("inf")),)}, "the half-spread of NQ is inf"),
        ({"costs": (PAID._replace(paid=float("inf")),)}, "NQ paid inf bp"),
        ({"costs": (PAID._replace(traded=float("inf")),)}, "what NQ traded is inf"),
        ({"costs": (PAID._replace(traded=-1.0),)}, "what NQ traded is -1"),
        ({"costs": (PAID._replace(paid=0.0, stated=0.0),)}, "the terms of NQ make 0 of what it traded"),
        ({"costs": (IDLE,)}, "costs were not paid in full: nothing was traded, and yet there are returns"),
        ({"costs_at_multiple": (IDLE,)}, "costs were not paid in full: nothing was traded, and yet there are returns"),
        ({"costs_at_multiple": (DEARER._replace(symbol="ES"),)}, "the dearer run paid for ES, the plain one for NQ"),
        ({"costs_at_multiple": (DEARER, IDLE)}, "the dearer run paid for NQ and NQ, the plain one for NQ"),
    ],
)
def test_trading_for_less_than_the_terms_is_refused_by_name(change: dict[str, tuple[CostRow, ...]], words: str) -> None:
    result = _judge(GAIN, GAIN, **change)
    assert not result.passed
    assert result.statistic is None
    assert words in result.reason


def test_an_instrument_that_never_traded_owes_nothing() -> None:
    idle = IDLE._replace(symbol="ES")
    assert _judge(GAIN, GAIN, (PAID, idle), (DEARER, idle)).passed


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ((GAIN, PLAIN), "1 bar of delay changed nothing in 5 seeds of 5"),
        ((GAIN, np.vstack([GAIN[:4], PLAIN[4:]])), "1 bar of delay changed nothing in 1 seed of 5"),
        ((PLAIN, GAIN), "2 x cost changed nothing in 5 seeds of 5"),
        ((GAIN, GAIN[:, :50]), "seeds and days at 1 bar of delay are (5, 50), of the plain run (5, 400)"),
        ((GAIN[:3], GAIN), "seeds and days at 2 x cost are (3, 400), of the plain run (5, 400)"),
        ((GAIN, GAIN, np.full((5, 400), np.nan)), "in the plain run a return is not finite"),
    ],
)
def test_a_run_that_is_none_of_the_release_dearer_or_later_is_refused(tables, words: str) -> None:
    at_cost, with_delay, *plain = tables
    result = _judge(at_cost, with_delay, returns=plain[0] if plain else PLAIN)
    assert not result.passed
    assert result.statistic is None
    assert words in result.reason
    assert len(result.evidence["run_faults"]) >= 1


def test_a_seed_that_holds_nothing_is_the_same_dearer_and_later() -> None:
    still = np.ones((5, 1))
    still[0] = 0.0
    assert _judge(GAIN * still, GAIN * still, returns=PLAIN * still).passed
