"""How deep a release may fall without anything being wrong."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.drawdown import drawdown_envelope_frac, drawdown_paths
from grandmodel.stats.performance import max_drawdown_frac


def test_the_drawdown_of_a_steady_loss_is_all_of_it() -> None:
    deepest = drawdown_paths(np.full(60, -0.01), 10, draws=7, seed=1)
    np.testing.assert_allclose(deepest, 1.0 - np.exp(-0.1))


def test_gains_alone_never_draw_down() -> None:
    assert drawdown_paths(np.linspace(0.001, 0.01, 60), 25, draws=9, seed=1).max() == 0.0


def test_the_envelope_is_exceeded_as_often_as_it_says_by_days_of_the_same_kind() -> None:
    returns = random_stream(1, "evidence").normal(0.0005, 0.01, 2_000)
    envelope = drawdown_envelope_frac(returns, 30, 0.05, seed=2)
    stream = random_stream(1, "fresh")
    fresh = [max_drawdown_frac(stream.normal(0.0005, 0.01, 30)) for _ in range(2_000)]
    assert np.mean(np.array(fresh) > envelope) == pytest.approx(0.05, abs=0.02)


def test_a_deeper_envelope_is_exceeded_less_often_and_a_seed_repeats_it() -> None:
    returns = random_stream(1, "evidence").standard_t(4, 200) * 0.01
    five, one = (drawdown_envelope_frac(returns, 30, exceeded, seed=2) for exceeded in (0.05, 0.01))
    assert 0.0 < five < one
    assert one == drawdown_envelope_frac(returns, 30, 0.01, seed=2)


def test_an_envelope_knows_how_little_evidence_there_is() -> None:
    """Of 60 days; without resampling the evidence an envelope of 5 % is exceeded by 12 %."""
    stream = random_stream(1, "fresh")
    fresh = np.array([max_drawdown_frac(0.01 * stream.standard_t(5, 45)) for _ in range(2_000)])
    beyond = [
        np.mean(fresh > drawdown_envelope_frac(0.01 * stream.standard_t(5, 60), 45, 0.05, draws=1000, seed=trial))
        for trial in range(300)
    ]
    assert np.mean(beyond) < 0.09


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(DataError, match="at least 60"):
        drawdown_paths(np.zeros(59), 5, draws=10, seed=1)
    with pytest.raises(DataError, match="finite"):
        drawdown_paths(np.full(60, np.nan), 5, draws=10, seed=1)
    with pytest.raises(ConfigError, match="a day and a draw"):
        drawdown_paths(np.zeros(60), 0, draws=10, seed=1)
    with pytest.raises(ConfigError, match="20 draws"):
        drawdown_envelope_frac(np.zeros(60), 5, 0.001, draws=1000, seed=1)
