"""Shocks strike where all instruments trade, enough is known, and the release holds something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grandmodel.data.dataset import Dataset
from models.release import Release
from pipelines.guarded import VAR_WINDOW_BARS, feed_of
from pipelines.strikes import (
    NS_PER_WEEK,
    gross_held,
    largest_by_week,
    possible_moments,
    rows_around,
    stage_at,
    strikes_of,
)
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace


def test_a_shock_strikes_all_instruments_at_one_moment(workspace: Workspace, dataset: Dataset) -> None:
    before, after = rows_around(dataset.tactical, workspace.params)
    moments = possible_moments(dataset.tactical, before, after)
    shock = stage_at(dataset.tactical, int(moments[-1]), before, after)
    assert {int(bars.start_ns[shock.row]) for bars in shock.bars.values()} == {int(moments[-1])}
    assert {len(bars) for bars in shock.bars.values()} == {before + after}
    expected = workspace.params.stress.warmup_bars + workspace.params.stress.after_bars
    assert before + after == expected


def test_no_moment_stands_after_bars_without_a_trade(workspace: Workspace, dataset: Dataset) -> None:
    before, after = rows_around(dataset.tactical, workspace.params)
    last = int(possible_moments(dataset.tactical, before, after)[-1])
    bars = dict(dataset.tactical)
    row = int(np.searchsorted(bars["NQ"].start_ns, last))
    volume, tradable = bars["NQ"].volume.copy(), bars["NQ"].tradable.copy()
    volume[row - 3 : row], tradable[row - 3 : row] = 0.0, False
    bars["NQ"] = replace(bars["NQ"], volume=volume, tradable=tradable)
    assert possible_moments(bars, before, after)[-1] < last


def test_a_thin_instrument_leaves_the_moments_with_enough_known_rows(workspace: Workspace, dataset: Dataset) -> None:
    before, after = rows_around(dataset.tactical, workspace.params)
    bars = dict(dataset.tactical)
    trades = np.arange(len(bars["NQ"])) % 7 == 0
    volume = np.where(trades, bars["NQ"].volume, 0.0)
    bars["NQ"] = replace(bars["NQ"], volume=volume, tradable=bars["NQ"].tradable & (volume > 0))
    moments, feed = possible_moments(bars, before, after), feed_of(bars)
    assert len(moments)
    for moment in (moments[0], moments[-1]):
        opening = int(np.searchsorted(feed.moment_ns, moment, side="right")) - 1
        assert np.isfinite(feed.price[opening]).all()
        assert np.isfinite(feed.move_frac[:opening]).all(axis=1).sum() >= VAR_WINDOW_BARS


def test_prices_below_zero_and_instruments_that_never_meet_leave_no_moment(
    workspace: Workspace, dataset: Dataset
) -> None:
    before, after = rows_around(dataset.tactical, workspace.params)
    nq = dataset.tactical["NQ"]
    apart = replace(nq, start_ns=nq.start_ns + 1, close_ns=nq.close_ns + 1)
    assert not len(possible_moments({**dataset.tactical, "NQ": apart}, before, after))
    assert not len(possible_moments({**dataset.tactical, "NQ": replace(nq, low=-nq.low)}, before, after))


def test_the_fullest_moment_of_each_week_is_struck_newest_first_and_empty_weeks_are_not() -> None:
    moments = np.array([0, 1, 2, NS_PER_WEEK, NS_PER_WEEK + 1, 2 * NS_PER_WEEK], np.int64)
    assert largest_by_week(moments, np.array([0.5, 0.7, 0.7, 0.0, 0.2, 0.0])).tolist() == [NS_PER_WEEK + 1, 1]
    assert largest_by_week(moments, np.zeros(6)).tolist() == []


def test_strikes_lie_out_of_sample_in_weeks_of_their_own(
    workspace: Workspace, dataset: Dataset, fold: FoldMarket
) -> None:
    release = Release.load(workspace.train / "weights" / f"fold_{fold.number}" / "seed_0", workspace.params.training)
    found = strikes_of(dataset.tactical, release, fold, workspace.params)
    assert not isinstance(found, str)
    starts = np.array([one.bars["ES"].start_ns[one.row] for one in found])
    assert ((starts >= fold.test_ns[0]) & (starts < fold.test_ns[1])).all()
    assert len(set((starts // NS_PER_WEEK).tolist())) == len(starts)
    assert (gross_held(release, fold, workspace.params, starts) > 0).all()
