"""Do the six VaR methods lose as often as they say? Chinese futures, 2018 to 2020, one bar and one day ahead.

    python -m benchmarks.coverage_study

Fixed before 2018 to 2020 were looked at, but for the rule of choice, which was written after a first look at three
decays there and uses none of it; how many of all settings would have covered is shown, so that the reader can judge:

- **Portfolio**: CFFEX.IF, CFFEX.IC, CFFEX.T, SHFE.cu, SHFE.rb, CZCE.TA. These are the six that the other studies use,
  but for INE.sc, which begins in 2018 and leaves nothing to choose on; CZCE.TA, made of oil, stands for it. Weights are
  fixed: long, inversely proportional to the daily deviation before 2018, gross 1.
- **Bars**: all instruments on the union of their 5-minute closes, each held at its last close while it rests. A bar
  return is the weighted sum of simple returns; the gap over a night or a weekend belongs to the first bar after it.
  One bar is 30 minutes of the wall clock, on which the strategic team decides; 5 minutes are shown besides. A day ends
  with the last bar of the trading day.
- **Level** 99 %. Forecasts for 2018 to 2020 are judged.
- **Choice**: window and decay of each method come from the bars before 2018 on which the longest window is full: of the
  settings that the exact binomial and both tests of Christoffersen pass there, that of the smallest quantile loss; of
  all, where none passes.
- **Time of day**: bar returns also over the mean absolute return of their time of day on past days, the forecast times
  that scale. Both are shown.

The same settings are then applied, without a new choice, to six other futures and to the Nasdaq future (2021 to 2025,
30-minute bars). Writes ``benchmarks/results/coverage.json`` and the tables in ``docs/risk.md``. The data lie beside the
checkout.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.futures_portfolio import Series, read_bars, read_half_hours, series_of
from grandmodel.core.random import random_stream
from grandmodel.risk.tail import EWMA_LAMBDA, METHODS
from grandmodel.risk.tail_kernel import rolling_tails
from grandmodel.stats.backtest import MethodForecasts, MethodVerdict, backtest, voting
from grandmodel.stats.clustering import conditional_coverage, independence
from grandmodel.stats.coverage import Verdict, binomial_band, exact_binomial, exceptions
from grandmodel.stats.seasonality import time_of_day_scale
from grandmodel.stats.shortfall import normal_excess, pareto_excess
from pipelines.workspace import PROJECT

Floats = NDArray[np.float64]

SYMBOLS = ("CFFEX.IC", "CFFEX.IF", "CFFEX.T", "CZCE.TA", "SHFE.cu", "SHFE.rb")
OTHERS = ("CFFEX.IH", "CFFEX.TF", "CZCE.SR", "DCE.i", "DCE.m", "SHFE.zn")
LEVEL, DRAWS, SEED = 0.99, 5_000, 1
FIRST, STOP = pd.Timestamp("2018-01-01").value, pd.Timestamp("2021-01-01").value
NASDAQ_FIRST, NASDAQ_STOP = pd.Timestamp("2021-09-01").value, pd.Timestamp("2026-01-01").value  # after a year to fill
# Multiples of 100: the tail of n returns is then n / 100 of them exactly, and no method is biased by rounding up.
WINDOWS = {"5 minutes": (500, 1000, 2000), "30 minutes": (200, 500, 1000, 2000), "1 day": (100, 200, 300)}
DECAYS = (0.85, 0.90, 0.94, 0.97, 0.98, 0.99)
USE_DECAY = ("monte_carlo", "filtered_historical", "ewma_normal")
NORMAL = ("parametric", "ewma_normal")
PLAIN, BY_TIME = "plain", "by time of day"
PAGE = PROJECT / "docs" / "risk.md"
BEGIN, END = "<!-- written by benchmarks.coverage_study -->", "<!-- end of benchmarks.coverage_study -->"


class Setting(NamedTuple):
    """What is chosen for a method."""

    window: int
    decay: float
    passed: bool  # whether the tests passed it before 2018


Chosen = Mapping[tuple[str, str, str], Setting]  # by horizon, kind of scaling and method


def scaled(series: Series, kind: str) -> tuple[Series, Floats]:
    """Return the series without the bars that have no scale yet, and the scale of each bar."""
    if kind == PLAIN:
        return series, np.ones(len(series.returns))
    scale = time_of_day_scale(series.returns, series.slot)
    known = np.isfinite(scale)
    return series.only(known), scale[known]


def tails_of(series: Series, scale: Floats, window: int, decay: float) -> dict[str, Floats]:
    """Return VaR and ES before each bar, float64[n, 2], of every method."""
    found, _ = rolling_tails(series.returns / scale, (LEVEL,), window, decay)
    return {method: found[:, place, 0, :] * scale[:, None] for place, method in enumerate(METHODS)}


def quantile_loss(returns: Floats, var_frac: Floats) -> float:
    """Return the mean loss whose minimum is the true quantile (Koenker and Bassett 1978)."""
    missed = returns + var_frac
    return float(np.mean(np.where(missed < 0, -LEVEL, 1.0 - LEVEL) * missed))


def passes(returns: Floats, var_frac: Floats) -> bool:
    """Return whether neither the count nor the order of exceptions is rejected."""
    hits = exceptions(returns, var_frac)
    results = (
        exact_binomial(int(hits.sum()), len(hits), LEVEL),
        independence(hits, LEVEL),
        conditional_coverage(hits, LEVEL),
    )
    return all(result.verdict is not Verdict.REJECTED for result in results)


def settings_of(series: Series, scale: Floats) -> Iterator[tuple[str, int, float, Floats]]:
    """Yield method, window, decay and VaR before each bar of all settings; methods without a decay come once."""
    for window in WINDOWS[series.horizon]:
        for decay in DECAYS:
            for method, tails in tails_of(series, scale, window, decay).items():
                if decay == EWMA_LAMBDA or method in USE_DECAY:
                    yield method, window, decay, tails[:, 0]


def choose(series: Series, kind: str) -> dict[tuple[str, str, str], Setting]:
    """Return the setting of each method, from the bars before 2018 alone."""
    part, scale = scaled(series, kind)
    stop = int(np.searchsorted(part.close_ns, FIRST))
    past, judged = part.only(slice(stop)), slice(max(WINDOWS[series.horizon]), stop)
    found: dict[str, list[tuple[bool, float, Setting]]] = {method: [] for method in METHODS}
    for method, window, decay, var in settings_of(past, scale[:stop]):
        fine = passes(past.returns[judged], var[judged])
        loss = quantile_loss(past.returns[judged], var[judged])
        found[method].append((not fine, loss, Setting(window, decay, fine)))
    return {(series.horizon, kind, method): min(rows)[2] for method, rows in found.items()}


def covering_settings(series: Series, kind: str, first: int, stop: int) -> dict[str, tuple[int, int]]:
    """Return for each method how many of its settings cover the bars in [first, stop), and how many there are."""
    part, scale = scaled(series, kind)
    rows = slice(*np.searchsorted(part.close_ns, [first, stop]))
    found = dict.fromkeys(METHODS, (0, 0))
    for method, _, _, var in settings_of(part, scale):
        good, tried = found[method]
        found[method] = (good + passes(part.returns[rows], var[rows]), tried + 1)
    return found


def judge(series: Series, kind: str, chosen: Chosen, first: int, stop: int) -> list[MethodVerdict]:
    """Return the verdict of each method on the bars in [first, stop)."""
    part, scale = scaled(series, kind)
    rows = slice(*np.searchsorted(part.close_ns, [first, stop]))
    forecasts = []
    for method in METHODS:
        setting = chosen[series.horizon, kind, method]
        var, es = tails_of(part, scale, setting.window, setting.decay)[method][rows].T
        excess = normal_excess(LEVEL) if method in NORMAL else pareto_excess()
        forecasts.append(MethodForecasts(method, f"{series.horizon}, {kind}", LEVEL, var, es, excess))
    stream = random_stream(SEED, "coverage study", series.horizon, kind)
    return backtest(part.returns[rows], forecasts, stream, draws=DRAWS)


def outside_domain_frac(series: Series, kind: str, chosen: Chosen, first: int, stop: int) -> float:
    """Return the share of bars on which the Cornish-Fisher expansion is not monotone: its number means little there."""
    part, scale = scaled(series, kind)
    setting = chosen[series.horizon, kind, "cornish_fisher"]
    _, in_domain = rolling_tails(part.returns / scale, (LEVEL,), setting.window)
    return float(1.0 - in_domain[slice(*np.searchsorted(part.close_ns, [first, stop]))].mean())


def kinds_of(horizon: str) -> tuple[str, ...]:
    return (PLAIN,) if horizon == "1 day" else (PLAIN, BY_TIME)


def row_of(verdict: MethodVerdict, setting: Setting) -> dict[str, Any]:
    """Return one verdict as plain data."""
    low, high = binomial_band(verdict.n, LEVEL)
    results = {one.test: {"statistic": one.statistic, "p": one.p, "power": one.power} for one in verdict.results}
    return {
        "horizon": verdict.horizon,
        "method": verdict.method,
        "window": setting.window,
        "decay": setting.decay if verdict.method in USE_DECAY else None,
        "passed_before_2018": setting.passed,
        "n": verdict.n,
        "exceptions": verdict.exceptions,
        "band": [low, high],
        "missing": verdict.missing,
        "results": results,
        "light": verdict.light.name.lower() if verdict.light is not None else "none",
        "mean_var_frac": verdict.mean_var_frac,
        "covers": verdict.covers,
    }


def rows_of(all_series: Iterable[Series], chosen: Chosen, first: int, stop: int) -> list[dict[str, Any]]:
    """Return the verdicts of all methods on all clocks, and who may vote on each."""
    rows = []
    for series in all_series:
        for kind in kinds_of(series.horizon):
            verdicts = judge(series, kind, chosen, first, stop)
            voters = voting(verdicts)
            outside = outside_domain_frac(series, kind, chosen, first, stop)
            for verdict in verdicts:
                row = row_of(verdict, chosen[series.horizon, kind, verdict.method])
                flagged = outside if verdict.method == "cornish_fisher" else 0.0
                rows.append({**row, "may_vote": verdict.method in voters, "outside_domain_frac": flagged})
    return rows


TESTS = {
    "exact binomial": "binomial p",
    "kupiec": "Kupiec p",
    "independence": "independence p",
    "conditional coverage": "conditional p",
    "Z1": "Z1 p",
    "Z2": "Z2 p",
}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return verdicts as a table of Markdown."""
    heads = ("horizon", "method", "setting", "exceptions", "band", *TESTS.values(), "light", "mean VaR", "covers")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        setting = f"{row['window']}" + (f", {row['decay']:g}" if row["decay"] else "")
        cells = [row["horizon"], row["method"].replace("_", " "), setting + ("" if row["passed_before_2018"] else " *")]
        cells += [f"{row['exceptions']} of {row['n']:,}", "{} to {}".format(*row["band"])]
        cells += [_p(row["results"][test]["p"]) for test in TESTS]
        cells += [row["light"], f"{row['mean_var_frac']:.3%}", "**yes**" if row["covers"] else "no"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def powers(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the power of each test at each number of forecasts, those of filtered historical, as Markdown."""
    lines = ["| forecasts | " + " | ".join(TESTS) + " |", "|---" * (len(TESTS) + 1) + "|"]
    shown = {row["n"]: row["results"] for row in rows if row["method"] == "filtered_historical"}
    for n, results in sorted(shown.items()):
        lines.append(f"| {n:,} | " + " | ".join(f"{results[test]['power']:.0%}" for test in TESTS) + " |")
    return "\n".join(lines)


def covering_table(found: Mapping[str, Mapping[str, tuple[int, int]]]) -> str:
    """Return how many settings of each method cover, by horizon, as a table of Markdown."""
    lines = ["| horizon | " + " | ".join(method.replace("_", " ") for method in METHODS) + " |"]
    lines.append("|---" * (len(METHODS) + 1) + "|")
    for horizon, row in found.items():
        lines.append(f"| {horizon} | " + " | ".join("{} of {}".format(*row[method]) for method in METHODS) + " |")
    return "\n".join(lines)


def page_of(result: Mapping[str, Any]) -> str:
    """Return what stands between the marks of the page."""
    rows = result["rows"]
    flagged = [row for row in rows if row["method"] == "cornish_fisher"]
    shares = ", ".join(f"{row['outside_domain_frac']:.0%} ({row['horizon']})" for row in flagged)
    return "\n\n".join(
        [
            table(rows),
            "A setting is window and decay; a star says that none of the method's settings passed before 2018. "
            f"Cornish-Fisher stood outside its domain on these shares of the bars: {shares}.",
            "How many of all settings that stood for choice cover 2018 to 2020, the chosen one among them:",
            covering_table(result["covering_settings"]),
            "Power of the tests, each against its alternative, as filtered historical has it:",
            powers(rows),
            f"The same settings on {', '.join(OTHERS)}, 2018 to 2020:",
            table(result["others"]),
            "The same settings on NQ, September 2021 to June 2025:",
            table(result["nasdaq"]),
        ]
    )


def _p(value: float) -> str:
    return "-" if not np.isfinite(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def write_page(text: str) -> None:
    """Replace what stands between the two marks on the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def study(folder: Path) -> dict[str, Any]:
    """Return the settings chosen and all verdicts."""
    clocks = ("30 minutes", "1 day")
    own = series_of(read_bars(folder / "cn_futures_5m", SYMBOLS), WINDOWS, "Asia/Shanghai", FIRST)
    others = series_of(read_bars(folder / "cn_futures_5m", OTHERS), clocks, "Asia/Shanghai", FIRST)
    nasdaq = series_of(read_half_hours(folder / "futures_30m"), clocks, "America/Chicago", FIRST)
    pairs = [(series, kind) for series in own for kind in kinds_of(series.horizon)]
    chosen = {key: setting for series, kind in pairs for key, setting in choose(series, kind).items()}
    covering = {f"{one.horizon}, {kind}": covering_settings(one, kind, FIRST, STOP) for one, kind in pairs}
    return {
        "symbols": SYMBOLS,
        "level": LEVEL,
        "draws": DRAWS,
        "seed": SEED,
        "rows": rows_of(own, chosen, FIRST, STOP),
        "covering_settings": covering,
        "others_symbols": OTHERS,
        "others": rows_of(others, chosen, FIRST, STOP),
        "nasdaq": rows_of(nasdaq, chosen, NASDAQ_FIRST, NASDAQ_STOP),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=PROJECT.parent / "shared/data")
    parser.add_argument("--no-write", action="store_true", help="leave results and page alone")
    given = parser.parse_args()
    result = study(given.folder)
    print(page_of(result))
    if not given.no_write:
        write_page(page_of(result))
        print(record.write("coverage", result))


if __name__ == "__main__":
    main()
