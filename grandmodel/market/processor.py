"""What compiled code tells the processor about memory: indices that are never negative, and what is needed soon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

LINE_BYTES = 64  # of a cache line
AHEAD = 32  # environments between asking for a row and needing it

# Compiled code guards a signed index against being negative, which keeps a loop over it from becoming one wide copy.
Index = cast("Callable[[Any], int]", np.uintp)


@intrinsic
def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(pointer, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
            builder.module, kind, "llvm.prefetch.p0"
        )
        builder.call(function, [address, number(0), number(3), number(1)])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(array, index), generate


# Ask for the cache line of element ``index`` of a C-contiguous array, counted flat: environments stand at random rows
# of a tape larger than the caches, and waiting for one row after the other would take most of a step. Compiled code
# only; nothing is read or written, so that no result depends on it.
prefetch = cast("Callable[[NDArray[Any], int], None]", _prefetch)


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """Return a C-contiguous copy of ``values`` that begins with a cache line."""
    room = np.empty(values.nbytes + LINE_BYTES, np.uint8)
    skip = -room.ctypes.data % LINE_BYTES
    copy = room[skip : skip + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy
