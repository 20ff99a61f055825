"""Controls as data: what must hold, the limit it stands on, the test that makes it fire, the lines that it leaves."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from grandmodel.core.config import Environment, Section, load_section
from grandmodel.core.errors import ConfigError

LimitValue = float | bool | tuple[str, ...]


class Trigger(Section):
    """A line that the control writes when it fires; all that is given must hold."""

    record: Literal["journal", "ledger"] = Field(description="journal of the guard, or ledger of the registries")
    kind: str = Field(min_length=1, description="kind of the line")
    limit: str = Field("", description="name of the limit on the line")
    says: str = Field("", description="words that the reason on the line holds")


class Control(Section):
    """One rule and where its evidence stands."""

    id: str = Field(pattern=r"^[a-z][a-z_]*$")
    rule: str = Field(min_length=1, description="what must hold, in one sentence")
    limits: tuple[str, ...] = Field((), description="names below an environment of configs/; none: no number is set")
    test: str = Field(description="pytest id of the test that makes the control fire")
    triggers: tuple[Trigger, ...] = Field(min_length=1, description="any of them is a firing")
    source: str = Field(min_length=1, description="text from which the rule takes its idea; 'house' is our own")


class Controls(Section):
    """All controls, and the environment whose limits they stand on."""

    environment: Literal["dev", "staging", "canary", "production"]
    controls: tuple[Control, ...] = Field(min_length=1)


def load_controls(path: Path, checkout: Path, environment: Environment) -> tuple[Control, ...]:
    """Read the controls and check all that they point at.

    Args:
        path: of ``controls.yaml``.
        checkout: folder that the test ids are relative to.
        environment: the one that the file must name, with its limits.

    Raises:
        ConfigError: a key, value or name breaks a rule: two controls with one id, a limit that the environment does
            not have, a test that is not there.
    """
    content = load_section(path, Controls)
    if content.environment != environment.name:
        raise ConfigError(f"{path} key environment", f"must be {environment.name!r}", content.environment)
    seen: set[str] = set()
    for control in content.controls:
        subject = f"{path} control {control.id}"
        if control.id in seen:
            raise ConfigError(subject, "must stand there once")
        seen.add(control.id)
        if not names_a_test(control.test, checkout):
            raise ConfigError(subject, "its test must exist", control.test, "Name a test as path::function")
        for name in control.limits:
            limit_value(environment, name, subject)
    return content.controls


def limit_value(environment: Environment, name: str, subject: str = "limit") -> LimitValue:
    """Return the value of a limit such as ``limits.daily_loss_max_frac``. Raises ConfigError where there is none."""
    value: object = environment
    for part in name.split("."):
        if not isinstance(value, Section) or part not in type(value).model_fields:
            raise ConfigError(subject, f"its limit must be one of the environment {environment.name}", name)
        value = getattr(value, part)
    if not isinstance(value, int | float | tuple):
        raise ConfigError(subject, "its limit must be a number, a switch or a list", name)
    return value


def names_a_test(test_id: str, checkout: Path) -> bool:
    """Return whether ``path::function`` names a test function of a file below ``tests/`` of the checkout."""
    path, _, function = test_id.partition("::")
    if not function.startswith("test_") or Path(path).parts[:1] != ("tests",) or ".." in Path(path).parts:
        return False
    if not (checkout / path).is_file():
        return False
    return function in _functions((checkout / path).read_text(encoding="utf-8"))


@cache  # by content, because several controls name tests of one file
def _functions(source: str) -> frozenset[str]:
    return frozenset(node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
