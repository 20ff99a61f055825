"""Who answers for a decision: names as they are written, told from parts of the house and from one another.

Names are words in a line, not logins; see docs/registry.md.
"""

from __future__ import annotations

import unicodedata

MACHINES = frozenset(  # names that no person answers to
    {"auto-approver", "canary", "promote-flow", "reconciler", "release-flow", "rollback-flow", "trial-ledger"}
)


def is_machine(name: str) -> bool:
    """Return whether ``name`` is a part of the house."""
    return spelling(name) in MACHINES


def is_same(name: str, other: str) -> bool:
    """Return whether both names look alike."""
    return spelling(name) == spelling(other)


def spelling(name: str) -> str:
    """Return one spelling for all names that look alike but for case, width, kind of dash or space."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join("".join("-" if unicodedata.category(one) == "Pd" else one for one in folded).split())
