"""Curves of a training as it goes on: one line of JSON a rollout, and the event file that TensorBoard shows.

TensorBoard's own writer starts a new file in each process and cannot take back rows; here one file is kept, which after
a kill holds again what the lines of JSON hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from grandmodel.core.clock import Clock
from grandmodel.core.files import write_bytes_atomic

Row = Mapping[str, float]
EVENT_FILE = "events.out.tfevents.curves"
NOT_SHOWN = ("frames", "frames_total", "seconds_left", "time")


class CurveLog:
    """Hears the progress of one training; after a kill it goes on where the training does."""

    def __init__(self, lines: Path, events: Path | None, clock: Clock) -> None:
        """Write to the file ``lines``, and to an event file in the folder ``events`` where one is named."""
        self._lines, self._clock = lines, clock
        self._events = events / EVENT_FILE if events is not None else None
        self._begun = False

    def __call__(self, row: Row) -> None:
        """Append one row of curves; the first one drops what stands at or after its frames."""
        row = {**row, "time": self._clock().timestamp()}
        if not self._begun:
            kept = [one for one in read_rows(self._lines) if one["frames"] < row["frames"]]
            write_bytes_atomic(self._lines, b"".join(_line(one) for one in kept))
            if self._events is not None:
                write_bytes_atomic(self._events, event_file(kept))
            self._begun = True
        with self._lines.open("ab") as stream:
            stream.write(_line(row))
        if self._events is not None:
            with self._events.open("ab") as stream:
                stream.write(_record(_event(row)))


def read_rows(lines: Path) -> list[dict[str, float]]:
    """Return the rows that a ``CurveLog`` wrote; a last line torn by a kill is left out, and so is an absent file."""
    return list(_whole_rows(lines)) if lines.exists() else []


def event_file(rows: list[dict[str, float]]) -> bytes:
    """Return ``rows`` as the bytes of an event file: scalars by name, at the step of their frames."""
    time = rows[0]["time"] if rows else 0.0
    version = Event(wall_time=time, file_version="brain.Event:2").SerializeToString()
    return b"".join([_record(version), *(_record(_event(row)) for row in rows)])


def _whole_rows(lines: Path) -> Iterator[dict[str, float]]:
    for line in lines.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _event(row: Row) -> bytes:
    values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items() if name not in NOT_SHOWN]
    event = Event(wall_time=row["time"], step=int(row["frames"]), summary=Summary(value=values))
    return bytes(event.SerializeToString())


def _record(content: bytes) -> bytes:
    stream = BytesIO()
    RecordWriter(stream).write(content)
    return stream.getvalue()
