"""Write the pages whose figures come from kept results: docs/experiments.md, and one section of docs/gates.md.

``python -m benchmarks.experiments``; a test holds that both pages are what this makes of ``benchmarks/results``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks import futures_walk_forward, record
from benchmarks.gate_study import MUST_CATCH_EDGE, PLAN, RESULTS, SESSIONS, SYMBOLS, Study, read_lines
from benchmarks.gate_table import Rows, markdown, rates, refusals
from grandmodel.core.files import write_text_atomic
from grandmodel.gates.text import count, gate_title, listing, number, percent, plain_name
from pipelines.workspace import PROJECT

PAGE = PROJECT / "docs" / "experiments.md"
GATES = PROJECT / "docs" / "gates.md"
INTRODUCTION = """
What was tried, with its verdict, whatever it says. Every figure is made by `python -m benchmarks.experiments` from what
stands in `benchmarks/results`. **Not covered:** what a training learns ([learning](learning.md)), speed
([performance](performance.md)), the risk numbers ([risk](risk.md)).
"""
PILOT = """
On simulated markets; what was asked stands on the page of the [gates](gates.md#measured-error-rates). The pilot chose
the universe and the edge that must be caught; it has seeds and files of its own, and is no part of the rates.
"""
MEASURED = f"""
One release is one simulated market of {SESSIONS} sessions of {listing(SYMBOLS)}, learnt and judged by all stages in the
quick profile; its seed makes the market and every training on it. In a market of edge 0 there is nothing to find, and
whatever passes G0 to G6 is a false promotion. Edge {MUST_CATCH_EDGE:g} is the size that the ladder must catch; the
Sharpe ratios below, annual and after costs, say how much that is. The bounds are exact (Clopper and Pearson 1934), each
with 95 % confidence on its own side: with the upper one read edge 0, with the lower one the other.
"""
ALSO_TRIED = f"""
Edge 0.75 was the first choice for what must be caught. Its study was ended when it had shown that 200 days are too few
for it; edge {MUST_CATCH_EDGE:g}, that of the tracked market, was chosen then, on a pilot of other seeds.
"""
REFUSALS = "In how many releases each gate refused, and in brackets in how many it alone did:"
BEGIN, END = "<!-- written by benchmarks.experiments -->", "<!-- end of benchmarks.experiments -->"


def main() -> None:
    """Write both pages."""
    write_text_atomic(PAGE, experiments_page())
    write_text_atomic(GATES, with_section(GATES.read_text(), gates_section()))


def with_section(page: str, section: str) -> str:
    """Return ``page`` with ``section`` between its two marks."""
    before, _, rest = page.partition(BEGIN)
    assert END in rest, "the page must hold both marks"
    return f"{before}{BEGIN}\n\n{section}\n\n{END}{rest.partition(END)[2]}"


def gates_section() -> str:
    """Return the measured error rates as they stand on the page of the gates."""
    studies = {edge: read_lines(Study(edge).path) for edge in study_edges()}
    kept: list[Rows] = [rows for rows in studies.values() if rows]
    missing = [f"{releases} at edge {edge:g}" for edge, releases in PLAN if len(studies[edge]) < releases]
    parts = [prose(MEASURED)]
    if kept:
        parts += [rates(kept), prose(ALSO_TRIED), prose(REFUSALS), refusals(kept), prose(origin(kept))]
    if missing:
        parts.append(prose(f"Not all kept yet are the releases planned: {listing(missing)} (`make bench-gates`)."))
    return "\n\n".join(parts)


def experiments_page() -> str:
    """Return the whole page of experiments."""
    parts = [
        "# Experiments",
        prose(INTRODUCTION),
        "## Real futures, walk-forward",
        futures_part(record.RESULTS / f"{futures_walk_forward.NAME}.json"),
        "## Error rates of the gates",
        prose(PILOT),
        study_part("Study", [Study(edge) for edge in study_edges()]),
        study_part("Pilot", [Study(edge, pilot=True) for edge in sorted(kept_edges("pilot_edge_"))]),
    ]
    return "\n\n".join(parts) + "\n"


def prose(text: str) -> str:
    """Return a paragraph in lines as long as the project's."""
    return fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def study_edges() -> list[float]:
    """Return the edges that are planned, and others of which a study is kept, from the smallest."""
    return sorted({edge for edge, _ in PLAN} | kept_edges("edge_"))


def kept_edges(prefix: str) -> set[float]:
    """Return the edges of which a file with ``prefix`` is kept."""
    return {float(path.stem.removeprefix(prefix)) for path in RESULTS.glob(f"{prefix}*.jsonl")}


def study_part(name: str, studies: list[Study]) -> str:
    """Return the tables of some studies, with the commands that made them."""
    kept = [(study, rows) for study in studies if (rows := read_lines(study.path))]
    if not kept:
        return f"### {name}\n\nAbsent: no result is kept."
    commands = [f"    python -m benchmarks.gate_study --edge {s.edge:g} --releases {len(rows)}" + " --pilot" * s.pilot
                for s, rows in kept]  # fmt: skip
    lines: list[Rows] = [rows for _, rows in kept]
    return "\n\n".join([f"### {name}", "\n".join(commands), rates(lines), refusals(lines), prose(origin(lines))])


def origin(studies: Sequence[Rows]) -> str:
    """Return where and when the lines of some studies were measured."""
    rows = [row for study in studies for row in study]

    def all_of(words: Iterable[str]) -> str:
        return listing(sorted(set(words)))

    days = [row["measured"][:10] for row in rows]
    return (
        f"Simulated data. Measured {all_of([min(days), max(days)])} on "
        f"{all_of(machine_words(row['machine']) for row in rows)}; commit "
        f"{all_of(commit_words(row['commit']) for row in rows)}; parameters but for the seed "
        f"{all_of('`' + row['params_hash'][:12] + '`' for row in rows)}."
    )


def commit_words(commit: str) -> str:
    """Return a commit, and whether sources differed from it."""
    return f"`{commit[:12]}`" + " with changes" * commit.endswith("+changes")


def machine_words(machine: dict[str, Any]) -> str:
    """Return a machine in words."""
    return f"{machine['processor']}, {count(machine['cores'], 'core')}, Python {machine['python']}"


def futures_part(path: Path) -> str:
    """Return the walk-forward over real futures: how it was run, every verdict, what every strategy earned."""
    if not path.exists():
        return "Absent: no result is kept (`python -m benchmarks.futures_walk_forward`)."
    found = json.loads(path.read_text())
    minutes, metrics, left_out = found["seconds"]["all"] / 60, found["metrics"], found["left_out"].items()
    bars, commit = found["bars"], commit_words(found["commit"])
    stages = [(name, spent) for name, spent in found["seconds"].items() if name != "all"]
    parts = [
        "    python -m benchmarks.futures_walk_forward",
        prose(
            f"{count(len(bars), 'future')} of China, {number(sum(bars.values()), 0)} bars of 5 minutes, "
            f"real data (hash `{found['data_hash'][:12]}`). {count(found['seeds'], 'training')} on each of "
            f"{count(found['folds'], 'fold')}; tested from {found['first_day']} to {found['last_day']}, "
            f"{metrics['days']} days, always on what follows the training. Seed {found['seed']}, parameters "
            f"`{found['params_hash'][:12]}`, commit {commit}, measured {found['measured'][:10]} in "
            f"{minutes:.0f} minutes on {machine_words(found['machine'])}; the largest process took "
            f"{found['memory_gib']:.1f} GiB."
        ),
        *(prose(f"Left out by name: {symbol}. The data suite blocks it: {why}") for symbol, why in left_out),
        prose(f"**{found['sentence']}**"),
        gates_table(found["gates"]),
        prose("After costs, the middle of all trainings; released is the first training, named beforehand:"),
        strategies_table(found["strategies"]),
        prose(f"Minutes by stage: {', '.join(f'{name} {spent / 60:.1f}' for name, spent in stages)}."),
    ]
    return "\n\n".join(parts)


def gates_table(gates: list[dict[str, Any]]) -> str:
    """Return every verdict with its sentence."""
    rows = [[gate_title(g["name"]), "passed" if g["passed"] else "**refused**", g["reason"]] for g in gates]
    return markdown(("gate", "verdict", "why"), rows)


def strategies_table(strategies: list[dict[str, Any]]) -> str:
    """Return what the release and every baseline earned after costs."""
    rows = []
    for row in strategies:
        sharpe, turnover = row["sharpe_annual"], row["turnover_per_year"]
        figures = [percent(row["net_return_annual_frac"]), "-" if sharpe is None else number(sharpe)]
        figures += [percent(row["max_drawdown_frac"]), "-" if turnover is None else number(turnover, 0)]
        rows.append([plain_name(row["name"]), *figures])
    return markdown(("strategy", "net return a year", "Sharpe ratio", "largest drawdown", "turnover a year"), rows)


if __name__ == "__main__":
    main()
