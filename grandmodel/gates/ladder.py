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


def verdict(results: Sequence[GateResult], required: Sequence[str]) -> Verdict:
    """Return the verdict over the ``required`` gates; one that was not run, or refused once, refuses.

    Gates that ran without being required are told when they refuse, and do not decide.
    """
    missing = [name for name in required if all(result.name != name for result in results)]
    failed = [name for name in required if any(result.name == name and not result.passed for result in results)]
    refused_by = tuple(name for name in required if name in missing or name in failed)
    extra = [result.name for result in results if not result.passed and result.name not in required]
    aside = f" Not required here, but refusing: {listing([gate_title(name) for name in extra])}." if extra else ""
    if not required:
        return Verdict(True, (), "No gate is required here." + aside)
    if not refused_by:
        return Verdict(True, (), f"All {count(len(required), 'required gate')} passed." + aside)
    first = refused_by[0]
    why = "it was not run" if first in missing else next(r.reason for r in results if r.name == first and not r.passed)
    titles = [gate_title(name) for name in refused_by]
    sentence = f"Refused by {listing(titles, 8)}. First, {titles[0]}: {why.rstrip('.')}."
    return Verdict(False, refused_by, sentence + aside)
