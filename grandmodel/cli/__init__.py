"""The ``grandmodel`` command; every command that reports takes ``--json``.

Exit codes: 0 done, 1 an operating error, 2 wrong usage, 3 a promotion was refused, which is a decision. Errors are one
sentence on standard error. Heavy libraries are imported by the commands that need them, so that ``--help`` is quick.
"""

from grandmodel.cli.app import app, main

__all__ = ["app", "main"]
