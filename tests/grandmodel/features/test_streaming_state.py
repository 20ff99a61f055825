"""A saved memory is distrusted: what is damaged, foreign or impossible is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import DataError
from grandmodel.features.mmd import MmdReference, fit_mmd_reference
from grandmodel.features.streaming import StrategicStream, TacticalStream

Arrays = dict[str, np.ndarray]


@pytest.fixture
def saved(bars30: Bars, params: FeatureParams, reference: MmdReference, tick: float) -> Arrays:
    stream = StrategicStream("TEST", params, reference, tick)
    stream.extend(bars30)
    return stream.to_arrays()


@pytest.fixture
def restore(params: FeatureParams, reference: MmdReference, tick: float) -> Callable[[Arrays], StrategicStream]:
    return lambda arrays: StrategicStream.from_arrays(arrays, "TEST", params, reference, tick)


def test_a_sound_memory_is_taken(saved: Arrays, restore: Callable[[Arrays], StrategicStream]) -> None:
    assert restore(saved).bars_seen == 420


@pytest.mark.parametrize("name", ["marks", "levels", "stored", "fingerprint"])
def test_a_missing_array_is_refused(name: str, saved: Arrays, restore: Callable[[Arrays], StrategicStream]) -> None:
    del saved[name]
    with pytest.raises(DataError, match="must hold the arrays"):
        restore(saved)


def test_a_foreign_array_is_refused(saved: Arrays, restore: Callable[[Arrays], StrategicStream]) -> None:
    with pytest.raises(DataError, match="must hold the arrays"):
        restore({**saved, "more": np.zeros(1)})


@pytest.mark.parametrize("name", ["prices", "running", "stored", "labels", "waiting"])
def test_a_misshapen_array_is_refused(name: str, saved: Arrays, restore: Callable[[Arrays], StrategicStream]) -> None:
    with pytest.raises(DataError, match="TEST stream"):
        restore({**saved, name: saved[name][1:]})


@pytest.mark.parametrize("name", ["levels", "prices", "stored"])
def test_a_number_that_is_none_is_refused(
    name: str, saved: Arrays, restore: Callable[[Arrays], StrategicStream]
) -> None:
    saved[name].flat[0] = np.nan
    with pytest.raises(DataError, match=f"stream {name}"):
        restore(saved)


def test_another_kind_of_number_is_refused(saved: Arrays, restore: Callable[[Arrays], StrategicStream]) -> None:
    with pytest.raises(DataError, match="stream levels"):
        restore({**saved, "levels": saved["levels"].astype(np.float32)})


@pytest.mark.parametrize(("place", "value"), [(0, -1), (0, 3), (1, -1), (1, 10_000), (1, 3)])
def test_positions_that_cannot_be_reached_are_refused(
    place: int, value: int, saved: Arrays, restore: Callable[[Arrays], StrategicStream]
) -> None:
    saved["marks"][place] = value
    with pytest.raises(DataError, match="positions"):
        restore(saved)


@pytest.mark.parametrize(("place", "value"), [(0, 10_000), (0, -1), (1, 7), (2, 2)])
def test_crosses_that_cannot_be_are_refused(
    place: int, value: int, saved: Arrays, restore: Callable[[Arrays], StrategicStream]
) -> None:
    saved["cross_marks"][place] = value
    with pytest.raises(DataError, match="positions"):
        restore(saved)


def test_a_memory_of_other_arguments_is_refused(
    saved: Arrays, bars30: Bars, params: FeatureParams, reference: MmdReference, tick: float
) -> None:
    other = params.model_copy(update={"mlmi_neighbours": 6})
    elsewhere = fit_mmd_reference(bars30, 300, params, seed=7)
    for arguments in (
        ("OTHER", params, reference, tick),
        ("TEST", other, reference, tick),
        ("TEST", params, elsewhere, tick),
        ("TEST", params, reference, 2 * tick),
    ):
        with pytest.raises(DataError, match="these arguments"):
            StrategicStream.from_arrays(saved, *arguments)


@pytest.mark.parametrize(("place", "value"), [(3, -1), (3, 52), (4, 2)])
def test_gaps_that_cannot_be_are_refused(place: int, value: int, bars5: Bars, params: FeatureParams) -> None:
    stream = TacticalStream("TEST", params)
    stream.extend(bars5)
    saved = stream.to_arrays()
    assert TacticalStream.from_arrays(saved, "TEST", params).bars_seen == 700
    saved["marks"][place] = value
    with pytest.raises(DataError, match="positions"):
        TacticalStream.from_arrays(saved, "TEST", params)
