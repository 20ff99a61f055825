"""The names and order that agents index by, and the fingerprint that binds a release to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import DataError
from grandmodel.core.hashing import hash_arrays
from grandmodel.features import columns
from grandmodel.features.columns import STRATEGIC_COLUMNS, TACTICAL_COLUMNS, check_bars, feature_fingerprint
from grandmodel.features.mmd import MmdReference
from grandmodel.features.strategic import strategic_features
from grandmodel.features.tactical import tactical_features


def test_strategic_columns_stand_in_the_order_agents_index() -> None:
    assert STRATEGIC_COLUMNS == (
        "mlmi_value",
        "mlmi_signal",
        "nwrqk_deviation",
        "nwrqk_slope",
        "lvn_distance",
        "lvn_strength",
        "hour_sin",
        "hour_cos",
        "momentum_20",
        "momentum_50",
        "mmd_score",
        "volatility_30",
        "volume_profile_skew",
    )


def test_tactical_columns_stand_in_the_order_agents_index() -> None:
    assert TACTICAL_COLUMNS == (
        "fvg_bullish_active",
        "fvg_bearish_active",
        "fvg_nearest_level",
        "fvg_age",
        "fvg_mitigation_signal",
        "momentum_5",
        "volume_ratio",
    )


def test_fingerprint_is_the_same_on_every_call() -> None:
    assert feature_fingerprint() == feature_fingerprint()
    assert len(feature_fingerprint()) == 64


def test_fingerprint_moves_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = feature_fingerprint()
    monkeypatch.setattr(columns, "DEFINITIONS_VERSION", columns.DEFINITIONS_VERSION + 1)
    assert feature_fingerprint() != before


def test_fingerprint_moves_with_a_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    before = feature_fingerprint()
    changed = (replace(columns.TACTICAL[0], definition="something else"), *columns.TACTICAL[1:])
    monkeypatch.setattr(columns, "TACTICAL", changed)
    assert feature_fingerprint() != before


def test_fingerprint_moves_with_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    before = feature_fingerprint()
    monkeypatch.setattr(columns, "STRATEGIC", columns.STRATEGIC[::-1])
    assert feature_fingerprint() != before


def test_values_do_not_move_without_a_new_version(
    bars30: Bars, bars5: Bars, params: FeatureParams, reference: MmdReference, tick: float
) -> None:
    # Rounded far above the last bits, in which mathematics libraries differ. Whoever changes what a column means
    # raises DEFINITIONS_VERSION and writes the new hash here.
    values = {
        "strategic": strategic_features(bars30, params, reference, tick),
        "tactical": tactical_features(bars5, params),
    }
    rounded = {name: np.nan_to_num(np.round(value, 7)) + 0.0 for name, value in values.items()}
    golden = "679d799d3f1196fc369cba0dbf58114ec6f78a456f0a37082f2d2b322e15fb87"
    assert (columns.DEFINITIONS_VERSION, hash_arrays(rounded)) == (1, golden)


def test_bounded_columns_stay_within_one(
    bars30: Bars, bars5: Bars, params: FeatureParams, reference: MmdReference, tick: float
) -> None:
    seen = 0
    for names, values in (
        (STRATEGIC_COLUMNS, strategic_features(bars30, params, reference, tick)),
        (TACTICAL_COLUMNS, tactical_features(bars5, params)),
    ):
        for k, name in enumerate(names):
            if name in columns.BOUNDED_COLUMNS:
                assert np.nanmax(np.abs(values[:, k])) <= 1.0, name
                seen += 1
    assert seen == len(columns.BOUNDED_COLUMNS) == 10


def test_good_bars_pass(bars30: Bars) -> None:
    check_bars(bars30)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("open", 0.0),
        ("close", np.nan),
        ("low", -1.0),
        ("high", np.inf),
        ("high", 1.0),
        ("volume", -1.0),
        ("price_factor", 0.0),
    ],
)
def test_bars_on_which_a_column_is_undefined_are_refused(
    make_bars: Callable[..., Bars], name: str, value: float
) -> None:
    bars = make_bars([100.0] * 5)
    broken = getattr(bars, name).copy()
    broken[3] = value
    with pytest.raises(DataError, match=f"{name} row 3"):
        check_bars(replace(bars, **{name: broken}))
