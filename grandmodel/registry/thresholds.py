"""The loosest thresholds with which a release may leave dev.

``params.yaml`` may be stricter and, to look at something, looser: gates judged by looser ones open no door. To change
what stands here is to change the rule of the house, in code that is reviewed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

AT_LEAST: Mapping[str, float] = {
    "evaluation.confidence": 0.95,  # of the intervals of G2, G3 and G5
    "evaluation.bootstrap_draws": 1000,
    "evaluation.random_baseline_draws": 10,
    "gates.truncation_points": 24,
    "gates.shuffle_points": 1,
    "gates.foresight_share_min": 0.5,
    "gates.placebo_draws": 4,
    "gates.seeds_min": 3,
    "gates.excess_lower_bound_min": 0.0,
    "gates.deflated_sharpe_min": 0.95,
    "gates.track_record_confidence": 0.95,
    "gates.cost_multiple": 2.0,
    "gates.delay_bars": 1,
    "gates.risk_false_alarm_max": 0.05,  # a rarer false alarm is a weaker test
}
AT_MOST: Mapping[str, float] = {
    "gates.universe_grace_days": 14,
    "gates.absent_sessions_max_frac": 0.05,
    "gates.predictive_ability_p_max": 0.05,
    "gates.overfitting_p_max": 0.05,
    "gates.stress_loss_max_frac": 0.25,
}


def looser_thresholds(params: object) -> list[str]:
    """Return one sentence for each threshold in ``params``, the content of a bundle's params.json, that is too loose.

    An absent threshold, and one that is no number, is too loose.
    """
    found = {key: _number(params, key.split(".")) for key in (*AT_LEAST, *AT_MOST)}
    return [
        f"{key} must be at least {floor:g} here, found {_said(found[key])}"
        for key, floor in AT_LEAST.items()
        if not found[key] >= floor
    ] + [
        f"{key} must be at most {ceiling:g} here, found {_said(found[key])}"
        for key, ceiling in AT_MOST.items()
        if not found[key] <= ceiling
    ]


def _number(content: Any, path: list[str]) -> float:
    """Return the number at ``path``, NaN where there is none."""
    for name in path:
        content = content.get(name) if isinstance(content, Mapping) else None
    return float(content) if isinstance(content, int | float) and not isinstance(content, bool) else math.nan


def _said(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:g}"
