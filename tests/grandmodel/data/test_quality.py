"""The hard mask finds long dead stretches by liquidity and leaves single dead days alone."""

from __future__ import annotations

import numpy as np

from grandmodel.data.quality import dead_rows


def _market(dead: slice, bars: int = 10, sessions: int = 300) -> tuple[np.ndarray, np.ndarray]:
    session = np.repeat(np.arange(sessions), bars).astype(np.int32)
    volume = np.random.default_rng(3).uniform(500, 1500, sessions * bars)
    volume[dead.start * bars : dead.stop * bars] = 7
    return session, volume


def test_a_long_dead_stretch_is_masked_exactly():
    session, volume = _market(slice(100, 220))
    assert set(session[dead_rows(session, volume)]) == set(range(100, 220))


def test_a_limit_locked_pair_of_days_stays():
    assert not dead_rows(*_market(slice(100, 102))).any()


def test_slow_growth_of_volume_is_not_death():
    session, volume = _market(slice(0, 0), sessions=1000)
    assert not dead_rows(session, volume * np.geomspace(0.02, 1, len(volume))).any()


def test_a_short_file_gives_no_evidence():
    assert not dead_rows(*_market(slice(5, 20), sessions=40)).any()
