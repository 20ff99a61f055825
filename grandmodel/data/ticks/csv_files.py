"""Tick CSV straight from its bytes: strict, in blocks that stay in the processor's cache.

The file is ``ts,price,volume``, then rows such as ``2013-09-01 17:00:00.083,1640.25,8``, each with a line feed (or
carriage return and line feed) at its end. A stamp has up to nine decimals and may end with ``Z`` if all do;
volume is in whole lots; a number has at most 15 digits, no exponent and no plus. Whatever else stands there, an empty
cell, ``nan``, a quote or a blank line, refuses the file and names the row. There is no second parser to fall back to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.data.reading.timezones import localise
from grandmodel.data.ticks import kernels_csv as k
from grandmodel.data.ticks.bars import TickBars
from grandmodel.data.ticks.stream import TickRules, TickStream

Integers = NDArray[np.int64]
Block = tuple[Integers, NDArray[np.float64], Integers]

HEADERS: Final = (b"ts,price,volume\n", b"ts,price,volume\r\n")

_BLOCK_ROWS: Final = 8192
_DAY_NS: Final = 24 * 60 * NS_PER_MINUTE
_RULES: Final = {
    k.BAD_STAMP: "the stamp must be like 2013-09-01 17:00:00.083",
    k.BAD_PRICE: "the price must be a decimal number of at most 15 digits",
    k.BAD_VOLUME: "the volume must be a whole number of lots, and the last cell",
    k.CUT_OFF: "the last row must be whole, the file looks cut off",
}


def csv_tick_bars(
    source: Path | str | bytes, rules: TickRules, spans: Integers | None = None, *, timezone: str | None = None
) -> tuple[TickBars, dict[str, int]]:
    """Return bars with the features of their ticks, and how many ticks were rejected by reason; see ``tick_bars``.

    Args:
        source: a path, or the content itself.
        rules: of the instrument; volume counts lots.
        spans: as ``spans.trading_spans`` makes them; always open when None.
        timezone: IANA zone of stamps without ``Z``.

    Raises:
        DataError: a row is malformed or the zone does not fit; names file and row.
    """
    stream = TickStream(rules, spans)
    last_ns = None
    for stamps_ns, prices, lots in csv_blocks(source, timezone=timezone):
        stream.update(stamps_ns, prices, lots)
        last_ns = int(stamps_ns[-1])
    if last_ns is not None:
        stream.advance(last_ns)
    stream.flush()
    return stream.take(), dict(stream.rejected)


def csv_blocks(source: Path | str | bytes, *, timezone: str | None = None) -> Iterator[Block]:
    """Yield (UTC nanoseconds, prices, lots) of some thousand rows at a time; each block is overwritten by the next.

    Raises:
        DataError: as ``csv_tick_bars`` says.
    """
    if isinstance(source, bytes):
        yield from _blocks(np.frombuffer(source, np.uint8), "ticks.csv", timezone)
        return
    path = Path(source)
    if not path.is_file() or path.stat().st_size == 0:
        raise DataError(str(path), "the file must exist and not be empty", do="Check the path given as ticks")
    yield from _blocks(np.memmap(path, np.uint8, mode="r"), path.name, timezone)


def _blocks(text: NDArray[np.uint8], file: str, timezone: str | None) -> Iterator[Block]:
    begin = _refuse_frame(text, file)
    if begin == len(text):
        return
    zulu = _is_zulu(text, begin)
    if zulu and timezone not in (None, "UTC"):
        raise DataError(f"{file} row 2", "a stamp that ends with Z is UTC", timezone, "Give no other timezone")
    if not zulu and timezone is None:
        rule = "stamps without a zone need timezone"
        raise DataError(f"{file} row 2", rule, _line(text, begin), 'Give timezone="America/Chicago" or whichever it is')
    clock = _Clock("UTC" if timezone is None else timezone, file)
    stamps_ns, prices, lots = np.empty(_BLOCK_ROWS, np.int64), np.empty(_BLOCK_ROWS), np.empty(_BLOCK_ROWS, np.int64)
    row = 2
    while begin < len(text):
        count, begin, fault = k.parse_rows(text, begin, int(zulu), stamps_ns, prices, lots)
        if fault != k.WHOLE:
            raise DataError(
                f"{file} row {row + count}", _RULES[fault], _line(text, begin), "Correct the row or export again"
            )
        clock.to_utc(stamps_ns[:count], row)
        yield stamps_ns[:count], prices[:count], lots[:count]
        row += count


def _refuse_frame(text: NDArray[np.uint8], file: str) -> int:
    """Return where the rows begin. Raises DataError for another header or a file that does not end with a row."""
    start = text[: max(map(len, HEADERS))].tobytes()
    header = next((header for header in HEADERS if start.startswith(header)), None)
    if header is None:
        raise DataError(f"{file} row 1", "the header must be ts,price,volume", start, "Name the columns so")
    if text[-1] != ord("\n"):
        row = 1 + int(np.count_nonzero(text == ord("\n")))
        raise DataError(f"{file} row {row}", _RULES[k.CUT_OFF], do="Export it again")
    return len(header)


def _is_zulu(text: NDArray[np.uint8], begin: int) -> bool:
    return b"Z," in text[begin : begin + 40].tobytes().split(b"\n")[0]


def _line(text: NDArray[np.uint8], begin: int) -> str:
    return text[begin : begin + 80].tobytes().split(b"\n")[0].decode("latin-1")


class _Clock:
    """From the file's clock to UTC: one subtraction a block while the offset stands still.

    Clocks change months apart, so an offset that is the same at both ends of a day holds all day.
    """

    def __init__(self, zone: str, file: str) -> None:
        self.zone, self.file = zone, file
        self.begin_ns = self.end_ns = 0
        self.offset_ns = 0

    def to_utc(self, stamps_ns: Integers, row: int) -> None:
        """Change naive stamps to UTC in place; ``row`` is the first one's, for messages."""
        if self.zone == "UTC":
            return
        first, last = int(stamps_ns.min()), int(stamps_ns.max())
        if not self.begin_ns <= first <= last < self.end_ns and not self._learn(first, last):
            stamps_ns[:] = localise(stamps_ns, self.zone, np.arange(row, row + len(stamps_ns)), self.file)
            return
        stamps_ns -= self.offset_ns

    def _learn(self, first_ns: int, last_ns: int) -> bool:
        """Find the offset for the days around a block; False when it may change there."""
        begin, end = first_ns - _DAY_NS, last_ns + _DAY_NS
        if end - begin > 7 * _DAY_NS:
            return False
        local = np.array([begin, end], np.int64)
        try:
            offsets = local - localise(local, self.zone, np.zeros(2, np.int64), self.file)
        except DataError as error:
            if error.rule.startswith("the name"):
                raise
            return False
        if offsets[0] != offsets[1]:
            return False
        self.begin_ns, self.end_ns, self.offset_ns = begin, end, int(offsets[0])
        return True
