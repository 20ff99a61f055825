"""The checkout that a release comes out of: its commit, and who wrote it."""

from __future__ import annotations

import subprocess

from pipelines.workspace import PROJECT


def commit_of_checkout(*ignored: str) -> str:
    """Return the commit, with ``+changes`` where files other than ``ignored`` differ from it; "" outside a checkout."""
    head = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", *(f":!{path}" for path in ignored))
    return head + ("+changes" if head and changes else "")


def author_of_checkout() -> str:
    """Return the name of who wrote the commit; "" outside a checkout."""
    return _git("log", "-1", "--format=%an")


def _git(*arguments: str) -> str:
    """Return what git says; "" where it is not there, or this is no checkout."""
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
