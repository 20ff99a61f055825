"""``params.yaml`` and ``configs/*.yaml`` as frozen models: the field texts are the documentation.

``params.yaml`` holds all that changes a model; DVC reads the same file. ``params.quick.yaml`` holds only what the quick
profile sets otherwise. ``configs/<environment>.yaml`` holds what differs between registries. An unknown key is refused,
so a misspelt dial never goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from grandmodel.core.errors import ConfigError


class Section(BaseModel):
    """Base of all configuration sections: frozen, and no key is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


SectionT = TypeVar("SectionT", bound="Section")
Profile = Literal["quick", "full"]


class DataParams(Section):
    """Which raw bars go in."""

    instruments_max: int = Field(6, ge=1, description="a folder with more instruments is cut to its core set")


class FeatureParams(Section):
    """Windows of the feature columns, in bars of their own clock."""

    mlmi_neighbours: int = Field(200, ge=1)
    kernel_window_bars: int = Field(25, ge=2)
    kernel_bandwidth: float = Field(8.0, gt=0)
    kernel_relative_weight: float = Field(8.0, gt=0)
    kernel_lag_bars: int = Field(2, ge=1)
    profile_window_bars: int = Field(20, ge=5)
    profile_low_node_frac: float = Field(0.3, gt=0, lt=1)
    mmd_window_bars: int = Field(100, ge=20)
    mmd_reference_points: int = Field(200, ge=20, description="bars drawn from the training fold as reference")
    volatility_window_bars: int = Field(30, ge=5)
    gap_lookback_bars: int = Field(20, ge=2)
    gap_body_multiple: float = Field(1.5, gt=0)
    gap_age_bars_max: int = Field(50, ge=1)
    scaled_abs_max: float = Field(5.0, gt=0, description="scaled features are clipped to this")


class FoldParams(Section):
    """Which sessions a training sees and which test it: purged, with an embargo between."""

    scheme: Literal["walk_forward", "combinatorial"] = Field(
        "walk_forward", description="train on all before a test, or on all around it: every choice of test groups"
    )
    count: int = Field(2, ge=1, description="walk-forward: folds, side by side at the end of the sessions")
    test_frac: float = Field(0.2, gt=0, lt=1, description="walk-forward: share of all sessions in one test fold")
    groups: int = Field(6, ge=2, description="combinatorial: groups of sessions side by side")
    test_groups: int = Field(2, ge=1, description="combinatorial: how many of them a fold tests")
    embargo_sessions: int = Field(1, ge=0, description="sessions dropped between training and test, on either side")


class MarketParams(Section):
    """Costs, leverage and reward of the simulated broker."""

    equity: float = Field(10_000_000, gt=0, description="equity per instrument in its currency; sets impact")
    volatility_target_annual_frac: float = Field(0.2, gt=0, description="position 1.0 has this volatility in training")
    leverage_max: float = Field(5.0, gt=0)
    impact_coefficient: float = Field(0.3, ge=0, description="square-root impact: coefficient x sigma x sqrt(q / V)")
    ruin_drawdown_frac: float = Field(0.5, gt=0, le=1, description="an episode terminates at this drawdown")
    downside_penalty: float = Field(0.1, ge=0, description="weight of the squared negative return in the reward")


class TeamParams(Section):
    """Training of one team by MAPPO (Yu et al. 2022)."""

    path: Literal["fused", "torch"] = Field(
        "fused", description="on a CPU: compiled code, or torch, several times slower"
    )
    mixture: Literal["none", "superposition", "softmax"] = Field(
        "none", description="layer of 8 market states in each actor: complex-valued, or plain; needs path: torch"
    )
    dropout: float = Field(0.0, ge=0, le=0.9, description="share of an actor's hidden units; needs path: torch")
    shared_actors: bool = Field(False, description="one actor for all agents instead of one for each")
    lags: int = Field(1, ge=1, description="bars of its columns that an agent sees")
    hidden: int = Field(64, ge=4)
    critic_hidden: int = Field(128, ge=4)
    environments: int = Field(256, ge=1)
    window_bars: int = Field(128, ge=8, description="length of a training episode")
    rollout_steps: int = Field(64, ge=2)
    frames: int = Field(400_000, ge=1, description="environment steps of all agents together")
    epochs: int = Field(4, ge=1)
    minibatches: int = Field(4, ge=1)
    learning_rate: float = Field(7e-4, gt=0)
    critic_learning_rate: float = Field(7e-4, gt=0)
    gamma: float = Field(0.99, gt=0, le=1)
    gae_lambda: float = Field(0.95, ge=0, le=1)
    clip: float = Field(0.2, gt=0)
    entropy: float = Field(0.01, ge=0)
    value_coefficient: float = Field(0.5, gt=0)
    gradient_norm_max: float = Field(0.5, gt=0)


class TrainingParams(Section):
    """How many independent trainings, and the two teams."""

    seeds: int = Field(5, ge=1, description="independent trainings per fold; the first one is released")
    strategic: TeamParams
    tactical: TeamParams


class EvaluationParams(Section):
    """Out-of-sample statistics."""

    bootstrap_draws: int = Field(2000, ge=200)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    random_baseline_draws: int = Field(20, ge=1)
    average_fast_bars: int = Field(20, ge=1, description="moving-average rule, 30-minute bars")
    average_slow_bars: int = Field(50, ge=2)


class GateParams(Section):
    """Thresholds of the gates, each with its source; the gate report shows both."""

    universe_grace_days: int = Field(
        14,
        ge=0,
        description="G0: an instrument whose bars stop so many days before the newest still trades; house rule",
    )
    absent_sessions_max_frac: float = Field(
        0.05, ge=0, lt=1, description="G0: trading days of its market that an instrument may lack; house rule"
    )
    truncation_points: int = Field(
        24, ge=1, description="G1: rows of each matrix that are computed again from the past alone; house rule"
    )
    shuffle_points: int = Field(
        1, ge=1, description="G1: rows of each instrument behind which the future is shuffled; house rule"
    )
    foresight_share_min: float = Field(
        0.5,
        gt=0,
        le=1,
        description="G2: share of perfect foresight that a team shown the next return must capture; house rule",
    )
    placebo_draws: int = Field(4, ge=2, description="G2: trainings on each kind of placebo; house rule")
    seeds_min: int = Field(3, ge=2, description="G3: fewest trainings; Agarwal et al. (2021), 3 to 10 are usual")
    excess_lower_bound_min: float = Field(
        0.0,
        description="G3: the lower bound of the annual log return over each baseline; zero is the question",
    )
    deflated_sharpe_min: float = Field(
        0.95, gt=0, lt=1, description="G4: deflated Sharpe ratio; the usual bar in Bailey and Lopez de Prado (2014)"
    )
    predictive_ability_p_max: float = Field(
        0.05, gt=0, lt=1, description="G4: consistent p-value that no trial beats flat; the level of Hansen (2005)"
    )
    track_record_confidence: float = Field(
        0.95, gt=0.5, lt=1, description="G4: of the minimum track record; Bailey and Lopez de Prado (2012)"
    )
    overfitting_p_max: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="G4: share of searches without skill that overfit no more than this one; house rule",
    )
    cost_multiple: float = Field(2.0, ge=1, description="G5: costs that the edge must survive; house rule")
    delay_bars: int = Field(1, ge=1, description="G5: delay of every fill that the edge must survive; house rule")
    stress_loss_max_frac: float = Field(
        0.25, gt=0, description="G6: loss of equity in any scenario, breaker armed; house rule above the halt at 20 %"
    )
    risk_level: float = Field(
        0.99, gt=0.5, lt=1, description="G6: level of the value at risk that is judged; Basel Committee (1996)"
    )
    risk_false_alarm_max: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="G6: chance that a right risk number is refused, over all its tests together; Holm (1979)",
    )


class StressParams(Section):
    """Scenarios replayed through features, policies and the armed breaker."""

    warmup_bars: int = Field(5520, ge=1, description="5-minute bars replayed before the shock")
    after_bars: int = Field(288, ge=1, description="5-minute bars replayed from the shock on")


class Params(Section):
    """All that changes a model."""

    profile: Profile = Field("full", description="quick: fewer frames and seeds, for the dev registry alone")
    seed: int = Field(ge=0)
    data: DataParams
    features: FeatureParams
    folds: FoldParams
    market: MarketParams
    training: TrainingParams
    evaluation: EvaluationParams
    gates: GateParams
    stress: StressParams


class BreakerLimits(Section):
    """Drawdown breaker: at each level the gross cap falls to the fraction beside it and stays there."""

    half_drawdown_frac: float = Field(0.10, gt=0, lt=1)
    quarter_drawdown_frac: float = Field(0.15, gt=0, lt=1)
    halt_drawdown_frac: float = Field(0.20, gt=0, lt=1)


class RiskLimits(Section):
    """What an order or a book may be, and how it is sized. Changed by a line of the ledger alone; see risk/limits.py.

    Exposures are money over equity. A value may be tightened to zero where zero means something.
    """

    trade_risk_max_frac: float = Field(
        0.02,
        gt=0,
        lt=1,
        description="of equity: loss of one position, however it was built up, at its own adverse move",
    )
    daily_loss_max_frac: float = Field(
        0.05, gt=0, lt=1, description="of the equity at the end of the day before; at it the system only reduces"
    )
    day_start_utc_hour: int = Field(0, ge=0, le=23, description="hour at which a day of the daily loss begins")
    gross_exposure_max: float = Field(5.0, gt=0, description="sum of absolute exposures; the breaker's cap at level 0")
    net_exposure_max: float = Field(3.0, gt=0, description="absolute sum of signed exposures")
    concentration_max_frac: float = Field(
        0.15, gt=0, le=1, description="exposure of one instrument as a share of gross_exposure_max, not of what is held"
    )
    correlation_max: float = Field(
        0.7, gt=0, le=1, description="of two positions held, times the product of their signs: above it, one bet twice"
    )
    positions_max: int = Field(20, ge=1, description="instruments held at once")
    value_at_risk_max_frac: float = Field(0.05, gt=0, lt=1, description="of equity: 99 % value at risk over one day")
    price_collar_frac: float = Field(0.05, gt=0, lt=1, description="move of a price from one decision to the next")
    duplicate_window_ms: int = Field(1000, ge=0, description="the same order is not sent twice within this time")
    messages_per_minute_max: int = Field(120, ge=1, description="orders in any 60 s; those that reduce risk count too")
    kelly_fraction: float = Field(0.25, gt=0, le=1, description="share of the growth-optimal size (Kelly 1956)")
    kelly_cap_frac: float = Field(0.25, gt=0, le=1, description="largest exposure of one instrument that sizing gives")


class Environment(Section):
    """One registry and the conditions of entering it."""

    name: Literal["dev", "staging", "canary", "production"]
    registered_model: str
    gates_required: tuple[str, ...] = Field((), description="gates that must have passed")
    profiles_admitted: tuple[Profile, ...] = Field((), description="profiles it takes releases of; none named: any")
    approval_required: bool = Field(False, description="a named person other than the author must approve")
    trusted_keys: dict[str, str] = Field({}, description="name: public key (hex) of who may sign; none named: anybody")
    review_after_days: int | None = Field(None, ge=1, description="a release stands so long, then is no longer served")
    data_age_max_days: int | None = Field(None, ge=1, description="since the end of the training data; simulated: any")
    breaker: BreakerLimits = BreakerLimits()
    limits: RiskLimits = RiskLimits()


def load_params(path: Path, overlay: Path | None = None) -> Params:
    """Read ``params.yaml``, with what ``overlay`` names set otherwise; keys that it leaves out stay as they are.

    Raises ConfigError naming the key, the rule and the value.
    """
    if overlay is None:
        return load_section(path, Params)
    content = _overlaid(_read_mapping(path), _read_mapping(overlay))
    return _validated(content, f"{path} under {overlay.name}", Params)


def load_environment(path: Path) -> Environment:
    """Read one ``configs/<environment>.yaml``. Raises ConfigError naming the key, the rule and the value."""
    return load_section(path, Environment)


def load_section(path: Path, model: type[SectionT]) -> SectionT:
    """Read a YAML file as ``model``. Raises ConfigError naming the key, the rule and the value."""
    return _validated(_read_yaml(path), str(path), model)


def _read_yaml(path: Path) -> object:
    try:
        content: object = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(str(path), "the file must exist", do="Run from the project root") from error
    except yaml.YAMLError as error:
        raise ConfigError(str(path), "the file must be YAML", str(error)) from error
    return content


def _read_mapping(path: Path) -> dict[str, Any]:
    content = _read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(str(path), "the file must hold keys with values", content)
    return content


def _overlaid(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``overlay``; sections are gone into key by key."""
    result = dict(base)
    for key, value in overlay.items():
        below = result.get(key)
        result[key] = _overlaid(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _validated(content: object, subject: str, model: type[SectionT]) -> SectionT:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "(top level)"
        raise ConfigError(
            f"{subject} key {key}", first["msg"], first.get("input"), "Correct the key and run again"
        ) from error
