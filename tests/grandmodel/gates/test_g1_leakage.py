from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from grandmodel.gates import g1_leakage
from grandmodel.gates.fold_faults import FoldCase
from grandmodel.gates.g1_leakage import EarningCase, FitCase, Future, Known, StackCase, earning_faults, fit_faults
from grandmodel.gates.result import GateResult
from tests.grandmodel.gates.folds import clean_fold

CLOSE = np.random.default_rng(0).normal(size=400).cumsum()
Feature = Callable[[np.ndarray], np.ndarray]


def honest(close: np.ndarray) -> np.ndarray:
    """Past mean and last change; unknown on the first rows."""
    mean = np.full(len(close), np.nan)
    for row in range(4, len(close)):
        mean[row] = close[row - 4 : row + 1].mean()
    return np.column_stack([mean, np.diff(close, prepend=np.nan)])


def peeking(close: np.ndarray) -> np.ndarray:
    """Look one bar ahead in the second column."""
    return np.column_stack([honest(close)[:, 0], np.append(np.diff(close), 0.0)])


def futures(close: np.ndarray, row: int, future: Future) -> np.ndarray:
    if future is Future.CUT:
        return close[: row + 1]
    if future is Future.SHUFFLED:
        return np.concatenate([close[: row + 1], close[row + 1 :][::-1]])
    return close


def stack(function: Feature, stage: str = "features") -> StackCase:
    def known(row: int, future: Future) -> list[Known]:
        values = function(futures(CLOSE, row, future))[: row + 1]
        return [Known(stage, "strategic X", 0, values, ("mean", "change"))]

    return StackCase("X", np.arange(5, 399), known)


FIT = FitCase("what fold 0 fitted", {"strategic X": [1.0, 2.0]}, lambda: {"strategic X": [1.0, 2.0]})
EARNED = EarningCase("account of strategic X", np.array([0.0, 0.1]), np.array([0.0, 0.1]))


def judge(
    *stacks: StackCase,
    fits: tuple[FitCase, ...] = (FIT,),
    earnings: tuple[EarningCase, ...] = (EARNED,),
    folds: tuple[FoldCase, ...] | None = None,
    cuts: int = 24,
    seed: int = 1,
    without_rows: tuple[str, ...] = (),
) -> GateResult:
    folds = (clean_fold(),) if folds is None else folds
    points = {"cuts_per_case": cuts, "shuffles_per_case": 2, "seed": seed}
    return g1_leakage.judge(stacks, fits, earnings, folds, **points, without_rows=without_rows)


def test_what_knows_the_past_alone_passes() -> None:
    result = judge(stack(honest))
    assert result.passed
    assert result.statistic == 0.0
    assert result.n == 26
    assert result.power == pytest.approx(1 - 0.9**24)
    assert result.evidence["smallest_effect_80"] == pytest.approx(1 - 0.2 ** (1 / 24))
    assert "Features of 1 instrument stayed the same at 24 rows with the future cut off and 2 with it" in result.reason


def test_one_bar_of_look_ahead_in_one_column_is_caught_and_located() -> None:
    result = judge(stack(honest), replace(stack(peeking), name="Y"))
    assert not result.passed
    assert result.statistic is not None
    assert result.statistic >= 25
    assert "features of strategic X at row" in result.reason
    assert "change when the future is cut (change)" in result.reason


def test_look_ahead_that_only_a_shuffle_shows_is_caught() -> None:
    def by_length(close: np.ndarray) -> np.ndarray:
        """Look ahead only where the series has its full length, as a special case for short ones would."""
        return peeking(close) if len(close) == len(CLOSE) else np.array(peeking(CLOSE)[: len(close)])

    result = judge(stack(by_length))
    assert not result.passed
    assert "when the future is shuffled" in result.reason


def test_the_first_stage_that_changes_is_named_first() -> None:
    early, late = stack(peeking, "features"), stack(peeking, "decisions")
    both = replace(early, known=lambda row, future: [*early.known(row, future), *late.known(row, future)])
    result = judge(both)
    assert result.reason.index("features of") > 0
    assert "decisions" not in result.reason
    assert any("decisions" in found for found in result.evidence["differences"])


def test_scaling_by_the_whole_series_is_caught() -> None:
    assert not judge(stack(lambda close: honest(close) / np.std(close))).passed


def test_a_leak_in_the_last_digit_is_caught() -> None:
    def digit(close: np.ndarray) -> np.ndarray:
        values = honest(close)
        return np.nextafter(values, np.inf) if len(close) == len(CLOSE) else values

    assert not judge(stack(digit), cuts=5).passed


def test_another_shape_or_type_is_a_difference() -> None:
    narrow = stack(lambda close: honest(close) if len(close) == len(CLOSE) else honest(close).astype(np.float32))
    assert "change their form" in judge(narrow).reason


def test_the_stated_power_is_the_measured_one() -> None:
    def sparse(seed: int) -> StackCase:
        """Change the row itself in one row of ten, when its future is cut."""
        leaking = np.random.default_rng(seed).random(len(CLOSE)) < 0.1

        def known(row: int, future: Future) -> list[Known]:
            value = float(leaking[row] and future is Future.CUT)
            return [Known("features", "strategic X", row, np.array([[value]]))]

        return StackCase("X", np.arange(5, 399), known)

    results = [judge(sparse(seed), cuts=12, seed=seed) for seed in range(300)]
    assert results[0].power == pytest.approx(0.718, abs=0.001)
    assert np.mean([not result.passed for result in results]) == pytest.approx(0.718, abs=0.07)


def test_rows_depend_on_the_seed() -> None:
    drawn = {tuple(g1_leakage._draw_rows(stack(honest), 6, seed, Future.CUT).tolist()) for seed in range(5)}
    assert len(drawn) == 5
    assert all(row >= 5 for rows in drawn for row in rows)


def test_a_fit_that_needed_the_test_is_refused_and_named() -> None:
    leaking = replace(FIT, fitted={"strategic X": [1.0, 2.0 + 1e-15]})
    assert fit_faults(FIT) == []
    assert fit_faults(leaking) == ["what fold 0 fitted changes when the test is cut off (strategic X)"]
    assert not judge(stack(honest), fits=(leaking,)).passed


def test_a_decision_that_is_paid_with_another_bar_is_refused_and_located() -> None:
    shifted = replace(EARNED, earned=np.array([0.1, 0.0]))
    assert earning_faults(EARNED) == []
    (fault,) = earning_faults(shifted)
    assert fault == (
        "account of strategic X: 2 rows did not pay what the bar after the decision earned "
        "(row 0 paid 10.0000 % instead of 0.0000 %)"
    )
    result = judge(stack(honest), earnings=(shifted,))
    assert not result.passed
    assert fault in result.reason


def test_a_payment_that_is_no_number_is_a_fault() -> None:
    assert earning_faults(replace(EARNED, earned=np.array([0.0, np.nan])))


def test_a_fold_fault_is_refused() -> None:
    result = judge(stack(honest), folds=(replace(clean_fold(), embargo_sessions=2),))
    assert not result.passed
    assert "1 sessions of embargo instead of 2" in result.reason


@pytest.mark.parametrize("part", ["trained", "tested"])
def test_a_fold_without_rows_refuses_unless_it_is_named(part: str) -> None:
    lacking = replace(clean_fold(), name="fold 1", **{part: np.zeros(400, np.bool_)})
    folds = (clean_fold(), lacking)
    for named in ((), ("fold 0",)):
        result = judge(stack(honest), folds=folds, without_rows=named)
        assert not result.passed
        assert "training or test rows are missing in fold 1" in result.reason
    result = judge(stack(honest), folds=folds, without_rows=("fold 1",))
    assert result.passed, result.reason
    assert (result.evidence["folds"], result.evidence["folds_without_rows"]) == (1, ["fold 1"])


def test_a_named_fold_that_has_rows_is_judged_all_the_same() -> None:
    faulty = replace(clean_fold(), embargo_sessions=2)
    assert not judge(stack(honest), folds=(faulty,), without_rows=("fold 0",)).passed


def test_nothing_to_compare_is_refused_not_passed() -> None:
    endless = replace(stack(honest), rows=np.arange(0))
    idle = replace(EARNED, due=np.zeros(2))
    untested = replace(clean_fold(), tested=np.zeros(400, np.bool_))
    refusals = (
        judge(),
        judge(endless),
        judge(stack(honest), fits=()),
        judge(stack(honest), earnings=()),
        judge(stack(honest), earnings=(idle,)),
        judge(stack(honest), folds=()),
        judge(stack(honest), folds=(untested,)),
    )
    for result in refusals:
        assert not result.passed
        assert result.statistic is None
