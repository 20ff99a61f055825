"""From single gates to one verdict on a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grandmodel.gates.result import GateResult
from grandmodel.gates.text import count, gate_title, listing


@dataclass(frozen=True)
class Verdict:
    """Whether a release may pass, and which gates refuse it."""

    passed: bool
    refused_by: tuple[str, ...]
    sentence: str
    waived: tuple[str, ...] = ()  # gates that refused and were let pass by a named person's line in the ledger


def verdict(results: Sequence[GateResult], required: Sequence[str], waived: Sequence[GateResult] = ()) -> Verdict:
    """Return the verdict over the ``required`` gates; one that was not run, or refused once, refuses.

    A refusal among ``waived`` lets the release pass and is told first. Gates that ran without being required are told
    when they refuse, and do not decide.
    """
    refusing = [result for result in results if not result.passed and result not in waived]
    let_pass = tuple(name for name in required if any(result.name == name for result in waived))
    missing = [name for name in required if all(result.name != name for result in results)]
    failed = [name for name in required if any(result.name == name for result in refusing)]
    refused_by = tuple(name for name in required if name in missing or name in failed)
    extra = [result.name for result in results if not result.passed and result.name not in required]
    aside = f" Not required here, but refusing: {listing([gate_title(name) for name in extra])}." if extra else ""
    if not required:
        return Verdict(True, (), "No gate is required here." + aside)
    if not refused_by and let_pass:
        sentence = f"Refused by {listing([gate_title(name) for name in let_pass], 8)} and let pass by waiver."
        return Verdict(True, (), sentence + aside, let_pass)
    if not refused_by:
        return Verdict(True, (), f"All {count(len(required), 'required gate')} passed." + aside)
    first = refused_by[0]
    why = "it was not run" if first in missing else next(r.reason for r in refusing if r.name == first)
    titles = [gate_title(name) for name in refused_by]
    sentence = f"Refused by {listing(titles, 8)}. First, {titles[0]}: {why.rstrip('.')}."
    return Verdict(False, refused_by, sentence + aside, let_pass)
