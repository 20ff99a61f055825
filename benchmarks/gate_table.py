"""The gates' error rates as tables, from the lines that ``benchmarks.gate_study`` keeps."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from scipy.stats import beta

from grandmodel.gates.text import gate_title

CONFIDENCE = 0.95
Rows = Sequence[dict[str, Any]]


def upper_bound(hits: int, of: int) -> float:
    """Return the exact one-sided upper 95 % bound of a rate (Clopper and Pearson 1934)."""
    assert 0 <= hits <= of > 0, f"{hits} of {of}"
    return 1.0 if hits == of else float(beta.ppf(CONFIDENCE, hits + 1, of - hits))


def lower_bound(hits: int, of: int) -> float:
    """Return the exact one-sided lower 95 % bound of a rate (Clopper and Pearson 1934)."""
    return 1.0 - upper_bound(of - hits, of)


def table(studies: Sequence[Rows]) -> str:
    """Return both tables as Markdown, one row a study: what passed with its bounds, and which gates refused."""
    studies = [rows for rows in studies if rows]
    if not studies:
        return "No release is kept."
    return f"{rates(studies)}\n\n{refusals(studies)}"


def rates(studies: Sequence[Rows]) -> str:
    """Return passes with the bound that matters on each side, and medians of what the releases were."""
    head = (
        "edge", "seeds", "passed", "rate", "95 % bounds, each one-sided", "days", "Sharpe ratio of the oracle",
        "of the release", "seconds of one core",
    )  # fmt: skip
    return markdown(head, [_rate(rows) for rows in studies])


def refusals(studies: Sequence[Rows]) -> str:
    """Return in how many releases each gate refused, and in brackets in how many it alone did."""
    gates = sorted({name for rows in studies for row in rows for name in [*row["gates"], *row["refused_by"]]})
    body = []
    for rows in studies:
        counts = []
        for gate in gates:
            refused = [row["refused_by"] for row in rows if gate in row["refused_by"]]
            counts.append(f"{len(refused)} ({sum(len(by) == 1 for by in refused)})")
        body.append([_edge(rows), str(len(rows)), *counts])
    return markdown(("edge", "releases", *(_title(gate) for gate in gates)), body)


def _rate(rows: Rows) -> list[str]:
    passed, of = sum(row["passed"] for row in rows), len(rows)
    seeds = sorted(row["seed"] for row in rows)
    span = f"{seeds[0]} to {seeds[-1]}" + ("" if len(seeds) == seeds[-1] - seeds[0] + 1 else ", with holes")
    bounds = f"{lower_bound(passed, of):.1%} to {upper_bound(passed, of):.1%}"
    figures = [_median(rows, name) for name in ("days", "oracle_sharpe", "release_sharpe")]
    seconds = [row["cpu_seconds"] for row in rows if row["trained"]]  # others took up trainings of a study before
    spent = f"{median(seconds):.0f}" if seconds else "-"
    return [_edge(rows), span, f"{passed} of {of}", f"{passed / of:.1%}", bounds, *figures, spent]


def _edge(rows: Rows) -> str:
    return f"{rows[0]['simulator']['edge']:g}"


def _title(gate: str) -> str:
    return gate_title(gate) if gate.startswith("g") else gate


def _median(rows: Rows, name: str) -> str:
    """Return the middle of one figure over the releases that have it; a dash where none has."""
    values = [row["figures"][name] for row in rows if row["figures"].get(name) is not None]
    return f"{median(values):.3g}" if values else "-"


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
