"""The simulated market: clock, grid, envelope, martingale, edge, determinism."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError
from grandmodel.core.hashing import hash_folder
from grandmodel.data import return_facts, simulator
from grandmodel.data import simulator_model as model
from grandmodel.data.simulator import simulate
from grandmodel.data.simulator_paths import SimulatedBars, bar_starts_ns, simulate_bars

SESSIONS = 120


@pytest.fixture(scope="module")
def market() -> SimulatedBars:
    return simulate_bars(edge=1.0, seed=7, sessions=SESSIONS)


@pytest.fixture(scope="module")
def martingale() -> SimulatedBars:
    return simulate_bars(edge=0.0, seed=7, sessions=400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated")
    simulate(path, edge=1.0, seed=7, sessions=20)
    return path


def _close_30m(bars: SimulatedBars, row: int) -> NDArray[np.float64]:
    return bars.close[row, model.BARS_5M_PER_30M - 1 :: model.BARS_5M_PER_30M]


def test_sessions_open_at_17_chicago_on_both_sides_of_a_clock_change() -> None:
    starts = pd.to_datetime(bar_starts_ns(model.default_market(), 10, date(2025, 3, 14))[::276], utc=True)
    local = starts.tz_convert("America/Chicago")
    assert {(t.hour, t.minute) for t in local} == {(17, 0)}
    assert set(starts.hour) == {22, 23}  # winter 23:00 UTC, summer 22:00 UTC
    assert {t.weekday() for t in local} == {6, 0, 1, 2, 3}  # Sunday evening to Thursday evening


def test_a_session_has_276_bars_of_5_minutes_and_ends_at_16_chicago(market: SimulatedBars) -> None:
    starts = market.start_ns.reshape(SESSIONS, model.BARS_5M_PER_SESSION)
    assert set(np.diff(starts, axis=1).ravel()) == {5 * 60 * 10**9}
    last_close = pd.to_datetime(starts[:, -1] + 5 * 60 * 10**9, utc=True).tz_convert("America/Chicago")
    assert {t.hour for t in last_close} == {16}
    assert np.all(np.diff(market.start_ns) > 0)


def test_prices_stand_on_the_tick_grid(market: SimulatedBars) -> None:
    for row, instrument in enumerate(model.INSTRUMENTS):
        for name in ("open", "high", "low", "close"):
            ticks = getattr(market, name)[row] / instrument.tick_size
            assert np.abs(ticks - np.rint(ticks)).max() < 1e-6


def test_high_and_low_enclose_open_and_close(market: SimulatedBars) -> None:
    assert np.all(market.high >= np.maximum(market.open, market.close))
    assert np.all(market.low <= np.minimum(market.open, market.close))
    assert np.all(market.low > 0)
    assert np.mean(market.high > np.maximum(market.open, market.close)) > 0.5


def test_volume_is_positive_and_rises_with_the_size_of_the_move(market: SimulatedBars) -> None:
    assert market.volume.min() >= 1
    for row in range(len(model.INSTRUMENTS)):
        size = np.abs(market.close[row] / market.open[row] - 1)
        by_slot = [np.corrcoef(size[s::276], np.log(market.volume[row, s::276]))[0, 1] for s in range(0, 276, 12)]
        assert np.mean(by_slot) > 0.3


def test_intraday_shapes_peak_at_the_us_open() -> None:
    us_open = int(15.5 * 12)  # 08:30 local, slots of five minutes after 17:00
    assert abs(int(model.volatility_shape().argmax()) - us_open) <= 1
    assert abs(int(model.volume_shape().argmax()) - us_open) <= 1
    assert np.isclose(np.mean(model.volatility_shape() ** 2), 1)
    assert np.isclose(model.volume_shape().sum(), 1)
    assert np.isclose(model.default_market().edge_shape().mean(), 1)
    assert model.default_market().edge_shape().min() >= 0


def test_correlations_follow_the_factor(market: SimulatedBars) -> None:
    returns = np.array([np.diff(np.log(_close_30m(market, row))) for row in range(4)])
    matrix = np.corrcoef(returns)  # NQ, ES, CL, GC
    assert abs(matrix[0, 1] - 0.90) < 0.05
    assert abs(matrix[0, 2] - 0.30) < 0.08
    assert np.abs(matrix[3, :3]).max() < 0.08


def test_returns_have_fat_tails_and_clustered_volatility(martingale: SimulatedBars) -> None:
    for row in range(4):
        returns = np.diff(np.log(martingale.close[row]))
        assert return_facts.excess_kurtosis(returns) > 5
        assert return_facts.autocorrelation(np.abs(returns), 1) > 0.1
        assert return_facts.autocorrelation(np.abs(returns), 276) > 0.1


def test_without_edge_the_drift_is_exactly_zero_and_returns_are_not_predictable(martingale: SimulatedBars) -> None:
    assert np.all(martingale.drift == 0)
    scores = []
    for row in range(4):
        close = _close_30m(martingale, row)
        unit = (close[1:] / close[:-1] - 1) / martingale.sigma[row, 1:-1]
        signal = np.tanh(martingale.state[row, 1:-1])
        scores += [np.mean(unit) * np.sqrt(len(unit)), np.mean(unit * signal) / signal.std() * np.sqrt(len(unit))]
    assert len(scores) == 8
    assert np.abs(scores).max() < 3.5


def test_with_edge_the_mean_return_given_the_state_is_the_planted_drift(market: SimulatedBars) -> None:
    for row in range(4):
        close = _close_30m(market, row)
        unit = (close[1:] / close[:-1] - 1) / market.sigma[row, 1:-1]
        planted = market.drift[row, 1:-1] / market.sigma[row, 1:-1]
        slope = unit @ planted / (planted @ planted)
        error = unit.std() / np.sqrt(planted @ planted)
        assert abs(slope - 1) < 4 * error < 1.0


def test_the_edge_fades_the_recent_move(market: SimulatedBars) -> None:
    moved = np.abs(market.state) > 0.1
    strength = np.broadcast_to(
        model.default_market().edge_shape()[np.arange(market.state.shape[1]) % 46] > 0.01, moved.shape
    )
    assert np.all(np.sign(market.drift)[moved & strength] == -np.sign(market.state)[moved & strength])


def test_the_state_is_a_function_of_what_an_agent_sees(market: SimulatedBars) -> None:
    kernel = (1 + np.arange(26) ** 2 / (2 * 8 * 8**2)) ** -8.0
    for row in range(4):
        close = pd.Series(_close_30m(market, row))
        line = np.convolve(close, kernel / kernel.sum())[: len(close)]
        block = (market.high[row].reshape(-1, 6).max(axis=1), market.low[row].reshape(-1, 6).min(axis=1))
        deviation = (close - line) / pd.Series(block[0] - block[1]).rolling(14).mean()
        state = market.state[row, 1:]
        assert np.corrcoef(deviation[60:], state[60:])[0, 1] ** 2 > 0.8


def test_equal_seeds_give_equal_bytes_and_another_seed_other_bytes(folder: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "again", edge=1.0, seed=7, sessions=20)
    simulate(tmp_path / "other", edge=1.0, seed=8, sessions=20)
    assert hash_folder(tmp_path / "again") == hash_folder(folder)
    assert hash_folder(tmp_path / "other") != hash_folder(folder)


def test_the_dial_changes_the_drift_and_not_the_shocks() -> None:
    none, full = (simulate_bars(edge=edge, seed=3, sessions=2) for edge in (0.0, 1.0))
    assert np.array_equal(none.regime, full.regime)
    assert np.array_equal(none.sigma, full.sigma)
    assert np.array_equal(none.volume, full.volume)
    difference = np.log(full.close[:, -1] / none.close[:, -1])
    assert np.allclose(difference, full.drift[:, :-1].sum(axis=1), atol=2e-4)


def test_a_written_set_says_that_it_is_simulated_and_how_to_rebuild_it(folder: Path) -> None:
    content = yaml.safe_load((folder / "dataset.yaml").read_text())
    assert content["simulated"] is True
    assert "simulated" in content["name"]
    assert "not market data" in content["source"]
    assert (content["seed"], content["edge"], content["sessions"], content["last_session"]) == (
        7,
        1.0,
        20,
        "2025-06-13",
    )
    assert content["licence"] == "Apache-2.0"


def test_written_bars_have_the_columns_of_the_format(folder: Path) -> None:
    frame = pd.read_parquet(folder / "NQ_5m.parquet")
    assert list(frame.columns) == ["ts", "open", "high", "low", "close", "volume"]
    assert str(frame["ts"].dtype) == "datetime64[ns, UTC]"
    assert frame["volume"].dtype == np.int64
    assert len(frame) == 20 * model.BARS_5M_PER_SESSION


def test_the_written_truth_of_a_bar_is_known_at_its_close(folder: Path) -> None:
    market = simulate_bars(edge=1.0, seed=7, sessions=20)
    truth = pd.read_parquet(folder / "truth" / "ES.parquet")
    assert list(truth.columns) == ["ts", "state", "drift_next", "sigma_next", "regime_next", "slot_next"]
    assert np.array_equal(truth["drift_next"], market.drift[1, 1:].astype(np.float32))
    assert truth["slot_next"].iloc[0] == 1
    assert truth["slot_next"].iloc[45] == 0


@pytest.mark.parametrize(("edge", "sessions"), [(-0.1, 10), (float("nan"), 10), (4.0, 10), (1.0, 0), (1.0, 10**6)])
def test_arguments_out_of_range_are_refused_and_nothing_is_written(edge: float, sessions: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be between"):
        simulate(tmp_path / "set", edge=edge, seed=1, sessions=sessions)
    assert not (tmp_path / "set").exists()


def test_the_command_writes_and_describes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    assert simulator.main(["--edge", "0.5", "--seed", "1", "--sessions", "10", "--out", str(out)]) == 0
    assert simulator.main(["--describe", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "SIMULATED, not market data: edge 0.5" in printed
    assert "| oracle |" in printed


def test_the_command_refuses_a_folder_that_is_no_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulator.main(["--describe", str(tmp_path)]) == 2
    assert "dataset.yaml" in capsys.readouterr().err
