"""What a stage knows at a bar does not depend on how the future was changed; what comes after it does."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.data.dataset import Dataset
from grandmodel.gates.g1_leakage import Future
from models.release import Release
from pipelines import stack as stack_module
from pipelines.stack import WINDOW_BARS, Stack, known, rows_with_future
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace


@pytest.fixture
def stack(workspace: Workspace, dataset: Dataset, fold: FoldMarket) -> Stack:
    release = Release.load(workspace.train / "weights" / "fold_1" / "seed_0", workspace.params.training)
    bars = dataset.strategic["NQ"], dataset.tactical["NQ"]
    return Stack("NQ", *bars, fold.tapes.only("NQ"), fold.spec, release, workspace.params)


def test_rows_begin_after_a_whole_window_and_end_before_the_last(stack: Stack) -> None:
    rows = rows_with_future(stack)
    assert stack.tactical is not None
    assert stack.tactical.close_ns[rows[0]] == stack.strategic.close_ns[WINDOW_BARS]
    assert rows[-1] == len(stack.tactical) - 2


def test_every_stage_speaks_of_the_rows_up_to_now(stack: Stack) -> None:
    row = 5000
    assert stack.tactical is not None
    last_half_hour = np.searchsorted(stack.strategic.close_ns, stack.tactical.close_ns[row], side="right") - 1
    for one in known(stack, row, Future.TRUE):
        last = one.first_row + len(one.values) - 1
        assert last == (row if one.of == "tactical NQ" else last_half_hour), one.stage
        assert one.values.shape[1] == len(one.columns) or one.stage == "observations"


@pytest.mark.parametrize("row", [2000, 8279, 8280])  # inside a session, on its last bar, on the first of the next
@pytest.mark.parametrize("future", [Future.CUT, Future.SHUFFLED])
def test_no_stage_changes_with_its_future(stack: Stack, row: int, future: Future) -> None:
    true, changed = known(stack, row, Future.TRUE), known(stack, row, future)
    assert len(true) == 11  # six stages on the tactical clock, and five without intents on the other
    for one, other in zip(true, changed, strict=True):
        assert one.stage == other.stage
        np.testing.assert_array_equal(one.values, other.values, err_msg=f"{one.stage} of {one.of}")


def test_the_account_and_the_decisions_are_worth_looking_at(stack: Stack) -> None:
    by_stage = {one.stage: one.values for one in known(stack, 5000, Future.TRUE) if one.of == "tactical NQ"}
    assert np.ptp(by_stage["environment"], axis=0)[:4].min() > 0.0, "reward, log return, turnover and position move"
    assert np.ptp(by_stage["observations"], axis=0).max() > 0.0
    assert np.isfinite(by_stage["decisions"]).all()


def test_a_shuffled_future_keeps_its_times_and_its_bars(stack: Stack) -> None:
    bars = stack.strategic
    shuffled = stack_module._with_future(bars, int(bars.close_ns[300]), Future.SHUFFLED, 1)
    np.testing.assert_array_equal(shuffled.start_ns, bars.start_ns)
    np.testing.assert_array_equal(shuffled.close[:301], bars.close[:301])
    assert (shuffled.close[301:] != bars.close[301:]).mean() > 0.9
    np.testing.assert_array_equal(np.sort(shuffled.close[301:]), np.sort(bars.close[301:]))


def test_a_cut_ends_with_the_bar_that_has_closed(stack: Stack) -> None:
    bars = stack.strategic
    assert len(stack_module._with_future(bars, int(bars.close_ns[300]) - 1, Future.CUT, 1)) == 300
    assert len(stack_module._with_future(bars, int(bars.close_ns[300]), Future.CUT, 1)) == 301
