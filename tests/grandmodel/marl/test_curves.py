"""What a person watches while a team is trained."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from grandmodel.marl.curves import EVENT_FILE, CurveLog, event_file, read_rows


def clock() -> datetime:
    return datetime(2026, 3, 3, tzinfo=UTC)


def row(frames: int, value: float = 0.5) -> dict[str, float]:
    return {"frames": float(frames), "entropy": value, "kl": 0.25, "seconds_left": 3.0, "frames_total": 900.0}


def test_each_row_is_a_line_with_its_time(tmp_path: Path) -> None:
    log = CurveLog(tmp_path / "curves.jsonl", None, clock)
    for frames in (100, 200):
        log(row(frames))
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert lines == read_rows(tmp_path / "curves.jsonl")
    assert lines == [{**row(frames), "time": clock().timestamp()} for frames in (100, 200)]


def test_after_a_kill_the_rows_go_on_where_the_training_does(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    before = CurveLog(path, tmp_path / "events", clock)
    for frames in (100, 200, 300):
        before(row(frames))
    with path.open("a") as stream:
        stream.write('{"frames": 40')  # torn
    after = CurveLog(path, tmp_path / "events", clock)
    after(row(200, value=0.75))
    after(row(300))
    kept = read_rows(path)
    assert [(one["frames"], one["entropy"]) for one in kept] == [(100, 0.5), (200, 0.75), (300, 0.5)]
    assert (tmp_path / "events" / EVENT_FILE).read_bytes() == event_file(kept)


def test_tensorboard_reads_the_event_file(tmp_path: Path) -> None:
    log = CurveLog(tmp_path / "curves.jsonl", tmp_path, clock)
    for frames in (100, 40_000):
        log(row(frames, value=frames / 1e5))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["scalars"]) == ["entropy", "kl"]
    assert [(one.step, one.wall_time) for one in events.Scalars("kl")] == [
        (100, clock().timestamp()),
        (40_000, clock().timestamp()),
    ]
    assert [one.value for one in events.Scalars("entropy")] == pytest.approx([0.001, 0.4])
