from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.risk.betas import ROWS_MIN, TrainingMoves, estimate_betas, training_moves
from grandmodel.stats.folds import Fold

T = 800
FOLD = Fold(0, 0, 600, 601, T, (0, 1), (1, 2), 1)
TRUE = {"SHARE": (1.2, -0.0002), "BOND": (0.1, -0.0006), "HEDGE": (-0.5, 0.0)}

Columns = dict[str, NDArray[np.float64]]


def market(noise: float = 0.004) -> tuple[Columns, Columns]:
    stream = random_stream(3, "betas")
    moves = {"equity_frac": stream.normal(0, 0.01, T), "rate_10y_bp": stream.normal(0, 6.0, T)}
    # Noise that grows with the factor, so that plain and robust errors differ.
    spread = noise * (0.5 + 50 * np.abs(moves["equity_frac"]))
    returns = {
        symbol: equity * moves["equity_frac"] + rate * moves["rate_10y_bp"] + spread * stream.normal(0, 1, T)
        for symbol, (equity, rate) in TRUE.items()
    }
    return returns, moves


def training(**changes: NDArray[np.float64]) -> TrainingMoves:
    returns, moves = market()
    return training_moves({**returns, **changes}, moves, FOLD)


def test_betas_and_errors_are_those_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    data = training()
    betas = estimate_betas(data)
    for row in range(len(data.symbols)):
        fit = api.OLS(data.returns[:, row], api.add_constant(data.moves)).fit(cov_type="HC1")
        np.testing.assert_allclose(betas.beta[row], fit.params[1:], rtol=1e-8)
        np.testing.assert_allclose(betas.standard_error[row], fit.bse[1:], rtol=1e-8)
        np.testing.assert_allclose(betas.covariance[row], fit.cov_params()[1:, 1:], rtol=1e-8)
        assert betas.r_squared[row] == pytest.approx(fit.rsquared, rel=1e-10)
        assert betas.residual_deviation[row] == pytest.approx(np.sqrt(fit.mse_resid), rel=1e-10)


def test_true_betas_lie_within_four_errors_and_no_sign_is_assumed() -> None:
    betas = estimate_betas(training())
    for row, symbol in enumerate(betas.symbols):
        assert (np.abs(betas.beta[row] - TRUE[symbol]) < 4 * betas.standard_error[row]).all()
    bond = betas.beta[betas.symbols.index("BOND")]
    assert bond[0] > 0  # this bond falls with shares
    assert bond[1] < 0


def test_nothing_after_the_training_fold_is_seen() -> None:
    returns, moves = market()
    seen = estimate_betas(training_moves(returns, moves, FOLD))
    for column in (*returns.values(), *moves.values()):
        column[FOLD.train_stop :] = np.inf
    np.testing.assert_array_equal(estimate_betas(training_moves(returns, moves, FOLD)).beta, seen.beta)


def test_a_bar_without_a_trade_is_left_out_and_counted() -> None:
    returns, _ = market()
    holed = returns["SHARE"].copy()
    holed[10:60] = np.nan
    betas = estimate_betas(training(SHARE=holed))
    assert betas.rows.tolist() == [550, 600, 600]
    kept = np.r_[0:10, 60:600]
    part = TrainingMoves(("SHARE",), returns["SHARE"][kept, None], *_moves(kept))
    np.testing.assert_allclose(betas.beta[0], estimate_betas(part).beta[0], rtol=1e-12)


def _moves(rows: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    _, moves = market()
    return tuple(moves), np.column_stack([column[rows] for column in moves.values()])


def test_unknown_factors_move_as_they_did_in_training() -> None:
    data = training()
    data = TrainingMoves(data.symbols, data.returns, data.factors, data.moves @ np.array([[1.0, 300.0], [0.0, 1.0]]))
    alone = estimate_betas(data, ["equity_frac"])
    both = estimate_betas(data)
    slope = np.polyfit(data.moves[:, 0], data.moves[:, 1], 1)[0]
    np.testing.assert_allclose(alone.beta[:, 0], both.beta @ np.array([1.0, slope]), rtol=1e-9)
    assert abs(alone.beta[1, 0] - both.beta[1, 0]) > 0.05


def test_expected_moves_carry_the_error_of_the_betas() -> None:
    betas = estimate_betas(training())
    expected, error = betas.expected({"rate_10y_bp": 100.0, "equity_frac": -0.2})
    np.testing.assert_allclose(expected, betas.beta @ [-0.2, 100.0])
    vector = np.array([-0.2, 100.0])
    np.testing.assert_allclose(error**2, [vector @ one @ vector for one in betas.covariance])


def test_an_instrument_with_few_bars_takes_the_betas_of_its_proxy_and_says_so() -> None:
    young = np.full(T, np.nan)
    young[600 - ROWS_MIN // 2 : 600] = 0.01
    betas = estimate_betas(training(YOUNG=young), proxies={"YOUNG": "BOND"})
    assert betas.proxy == ("SHARE", "BOND", "HEDGE", "BOND")
    np.testing.assert_array_equal(betas.beta[3], betas.beta[1])
    assert estimate_betas(training(YOUNG=young), symbols=["SHARE"]).symbols == ("SHARE",)


@pytest.mark.parametrize("proxies", [None, {"YOUNG": "NOBODY"}, {"YOUNG": "YOUNG"}])
def test_an_instrument_with_few_bars_and_no_proxy_is_refused(proxies: dict[str, str] | None) -> None:
    young = np.full(T, np.nan)
    young[:30] = 0.01
    with pytest.raises(DataError, match=r"betas of YOUNG: needs 60 training bars .* found 30\. Name a proxy"):
        estimate_betas(training(YOUNG=young), proxies=proxies)


def test_bad_columns_are_refused() -> None:
    returns, moves = market()
    with pytest.raises(DataError, match="needs returns and every factor"):
        training_moves(returns, moves, FOLD, factors=["oil_frac"])
    with pytest.raises(DataError, match="needs returns"):
        training_moves({}, moves, FOLD)
    with pytest.raises(DataError, match="needs returns and every factor"):
        training_moves(returns, {}, FOLD)
    with pytest.raises(DataError, match="one length"):
        training_moves({"SHARE": returns["SHARE"][:-1]}, moves, FOLD)
    with pytest.raises(DataError, match="must hold rows"):
        training_moves(returns, moves, Fold(0, 5, 5, 6, T, (0, 1), (1, 2), 1))
    returns["SHARE"][7] = np.inf
    with pytest.raises(DataError, match="SHARE in the training fold: must not be infinite"):
        training_moves(returns, moves, FOLD)


def test_factors_that_say_nothing_or_the_same_are_refused() -> None:
    returns, moves = market()
    with pytest.raises(DataError, match="every factor must move"):
        estimate_betas(training_moves(returns, {**moves, "oil_frac": np.zeros(T)}, FOLD))
    with pytest.raises(DataError, match="no factor may follow from the others"):
        estimate_betas(training_moves(returns, {**moves, "rate_2y_bp": 2.0 * moves["rate_10y_bp"]}, FOLD))
    with pytest.raises(DataError, match=r"only .* have moves; found \['oil_frac'\]"):
        estimate_betas(training(), ["oil_frac"])
    with pytest.raises(DataError, match="need returns in the training fold; found \\['GHOST'\\]"):
        estimate_betas(training(), symbols=["GHOST"])


@pytest.mark.parametrize("moves", [{"equity_frac": -0.1}, {"equity_frac": -0.1, "rate_10y_bp": np.nan}])
def test_moves_must_name_every_factor_with_a_number(moves: dict[str, float]) -> None:
    with pytest.raises(DataError, match="factor moves"):
        estimate_betas(training()).expected(moves)


@pytest.mark.parametrize(("moves", "said"), [(1, "every factor must move on 20 bars"), (20, "no bar may decide")])
def test_a_beta_of_one_observation_is_refused(moves: int, said: str) -> None:
    factor = np.zeros((200, 1))
    factor[:moves] = 1e-6
    factor[0] = 0.05
    returns = random_stream(2, "returns").normal(0, 0.01, (200, 1))
    with pytest.raises(DataError, match=said):
        estimate_betas(TrainingMoves(("A",), returns, ("equity_frac",), factor))


def test_an_infinite_return_gives_no_beta() -> None:
    stream = random_stream(2, "returns")
    returns, factor = stream.normal(0, 0.01, (200, 1)), stream.normal(0, 0.01, (200, 1))
    returns[7] = np.inf
    with pytest.raises(DataError, match="returns of A: must not be infinite"):
        estimate_betas(TrainingMoves(("A",), returns, ("equity_frac",), factor))
