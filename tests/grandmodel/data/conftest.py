"""Made-up Globex bars and the files in which users bring them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PROJECT = Path(__file__).parents[3]
FrameMaker = Callable[..., pd.DataFrame]
CsvWriter = Callable[..., Path]


def make_frame(sessions: int = 30, minutes: int = 30, first: str = "2021-03-01", seed: int = 1) -> pd.DataFrame:
    """Return whole 23-hour sessions on the quarter-point grid: ts (UTC start), open, high, low, close, volume."""
    generator = np.random.default_rng(seed)
    days = pd.bdate_range(first, periods=sessions)
    opens = (days - pd.Timedelta(hours=7)).tz_localize("America/Chicago")
    per_session = 23 * 60 // minutes
    steps = pd.to_timedelta(np.arange(per_session) * minutes, unit="min")
    ts = pd.DatetimeIndex(np.concatenate([(start.tz_convert("UTC") + steps).as_unit("ns").asi8 for start in opens]))
    close = 13_000 + 0.25 * np.cumsum(generator.integers(-20, 21, len(ts)))
    open_ = np.r_[13_000.0, close[:-1]]
    return pd.DataFrame(
        {
            "ts": ts.tz_localize("UTC"),
            "open": open_,
            "high": np.maximum(open_, close) + 0.5,
            "low": np.minimum(open_, close) - 0.5,
            "close": close,
            "volume": generator.integers(500, 5000, len(ts)).astype(float),
        }
    )


def write_lines(
    path: Path, frame: pd.DataFrame, zone: str | None = None, form: str = "%Y-%m-%d %H:%M:%S", end: str = "\n"
) -> Path:
    """Write ``frame`` as CSV with stamps in ``zone`` (UTC with offset when None)."""
    stamps = frame["ts"].dt.strftime("%Y-%m-%dT%H:%M:%SZ") if zone is None else None
    if stamps is None:
        stamps = frame["ts"].dt.tz_convert(zone).dt.strftime(form)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = frame.assign(ts=stamps).to_csv(index=False, lineterminator=end)
    path.write_bytes(text.encode())
    return path


@pytest.fixture(scope="session")
def globex() -> FrameMaker:
    return make_frame


@pytest.fixture
def csv(tmp_path: Path) -> CsvWriter:
    def write(frame: pd.DataFrame, zone: str | None = None, name: str = "NQ.csv", **options: str) -> Path:
        return write_lines(tmp_path / name, frame, zone, **options)

    return write


@pytest.fixture
def context_root() -> Path:
    return PROJECT / "great_expectations"
