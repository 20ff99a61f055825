"""Operating errors, all in one tree.

::

    GrandModelError
    ├── DataError          a file, a bar or a feature breaks a rule
    ├── ConfigError        params.yaml, configs/ or a command-line value breaks a rule
    ├── LeakageError       something fitted on the past was asked about the span it was fitted on
    ├── TrainingError      a learner met an environment or a number it cannot work with
    ├── RegistryError      a release or a move between registries breaks a rule
    └── LedgerError        the promotion ledger does not verify

Each message says subject, rule, offending value and what to do next. A refusal at a gate is not an error: it is a
decision and travels as data. Programmer errors are assertions and stay on.
"""

from __future__ import annotations


class GrandModelError(Exception):
    """Base of every operating error."""

    def __init__(self, subject: str, rule: str, found: object = None, do: str = "") -> None:
        """Build the one-sentence message.

        Args:
            subject: what is wrong, such as a file, a row or a model name.
            rule: the rule it breaks, in words.
            found: the offending value; shown with ``repr`` unless None.
            do: what the reader should do next.
        """
        self.subject, self.rule, self.found, self.do = subject, rule, found, do
        message = f"{subject}: {rule}"
        if found is not None:
            message += f"; found {_short(found)}"
        if do:
            message += f". {do}"
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are rebuilt from their constructor arguments when they cross a process border.
        return (type(self), (self.subject, self.rule, self.found, self.do))


class DataError(GrandModelError):
    """A file, a bar or a feature breaks a rule."""


class ConfigError(GrandModelError):
    """A parameter or a command-line value breaks a rule."""


class LeakageError(GrandModelError):
    """Something fitted on a span was asked about that same span as if it were unseen."""


class TrainingError(GrandModelError):
    """A learner met an environment or a number it cannot work with."""


class RegistryError(GrandModelError):
    """A release or a move between registries breaks a rule."""


class LedgerError(GrandModelError):
    """The promotion ledger does not verify."""


def _short(value: object, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
