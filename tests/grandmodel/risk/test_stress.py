from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.config import BreakerLimits
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.risk.historical import Library, library
from grandmodel.risk.mapping import ShockTable, map_shocks
from grandmodel.risk.reference_stress import play, worst_drawdown
from grandmodel.risk.state import TradingState
from grandmodel.risk.stress import StressOutcome, run_scenarios

LIMITS = BreakerLimits()
NAMES = [scenario.name for scenario in library().scenarios]
TABLE = map_shocks(library(), ["ES", "NQ", "CL", "ZN"], classes={"NQ": "index_future"}, prices={"CL": 18.27})


def random_table(seed: int, assets: int) -> ShockTable:
    stream = random_stream(seed, "stress table")
    shape = (len(NAMES), assets)
    moves = np.clip(stream.normal(-0.1, 0.4, shape), -1.0, None)
    crosses = stream.random(shape) < 0.02
    moves[crosses] = -1.7
    how = tuple(("stated",) * assets for _ in NAMES)
    symbols = tuple(f"S{i}" for i in range(assets))
    return ShockTable(library().scenarios, symbols, moves, np.zeros(shape), how, crosses)


def run(table: ShockTable, exposure: dict[str, float], **options: float) -> dict[str, StressOutcome]:
    outcomes = run_scenarios(table, exposure, LIMITS, gross_exposure_max=options.get("gross_exposure_max", 5.0))
    return {outcome.scenario: outcome for outcome in outcomes}


def assert_agrees(table: ShockTable, exposure: dict[str, float], gross_exposure_max: float) -> int:
    held = [exposure.get(symbol, 0.0) for symbol in table.symbols]
    cuts = 0
    for row, outcome in enumerate(run_scenarios(table, exposure, LIMITS, gross_exposure_max=gross_exposure_max)):
        given_ = (table.scenarios[row].shares().tolist(), table.move_frac[row].tolist())
        crosses = table.crosses_zero[row].tolist()
        free, _, _, _ = play(*given_, crosses, held, None, gross_exposure_max)
        path, money, state, first = play(*given_, crosses, held, LIMITS, gross_exposure_max)
        assert outcome.loss_frac == pytest.approx(1.0 - free[-1], abs=1e-9)
        assert outcome.drawdown_frac == pytest.approx(worst_drawdown(free), abs=1e-9)
        assert outcome.loss_with_breaker_frac == pytest.approx(1.0 - path[-1], abs=1e-9)
        assert outcome.drawdown_with_breaker_frac == pytest.approx(worst_drawdown(path), abs=1e-9)
        assert (outcome.state.name, outcome.steps_to_breaker) == (state, first)
        assert outcome.gross_after == pytest.approx(sum(map(abs, money)) / path[-1], abs=1e-9)
        cuts += first is not None
    return cuts


@given(
    st.integers(0, 10_000),
    st.lists(st.floats(-1.0, 1.0, allow_subnormal=False), min_size=4, max_size=4).filter(any),
    st.floats(1.0, 2.0),
)
def test_random_books_agree_with_the_slow_twin(seed: int, weights: list[float], room: float) -> None:
    exposure = {f"S{i}": weight for i, weight in enumerate(weights)}
    # The dot-com path of 637 steps is left to the tests of named books.
    table = random_table(seed, 4)
    keep = [index for index, scenario in enumerate(table.scenarios) if scenario.steps < 100]
    short = replace(
        table,
        scenarios=tuple(table.scenarios[index] for index in keep),
        move_frac=table.move_frac[keep],
        error_frac=table.error_frac[keep],
        crosses_zero=table.crosses_zero[keep],
    )
    assert_agrees(short, exposure, sum(map(abs, weights)) * room)


def test_a_book_of_a_hundred_agrees_with_the_slow_twin() -> None:
    weights = random_stream(2, "weights").normal(0.01, 0.02, 100)
    exposure = {f"S{i}": float(weight) for i, weight in enumerate(weights)}
    assert assert_agrees(random_table(8, 100), exposure, 2.5) >= 5


def test_the_breaker_stops_a_slow_fall_and_not_a_sudden_one() -> None:
    outcomes = run(TABLE, {"ES": 1.0})
    slow, sudden = outcomes["dotcom_2000_2002"], outcomes["black_monday_1987"]
    assert slow.loss_frac == pytest.approx(0.4915)
    assert LIMITS.half_drawdown_frac < slow.loss_with_breaker_frac < 0.25
    assert slow.state is TradingState.HALTED
    assert slow.steps_to_breaker is not None
    assert 15 < slow.steps_to_breaker < 637
    assert sudden.loss_with_breaker_frac == sudden.loss_frac == pytest.approx(0.2047)
    assert (sudden.steps_to_breaker, sudden.level, sudden.state) == (1, 3, TradingState.HALTED)


def test_a_small_move_leaves_the_breaker_alone() -> None:
    outcome = run(TABLE, {"ES": 1.0})["yen_carry_2024"]
    assert (outcome.level, outcome.state, outcome.steps_to_breaker) == (0, TradingState.ACTIVE, None)
    assert outcome.loss_with_breaker_frac == outcome.loss_frac == pytest.approx(0.03)
    assert outcome.gross_after == pytest.approx(1.0)


def test_a_short_book_gains_where_a_long_one_loses() -> None:
    long_book, short_book = run(TABLE, {"ES": 0.5}), run(TABLE, {"ES": -0.5})
    assert short_book["gfc_2008"].loss_frac == pytest.approx(-long_book["gfc_2008"].loss_frac)
    assert short_book["gfc_2008"].drawdown_frac > 0.0  # rebounds on the way


def test_bonds_do_not_save_a_book_in_2022() -> None:
    outcomes = run(TABLE, {"ES": 0.6, "ZN": 0.4})
    assert outcomes["rates_2022"].loss_frac > run(TABLE, {"ES": 0.6})["rates_2022"].loss_frac


def test_a_price_below_zero_costs_more_than_the_position() -> None:
    outcome = run(TABLE, {"CL": 0.2})["negative_oil_2020"]
    assert outcome.loss_frac == pytest.approx(0.2 * 55.90 / 18.27)
    assert outcome.loss_frac > 0.2


def test_equity_that_is_gone_halts() -> None:
    outcome = run(TABLE, {"CL": 2.0})["negative_oil_2020"]
    assert outcome.loss_frac > 1.0
    assert (outcome.state, outcome.gross_after) == (TradingState.HALTED, 0.0)


def test_an_unknown_move_gives_no_number_and_only_reduces() -> None:
    outcomes = run(TABLE, {"ES": 0.5, "CL": 0.1})
    unknown = outcomes["stocks_and_bonds_down"]
    assert math.isnan(unknown.loss_frac)
    assert math.isnan(unknown.loss_with_breaker_frac)
    assert unknown.state is TradingState.REDUCING
    assert unknown.reason == "CL: neither stated nor estimated"
    # What is not held needs no move.
    assert run(TABLE, {"ES": 0.5, "CL": 0.0})["stocks_and_bonds_down"].loss_frac == pytest.approx(0.10)


def test_errors_of_betas_reach_the_loss() -> None:
    table = random_table(1, 2)
    table.error_frac[:] = [0.01, 0.03]
    for outcome in run(table, {"S0": 0.5, "S1": -1.0}).values():
        assert outcome.loss_error_frac == pytest.approx(0.5 * 0.01 + 1.0 * 0.03)


@pytest.mark.parametrize("exposure", [{"ES": math.nan}, {"ES": math.inf}, {"GHOST": 1.0}, {}, {"ES": 0.0}])
def test_bad_books_are_refused(exposure: dict[str, float]) -> None:
    with pytest.raises(DataError, match="stress book"):
        run(TABLE, exposure)


def test_a_book_above_its_cap_and_bad_limits_are_refused() -> None:
    with pytest.raises(DataError, match=r"gross must be within 1\.0; found 1\.5"):
        run(TABLE, {"ES": 1.0, "CL": -0.5}, gross_exposure_max=1.0)
    with pytest.raises(ConfigError, match="base cap"):
        run(TABLE, {"ES": 1.0}, gross_exposure_max=math.nan)
    upside_down = BreakerLimits(half_drawdown_frac=0.3)
    with pytest.raises(ConfigError, match="must rise"):
        run_scenarios(TABLE, {"ES": 1.0}, upside_down, gross_exposure_max=5.0)


def test_every_scenario_has_one_outcome() -> None:
    assert list(run(TABLE, {"ES": 1.0})) == NAMES
    assert len(NAMES) == len(set(NAMES)) > 14
    assert isinstance(library(), Library)
