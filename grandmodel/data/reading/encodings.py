"""Bytes of a text file to lines: the encoding is evident from the bytes, or the file is refused."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import Finding

_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_FORMATS = {
    b"PAR1": ("a Parquet file", "Name it .parquet"),
    b"PK\x03\x04": ("an archive or a spreadsheet", "Unpack it, or export it as CSV"),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", "Export it as CSV"),
    b"BZh": ("a compressed file", "Unpack it"),
    b"\xfd7zXZ": ("a compressed file", "Unpack it"),
    b"\x28\xb5\x2f\xfd": ("a compressed file", "Unpack it"),
    b"%PDF": ("a PDF page", "Export the table as CSV"),
}
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_COMMENT = ("#", "//")


def decode(content: bytes, file: str) -> tuple[list[str], list[Finding]]:
    """Return the lines of ``content`` without their ends, and a finding for all but plain UTF-8.

    Understood are UTF-8 with and without byte order mark, UTF-16 with one, gzip around them, and Latin-1 where what is
    not ASCII stands in the header or in comments alone, so that no value depends on the guess. A last line that ends
    in a line end is followed by an empty one, as ``str.split`` does it.

    Raises:
        DataError: the bytes are no text, or text of an encoding that is not evident; names the row.
    """
    findings: list[Finding] = []
    if content.startswith(_GZIP):
        content = _gunzip(content, file)
        findings.append(Finding("info", file, "the file is unpacked from gzip"))
    for magic, (kind, do) in _FORMATS.items():
        if content.startswith(magic):
            raise DataError(file, "the file must be text with a header and comma-separated rows", kind, do)
    if content.startswith(_UTF16):
        text = _decode_utf16(content, file)
        findings.append(Finding("info", file, "the file is read as UTF-16, as its byte order mark says"))
    else:
        _refuse_control_characters(content, file)
        text, latin = _decode_bytes(content, file)
        findings += latin
    if not text.strip():
        raise DataError(file, "the file must not be empty", "only blank lines", "Export it again")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), findings


def is_comment(line: str) -> bool:
    """Return whether ``line`` is a comment: ``#`` or ``//`` at its start, or the ``sep=`` line of a spreadsheet."""
    return line.startswith(_COMMENT) or line.lower().startswith("sep=")


def _gunzip(content: bytes, file: str) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(file, "the file must be whole gzip", str(error), "Copy or export it again") from error


def _decode_utf16(content: bytes, file: str) -> str:
    try:
        text = content.decode("utf-16")
    except UnicodeDecodeError as error:
        rule = "the file must be whole UTF-16 text, as its byte order mark says"
        raise DataError(file, rule, error.reason, "Export as CSV in UTF-8") from error
    _refuse_control_characters(text.encode(), file)
    return text


def _refuse_control_characters(content: bytes, file: str) -> None:
    found = _CONTROL.search(content.rstrip(b"\x1a"))  # the end-of-file mark of old systems is no harm at the end
    if found is None:
        return
    row = content[: found.start()].count(b"\n") + 1
    rule = "the file must be text with a header and comma-separated rows"
    raise DataError(f"{file} row {row}", rule, f"binary content {found[0]!r}", "Export as CSV in UTF-8")


def _decode_bytes(content: bytes, file: str) -> tuple[str, list[Finding]]:
    content = content.rstrip(b"\x1a")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        problem = error
    text = content.decode("latin-1")
    header_seen = False
    for row, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if header_seen and not line.isascii() and not is_comment(line):
            found = content[problem.start : problem.start + 4]
            raise DataError(f"{file} row {row}", "the file must be UTF-8 text", found, "Export as CSV in UTF-8")
        header_seen |= bool(line.strip()) and not is_comment(line)
    note = "the file is no UTF-8 and is read as Latin-1; only its header and comments depend on that"
    return text, [Finding("warning", file, note)]
