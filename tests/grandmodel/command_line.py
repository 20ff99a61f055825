"""The command line called from within a test."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from grandmodel.cli import app


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def parsed(*arguments: object) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refuse(code: int, *arguments: object) -> str:
    """Return the one sentence with which the command line refuses."""
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr
