"""How often drift is told where there is none: ``python -m benchmarks.drift_false_alarms [--real FOLDER]``.

Each quarter of 60 sessions is judged against all sessions before it, in markets of which the truth is known: the
tracked data and two simulated markets of 800 sessions, one law each from end to end. With ``--real`` also on recorded
5-minute bars, which do change. A measure is one of ``drift.stream_measures`` of one instrument in one quarter.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.record import write
from grandmodel.core.bars import Bars
from grandmodel.data.reading.readers import read_dataset
from grandmodel.data.simulator.generate import simulate
from grandmodel.data.validation.drift import (
    KS_EXCESS_BLOCKING,
    PSI_BLOCKING,
    PSI_WARNING,
    fit_reference,
    measure_drift,
)
from pipelines.workspace import PROJECT

QUARTER_SESSIONS = 60
TRACKED_FIRST, SIMULATED_FIRST = 160, 400  # sessions before the first quarter that is judged
SIMULATED_SEEDS, SIMULATED_SESSIONS = (1, 2), 800
PER_MEASURE = ("log_return", "log_range", "log_volume", "session_bars")


def quarters(bars: Mapping[str, Bars], first: int) -> pd.DataFrame:
    """Return ``measure_drift`` of each whole quarter from session ``first`` on, with a column ``quarter``.

    Sessions are those of all instruments together, so that a quarter is one span of time for each of them.
    """
    days = np.unique(np.concatenate([item.session for item in bars.values()]))
    parts = []
    for start in range(first, len(days) - QUARTER_SESSIONS + 1, QUARTER_SESSIONS):
        span = (int(days[start]), int(days[start + QUARTER_SESSIONS - 1]))
        before = {symbol: _span(item, int(days[0]), span[0] - 1) for symbol, item in bars.items()}
        reference = fit_reference("before", "", before)
        judged = measure_drift(reference, {symbol: _span(item, *span) for symbol, item in bars.items()})
        parts.append(judged.assign(quarter=len(parts)))
    return pd.concat(parts, ignore_index=True)


def _span(bars: Bars, first: int, last: int) -> Bars:
    """Return the bars of trading days ``first`` to ``last``, both included."""
    return bars.rows(*(int(row) for row in np.searchsorted(bars.session, [first, last + 1])))


def summary(judged: pd.DataFrame) -> dict[str, Any]:
    """Return how many measures there are and how many touch which bound, in all and by measure."""
    beyond = judged[judged["psi"] > PSI_BLOCKING]
    return {
        "quarters": int(judged["quarter"].nunique()),
        **_alarms(judged),
        "by_measure": {name: _alarms(judged[judged["measure"] == name]) for name in PER_MEASURE},
        "quarters_of_psi_blocking": {
            name: int(beyond.loc[beyond["measure"] == name, "quarter"].nunique()) for name in PER_MEASURE
        },
    }


def _alarms(judged: pd.DataFrame) -> dict[str, Any]:
    psi, excess = judged["psi"], judged["ks_excess"]
    return {
        "measures": len(judged),
        "psi_largest": float(psi.max()),
        "psi_warns": int(((psi > PSI_WARNING) & (psi <= PSI_BLOCKING)).sum()),
        "psi_blocks": int((psi > PSI_BLOCKING).sum()),
        "ks_excess_largest": float(excess.max()),
        "ks_warns": int(((excess > 1) & (excess <= KS_EXCESS_BLOCKING)).sum()),
        "ks_blocks": int((excess > KS_EXCESS_BLOCKING).sum()),
    }


def simulated(seed: int) -> dict[str, Bars]:
    """Return the 5-minute bars of a market that keeps to one law."""
    with TemporaryDirectory() as folder:
        simulate(Path(folder), edge=1.0, seed=seed, sessions=SIMULATED_SESSIONS)
        return read_dataset(Path(folder)).tactical


def real(folder: Path) -> pd.DataFrame:
    """Return the quarters of the later half of the recorded 5-minute bars of ``folder``."""
    bars = read_dataset(folder / "cn_futures_5m").tactical
    sessions = len(np.unique(np.concatenate([item.session for item in bars.values()])))
    return quarters(bars, sessions // 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="folder of recorded data; its core Chinese futures are judged too")
    folder = parser.parse_args().real
    judged = {"tracked": quarters(read_dataset(PROJECT / "data").tactical, TRACKED_FIRST)}
    markets = [(seed, quarters(simulated(seed), SIMULATED_FIRST)) for seed in SIMULATED_SEEDS]
    named = [one.assign(quarter=[f"{seed}/{quarter}" for quarter in one["quarter"]]) for seed, one in markets]
    judged["simulated"] = pd.concat(named, ignore_index=True)
    if folder is not None:
        judged["real"] = real(folder)
    table = {name: summary(one) for name, one in judged.items()}
    print("market     quarters measures  PSI largest warns blocks   D / bound largest warns blocks")
    for name, row in table.items():
        print(
            f"{name:10s} {row['quarters']:8d} {row['measures']:8d} {row['psi_largest']:12.3f} {row['psi_warns']:5d}"
            f" {row['psi_blocks']:6d} {row['ks_excess_largest']:19.2f} {row['ks_warns']:5d} {row['ks_blocks']:6d}"
        )
        for measure, quarters_beyond in row["quarters_of_psi_blocking"].items():
            if quarters_beyond:
                print(f"           {measure}: PSI blocks in {quarters_beyond} of {row['quarters']} quarters")
    print(write("drift_false_alarms", {"quarter_sessions": QUARTER_SESSIONS, "markets": table}))


if __name__ == "__main__":
    main()
