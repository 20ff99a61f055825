"""Compiled parser of tick rows: bytes to nanoseconds, prices and lots, or the fault of the first row that is not one.

A row is ``YYYY-MM-DD HH:MM:SS[.fraction],price,volume`` and a line feed. Prices are decimal fractions of at most 15
digits: mantissa and power of ten are exact then, so their quotient is the double nearest to the text (Clinger 1990,
"How to read floating point numbers accurately", the fast path).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

(WHOLE, BAD_STAMP, BAD_PRICE, BAD_VOLUME, CUT_OFF) = range(5)

SHORTEST_ROW = 24  # a stamp to the second, two commas, one digit of price and of volume, a line feed
MINUTE_SIZE = 16  # bytes of "YYYY-MM-DD HH:MM"
_DIGITS_MAX = 15
_POWERS = np.array([10.0**n for n in range(_DIGITS_MAX + 1)])
_NS_PER_UNIT = np.array([10 ** (9 - n) for n in range(10)])  # of a fraction with n digits
_NS_PER_SECOND = 1_000_000_000
_NS_PER_MINUTE = 60_000_000_000
_ZERO, _COMMA, _POINT, _MINUS, _COLON, _FEED, _RETURN = 48, 44, 46, 45, 58, 10, 13
_SPACE, _T, _Z = 32, 84, 90


@njit(cache=True, error_model="numpy")
def parse_rows(
    text: Bytes, begin: int, zulu: int, stamps_ns: Integers, prices: Floats, lots: Integers
) -> tuple[int, int, int]:
    """Parse rows from byte ``begin`` on until the columns are full or the text ends.

    Args:
        text: uint8[bytes]; its last byte must be a line feed.
        begin: first byte of a row.
        zulu: 1 when every stamp ends with ``Z``, 0 when none does.
        stamps_ns: int64[capacity], written: nanoseconds since 1970 on the clock of the file.
        prices: float64[capacity], written.
        lots: int64[capacity], written.

    Returns:
        Rows parsed, first byte not used, and WHOLE or what is wrong with the row that begins there.
    """
    size = len(text)
    known = -1  # the row before, whose stamp and price most rows repeat
    head = 0  # its bytes up to the volume
    minute_ns = stamp_ns = 0
    price = 0.0
    i = begin
    for row in range(len(stamps_ns)):
        if i >= size:
            return row, i, WHOLE
        if i + SHORTEST_ROW > size:
            return row, i, CUT_OFF
        if known >= 0 and i + head <= size and _equal(text, known, i, head):
            j = i + head
        else:
            if known < 0 or not _equal(text, known, i, MINUTE_SIZE):
                minute_ns = _minute(text, i)
                if minute_ns == _NO_MINUTE:
                    return row, i, BAD_STAMP
            second_ns, j = _seconds(text, i + MINUTE_SIZE, zulu)
            if j < 0:
                return row, i, BAD_STAMP
            stamp_ns = minute_ns + second_ns
            price, j = _price(text, j)
            if j < 0:
                return row, i, BAD_PRICE
            known = i
            head = j - i
        volume, j = _volume(text, j)
        if j < 0:
            return row, i, BAD_VOLUME
        stamps_ns[row] = stamp_ns
        prices[row] = price
        lots[row] = volume
        i = j
    return len(stamps_ns), i, WHOLE


_NO_MINUTE = -(2**63)


def _word_intrinsic(typing_context: object, text: types.Array, i: types.Integer) -> tuple[object, object]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(place, context.get_value_type(types.uint64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(text, types.int64), generate


_word: Any = intrinsic(_word_intrinsic)
"""The eight bytes at a place, which need not be aligned, as one number; the caller knows that they exist."""


@njit(cache=True)
def _equal(text: Bytes, left: int, right: int, size: int) -> bool:
    """Return whether ``size`` bytes, at least 8, at both places are equal."""
    different = _word(text, left + size - 8) ^ _word(text, right + size - 8)
    for k in range(0, size - 7, 8):
        different |= _word(text, left + k) ^ _word(text, right + k)
    return bool(different == 0)


@njit(cache=True)
def _digit(text: Bytes, i: int) -> int:
    return int(np.int64(text[i])) - _ZERO


@njit(cache=True)
def _pair(text: Bytes, i: int) -> int:
    """Return the number of two digits at ``i``; -1000 where one is no digit."""
    tens = _digit(text, i)
    ones = _digit(text, i + 1)
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else -1000


@njit(cache=True)
def _minute(text: Bytes, i: int) -> int:
    """Return the nanoseconds of ``YYYY-MM-DD HH:MM``; _NO_MINUTE when it is no date of 1970..2199 and time."""
    year = _pair(text, i) * 100 + _pair(text, i + 2)
    month, day, hour, minute = _pair(text, i + 5), _pair(text, i + 8), _pair(text, i + 11), _pair(text, i + 14)
    marks = text[i + 4] == _MINUS and text[i + 7] == _MINUS and text[i + 13] == _COLON
    if not marks or (text[i + 10] != _SPACE and text[i + 10] != _T):
        return _NO_MINUTE
    if not (1970 <= year < 2200 and 1 <= month <= 12 and 0 <= hour < 24 and 0 <= minute < 60):
        return _NO_MINUTE
    if not 1 <= day <= _month_days(year, month):
        return _NO_MINUTE
    return ((_days(year, month, day) * 24 + hour) * 60 + minute) * _NS_PER_MINUTE


@njit(cache=True)
def _month_days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@njit(cache=True)
def _days(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01 (Richards 2013, Explanatory Supplement to the Astronomical Almanac, eq. 15.11.3)."""
    shift = 1 if month <= 2 else 0  # the year begins in March, so that the leap day is its last
    y = year - shift
    months = month + 12 * shift - 3
    return 365 * y + y // 4 - y // 100 + y // 400 + (153 * months + 2) // 5 + day - 1 - 719468


@njit(cache=True)
def _seconds(text: Bytes, i: int, zulu: int) -> tuple[int, int]:
    """Return nanoseconds of ``:SS[.fraction][Z],`` at ``i`` and the byte after the comma; -1 when it is none."""
    second = _pair(text, i + 1)
    if text[i] != _COLON or not 0 <= second < 60:
        return 0, -1
    nanoseconds = second * _NS_PER_SECOND
    i += 3
    if text[i] == _POINT:
        i += 1
        first = i
        fraction = 0
        digit = _digit(text, i)
        while 0 <= digit <= 9:
            fraction = fraction * 10 + digit
            i += 1
            digit = _digit(text, i)
        if not 1 <= i - first <= 9:
            return 0, -1
        nanoseconds += fraction * _NS_PER_UNIT[i - first]
    if zulu:
        if text[i] != _Z:
            return 0, -1
        i += 1
    return (nanoseconds, i + 1) if text[i] == _COMMA else (0, -1)


@njit(cache=True, error_model="numpy")
def _price(text: Bytes, i: int) -> tuple[float, int]:
    """Return the decimal number before the comma and the byte after it; -1 when there is none."""
    negative = text[i] == _MINUS
    i += negative
    first = i
    mantissa = 0
    digit = _digit(text, i)
    while 0 <= digit <= 9:
        mantissa = mantissa * 10 + digit
        i += 1
        digit = _digit(text, i)
    digits = i - first
    decimals = 0
    if digits == 0:
        return 0.0, -1
    if text[i] == _POINT:
        i += 1
        first = i
        digit = _digit(text, i)
        while 0 <= digit <= 9:
            mantissa = mantissa * 10 + digit
            i += 1
            digit = _digit(text, i)
        decimals = i - first
        if decimals == 0:
            return 0.0, -1
    if digits + decimals > _DIGITS_MAX or text[i] != _COMMA:
        return 0.0, -1
    value = mantissa / _POWERS[decimals]
    return (-value if negative else value), i + 1


@njit(cache=True)
def _volume(text: Bytes, i: int) -> tuple[int, int]:
    """Return the whole number before the end of the row and the first byte of the next row; -1 when there is none."""
    negative = text[i] == _MINUS
    i += negative
    first = i
    value = 0
    digit = _digit(text, i)
    while 0 <= digit <= 9:
        value = value * 10 + digit
        i += 1
        digit = _digit(text, i)
    if i == first or i - first > _DIGITS_MAX:
        return 0, -1
    if text[i] == _RETURN:
        i += 1
    return (-value if negative else value, i + 1) if text[i] == _FEED else (0, -1)
