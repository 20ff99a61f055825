"""What a release was made with: the locked packages as a software bill of materials (CycloneDX 1.6, JSON).

Versions and licences are those of the packages installed here; a locked package that this platform does not install is
left out. No time, no serial number: equal environments give equal bytes, and so an equal release id.
"""

from __future__ import annotations

import re
from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, cast

from grandmodel.core.errors import ConfigError

BILL_OF_MATERIALS = "sbom.json"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==")
_LICENCE_CHARACTERS_MAX = 100  # some packages put the whole text there


def bill_of_materials(lock: Path) -> dict[str, Any]:
    """Return the bill of the packages that ``lock`` (lines ``name==version``) pins, sorted by name.

    Raises ConfigError where the file is absent or pins nothing.
    """
    try:
        lines = lock.read_text().splitlines()
    except OSError as error:
        raise ConfigError(str(lock), "the lock file must be readable", str(error)) from error
    names = sorted({re.sub(r"[-_.]+", "-", pin[1]).lower() for pin in map(_PIN.match, lines) if pin})
    if not names:
        raise ConfigError(str(lock), "must pin packages as name==version", do="Run `make lock`")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [component for component in map(_component, names) if component],
    }


def _component(name: str) -> dict[str, Any] | None:
    try:
        about = cast(Message, metadata(name))
    except PackageNotFoundError:
        return None
    reference = f"pkg:pypi/{name}@{about['Version']}"
    component = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": about["Version"],
        "purl": reference,
    }
    licences = _licences(about)
    return component | ({"licenses": licences} if licences else {})


def _licences(about: Message) -> list[dict[str, Any]]:
    """Return the licence as a package declares it: as SPDX expression, else by classifier, else in its own words."""
    # ``get``: the backport importlib_metadata, once imported, takes the finder over, and its messages raise KeyError.
    if expression := about.get("License-Expression"):
        return [{"expression": expression}]
    classified = [one.split(" :: ") for one in about.get_all("Classifier", []) if one.startswith("License :: ")]
    names = sorted({parts[-1] for parts in classified if parts[1:] != ["OSI Approved"]})
    words = (about.get("License") or "").strip()
    if not names and words and len(words) <= _LICENCE_CHARACTERS_MAX and "\n" not in words:
        names = [words]
    return [{"license": {"name": name}} for name in names]
