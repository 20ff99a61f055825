"""Every verdict in one plain sentence, with what it could have shown, what it needs, and where its bar is from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from grandmodel.core.config import GateParams
from grandmodel.gates.result import GateResult
from grandmodel.gates.text import gate_title

NOT_TOLD = "not told"


@dataclass(frozen=True)
class Threshold:
    """One key of ``params.yaml`` that a gate is held to."""

    key: str
    value: float
    meaning: str
    source: str


@dataclass(frozen=True)
class GateRow:
    """What a reader needs to know of one verdict."""

    name: str
    title: str
    passed: bool
    sentence: str  # the verdict with its figures
    smallest_defect: str  # what 80 % power would have found
    data_needed: str
    power: str  # in which case the right verdict comes with which probability, and what is not seen
    thresholds: tuple[Threshold, ...]


def gate_rows(gates: Sequence[GateResult], params: GateParams) -> tuple[GateRow, ...]:
    """Return one row per verdict, in their order."""
    return tuple(_row(gate, thresholds_of(gate.name, params)) for gate in gates)


def gate_report(gates: Sequence[GateResult], params: GateParams) -> dict[str, Any]:
    """Return the rows as plain JSON types, beside how many gates refuse."""
    rows = gate_rows(gates, params)
    return {"refused": [row.name for row in rows if not row.passed], "gates": [asdict(row) for row in rows]}


def thresholds_of(gate: str, params: GateParams) -> tuple[Threshold, ...]:
    """Return what ``gate`` is held to: the parameters whose description reads ``G3: meaning; source``."""
    number = gate.partition("_")[0].upper()
    found = []
    for key, field in GateParams.model_fields.items():
        told = re.fullmatch(rf"{number}: (.*); (.*)", field.description or "")
        if told:
            found.append(Threshold(key, getattr(params, key), told[1], told[2]))
    return tuple(found)


def _row(gate: GateResult, thresholds: tuple[Threshold, ...]) -> GateRow:
    def told(key: str) -> str:
        return str(gate.evidence.get(key) or NOT_TOLD)

    return GateRow(
        gate.name,
        gate_title(gate.name),
        gate.passed,
        gate.reason,
        told("smallest_defect"),
        told("data_needed"),
        told("power_statement"),
        thresholds,
    )
