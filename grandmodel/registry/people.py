"""Who answers for a decision: names as they are written, told from parts of the house and from one another.

Names are words in a line, not logins; see docs/registry.md.
"""

from __future__ import annotations

import unicodedata

MINUS = "\u2212"
NOBODY = "auto-approver"  # the name that says that nobody looked
MACHINES = frozenset(  # names that no person answers to
    {NOBODY, "canary", "promote-flow", "reconciler", "release-flow", "rollback-flow", "trial-ledger"}
)


def why_unfit(name: str, author: str) -> str:
    """Return why ``name`` cannot answer for a release of ``author``; "" where it can."""
    if not name.strip():
        return "a named person must answer for it"
    if not name.strip().isprintable():
        return f"a name must be one line of plain text, found {name!r}"
    if spelling(name) in map(spelling, MACHINES):
        return f"a person must answer for it, not a part of the house, found {name!r}"
    if spelling(name) == spelling(author):
        return f"another person than the author must answer for it, found {name!r}"
    return ""


def spelling(name: str) -> str:
    """Return one spelling for all names that look alike but for case, width, dashes, spaces or what is not drawn."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    drawn = (one for one in folded if unicodedata.category(one) != "Cf" and not "\ufe00" <= one <= "\ufe0f")
    return " ".join("".join(" " if unicodedata.category(one) == "Pd" or one == MINUS else one for one in drawn).split())
