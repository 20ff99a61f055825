"""Vector arithmetic of compiled learners and serving: a register-blocked matrix product, tanh, exp and log in float32.

The product is written as LLVM vector code through numba, so no compiler is needed where it runs: a block of outputs
stays in registers while the loop walks over the depth. One block serves all three products of a layer, because the
left factor may be read transposed: ``x W``, ``d W^T`` (with W^T packed) and ``x^T d``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

# Columns of every right factor and result are padded to this, a multiple of all vector lengths.
ALIGNMENT = 16
# Rows and vectors of one block of outputs. Four by four vectors fill half of 32 registers, four by two most of 16.
BLOCK_ROWS = 4
NARROW_ROWS = 8  # of a block one vector wide: fewer chains of additions would wait for each other


def _lanes() -> tuple[int, int]:
    """Return floats per vector register, and vectors per block, of this processor."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16, 4
    return (8, 2) if features.get("avx2") else (4, 4)


LANES, BLOCK_VECTORS = _lanes()
BLOCK_COLUMNS = LANES * BLOCK_VECTORS


def padded(width: int) -> int:
    """Return ``width`` rounded up to the alignment."""
    return -(-width // ALIGNMENT) * ALIGNMENT


def _block_product(rows: int, vectors: int) -> Any:
    """Return a compiled-code function for one block of ``rows`` by ``vectors`` vectors; all arguments are in bytes.

    ``out[i] = start[i] + sum over k of left[i, k] * right[k]`` with i below ``rows`` and k below ``depth``.
    """

    @intrinsic
    def block(
        context: Any,
        left: Any,
        left_row: Any,
        left_step: Any,
        right: Any,
        right_step: Any,
        start: Any,
        start_row: Any,
        out: Any,
        out_row: Any,
        depth: Any,
    ) -> Any:
        signature = types.void(*[types.intp] * 10)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _emit_block(builder, rows, vectors, *arguments)
            return context.get_dummy_value()

        return signature, generate

    return block


def _emit_block(
    builder: ir.IRBuilder,
    rows: int,
    vectors: int,
    left: ir.Value,
    left_row: ir.Value,
    left_step: ir.Value,
    right: ir.Value,
    right_step: ir.Value,
    start: ir.Value,
    start_row: ir.Value,
    out: ir.Value,
    out_row: ir.Value,
    depth: ir.Value,
) -> None:
    """Write the loop over the depth with ``rows * vectors`` running sums in registers; ``depth`` is at least 1."""
    vector, integer = ir.VectorType(ir.FloatType(), LANES), out.type
    name, signature = f"llvm.fmuladd.v{LANES}f32", ir.FunctionType(vector, [vector] * 3)
    multiply_add: Any = cgutils.get_or_insert_function(builder.module, signature, name)  # type: ignore[no-untyped-call]
    loop, done = builder.append_basic_block("depth"), builder.append_basic_block("stored")

    def at(base: ir.Value, row: ir.Value | None, number: int, place: int) -> ir.Value:
        offset = ir.Constant(integer, place * LANES * 4)
        if row is not None:
            offset = builder.add(offset, builder.mul(row, ir.Constant(integer, number)))
        return builder.add(base, offset)

    def load(kind: ir.Type, address: ir.Value) -> ir.Value:
        value = builder.load(builder.inttoptr(address, kind.as_pointer()))
        value.align = 4
        return value

    def broadcast(value: ir.Value) -> ir.Value:
        empty, first = ir.Constant(vector, ir.Undefined), ir.IntType(32)
        one = builder.insert_element(empty, value, ir.Constant(first, 0))
        return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(first, LANES), [0] * LANES))

    places = [(row, place) for row in range(rows) for place in range(vectors)]
    initial = [load(vector, at(start, start_row, row, place)) for row, place in places]
    before = builder.block
    builder.branch(loop)
    builder.position_at_end(loop)
    counters = [builder.phi(integer) for _ in range(3)]
    for counter, first in zip(counters, (ir.Constant(integer, 0), left, right), strict=True):
        counter.add_incoming(first, before)
    sums = [builder.phi(vector) for _ in places]
    for running, first in zip(sums, initial, strict=True):
        running.add_incoming(first, before)
    _, left_at, right_at = counters
    rights = [load(vector, at(right_at, None, 0, place)) for place in range(vectors)]
    lefts = [broadcast(load(ir.FloatType(), at(left_at, left_row, row, 0))) for row in range(rows)]
    added = [
        builder.call(multiply_add, [lefts[row], rights[place], running])
        for (row, place), running in zip(places, sums, strict=True)
    ]
    steps = (ir.Constant(integer, 1), left_step, right_step)
    following = [builder.add(counter, step) for counter, step in zip(counters, steps, strict=True)]
    for variable, value in zip([*counters, *sums], [*following, *added], strict=True):
        variable.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following[0], depth), loop, done)
    builder.position_at_end(done)
    for (row, place), value in zip(places, added, strict=True):
        address = builder.inttoptr(at(out, out_row, row, place), vector.as_pointer())
        builder.store(value, address).align = 4


_wide_block, _wide_row = _block_product(BLOCK_ROWS, BLOCK_VECTORS), _block_product(1, BLOCK_VECTORS)
_narrow_block, _narrow_row = _block_product(NARROW_ROWS, 1), _block_product(1, 1)


def _compile_once(context: Any) -> Any:
    """Keep the calling function from being copied into all its callers, which would take long to compile."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


compile_once: Any = intrinsic(_compile_once)


@njit(cache=True, nogil=True)
def multiply(
    left: NDArray[np.float32],
    transposed: bool,
    right: NDArray[np.float32],
    start: NDArray[np.float32],
    out: NDArray[np.float32],
    rows: int,
    columns: int,
    depth: int,
) -> None:
    """Write ``out[:rows, :columns] = start + left[:rows, :depth] @ right[:depth, :columns]``.

    All arrays are float32 with contiguous rows. ``left`` is read as its transpose where ``transposed``. ``start`` of
    one row serves all rows, and may be ``out`` itself. ``columns`` is a multiple of ALIGNMENT and ``depth`` at least
    1. Nothing is checked: the caller owns shapes.
    """
    compile_once()
    left_row, left_step = (4, left.strides[0]) if transposed else (left.strides[0], 4)
    right_step, out_row = right.strides[0], out.strides[0]
    start_row = start.strides[0] if start.shape[0] > 1 else 0
    left_at, right_at, start_at, out_at = left.ctypes.data, right.ctypes.data, start.ctypes.data, out.ctypes.data
    column = 0
    while column < columns:
        wide = columns - column >= BLOCK_COLUMNS
        height = BLOCK_ROWS if wide else NARROW_ROWS
        b, c, s = right_at + column * 4, out_at + column * 4, start_at + column * 4
        row = 0
        while row < rows:
            a, o, i = left_at + row * left_row, c + row * out_row, s + row * start_row
            whole = rows - row >= height
            if wide and whole:
                _wide_block(a, left_row, left_step, b, right_step, i, start_row, o, out_row, depth)
            elif wide:
                _wide_row(a, left_row, left_step, b, right_step, i, start_row, o, out_row, depth)
            elif whole:
                _narrow_block(a, left_row, left_step, b, right_step, i, start_row, o, out_row, depth)
            else:
                _narrow_row(a, left_row, left_step, b, right_step, i, start_row, o, out_row, depth)
            row += height if whole else 1
        column += BLOCK_COLUMNS if wide else LANES


def _bits(generate: Any) -> Any:
    """Return a scalar function float32 -> float32 of compiled code that ``generate(builder, bits)`` writes."""

    @intrinsic
    def function(context: Any, value: Any) -> Any:
        def body(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            return generate(builder, arguments[0])

        return types.float32(types.float32), body

    return function


def _emit_power_of_two(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    whole = builder.fptosi(number, ir.IntType(32))
    biased = builder.shl(builder.add(whole, ir.Constant(ir.IntType(32), 127)), ir.Constant(ir.IntType(32), 23))
    return builder.bitcast(biased, ir.FloatType())


def _emit_exponent_bits(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """Write how many powers of two bring ``number`` into [0.75, 1.5), as bits of a float's exponent."""
    bits = builder.bitcast(number, ir.IntType(32))
    shifted = builder.sub(bits, ir.Constant(ir.IntType(32), 0x3F400000))
    return builder.ashr(shifted, ir.Constant(ir.IntType(32), 23))


def _emit_exponent(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    return builder.sitofp(_emit_exponent_bits(builder, number), ir.FloatType())


def _emit_mantissa(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    powers = builder.shl(_emit_exponent_bits(builder, number), ir.Constant(ir.IntType(32), 23))
    return builder.bitcast(builder.sub(builder.bitcast(number, ir.IntType(32)), powers), ir.FloatType())


def _fused(context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once where the processor can."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        name, single = "llvm.fmuladd.f32", ir.FunctionType(ir.FloatType(), [ir.FloatType()] * 3)
        function: Any = cgutils.get_or_insert_function(builder.module, single, name)  # type: ignore[no-untyped-call]
        return builder.call(function, arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


# No kernel here is compiled with fastmath: what the compiler may reorder it reorders differently from one copy of a
# function to the next, and equal seeds would give other weights when the code comes from the cache. So products and
# sums are fused by name.
fused: Any = intrinsic(_fused)
_power_of_two, _exponent, _mantissa = map(_bits, (_emit_power_of_two, _emit_exponent, _emit_mantissa))

F = np.float32


@njit(cache=True, nogil=True, error_model="numpy")
def tanh(x: np.float32) -> np.float32:
    """Return tanh by the rational function of Eigen's vector code (degree 13 by 6); NaN stays NaN."""
    x = F(7.90531110763549805) if x > F(7.90531110763549805) else x
    x = F(-7.90531110763549805) if x < F(-7.90531110763549805) else x
    z = x * x
    p = fused(F(-2.76076847742355e-16), z, F(2.00018790482477e-13))
    p = fused(p, z, F(-8.60467152213735e-11))
    p = fused(p, z, F(5.12229709037114e-08))
    p = fused(p, z, F(1.48572235717979e-05))
    p = fused(p, z, F(6.37261928875436e-04))
    p = fused(p, z, F(4.89352455891786e-03))
    q = fused(F(1.19825839466702e-06), z, F(1.18534705686654e-04))
    q = fused(q, z, F(2.26843463243900e-03))
    q = fused(q, z, F(4.89352518554385e-03))
    return F(x * p / q)


@njit(cache=True, nogil=True, error_model="numpy")
def exp(x: np.float32) -> np.float32:
    """Return e^x, clamped to the finite normal numbers (Cephes' reduction and polynomial); NaN stays NaN."""
    x = F(88.3) if x > F(88.3) else x
    x = F(-87.3) if x < F(-87.3) else x
    n = np.floor(fused(x, F(1.44269504088896341), F(0.5)))
    r = fused(n, F(2.12194440e-4), fused(n, F(-0.693359375), x))
    p = fused(F(1.9875691500e-4), r, F(1.3981999507e-3))
    p = fused(p, r, F(8.3334519073e-3))
    p = fused(p, r, F(4.1665795894e-2))
    p = fused(p, r, F(1.6666665459e-1))
    p = fused(p, r, F(5.0000001201e-1))
    return F(fused(p, r * r, r + F(1.0)) * _power_of_two(n))


@njit(cache=True, nogil=True, error_model="numpy")
def log(x: np.float32) -> np.float32:
    """Return the natural logarithm of a positive normal number, by the series of the inverse hyperbolic tangent."""
    s = _mantissa(x) - F(1.0)
    s = s / (s + F(2.0))
    z = s * s
    p = fused(F(1.0 / 9.0), z, F(1.0 / 7.0))
    p = fused(p, z, F(1.0 / 5.0))
    p = fused(p, z, F(1.0 / 3.0))
    n = _exponent(x)
    low = fused(n, F(-2.12194440e-4), fused(F(2.0) * s * z, p, s + s))
    return F(fused(n, F(0.693359375), low))
