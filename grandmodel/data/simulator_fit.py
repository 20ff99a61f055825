"""Fit a preset of the simulator to real bars: the clock directly, tails and memory by the method of simulated moments.

``calibrate`` takes real bars and returns the content of ``simulator_<like>.yaml``. What can be counted is counted:
volatility, its shape over the session, the share of volume in each bar, the moves over pauses, the correlations with
one common factor. What cannot (how heavy the tails of a 5-min bar are, how far apart regimes lie, how wide and how
lasting the fast volatility is, the leverage effect) is found by a search that simulates at each step, always from the
same random numbers, and compares MOMENTS (McFadden 1989; Duffie and Singleton 1993). Holidays, announcements and rolls
are not fitted.

Command: ``python -m grandmodel.data.simulator_fit --like nq --real ../shared/data --write`` (about a minute; without
``--write`` it prints the table of moments alone).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.errors import ConfigError, DataError, GrandModelError
from grandmodel.core.files import write_text_atomic
from grandmodel.data import return_facts as rf
from grandmodel.data import simulator_model as model
from grandmodel.data.real_series import local_minutes, read_real, series_of, simulated_series
from grandmodel.data.resample import resample_to_30
from grandmodel.data.return_facts import Series
from grandmodel.data.simulator_model import FloatArray, MarketModel, Segment, SimulatedInstrument
from grandmodel.data.simulator_paths import simulate_market

FIT_SEED, FIT_BARS_30M = 20_240_101, 46_000
# name: first value, smallest, largest, first step of the search
SEARCH = {
    "tail_degrees_of_freedom": (5.0, 2.6, 12.0, 1.6),
    "regime_stretch": (1.0, 0.0, 2.0, 0.4),
    "regime_stay": (1.0, 0.3, 5.0, 0.8),
    "volatility_spread": (0.3, 0.0, 0.9, 0.2),
    "volatility_memory": (0.9, 0.3, 0.995, 0.06),
    "leverage": (-0.2, -0.9, 0.5, 0.3),
}
SEARCH_SWEEPS, STEP_DECAY = 14, 0.75
# 30-min moments and what a difference of one is worth
MOMENTS = {
    "log excess kurtosis": 0.5,
    "tail index": 0.5,
    "ACF abs r, 1 bar": 8.0,
    "ACF abs r, 1 h": 8.0,
    "ACF abs r, 1 day": 8.0,
    "ACF abs r, 5 days": 8.0,
    "leverage": 8.0,
}
TAIL_SCALE_MAX = 12.0

NIGHT_TO_23 = (Segment(True, 21 * 60, 24), Segment(False, 9 * 60, 15), Segment(False, 10 * 60 + 30, 12),
               Segment(False, 13 * 60 + 30, 18))  # fmt: skip
# By the real symbol; the simulated one goes without its exchange, whose calendar a simulation does not keep.
CHINESE = {
    "SHFE.rb": SimulatedInstrument("rb", 10.0, 1.0, 0, 3_800.0, 0, 0, 0, 0.0, 1e-4, "CNY"),
    "SHFE.hc": SimulatedInstrument("hc", 10.0, 1.0, 0, 3_900.0, 0, 0, 0, 0.0, 5e-5, "CNY"),
    "DCE.i": SimulatedInstrument("i", 100.0, 0.5, 1, 800.0, 0, 0, 0, 0.0, 6e-5, "CNY"),
    "SHFE.bu": SimulatedInstrument("bu", 10.0, 2.0, 0, 2_800.0, 0, 0, 0, 0.0, 1e-4, "CNY"),
}


def calibrate(bars: dict[str, Bars], like: str, source: str, sweeps: int = SEARCH_SWEEPS) -> dict[str, Any]:
    """Return the content of a preset fitted to real ``bars`` by symbol, on one clock of 5 or 30 minutes.

    ``source`` says in words what the bars are; ``sweeps`` is the length of the search.

    Raises ConfigError for a preset that does not exist, DataError when too few full sessions are among the bars.
    """
    content = _counted(bars, like)
    first = next(iter(bars.values()))
    days = pd.to_datetime([first.start_ns[0], first.start_ns[-1]], utc=True).strftime("%Y-%m-%d")
    content["source"] = {
        "bars": source,
        "symbols": list(bars),
        "bar_minutes": first.bar_minutes,
        "rows": {symbol: len(item) for symbol, item in bars.items()},
        "from": days[0],
        "to": days[1],
    }
    target = np.mean([moments(s) for s in real_moment_series(bars, content).values()], axis=0)
    return content | search(content, target, sweeps)


def moments(series: Series) -> FloatArray:
    """Return the numbers named in MOMENTS for a 30-min series."""
    returns, day = series.returns, series.session_bars
    assert day is not None
    size = np.abs(returns)
    return np.array(
        [
            np.log(rf.excess_kurtosis(returns)),
            (rf.hill_tail_index(returns) + rf.hill_tail_index(-returns)) / 2,
            rf.autocorrelation(size, 1),
            rf.autocorrelation(size, 2),
            rf.autocorrelation(size, day),
            rf.autocorrelation(size, 5 * day),
            rf.leverage_effect(returns, day),
        ]
    )


def real_moment_series(bars: dict[str, Bars], content: dict[str, Any]) -> dict[str, Series]:
    """Return the 30-min series that the moments are taken of."""
    session_bars = model.market_from(content | start_of_search()).bars_30m
    thirty = {s: b if b.bar_minutes == 30 else resample_to_30(b)[0] for s, b in bars.items()}
    return {s: series_of(item, content["timezone"], session_bars) for s, item in thirty.items()}


def simulated_moments(market: MarketModel, symbols: int | None = None) -> FloatArray:
    """Return the mean of the moments over the first ``symbols`` instruments of a simulation without an edge."""
    bars = simulate_market(market, 0.0, FIT_SEED, FIT_BARS_30M // market.bars_30m)
    series = simulated_series(bars.start_ns, bars.close, bars.volume, market, 30, limit=symbols)
    return np.asarray(np.mean([moments(s) for s in series.values()], axis=0))


def start_of_search() -> dict[str, float]:
    """Return the values with which the search begins."""
    return {name: bounds[0] for name, bounds in SEARCH.items()} | {"tail_scale_max": TAIL_SCALE_MAX}


def search(content: dict[str, Any], target: FloatArray, sweeps: int = SEARCH_SWEEPS) -> dict[str, float]:
    """Return the values of SEARCH whose simulation comes nearest to ``target``, by coordinate steps that are halved."""
    weights = np.array(list(MOMENTS.values()))
    fitted = len(content["source"]["symbols"])
    slim = content | {"instruments": content["instruments"][:fitted]}

    def distance(values: dict[str, float]) -> float:
        difference = weights * (simulated_moments(model.market_from(slim | values)) - target)
        return float(difference @ difference)

    best = start_of_search()
    least = distance(best)
    for sweep in range(sweeps):
        for name, (_, low, high, step) in SEARCH.items():
            for sign in (1.0, -1.0):
                value = float(np.clip(best[name] + sign * step * STEP_DECAY**sweep, low, high))
                tried = best | {name: round(value, 4)}
                if (found := distance(tried)) < least:
                    best, least = tried, found
                    break
    return best


def _counted(bars: dict[str, Bars], like: str) -> dict[str, Any]:
    """Return what is counted and not searched for: clock, shapes, levels, pauses, correlations."""
    if like not in model.PRESETS:
        raise ConfigError("like", f"must be one of {model.PRESETS}", like)
    default = model.default_market()
    clock = default.segments if like == "nq" else NIGHT_TO_23
    zone = default.timezone if like == "nq" else "Asia/Shanghai"
    content: dict[str, Any] = {
        "like": like,
        "timezone": zone,
        "segments": [asdict(segment) for segment in clock],
        "evening_follows_weekday": like == "cn",
    }
    minutes = [s.open_minute + 5 * bar for s in clock for bar in range(s.bars_5m)]
    folded = {symbol: _fold(item, zone, minutes, symbol) for symbol, item in bars.items()}
    five = len(minutes)
    body = np.mean([np.abs(f.body).mean(axis=0) / np.abs(f.body).mean() for f in folded.values()], axis=0)
    volume = np.mean([(f.volume / f.volume.sum(axis=1, keepdims=True)).mean(axis=0) for f in folded.values()], axis=0)
    repeat = five // len(body)
    content["volatility_shape"] = np.round(np.repeat(body, repeat), 4).tolist()
    content["volume_shape"] = np.round(np.repeat(volume / repeat, repeat), 6).tolist()
    content["pauses"] = _pauses(folded, clock, five)
    content["instruments"] = _instruments(folded, like, five)
    return content


@dataclass(frozen=True)
class _Folded:
    """Full sessions of one instrument, one row each: D sessions of B bars."""

    body: FloatArray  # [D, B] log return from open to close
    gap: FloatArray  # [D, B] log return from the close before to the open
    volume: FloatArray  # [D, B]
    session: NDArray[np.int32]  # [D]
    bar_minutes: int

    @property
    def sigma_30m(self) -> float:
        """Return the root mean square move of half an hour inside bars."""
        return float(np.sqrt(np.mean(self.body**2) * 30 / self.bar_minutes))


def _fold(bars: Bars, zone: str, minutes: list[int], symbol: str) -> _Folded:
    """Keep the sessions that have exactly the bars of the clock."""
    wanted = np.array(minutes[:: bars.bar_minutes // 5], np.int64)
    local = local_minutes(bars.start_ns, zone)
    starts = np.flatnonzero(np.diff(bars.session, prepend=bars.session[:1] - 1))
    lengths = np.diff(starts, append=len(bars))
    whole = starts[lengths == len(wanted)]
    rows = whole[:, None] + np.arange(len(wanted))
    rows = rows[(local[rows] == wanted % (24 * 60)).all(axis=1)] if len(whole) else rows
    if len(rows) < 100:
        raise DataError(symbol, "at least 100 full sessions are needed to fit a clock", len(rows), "Use more bars")
    log_open, log_close = np.log(bars.open), np.log(bars.close)
    gap = log_open - np.concatenate([log_open[:1], log_close[:-1]])
    return _Folded(
        (log_close - log_open)[rows], gap[rows], bars.volume[rows], bars.session[rows[:, 0]], bars.bar_minutes
    )


def _pauses(folded: dict[str, _Folded], clock: tuple[Segment, ...], five: int) -> list[list[float]]:
    """Return, per pause of the clock, the 5-min bar after it and the sigma of the move over it in 30-min sigmas."""
    firsts = np.cumsum([0, *(segment.bars_5m for segment in clock)])[:-1]
    pauses = []
    for bar in firsts.tolist():
        columns = [f.gap[:, bar * f.gap.shape[1] // five] / f.sigma_30m for f in folded.values()]
        pauses.append([bar, round(float(np.sqrt(np.mean([np.mean(c**2) for c in columns]))), 4)])
    return pauses


def _instruments(folded: dict[str, _Folded], like: str, five: int) -> list[dict[str, Any]]:
    annual = {s: round(float(f.sigma_30m * np.sqrt(252 * five / 6)), 4) for s, f in folded.items()}
    volume = {s: round(float(np.median(f.volume.sum(axis=1)[-250:])), -3) for s, f in folded.items()}
    if like == "nq":
        known = {i.symbol: asdict(i) for i in model.INSTRUMENTS}
        level = annual["NQ"] / known["NQ"]["volatility_annual_frac"]
        for terms in known.values():  # only NQ is at hand: the others keep their ratio to it
            terms["volatility_annual_frac"] = round(terms["volatility_annual_frac"] * level, 4)
        known["NQ"]["session_volume"] = volume["NQ"]
        return list(known.values())
    loadings = one_factor(_correlation(folded))
    return [
        asdict(CHINESE[symbol])
        | {
            "volatility_annual_frac": annual[symbol],
            "factor_loading": round(float(loadings[k]), 3),
            "session_volume": volume[symbol],
        }
        for k, symbol in enumerate(folded)
    ]


def _correlation(folded: dict[str, _Folded]) -> FloatArray:
    shared = np.array(sorted(set.intersection(*(set(f.session.tolist()) for f in folded.values()))))
    moves = [f.body[np.isin(f.session, shared)].ravel() for f in folded.values()]
    return np.asarray(np.corrcoef(moves))


def one_factor(correlation: FloatArray) -> FloatArray:
    """Return loadings float64[I] whose products come nearest to the off-diagonal correlations (principal factors)."""
    reduced = correlation.copy()
    loadings = np.zeros(len(correlation))
    for _ in range(200):
        values, vectors = np.linalg.eigh(reduced)
        loadings = vectors[:, -1] * np.sqrt(max(values[-1], 0.0))
        np.fill_diagonal(reduced, np.minimum(loadings**2, 0.99))
    loadings = loadings * np.sign(loadings.sum())
    return np.asarray(np.clip(loadings, -0.99, 0.99))


def table(like: str, bars: dict[str, Bars], content: dict[str, Any]) -> str:
    """Return the moments of the real bars beside those simulated before and after the fit, as Markdown."""
    count = len(bars)
    columns = {
        "real": np.mean([moments(s) for s in real_moment_series(bars, content).values()], axis=0),
        "default simulation": simulated_moments(model.default_market(), None if like == "cn" else count),
        f"fitted, like {like}": simulated_moments(model.market_from(content), count),
    }
    lines = ["| 30-min bars | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for row, name in enumerate(MOMENTS):
        lines.append(f"| {name} | " + " | ".join(f"{column[row]:.3g}" for column in columns.values()) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m grandmodel.data.simulator_fit")
    parser.add_argument("--like", choices=model.PRESETS, required=True)
    parser.add_argument("--real", type=Path, required=True, metavar="FOLDER", help="folder of real market data")
    parser.add_argument("--write", action="store_true", help="write the preset's file")
    options = parser.parse_args(arguments)
    try:
        bars, source = read_real(options.real, options.like)
        content = calibrate(bars, options.like, source)
        if options.write:
            text = "# Fitted by grandmodel.data.simulator_fit; statistics of real bars, not bars.\n"
            dumped = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)
            write_text_atomic(model.preset_path(options.like), text + dumped)
        print({name: content[name] for name in SEARCH}, "\n")
        print(table(options.like, bars, content))
    except GrandModelError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
