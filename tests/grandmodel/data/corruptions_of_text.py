"""Seeded ways to damage the bytes of a good file; see ``corruptions``."""

from __future__ import annotations

import gzip

import numpy as np

from tests.grandmodel.data.corruptions import MINUTE_NS, PAUSED, TABLE, Corruption, Damaged, Generator
from tests.grandmodel.data.good_files import Good

_PAUSES_MIN = 14


def truncate(good: Good, generator: Generator) -> Damaged:
    content = good.content
    at = int(generator.integers(1, len(content)))
    return Damaged(content[:at], f"cut off after {at} of {len(content)} bytes", "part")


def junk(good: Good, generator: Generator) -> Damaged:
    content, count = good.content, int(generator.integers(1, 64))
    at = int(generator.integers(len(content)))
    noise = generator.integers(128, 256, count).astype(np.uint8).tobytes()
    return Damaged(content[:at] + noise + content[at + count :], f"{count} bytes of junk at {at}", "whole")


def junk_only(good: Good, generator: Generator) -> Damaged:
    noise = generator.integers(0, 256, int(generator.integers(1, 5000))).astype(np.uint8).tobytes()
    return Damaged(noise, f"{len(noise)} bytes of junk and nothing else", "blocked")


def empty(good: Good, generator: Generator) -> Damaged:
    content = bytes(generator.choice(np.array([b"", b"\n", b" \r\n\r\n"], dtype=object)))
    return Damaged(content, f"nothing but {content!r}", "blocked")


def control_character(good: Good, generator: Generator) -> Damaged:
    content = good.content
    at = int(generator.integers(len(content)))
    byte = bytes([int(generator.choice([0, 1, 7, 11, 26, 27, 127]))])
    return Damaged(content[:at] + byte + content[at:], f"byte {byte!r} is put in at {at}", "whole")


def inserted_mark(good: Good, generator: Generator) -> Damaged:
    content = good.content
    mark = str(generator.choice(['"', ",", ";", "\t", "-", "x", "#", "\n", "'"])).encode()
    at = int(generator.integers(len(content)))
    return Damaged(content[:at] + mark + content[at:], f"{mark!r} is put in at {at}", "part")


def drop_bytes(good: Good, generator: Generator) -> Damaged:
    """Drop at least one whole line's worth of bytes: two lines run into one."""
    content = good.content
    start = content.index(b"\n", int(generator.integers(len(content) // 2))) - int(generator.integers(1, 8))
    stop = content.index(b"\n", start + 9) + int(generator.integers(1, 12))
    return Damaged(content[:start] + content[stop:], f"bytes {start} to {stop} are missing", "blocked")


def encode(good: Good, generator: Generator) -> Damaged:
    text, codec = good.content.decode(), str(generator.choice(["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp037"]))
    return Damaged(text.encode(codec), f"encoded as {codec}", "whole")


def line_ends(good: Good, generator: Generator) -> Damaged:
    lines = good.content.replace(b"\r\n", b"\n").split(b"\n")
    end = (b"\n", b"\r\n", b"\r")[int(generator.integers(3))]
    mixed = generator.random() < 0.5
    ends = [(b"\r\n" if row % 2 else b"\n") if mixed else end for row in range(len(lines))]
    content = b"".join(line + end for line, end in zip(lines, ends, strict=True))
    return Damaged(content, "lines end in " + ("several ways" if mixed else repr(end)), "whole")


def latin_header(good: Good, generator: Generator) -> Damaged:
    header, rest = good.content.split(b"\n", 1)
    comment = "# größte Kurse, Übersicht\n".encode("latin-1")
    return Damaged(comment + header + b"\n" + rest, "a comment in Latin-1 stands first", "whole")


def header_names(good: Good, generator: Generator) -> Damaged:
    rest = good.content.split(b"\n", 1)[1]
    names = ("<DATE>", "Open Price", "HIGH", " Low", '"Last"', "volume (contracts)")
    other = (b"date time", b"o", b"h", b"l", b"c", b"v")
    chosen = ",".join(names).encode() if generator.random() < 0.5 else b",".join(other)
    return Damaged(chosen + b"\n" + rest, f"the header is {chosen!r}", "whole")


def misspelt_header(good: Good, generator: Generator) -> Damaged:
    header, rest = good.content.decode().split("\n", 1)
    names = header.strip().split(",")
    place = int(generator.choice([place for place, name in enumerate(names) if len(name) >= 3]))
    word = names[place]
    at = int(generator.integers(len(word) - 1))
    wrong = [word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[:at] + word[at:].replace(word[at], "", 1)]
    names[place] = wrong[int(generator.integers(2))]
    what = f"header {word!r} is written {names[place]!r}"
    return Damaged((",".join(names) + "\n" + rest).encode(), what, "whole" if names[place] == word else "told")


def header_problem(good: Good, generator: Generator) -> Damaged:
    header, rest = good.content.split(b"\n", 1)
    problem = int(generator.integers(4))
    words = header.strip().split(b",")
    if problem == 0:
        return Damaged(rest, "the header is missing", "part")
    if problem == 1:
        words[int(generator.integers(1, 5))] = b"x1"
        return Damaged(b",".join(words) + b"\n" + rest, f"the header is {words}", "whole")
    if problem == 2:
        words[2] = words[1]
        return Damaged(b",".join(words) + b"\n" + rest, f"the header names a column twice: {words}", "whole")
    middle = rest.index(b"\n", int(generator.integers(len(rest) - 100))) + 1
    content = header + b"\n" + rest[:middle] + header + b"\n" + rest[middle:]
    return Damaged(content, "the header stands again within the file", "whole")


def number_style(good: Good, generator: Generator) -> Damaged:
    """Write decimal commas or thousands, which may be refused but never read as another number."""
    header, *lines = good.content.decode().replace("\r\n", "\n").strip("\n").split("\n")
    cells = [line.split(",") for line in lines]
    style = int(generator.integers(3))
    if style == 0:
        body = [";".join([stamp, *(cell.replace(".", ",") for cell in rest)]) for stamp, *rest in cells]
        return Damaged("\n".join([header.replace(",", ";"), *body, ""]).encode(), "decimal commas", "whole")
    number = "{:,.2f}" if style == 1 else "{:,.0f}"
    whole = [[stamp, *(f'"{number.format(float(cell))}"' for cell in rest)] for stamp, *rest in cells]
    text = "\n".join([header, *(",".join(line) for line in whole), ""])
    if style == 2 and not all(float(cell).is_integer() for _, *rest in cells for cell in rest):
        return Damaged(text.encode().replace(b'"', b""), "thousands in commas, unquoted", "whole")
    return Damaged(text.encode(), f"thousands in commas, quoted, as {number}", "whole")


def one_cell_with_a_comma(good: Good, generator: Generator) -> Damaged:
    """Write one price with a comma for its point."""
    header, *lines = good.content.decode().replace("\r\n", "\n").strip("\n").split("\n")
    row = int(generator.integers(len(lines)))
    separated = [line.replace(",", ";") for line in lines]
    separated[row] = separated[row].replace(".", ",", 1) if "." in separated[row] else separated[row] + ",5"
    content = "\n".join([header.replace(",", ";"), *separated, ""]).encode()
    return Damaged(content, f"row {row + 2} has a comma for a point", "whole")


def padding(good: Good, generator: Generator) -> Damaged:
    """Add what exports add: comments, blank lines, empty columns, spaces, a sep= line."""
    header, *lines = good.content.decode().replace("\r\n", "\n").strip("\n").split("\n")
    kind = int(generator.integers(5))
    if kind == 0:
        lines = [line + "," for line in lines]
    elif kind == 1:
        lines.insert(int(generator.integers(len(lines))), "# exported by hand")
        header = "sep=,\n" + header
    elif kind == 2:
        lines.insert(int(generator.integers(len(lines))), "")
    elif kind == 3:
        header, lines = header + ",,", [line + ",," for line in lines]
    else:
        lines = [line.replace(",", ", ") for line in lines]
    return Damaged("\n".join([header, *lines, "", ""]).encode(), f"padding of kind {kind}", "whole")


def compress(good: Good, generator: Generator) -> Damaged:
    packed = gzip.compress(good.content, mtime=0)
    if generator.random() < 0.5:
        return Damaged(packed, "packed with gzip", "whole")
    return Damaged(packed[: int(generator.integers(3, len(packed)))], "packed with gzip and cut off", "whole")


def field_count(good: Good, generator: Generator) -> Damaged:
    lines = good.content.split(b"\n")
    row = int(generator.integers(1, len(lines) - 1))
    fields = lines[row].split(b",")
    place = int(generator.integers(len(fields)))
    more = generator.random() < 0.5
    fields = [*fields[:place], b"1", *fields[place:]] if more else fields[:place] + fields[place + 1 :]
    lines[row] = b",".join(fields)
    return Damaged(b"\n".join(lines), f"line {row + 1} has one field {'more' if more else 'less'}", "blocked")


def concatenated(good: Good, generator: Generator) -> Damaged:
    content = good.content
    return Damaged(content + content, "the file stands twice in itself", "blocked")


def swap_day_and_month(good: Good, generator: Generator) -> Damaged:
    """Swap day and month where a spreadsheet can: where the day is at most 12."""
    lines = good.content.decode().split("\n")
    swapped = []
    for line in lines:
        date, slash, rest = line.partition(" ")
        parts = date.split("/")
        if len(parts) == 3 and int(parts[0]) <= 12:
            date = "/".join([parts[1], parts[0], parts[2]])
        swapped.append(date + slash + rest)
    return Damaged("\n".join(swapped).encode(), "day and month are swapped up to the 12th", "told")


TEXT: tuple[Corruption, ...] = (
    truncate,
    junk,
    junk_only,
    empty,
    control_character,
    inserted_mark,
    drop_bytes,
    encode,
    line_ends,
    latin_header,
    header_names,
    misspelt_header,
    header_problem,
    number_style,
    one_cell_with_a_comma,
    padding,
    compress,
    field_count,
    concatenated,
)
SLASHED: tuple[Corruption, ...] = (swap_day_and_month,)
BINARY: tuple[Corruption, ...] = (truncate, junk, junk_only, empty)


def corruptions_of(good: Good) -> tuple[Corruption, ...]:
    """Return all corruptions that can be done to ``good``."""
    slashed = SLASHED if good.is_text and b"/" in good.content[:200] else ()
    pauses = int((np.diff(good.true_starts) > (good.bar_minutes + 30) * MINUTE_NS).sum())
    paused = PAUSED if pauses >= _PAUSES_MIN else ()
    return (*TABLE, *paused, *(TEXT if good.is_text else BINARY), *slashed)
