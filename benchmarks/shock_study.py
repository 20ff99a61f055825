"""Does the correlation-shock detector find the shocks of forty years in time, and what does that cost in alarms?

    python -m benchmarks.shock_study

Fixed before anything was run on bars from 2019 on:

- **Data**: S&P 500, VIX, WTI, Brent, Treasury yields of 2, 10 and 30 years, broad dollar, USDJPY, EURUSD and high-yield
  spread, daily, each from where it begins. Bars are the days of the S&P 500. Logarithms of prices are differenced,
  yields, spread and oil (which traded below zero) as they are; a move over a gap belongs to the bar after it.
- **Events**: ``EVENTS``, each with a window: the months that its name names, or the day and the five bars before it.
  The first bar of the move is the first in the window on which the S&P 500 falls by three or more of its EWMA
  deviations (lambda 0.94, as known the day before); where there is none, the one with the largest such fall. An event
  is flagged when an alarm begins on that bar or on one of the three after it; one that began earlier does not count.
- **Choice**: ``GRID``, on bars before 2019 alone. For each setting the thresholds that give one, two and three onsets a
  year are sought; the setting with the most events flagged, summed over the three, is taken, the earlier in the grid
  where some tie. Its threshold is that of three a year, rounded up to 0.1; CRITICAL is twice that. The limit is four on
  the whole history: one is left for what the future brings.
- **The statistic** was chosen on bars before 2019, among some ten: levels and jumps of mean correlation and eigenvalue
  share, the size of a move by its mean square, by Mahalanobis distance (Kritzman and Li 2010), along the first factor
  and over pairs, and sums of two. Half of them flag five or six of the seven events at this price. Mean square was
  first taken for the size; pairs replaced it, with as many hits before 2019, because one asset alone rang.
- **Others** are tuned in the same way, on the same grid and to the same number of alarms. The S&P 500 alone is among
  them, because the events are defined by its falls.
- **Futures**: 24 Chinese ones in the hours that all of them trade, adjusted for rolls; plain, and with each return over
  what the instrument usually moves at that time of day (``stats/seasonality.py``), since a night's move belongs to the
  first bar. All settings but the threshold are those of the daily detector; that is the smallest that gives three
  onsets a year before 2019. The second way was added when the first rang in the mornings alone; both are shown.

It writes ``benchmarks/results/shock.json``, the tables in ``docs/risk.md`` and one picture. The data stay outside.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.shock_data import Bars, by_time_of_day, futures_bars, macro_bars
from benchmarks.shock_report import heat_map, speed, tables, write_table
from grandmodel.core.config import BreakerLimits
from grandmodel.risk.breaker import alarm, armed
from grandmodel.risk.shock import (
    Severity,
    ShockHistory,
    ShockParams,
    new_memory,
    onsets_of,
    shock_history,
    update,
)
from pipelines.workspace import PROJECT

Floats = NDArray[np.float64]
DATA = PROJECT.parent / "shared" / "data"
TUNED_BEFORE = np.datetime64("2019-01-01")
FALL_DEVIATIONS, BARS_AFTER, BARS_BEFORE_DAY = 3.0, 3, 5
BUDGETS, THRESHOLD_STEP, CRITICAL_MULTIPLE = (1.0, 2.0, 3.0), 0.1, 2.0
GRID = [(band, rearm) for band in (0.99, 0.98, 0.97, 0.995) for rearm in (5, 3, 10)]


class Event(NamedTuple):
    """Something that a detector ought to have seen."""

    name: str
    first: str  # of the window
    last: str
    wanted: bool = True  # one of the eight that the target names


EVENTS = (
    Event("1987-10", "1987-10-01", "1987-10-31"),
    Event("1998-08", "1998-08-01", "1998-08-31"),
    Event("2008-09/10", "2008-09-01", "2008-10-31"),
    Event("2010-05-06", "", "2010-05-06"),
    Event("2011-08", "2011-08-01", "2011-08-31"),
    Event("2015-08-24", "", "2015-08-24"),
    Event("2018-02-05", "", "2018-02-05"),
    Event("2020-02/03", "2020-02-01", "2020-03-31"),
    Event("2020-04-20 oil below zero", "", "2020-04-20", wanted=False),
    Event("2023-03 regional banks", "2023-03-01", "2023-03-31", wanted=False),
    Event("2024-08-05 yen", "", "2024-08-05", wanted=False),
    Event("2025-04 tariffs", "2025-04-01", "2025-04-30", wanted=False),
)


class Setting(NamedTuple):
    """What tuning chooses."""

    band_decay: float
    rearm_bars: int
    threshold: float
    hits_before: int  # summed over the budgets

    def params(self) -> ShockParams:
        """Return the same for the detector."""
        return replace(
            ShockParams(),
            band_decay=self.band_decay,
            rearm_bars=self.rearm_bars,
            score_high=self.threshold,
            score_critical=round(CRITICAL_MULTIPLE * self.threshold, 6),
        )


def standardised(returns: Floats, decay: float = 0.94, seed_bars: int = 20) -> Floats:
    """Return each of ``returns`` (float64[T]) over the EWMA deviation known before it."""
    found, variance = np.full(len(returns), np.nan), np.nanmean(returns[1 : seed_bars + 1] ** 2)
    for t, value in enumerate(returns):
        if np.isfinite(value):
            found[t] = value / np.sqrt(variance)
            variance = decay * variance + (1 - decay) * value**2
    return found


def first_bar(event: Event, when: NDArray[np.datetime64], falls: Floats, deviations: float = FALL_DEVIATIONS) -> int:
    """Return the row of the first bar of the move, by the rule of this study."""
    last = int(np.searchsorted(when, np.datetime64(event.last), side="right")) - 1
    first = int(np.searchsorted(when, np.datetime64(event.first))) if event.first else last - BARS_BEFORE_DAY
    window = falls[first : last + 1]
    far = np.flatnonzero(window <= -deviations)
    return first + int(far[0] if len(far) else np.nanargmin(window))


def delay(onsets: NDArray[np.bool_], first: int) -> int | None:
    """Return how many bars after the first one an alarm began, or None."""
    found = np.flatnonzero(onsets[first : first + BARS_AFTER + 1])
    return int(found[0]) if len(found) else None


def onsets_with(scores: Floats, threshold: float, rearm_bars: int) -> NDArray[np.bool_]:
    """Return where alarms begin at this threshold, CRITICAL at twice as much."""
    return onsets_of(scores, Setting(0.99, rearm_bars, threshold, 0).params())


def threshold_for(scores: Floats, years: float, budget: float, rearm_bars: int) -> float:
    """Return the smallest threshold from which on alarms begin at most ``budget`` times a year."""
    steps = int(np.nanmax(scores) / THRESHOLD_STEP) + 1
    for step in range(steps, 0, -1):
        if onsets_with(scores, step * THRESHOLD_STEP, rearm_bars).sum() > budget * years:
            return round((step + 1) * THRESHOLD_STEP, 6)
    return THRESHOLD_STEP


def band_score(values: Floats, decay: float, warmup_bars: int = 60) -> Floats:
    """Return how many EWMA deviations each of ``values`` (float64[T]) lies above its EWMA mean before it."""
    found, mean, variance, seen = np.full(len(values), np.nan), 0.0, 0.0, 0
    for t, value in enumerate(values):
        if not np.isfinite(value):
            continue
        if seen >= warmup_bars:
            found[t] = (value - mean) / np.sqrt(variance)
        gain = max(1 - decay, 1 / (seen + 1))
        apart = value - mean
        mean, variance, seen = mean + gain * apart, (1 - gain) * (variance + gain * apart**2), seen + 1
    return found


def history_with(bars: Bars, params: ShockParams) -> ShockHistory:
    return shock_history(new_memory(len(bars.names), params), bars.returns)


Scores = Callable[[float], Floats]  # of the decay of the band


def methods(bars: Bars) -> dict[str, Scores]:
    """Return the detector and what it is compared with, as scores over the decay of their band."""
    plain = history_with(bars, ShockParams())

    def ours(decay: float) -> ShockHistory:
        return history_with(bars, replace(ShockParams(), band_decay=decay))

    known = np.where(plain.reason == 0, 1.0, np.nan)
    falls = np.abs(standardised(bars.returns[:, bars.names.index("SPX")])) if "SPX" in bars.names else None
    found: dict[str, Scores] = {
        "shock detector": lambda decay: ours(decay).score,
        "its size alone": lambda decay: ours(decay).size_score,
        "its jump alone": lambda decay: ours(decay).jump_score,
        "z-score of mean correlation": lambda decay: band_score(plain.mean_correlation, decay),
        "z-score of eigenvalue share": lambda decay: band_score(plain.eigenvalue_share, decay),
    }
    if falls is not None:
        found["S&P 500 alone"] = lambda decay: band_score(falls, decay) * known
    return found


def tune(scores_of: Scores, years: float, until: int, firsts: Sequence[int]) -> Setting:
    """Choose by the rule of this study, from the first ``until`` bars."""
    best: Setting | None = None
    for band_decay, rearm_bars in GRID:
        scores = scores_of(band_decay)[:until]
        limits = [threshold_for(scores, years, budget, rearm_bars) for budget in BUDGETS]
        alarms = [onsets_with(scores, limit, rearm_bars) for limit in limits]
        hits = sum(delay(each, first) is not None for each in alarms for first in firsts)
        if best is None or hits > best.hits_before:
            best = Setting(band_decay, rearm_bars, limits[-1], hits)
    assert best is not None
    return best


def a_year(onsets: NDArray[np.bool_], bars: Bars, span: NDArray[np.bool_]) -> float:
    """Return how many of ``onsets`` lie in ``span``, a year of it."""
    return round(float(onsets[span].sum() / bars.years(span)), 2)


def judge(bars: Bars, scores_of: Scores, setting: Setting, firsts: dict[str, int]) -> dict[str, Any]:
    """Return delays, onsets and false alarms of one method, before 2019 and from there on."""
    onsets = onsets_with(scores_of(setting.band_decay), setting.threshold, setting.rearm_bars)
    delays = {name: delay(onsets, first) for name, first in firsts.items()}
    wanted = [event.name for event in EVENTS if event.wanted]
    near = np.zeros(len(onsets), bool)
    for first in firsts.values():
        near[first : first + BARS_AFTER + 1] = True
    late = bars.when >= TUNED_BEFORE
    spans = {"whole": np.ones(len(onsets), bool), "before_2019": ~late, "since_2019": late}
    return {
        "setting": setting._asdict(),
        "delays": delays,
        "flagged_of_eight": sum(delays[name] is not None for name in wanted),
        **{f"onsets_a_year_{name}": a_year(onsets, bars, span) for name, span in spans.items()},
        **{f"false_a_year_{name}": a_year(onsets & ~near, bars, span) for name, span in spans.items()},
    }


def study_daily(data: Path) -> tuple[Bars, Setting, dict[str, Any]]:
    """Tune and judge every method on the daily history."""
    bars = macro_bars(data)
    falls = standardised(bars.returns[:, bars.names.index("SPX")])
    until = int(np.searchsorted(bars.when, TUNED_BEFORE))
    years = bars.years(slice(0, until))
    firsts = {event.name: first_bar(event, bars.when, falls) for event in EVENTS}
    early = [row for row in (firsts[event.name] for event in EVENTS if event.wanted) if row < until]
    rows, settings = {}, {}
    for name, scores_of in methods(bars).items():
        settings[name] = tune(scores_of, years, until, early)
        rows[name] = judge(bars, scores_of, settings[name], firsts)
        print(name, rows[name], flush=True)
    setting = settings["shock detector"]
    history = history_with(bars, setting.params())
    return (
        bars,
        setting,
        {
            "bars": len(bars.when),
            "first": str(bars.when[0])[:10],
            "last": str(bars.when[-1])[:10],
            "first_bars": {name: str(bars.when[row])[:10] for name, row in firsts.items()},
            "tuned_on_events": len(early),
            "methods": rows,
            "flagged_of_eight_by_rule": by_rule(bars, falls, history),
            "unknown_bars": int((history.reason > 0).sum()),
            "onsets": onset_rows(bars, history, firsts),
            "leverage": leverage(bars, setting.params()),
        },
    )


def by_rule(bars: Bars, falls: Floats, history: ShockHistory) -> dict[str, int]:
    """Return how many of the eight would be flagged if the first bar were a larger or smaller fall."""
    wanted = [event for event in EVENTS if event.wanted]
    return {
        f"{deviations:g}": sum(
            delay(history.onset, first_bar(event, bars.when, falls, deviations)) is not None for event in wanted
        )
        for deviations in (2.5, 3.0, 3.5, 4.0)
    }


def onset_rows(bars: Bars, history: ShockHistory, firsts: dict[str, int]) -> list[dict[str, Any]]:
    """Return every onset since 2019 with what happened on it, and the event it belongs to."""
    spx = bars.names.index("SPX")
    rows = []
    for t in np.flatnonzero(history.onset & (bars.when >= TUNED_BEFORE)):
        event = [name for name, first in firsts.items() if first <= t <= first + BARS_AFTER]
        rows.append(
            {
                "date": str(bars.when[t])[:10],
                "severity": Severity(int(history.severity[t])).name,
                "score": round(float(history.score[t]), 1),
                "spx_pct": round(100 * float(bars.returns[t, spx]), 2),
                "event": event[0] if event else "",
            }
        )
    return rows


def leverage(bars: Bars, params: ShockParams) -> dict[str, Any]:
    """Drive detector and breaker bar by bar, reset after each quiet spell; return bars between alarm and cut."""
    memory, waits, latched = new_memory(len(bars.names), params), [], 0
    breaker, quiet = armed(1.0, BreakerLimits()), 0
    for row in bars.returns:
        severity = update(memory, row)
        before = breaker.gross_cap
        if severity >= Severity.HIGH:
            breaker, events = alarm(breaker, f"correlation shock {severity.name}", gross=before)
            if events[0].kind == "cut":
                waits.append(0 if breaker.gross_cap <= before / 2 else 1)
            latched += events[0].kind != "cut"
        quiet = 0 if severity >= Severity.HIGH else quiet + 1
        if quiet == params.rearm_bars:
            breaker = armed(1.0, BreakerLimits())
    return {"cuts": len(waits), "bars_from_alarm_to_cut_max": max(waits), "alarms_while_latched": latched}


def study_futures(bars: Bars, setting: Setting, *, scaled: bool) -> dict[str, Any]:
    """Take the daily settings to futures with a threshold of their own; return onsets and what they were."""
    seen = by_time_of_day(bars) if scaled else bars
    history = history_with(seen, setting.params())
    early = bars.when < TUNED_BEFORE
    threshold = threshold_for(history.score[early], bars.years(early), BUDGETS[-1], setting.rearm_bars)
    own = setting._replace(threshold=threshold)
    history = history_with(seen, own.params())
    onsets = np.flatnonzero(history.onset)
    day = bars.when.astype("datetime64[D]")
    return {
        "bars": len(bars.when),
        "instruments": len(bars.names),
        "threshold": threshold,
        "onsets_a_year_before_2019": round(float((history.onset & early).sum() / bars.years(early)), 2),
        "onsets_a_year_since_2019": round(float((history.onset & ~early).sum() / bars.years(~early)), 2),
        "onsets_a_year": round(float(len(onsets) / bars.years()), 2),
        "onsets_at_the_open": int((day[onsets] != day[onsets - 1]).sum()),
        "unknown_bars": int((history.reason > 0).sum()),
        "onsets": [_futures_onset(bars, history, t) for t in onsets],
    }


def _futures_onset(bars: Bars, history: ShockHistory, t: int) -> dict[str, Any]:
    moved = bars.returns[t]
    widest = int(np.nanargmax(np.abs(moved)))
    return {
        "close": str(bars.when[t])[:16].replace("T", " "),
        "severity": Severity(int(history.severity[t])).name,
        "score": round(float(history.score[t]), 1),
        "median_pct": round(100 * float(np.nanmedian(moved)), 2),
        "falling": f"{int((moved < 0).sum())} of {int(np.isfinite(moved).sum())}",
        "widest": bars.names[widest],
        "widest_pct": round(100 * float(moved[widest]), 2),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and write what it found; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--no-write", action="store_true", help="leave results and pages alone")
    given = parser.parse_args(arguments)
    bars, setting, daily = study_daily(given.data)
    futures = {}
    for minutes in (30, 5):
        tape = futures_bars(given.data, minutes)
        for scaled, name in ((False, "plain"), (True, "by time of day")):
            futures[f"{minutes} minutes, {name}"] = study_futures(tape, setting, scaled=scaled)
    found = {"daily": daily, "futures": futures, "speed": speed(setting.params())}
    print(tables(found))
    if not given.no_write:
        print(record.write("shock", found))
        write_table(tables(found))
        heat_map(bars, daily["first_bars"]["2020-02/03"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
