"""One sentence on standard error for whatever goes wrong, and the exit code that tells whose turn it is."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from typer import Exit
from typer.core import TyperGroup
from typer.exceptions import TyperException

from grandmodel.core.errors import GrandModelError

OPERATING_ERROR, REFUSED, INTERRUPTED = 1, 3, 130


class OneSentence(TyperGroup):
    """The root command: an operating error exits 1, wrong usage 2, each with one sentence."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line and leave with its exit code."""
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except GrandModelError as error:
            _leave(str(error), OPERATING_ERROR)
        except TyperException as error:
            _leave(error.format_message().replace("Value error, ", ""), error.exit_code)
        except Exit as error:
            code = error.exit_code
        except KeyboardInterrupt:
            code = INTERRUPTED
        sys.exit(code or 0)


def _leave(sentence: str, code: int) -> None:
    if sentence:  # none when the help was shown instead
        Console(stderr=True).print(f"[bold red]error:[/bold red] {escape(sentence)}", soft_wrap=True, highlight=False)
    sys.exit(code)
