from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from grandmodel.core.errors import ConfigError
from grandmodel.risk.historical import FILE, Follows, library, load_library, step_shares
from grandmodel.risk.reference_stress import step_prices

DATED = [scenario for scenario in library().scenarios if scenario.dated]
BY_NAME = {scenario.name: scenario for scenario in library().scenarios}


def altered(folder: Path, change: dict[str, object]) -> Path:
    content = yaml.safe_load(FILE.read_text())
    content["scenarios"][0].update(change)
    path = folder / "altered.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_fourteen_scenarios_are_dated_and_some_are_not() -> None:
    assert len(DATED) == 14
    assert len(library().scenarios) > 14
    assert all(scenario.last_close is not None and scenario.moves for scenario in DATED)


def test_shares_and_bonds_fall_together_where_they_did() -> None:
    for name in ("rates_2022", "tariffs_2025", "stocks_and_bonds_down"):
        assert BY_NAME[name].moves["equity_frac"] < 0 < BY_NAME[name].moves["rate_10y_bp"]


def test_a_move_that_is_not_known_is_not_zero() -> None:
    assert "eurusd_frac" not in BY_NAME["black_monday_1987"].moves
    assert BY_NAME["negative_oil_2020"].moves["rate_2y_bp"] == 0.0


@pytest.mark.parametrize("scenario", DATED, ids=lambda scenario: scenario.name)
def test_the_steps_bring_the_whole_move(scenario) -> None:
    shares = scenario.shares()
    assert shares.shape == (scenario.steps,)
    assert shares.sum() == pytest.approx(1.0, abs=1e-12)


def test_stated_steps_are_the_returns_of_those_steps() -> None:
    for scenario in (one for one in DATED if one.stated_steps and one.steps > len(one.stated_steps)):
        price = np.append(1.0, 1.0 + scenario.moves["equity_frac"] * np.cumsum(scenario.shares()))
        returns = price[1:] / price[:-1] - 1.0
        for step, stated in scenario.stated_steps.items():
            assert returns[step - 1] == pytest.approx(stated, abs=1e-9)


@pytest.mark.parametrize("scenario", [one for one in DATED if one.steps > 1], ids=lambda scenario: scenario.name)
def test_steps_agree_with_the_slow_twin(scenario) -> None:
    total = scenario.moves["equity_frac"]
    shares = step_shares(scenario.steps, scenario.stated_steps, total)
    slow = step_prices(scenario.steps, scenario.stated_steps, total)
    np.testing.assert_allclose(1.0 + total * np.cumsum(shares), slow[1:], atol=1e-9)


def test_a_bond_falls_when_yields_rise_and_an_inverse_quote_turns_round() -> None:
    assert Follows(move="rate_10y_bp", duration_years=6.0).price_frac(100.0) == pytest.approx(-0.06)
    assert Follows(move="usdjpy_frac", inverse=True).price_frac(0.25) == pytest.approx(-0.2)
    assert Follows(move="equity_frac").price_frac(-0.1) == -0.1


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"moves": {"equity_frac": float("nan")}}, "finite"),
        ({"moves": {"equity_frac": float("-inf")}}, "finite"),
        ({"moves": {"equity_frac": -1.0}}, "absolute"),
        ({"moves": {"shares_frac": -0.1}}, "equity_frac"),
        ({"moves": {}}, "something must move"),
        ({"last_close": "1987-10-15"}, "before"),
        ({"first_close": None}, "both closes"),
        ({"first_close": None, "last_close": None, "steps": 2}, "one step"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"stated_steps": {2: -0.1}}, "stated steps"),
        ({"stated_steps": {1: -0.5}}, "stated steps"),
        ({"sources": ["hearsay"]}, "hearsay"),
        ({"sources": []}, "at least 1"),
        ({"name": "ltcm_1998"}, "a name of its own"),
        ({"colour": "black"}, "not permitted"),
    ],
)
def test_a_bad_scenario_is_refused_when_read(tmp_path: Path, change: dict[str, object], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        load_library(altered(tmp_path, change))


def test_a_missing_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must exist"):
        load_library(tmp_path / "none.yaml")


def test_a_yield_without_a_duration_is_refused(tmp_path: Path) -> None:
    content = yaml.safe_load(FILE.read_text())
    content["follows"]["symbols"]["ZN"] = {"move": "rate_10y_bp"}
    (tmp_path / "bonds.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="needs a duration"):
        load_library(tmp_path / "bonds.yaml")


@pytest.mark.shared
def test_moves_are_those_of_the_public_series(shared_data: Path) -> None:
    pandas = pytest.importorskip("pandas")
    daily = pandas.read_parquet(shared_data / "stress" / "macro_daily_1986_2026.parquet").set_index("date")
    dates = {one["id"]: one for one in json.loads((shared_data / "stress" / "scenarios.json").read_text())["scenarios"]}
    columns = {
        "equity_frac": "SPX",
        "oil_frac": "WTI_spot",
        "eurusd_frac": "DEXUSEU",
        "usdjpy_frac": "DEXJPUS",
        "dollar_frac": "DTWEXBGS",
        "rate_2y_bp": "DGS2",
        "rate_10y_bp": "DGS10",
        "high_yield_bp": "HY_OAS",
    }
    checked = 0
    assert set(dates) == {scenario.name for scenario in DATED}
    for scenario in DATED:
        span = (str(scenario.first_close), str(scenario.last_close))
        assert span == (dates[scenario.name]["from"], dates[scenario.name]["to"])
        assert scenario.steps == len(daily.SPX.dropna().loc[span[0] : span[1]]) - 1
        for move, value in scenario.moves.items():
            if move not in columns or (scenario.name, move) == ("negative_oil_2020", "oil_frac"):
                continue
            before, after = daily[columns[move]].loc[list(span)]
            found = (after - before) * 100 if move.endswith("_bp") else after / before - 1
            assert found == pytest.approx(value, abs=0.51 if move.endswith("_bp") else 6e-4), (scenario.name, move)
            checked += 1
        returns = daily.SPX.dropna().loc[span[0] : span[1]].pct_change().dropna()
        for step, value in scenario.stated_steps.items():
            assert returns.iloc[step - 1] == pytest.approx(value, abs=6e-5)
    assert checked > 60
