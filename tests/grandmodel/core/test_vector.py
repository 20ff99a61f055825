"""Vector arithmetic against numpy in double precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from grandmodel.core import vector
from grandmodel.core.random import random_stream


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns", "depth"), [(96, 64, 18), (13, 64, 5), (37, 144, 11), (1, 32, 1), (7, 16, 3)]
)
def test_a_product_starts_from_what_it_is_given(rows: int, columns: int, depth: int, transposed: bool) -> None:
    random = random_stream(1, "product")
    left, right, start = (
        random.standard_normal(shape).astype(np.float32) for shape in ((rows, depth), (depth, columns), (1, columns))
    )
    given = np.ascontiguousarray(left.T) if transposed else left
    out = np.full((rows + 1, columns), 7, np.float32)
    vector.multiply(given, transposed, right, start, out, rows, columns, depth)
    np.testing.assert_allclose(out[:rows], start + left.astype(np.float64) @ right, rtol=1e-5, atol=1e-5)
    vector.multiply(given, transposed, right, out, out, rows, columns, depth)
    np.testing.assert_allclose(out[:rows], start + 2 * left.astype(np.float64) @ right, rtol=1e-5, atol=1e-5)
    assert (out[rows] == 7).all()


def over(function: Callable[[np.float32], np.float32]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    @njit
    def loop(values: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.empty_like(values)
        for i in range(len(values)):
            out[i] = function(values[i])
        return out

    return loop  # type: ignore[no-any-return]


SMALL = np.geomspace(1e-20, 1, 100_001)
CASES = [
    (vector.tanh, np.tanh, np.concatenate([SMALL, -SMALL, np.linspace(-30, 30, 100_001)])),
    (vector.exp, np.exp, np.linspace(-87, 88, 200_001)),
    (vector.log, np.log, np.geomspace(1e-30, 1e30, 200_001)),
]


@pytest.mark.parametrize(("ours", "exact", "values"), CASES, ids=["tanh", "exp", "log"])
def test_functions_are_right_to_a_millionth(
    ours: Callable[[np.float32], np.float32], exact: np.ufunc, values: NDArray[np.float64]
) -> None:
    single = values.astype(np.float32)
    found = over(ours)(single)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact(single.astype(np.float64)), rtol=1e-6, atol=1e-30)


def test_ends_are_clamped_and_not_a_number_stays() -> None:
    ends = np.array([-np.inf, np.inf, np.nan], np.float32)
    np.testing.assert_allclose(over(vector.tanh)(ends), [-1, 1, np.nan], rtol=1e-6)
    low, high, none = over(vector.exp)(ends)
    assert 0 < low < 1e-37
    assert 1e38 < high < np.inf
    assert np.isnan(none)


def test_widths_are_padded_to_whole_vectors() -> None:
    assert [vector.padded(width) for width in (1, 16, 17, 64)] == [16, 16, 32, 64]
    assert vector.ALIGNMENT % vector.LANES == 0


def test_no_kernel_lets_the_compiler_reorder() -> None:
    """With fastmath a kernel from the cache and one compiled in place may round differently."""
    sources = {path.name: path.read_text() for path in Path(vector.__file__).parent.glob("*.py")}
    assert "@njit(" in sources["vector.py"]
    assert [name for name, text in sources.items() if "fastmath=" in text] == []
