"""The book of each half hour against bars counted one by one."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.market.replay import simulate_targets
from pipelines.baselines import THIRTY_MINUTES_NS
from pipelines.books import held_book
from pipelines.tapes import FoldMarket
from tests.pipelines.test_evaluate import MARKET


def test_each_half_hour_holds_what_stood_before_it_and_moves_as_its_bars(fold: FoldMarket) -> None:
    tape = fold.test.traded
    targets = np.random.default_rng(1).choice([-0.5, 0.0, 1.0], len(tape))
    run = simulate_targets(tape, targets, MARKET)
    symbols = ("absent", *sorted(tape.symbols))
    book = held_book(tape, run.position, symbols)
    assert not book.exposure[:, 0].any()
    assert not book.move_frac[:, 0].any()
    for symbol in tape.symbols:
        rows = np.arange(len(tape))[tape.rows(symbol)]
        of_bar = (tape.close_ns[rows] - 1) // THIRTY_MINUTES_NS
        for k in range(0, len(book.half_hour), 5):
            before, inside = rows[of_bar < book.half_hour[k]], rows[of_bar == book.half_hour[k]]
            last = before[-1] if len(before) else None
            held = 0.0 if last is None else run.position[last] * tape.leverage[last] / len(tape.symbols)
            growth = np.prod((1.0 + tape.gap_frac[inside]) * (1.0 + tape.body_frac[inside]))
            assert book.exposure[k, symbols.index(symbol)] == held
            assert book.move_frac[k, symbols.index(symbol)] == pytest.approx(growth - 1.0, abs=1e-12)
