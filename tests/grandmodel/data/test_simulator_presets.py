"""Markets fitted to real bars: their clock, that they are martingales without an edge, and the fit itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.data import real_series, simulator, simulator_facts, simulator_fit
from grandmodel.data import simulator_model as model
from grandmodel.data.readers import read_dataset
from grandmodel.data.return_facts import hill_tail_index
from grandmodel.data.simulator import simulate
from grandmodel.data.simulator_paths import bar_starts_ns, simulate_bars

PRESETS = pytest.mark.parametrize("like", model.PRESETS)


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cn")
    simulate(path, edge=1.0, seed=3, sessions=120, like="cn")
    return path


def test_the_chinese_session_has_a_night_two_breaks_and_a_monday_that_opens_on_friday() -> None:
    market = model.preset("cn")
    starts = pd.to_datetime(bar_starts_ns(market, 6), utc=True).tz_convert("Asia/Shanghai")
    sessions = [starts[first : first + 69] for first in range(0, len(starts), 69)]
    clock = [moment.strftime("%H:%M") for moment in sessions[5]]
    assert (clock[0], clock[23], clock[24], clock[38], clock[39], clock[50], clock[51], clock[68]) == (
        "21:00", "22:55", "09:00", "10:10", "10:30", "11:25", "13:30", "14:55",
    )  # fmt: skip
    monday = next(session for session in sessions if session[-1].day_name() == "Monday")
    assert monday[0].day_name() == "Friday"
    assert np.all(np.diff(starts.asi8) > 0)
    assert market.bars_of_slot.tolist() == [6] * 11 + [3]


@PRESETS
def test_a_written_preset_says_what_it_was_fitted_on_and_is_read_back(like: str, tmp_path: Path) -> None:
    simulate(tmp_path, edge=0.5, seed=1, sessions=12, like=like)
    about = yaml.safe_load((tmp_path / "dataset.yaml").read_text())
    assert about["simulated"] is True
    assert about["like"] == like
    assert about["fitted_on"]["rows"]
    data = read_dataset(tmp_path)
    market = model.preset(like)
    for symbol in about["symbols"]:
        sessions, counts = np.unique(data.tactical[symbol].session, return_counts=True)
        assert len(sessions) == 12
        assert set(counts) == {market.bars_5m}
        truth = pd.read_parquet(tmp_path / "truth" / f"{symbol}.parquet")
        starts = truth["ts"].to_numpy(dtype="datetime64[ns]").view(np.int64)
        assert np.array_equal(starts, data.strategic[symbol].start_ns)


@PRESETS
def test_without_an_edge_a_preset_is_a_martingale(like: str) -> None:
    bars = simulate_bars(edge=0.0, seed=5, sessions=600, like=like)
    assert np.all(bars.drift == 0)
    market = model.preset(like)
    ends = np.arange(600)[:, None] * market.bars_5m + np.minimum(
        np.arange(6, 6 * market.bars_30m + 1, 6), market.bars_5m
    )
    for row in range(len(market.instruments)):
        close = bars.close[row, ends.ravel() - 1]
        unit = (close[1:] / close[:-1] - 1) / bars.sigma[row, 1:-1]
        signal = np.tanh(bars.state[row, 1:-1])
        for score in (unit.mean() / unit.std(), np.corrcoef(unit, signal)[0, 1]):
            assert abs(score) * np.sqrt(len(unit)) < 3.5


def test_the_planted_drift_of_a_preset_is_what_its_truth_says(chinese: Path) -> None:
    data, slopes = read_dataset(chinese), []
    for symbol, bars in data.strategic.items():
        truth = pd.read_parquet(chinese / "truth" / f"{symbol}.parquet")
        scaled = (bars.close[1:] / bars.close[:-1] - 1) / truth["sigma_next"].to_numpy(np.float64)[:-1]
        planted = (truth["drift_next"] / truth["sigma_next"]).to_numpy(np.float64)[:-1]
        slopes.append(scaled @ planted / (planted @ planted))
    assert 0.2 < np.mean(slopes) < 1.8


def test_the_preset_nq_has_heavier_tails_than_the_default_market() -> None:
    def tail(like: str | None) -> float:
        returns = np.diff(np.log(simulate_bars(edge=0.0, seed=2, sessions=500, like=like).close[0, 5::6]))
        return (hill_tail_index(returns) + hill_tail_index(-returns)) / 2

    assert tail("nq") < tail(None) - 0.2


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be one of"):
        model.preset("moon")


def _bars_of(like: str, sessions: int) -> dict[str, Bars]:
    market = model.preset(like)
    bars = simulate_bars(edge=0.0, seed=9, sessions=sessions, like=like)
    session = np.repeat(np.arange(sessions, dtype=np.int32), market.bars_5m)
    names = {terms.symbol: real for real, terms in simulator_fit.CHINESE.items()}
    return {
        names.get(instrument.symbol, instrument.symbol): Bars(
            symbol=instrument.symbol,
            bar_minutes=5,
            start_ns=bars.start_ns,
            close_ns=bars.start_ns + 5 * NS_PER_MINUTE,
            open=bars.open[row],
            high=bars.high[row],
            low=bars.low[row],
            close=bars.close[row],
            volume=bars.volume[row].astype(np.float64),
            session=session,
            price_factor=np.ones(len(session)),
            tradable=np.ones(len(session), np.bool_),
        )
        for row, instrument in enumerate(market.instruments)
    }


def test_calibration_finds_the_clock_of_a_market_that_it_can_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator_fit, "FIT_BARS_30M", 4_000)
    known = model.preset("cn")
    content = simulator_fit.calibrate(_bars_of("cn", 600), "cn", "a simulation", sweeps=1)
    fitted = model.market_from(content)
    assert np.corrcoef(fitted.volatility_shape, known.volatility_shape)[0, 1] > 0.98
    assert np.corrcoef(fitted.volume_shape, known.volume_shape)[0, 1] > 0.98
    for (bar, sigmas), (known_bar, known_sigmas) in zip(fitted.pauses, known.pauses, strict=True):
        assert bar == known_bar
        assert sigmas == pytest.approx(known_sigmas, rel=0.3, abs=0.02)
    for one, other in zip(fitted.instruments, known.instruments, strict=True):
        assert one.volatility_annual_frac == pytest.approx(other.volatility_annual_frac, rel=0.2)
        assert one.factor_loading == pytest.approx(other.factor_loading, abs=0.08)


def test_a_search_comes_nearer_to_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator_fit, "FIT_BARS_30M", 7_000)
    content = yaml.safe_load(model.preset_path("nq").read_text())
    slim = content | {"instruments": content["instruments"][:1]}
    target = simulator_fit.simulated_moments(model.market_from(slim))
    weights = np.array(list(simulator_fit.MOMENTS.values()))

    def distance(values: dict[str, float]) -> float:
        found = simulator_fit.simulated_moments(model.market_from(slim | values))
        return float(np.sum((weights * (found - target)) ** 2))

    found = simulator_fit.search(content, target, sweeps=1)
    assert distance(found) < 0.8 * distance(simulator_fit.start_of_search())


def test_bars_that_did_not_trade_are_left_out_of_a_series() -> None:
    bars = _bars_of("cn", 2)["SHFE.rb"]
    bars.volume[7] = 0.0
    series = real_series.series_of(bars, "Asia/Shanghai", 69)
    assert len(series.returns) == 2 * 69 - 2
    assert series.returns.sum() == pytest.approx(np.log(bars.close[-1] / bars.close[0]))
    assert series.minute_of_day[:2].tolist() == [21 * 60, 21 * 60 + 5]


def test_one_factor_gives_back_the_loadings_it_was_made_of() -> None:
    loadings = np.array([0.95, 0.9, 0.6, 0.3])
    correlation = np.outer(loadings, loadings)
    np.fill_diagonal(correlation, 1.0)
    assert simulator_fit.one_factor(correlation) == pytest.approx(loadings, abs=1e-3)


def test_too_few_full_sessions_cannot_be_fitted() -> None:
    with pytest.raises(DataError, match="at least 100 full sessions"):
        simulator_fit.calibrate(_bars_of("cn", 20), "cn", "a simulation", sweeps=0)
    with pytest.raises(ConfigError, match="must be one of"):
        simulator_fit.calibrate(_bars_of("cn", 20), "moon", "a simulation", sweeps=0)


def test_the_command_takes_a_preset(chinese: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "set")
    assert simulator.main(["--like", "cn", "--sessions", "120", "--seed", "3", "--out", out]) == 0
    assert (tmp_path / "set" / "dataset.yaml").read_bytes() == (chinese / "dataset.yaml").read_bytes()
    assert simulator.main(["--describe", out]) == 0
    printed = capsys.readouterr().out
    assert "| rb, edge 0 |" in printed
    assert "| tail index, losses (Hill, 1 %) |" in printed


@pytest.mark.shared
def test_presets_are_nearer_to_the_real_bars_than_the_default_market(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator_fit, "FIT_BARS_30M", 12_000)
    weights = np.array(list(simulator_fit.MOMENTS.values()))
    for like in model.PRESETS:
        bars, _ = real_series.read_real(shared_data, like)
        content = yaml.safe_load(model.preset_path(like).read_text())
        real = np.mean(
            [simulator_fit.moments(s) for s in simulator_fit.real_moment_series(bars, content).values()], axis=0
        )

        def distance(market: model.MarketModel, count: int = len(bars), real: np.ndarray = real) -> float:
            return float(np.sum((weights * (simulator_fit.simulated_moments(market, count) - real)) ** 2))

        assert distance(model.preset(like)) < 0.5 * distance(model.default_market())


@pytest.mark.shared
def test_the_tables_put_real_bars_beside_simulated_ones(
    chinese: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator_facts, "PRESET_SESSIONS", 120)
    text = simulator_facts.describe(chinese, shared_data)
    for part in ("NQ real | NQ like nq", "ES real | ES like nq", "SHFE.rb real | rb like cn", "CFFEX.IF real"):
        assert part in text
    assert "nan" not in text
