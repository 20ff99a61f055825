from __future__ import annotations

import math

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.risk.betas import FactorBetas
from grandmodel.risk.historical import library
from grandmodel.risk.mapping import ShockTable, map_shocks
from grandmodel.risk.reference_stress import end_loss, grid_breach, play, worst_drawdown, worst_step
from grandmodel.risk.reverse import LimitName, reverse_factors, reverse_scenarios, smallest_breach

BOUNDS: dict[LimitName, float] = {
    "half_drawdown_frac": 0.10,
    "halt_drawdown_frac": 0.20,
    "daily_loss_max_frac": 0.05,
    "stress_loss_max_frac": 0.25,
}
SLOW = {
    "half_drawdown_frac": worst_drawdown,
    "halt_drawdown_frac": worst_drawdown,
    "daily_loss_max_frac": worst_step,
    "stress_loss_max_frac": end_loss,
}
TABLE = map_shocks(library(), ["ES", "NQ", "CL", "ZN"], classes={"NQ": "index_future"}, prices={"CL": 18.27})
BETAS = FactorBetas(
    ("A", "B"),
    ("equity_frac", "rate_10y_bp"),
    np.array([[1.2, -0.0002], [-0.3, -0.0008]]),
    np.zeros((2, 2, 2)),
    np.full(2, 0.01),
    np.full(2, 0.5),
    np.full(2, 500),
    ("A", "B"),
)


def short_table() -> ShockTable:
    """Return random moves in the scenarios of up to 50 steps, quick enough for the grid."""
    keep = [index for index, scenario in enumerate(library().scenarios) if scenario.steps <= 50]
    moves = random_stream(4, "reverse").normal(-0.1, 0.2, (len(keep), 3))
    scenarios = tuple(library().scenarios[index] for index in keep)
    how = tuple(("stated",) * 3 for _ in keep)
    return ShockTable(scenarios, ("A", "B", "C"), moves, np.zeros_like(moves), how, np.zeros(moves.shape, bool))


def test_every_smallest_multiple_is_that_of_a_grid() -> None:
    table, exposure = short_table(), {"A": 0.9, "B": -0.6, "C": 0.4}
    found = {"breached": 0, "not": 0}
    steps = {scenario.name: scenario for scenario in table.scenarios}
    for breach in reverse_scenarios(table, exposure, BOUNDS, multiple_max=8.0):
        row = list(steps).index(breach.subject)
        shares, moves = steps[breach.subject].shares().tolist(), table.move_frac[row]
        if len(shares) > 10 and breach.limit == "half_drawdown_frac":
            continue  # the grid is slow, and the other drawdown limit asks the same
        on_grid = grid_breach(
            lambda k, s=shares, m=moves: play(s, (k * m).tolist(), [False] * 3, list(exposure.values()), None, 9.0)[0],
            SLOW[breach.limit],
            breach.bound_frac,
            breach.searched,
        )
        if on_grid is None:
            assert breach.size is None
            assert "not breached up to" in breach.reason
            found["not"] += 1
        else:
            assert breach.size is not None
            assert on_grid[0] - 1e-9 <= breach.size <= on_grid[1] + 1e-9
            found["breached"] += 1
    assert min(found.values()) >= 5


def test_the_multiple_breaches_and_a_little_less_does_not() -> None:
    exposure = {"ES": 0.7, "ZN": 0.5}
    checked = 0
    for breach in reverse_scenarios(TABLE, exposure, BOUNDS):
        if breach.size is None:
            continue
        row = [scenario.name for scenario in TABLE.scenarios].index(breach.subject)
        shares = TABLE.scenarios[row].shares().tolist()
        moves = np.nan_to_num(TABLE.move_frac[row])
        for factor, breached in ((1 + 1e-7, True), (1 - 1e-7, False)):
            scaled = (breach.size * factor * moves).tolist()
            path = play(shares, scaled, [True] * 4, [0.7, 0.0, 0.0, 0.5], None, 9.0)[0]
            assert (SLOW[breach.limit](path) >= breach.bound_frac) is breached, (breach, factor)
        checked += 1
    assert checked >= 20


def test_one_step_has_its_answer_in_closed_form() -> None:
    breaches = {
        (breach.subject, breach.limit): breach
        for breach in reverse_scenarios(TABLE, {"ES": 1.0}, {"halt_drawdown_frac": 0.2})
    }
    assert breaches["black_monday_1987", "halt_drawdown_frac"].size == pytest.approx(0.2 / 0.2047, rel=1e-8)
    assert breaches["all_down_10", "halt_drawdown_frac"].size == pytest.approx(2.0, rel=1e-8)
    assert breaches["all_up_10", "halt_drawdown_frac"].size is None


def test_the_search_ends_where_a_price_is_zero() -> None:
    breaches = reverse_scenarios(TABLE, {"ES": 0.1}, {"stress_loss_max_frac": 0.25})
    assert all(breach.size is None for breach in breaches)
    monday = breaches[0]
    assert monday.searched == pytest.approx(1 / 0.2047)
    assert monday.reason.startswith("not breached up to 4.88")
    # In points oil may fall further.
    oil = next(
        breach
        for breach in reverse_scenarios(TABLE, {"CL": 0.1}, {"stress_loss_max_frac": 0.25})
        if breach.subject == "negative_oil_2020"
    )
    assert oil.size == pytest.approx(2.5 * 18.27 / 55.90, rel=1e-8)


def test_a_scenario_with_a_hole_says_so() -> None:
    breach = next(
        one
        for one in reverse_scenarios(TABLE, {"CL": 1.0}, {"halt_drawdown_frac": 0.2})
        if one.subject == "stocks_and_bonds_down"
    )
    assert breach.size is None
    assert math.isnan(breach.searched)
    assert breach.reason == "no move for CL"


def test_the_smallest_move_of_a_factor_has_its_sign_and_unit() -> None:
    exposure = {"A": 1.0, "B": 0.5}
    bounds: dict[LimitName, float] = {"stress_loss_max_frac": 0.10}
    up, down, rate_up, rate_down = reverse_factors(BETAS, exposure, bounds, {"equity_frac": 0.5, "rate_10y_bp": 400.0})
    assert down.size == pytest.approx(-0.10 / (1.2 - 0.15), rel=1e-8)
    assert rate_up.size == pytest.approx(0.10 / 0.0006, rel=1e-8)
    assert (up.size, rate_down.size) == (None, None)
    assert (up.searched, rate_down.searched) == (0.5, -400.0)


def test_a_factor_is_searched_no_further_than_a_price_lasts() -> None:
    breach = reverse_factors(BETAS, {"A": 0.1}, {"halt_drawdown_frac": 0.2}, {"equity_frac": 5.0})[1]
    assert breach.size is None
    assert breach.searched == pytest.approx(-1 / 1.2)


def test_bisection_finds_the_first_point_of_a_jump() -> None:
    assert smallest_breach(lambda k: float(k >= 0.3), 1.0, 1.0) == pytest.approx(0.3, rel=1e-8)
    assert smallest_breach(lambda k: k, 2.0, 1.0) is None


@pytest.mark.parametrize(
    ("bounds", "largest"),
    [
        ({}, 1.0),
        ({"patience": 0.1}, 1.0),
        ({"halt_drawdown_frac": 0.0}, 1.0),
        ({"halt_drawdown_frac": math.nan}, 1.0),
        ({"halt_drawdown_frac": 20.0}, 1.0),
        ({"halt_drawdown_frac": 0.2}, math.inf),
        ({"halt_drawdown_frac": 0.2}, -1.0),
    ],
)
def test_bad_limits_are_refused(bounds: dict[LimitName, float], largest: float) -> None:
    with pytest.raises(ConfigError, match="reverse stress"):
        reverse_scenarios(TABLE, {"ES": 1.0}, bounds, multiple_max=largest)
    with pytest.raises(ConfigError, match="reverse stress"):
        reverse_factors(BETAS, {"A": 1.0}, bounds, {"equity_frac": largest})


def test_unknown_instruments_and_factors_are_refused() -> None:
    with pytest.raises(DataError, match="no betas for; found \\['GHOST'\\]"):
        reverse_factors(BETAS, {"GHOST": 1.0}, {"halt_drawdown_frac": 0.2}, {"equity_frac": 0.5})
    with pytest.raises(DataError, match="no betas for; found \\['oil_frac'\\]"):
        reverse_factors(BETAS, {"A": 1.0}, {"halt_drawdown_frac": 0.2}, {"oil_frac": 0.5})
    with pytest.raises(DataError, match="stress book"):
        reverse_factors(BETAS, {"A": math.nan}, {"halt_drawdown_frac": 0.2}, {"equity_frac": 0.5})
    with pytest.raises(DataError, match="stress book"):
        reverse_scenarios(TABLE, {"GHOST": 1.0}, {"halt_drawdown_frac": 0.2})
