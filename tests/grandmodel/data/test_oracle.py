"""The oracle: better than the myopic rule after costs, flat without an edge, blind to the future."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.data import oracle, simulator_earnings
from grandmodel.data.simulator import simulate
from grandmodel.data.simulator_model import MarketModel, default_market, preset

SESSIONS = 120
COST_FRAC = 6e-5


def _folder(tmp_path_factory: pytest.TempPathFactory, edge: float) -> Path:
    path = tmp_path_factory.mktemp(f"edge_{edge}")
    simulate(path, edge=edge, seed=7, sessions=SESSIONS)
    return path


@pytest.fixture(scope="module")
def strong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _folder(tmp_path_factory, 1.0)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _folder(tmp_path_factory, 0.5)


@pytest.fixture(scope="module")
def martingale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _folder(tmp_path_factory, 0.0)


def _sharpe(folder: Path, market: MarketModel | None = None) -> dict[str, float]:
    market = market or default_market()
    frames = {i.symbol: pd.read_parquet(folder / f"{i.symbol}_5m.parquet") for i in market.instruments}
    thirty = {symbol: simulator_earnings.thirty_minute_frame(frame, market) for symbol, frame in frames.items()}
    portfolios = {r: np.mean(list(e.values()), axis=0) for r, e in simulator_earnings.earnings(folder, thirty).items()}
    return {rule: simulator_earnings.session_sharpe(r, market.bars_30m) for rule, r in portfolios.items()}


def _expected(folder: Path, symbol: str, positions: NDArray[np.float64]) -> float:
    """Return the sum of planted drift minus cost: what a rule earns with the noise taken out."""
    drift = oracle.load_truth(folder, symbol)["drift_next"].to_numpy(np.float64)
    return float(positions @ drift - COST_FRAC * np.abs(np.diff(positions, prepend=0.0)).sum())


def test_the_oracle_beats_the_myopic_rule_and_the_simple_rules_after_costs(strong: Path) -> None:
    sharpe = _sharpe(strong)
    assert 7 < sharpe["oracle"] < 16
    assert sharpe["oracle"] > sharpe["sign of drift"]
    assert sharpe["moving average"] < 0
    assert abs(sharpe["buy and hold"]) < 3.5


def test_a_fitted_market_has_an_oracle_too_that_beats_the_simple_rules(tmp_path: Path) -> None:
    simulate(tmp_path, edge=1.0, seed=7, sessions=300, like="cn")
    assert oracle.load_oracle_model(tmp_path, "rb").gap_sigmas.astype(bool).sum() == 4
    sharpe = _sharpe(tmp_path, preset("cn"))
    assert sharpe["oracle"] > 2
    assert sharpe["oracle"] > sharpe["sign of drift"] > sharpe["moving average"]


def test_half_the_edge_earns_about_half(strong: Path, half: Path) -> None:
    assert 0.3 < _sharpe(half)["oracle"] / _sharpe(strong)["oracle"] < 0.7


def test_at_half_the_edge_costs_weigh_more_and_it_leaves_the_myopic_rule_further_behind(
    strong: Path, half: Path
) -> None:
    gains = []
    for folder in (strong, half):
        _, targets = oracle.oracle_targets(folder, "GC", COST_FRAC)
        _, myopic = oracle.myopic_targets(folder, "GC")
        gains.append(_expected(folder, "GC", targets) / _expected(folder, "GC", myopic))
    assert gains[0] > 1.05
    assert gains[1] > gains[0] + 0.05


def test_impact_that_grows_with_size_makes_it_trade_in_steps(strong: Path) -> None:
    _, linear = oracle.oracle_targets(strong, "GC", COST_FRAC)
    _, convex = oracle.oracle_targets(strong, "GC", 0.0, impact_frac=COST_FRAC)
    assert np.mean(np.abs(linear) == 1) > 0.95
    assert np.mean(np.abs(convex) < 1) > 0.05
    assert np.abs(np.diff(convex)).max() <= np.abs(np.diff(linear)).max()


def test_without_an_edge_the_oracle_stays_flat(martingale: Path) -> None:
    start_ns, targets = oracle.oracle_targets(martingale, "NQ", COST_FRAC)
    assert len(start_ns) == SESSIONS * 46
    assert np.all(targets == 0)
    assert _sharpe(martingale)["oracle"] == 0


def test_it_earns_in_expectation_more_than_any_threshold_rule(strong: Path) -> None:
    truth = oracle.load_truth(strong, "CL")
    drift = truth["drift_next"].to_numpy()
    _, targets = oracle.oracle_targets(strong, "CL", COST_FRAC)

    def threshold(level: float) -> NDArray[np.float64]:
        wanted = np.where(np.abs(drift) > level, np.sign(drift), np.nan)
        return pd.Series(wanted).ffill().fillna(0.0).to_numpy()

    rules = [_expected(strong, "CL", threshold(level)) for level in np.linspace(0, 5e-4, 26)]
    assert max(rules) > 0
    assert _expected(strong, "CL", targets) >= 0.99 * max(rules)


def test_dearer_trading_trades_less(strong: Path) -> None:
    turnover = [
        np.abs(np.diff(oracle.oracle_targets(strong, "GC", cost)[1])).sum() for cost in (0.0, 3e-5, 1e-4, 3e-4, 1e-2)
    ]
    assert np.all(np.diff(turnover) < 0)
    assert turnover[-1] == 0


def test_free_trading_follows_the_sign_of_the_drift(strong: Path) -> None:
    _, targets = oracle.oracle_targets(strong, "ES", 0.0)
    _, myopic = oracle.myopic_targets(strong, "ES")
    clear = np.abs(oracle.load_truth(strong, "ES")["state"].to_numpy()) > 0.06  # beyond half the grid's spacing
    assert clear.sum() > 1000
    assert np.array_equal(targets[clear], myopic[clear])


def test_a_longer_horizon_changes_nothing(strong: Path) -> None:
    model = oracle.load_oracle_model(strong, "NQ")
    usual = oracle.solve_policy(model, COST_FRAC)
    longer = oracle.solve_policy(model, COST_FRAC, horizon_sessions=2 * oracle.HORIZON_SESSIONS)
    assert usual.any()
    assert np.mean(usual != longer) < 1e-3


def test_the_policy_agrees_with_a_plain_recursion(strong: Path) -> None:
    model = oracle.load_oracle_model(strong, "NQ")
    slots, regimes, states, held = len(model.edge_shape), 3, len(oracle.STATE_GRID), len(oracle.POSITIONS)
    quick = oracle.solve_policy(model, COST_FRAC, horizon_sessions=1)
    value = np.zeros((regimes, states, held))
    for slot in (slots - 1, slots - 2):
        kernel, mean = oracle._state_kernel(model, slot), oracle.conditional_mean(model, slot)
        earlier = np.empty_like(value)
        for k in range(regimes):
            for x in range(0, states):
                ahead = kernel[x] @ np.tensordot(model.regime_transition[k], value, axes=1)
                for p in range(held):
                    worth = [
                        a * mean[k, x] - COST_FRAC * abs(a - oracle.POSITIONS[p]) + ahead[i]
                        for i, a in enumerate(oracle.POSITIONS)
                    ]
                    earlier[k, x, p] = max(worth)
                    assert worth[quick[slot, k, x, p]] >= max(worth) - 1e-12
        value = earlier


def test_targets_depend_on_the_past_alone(strong: Path, tmp_path: Path) -> None:
    _, targets = oracle.oracle_targets(strong, "NQ", COST_FRAC)
    (tmp_path / "truth").mkdir()
    (tmp_path / "dataset.yaml").write_text((strong / "dataset.yaml").read_text())
    oracle.load_truth(strong, "NQ").iloc[:1000].to_parquet(tmp_path / "truth" / "NQ.parquet")
    _, cut = oracle.oracle_targets(tmp_path, "NQ", COST_FRAC)
    assert np.abs(cut).sum() > 100
    assert np.array_equal(cut, targets[:1000])


def test_bar_starts_are_those_of_the_30_minute_bars(strong: Path) -> None:
    start_ns, _ = oracle.oracle_targets(strong, "NQ", COST_FRAC)
    five = oracle.start_ns_of(pd.read_parquet(strong / "NQ_5m.parquet"))
    assert start_ns.dtype == np.int64
    assert np.array_equal(start_ns, five[::6])


def test_a_set_that_is_not_simulated_has_no_oracle(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({"simulated": False, "edge": 1.0}))
    with pytest.raises(DataError, match="only for simulated"):
        oracle.oracle_targets(tmp_path, "NQ", COST_FRAC)


def test_an_unknown_symbol_is_refused(strong: Path) -> None:
    with pytest.raises(DataError, match=r"only for simulated instruments.*XX"):
        oracle.load_oracle_model(strong, "XX")
