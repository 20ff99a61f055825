from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandmodel.core.config import BreakerLimits, RiskLimits, load_environment
from grandmodel.core.errors import ConfigError, LedgerError
from grandmodel.core.hashing import hash_json
from grandmodel.registry.conditions import ENVIRONMENTS
from grandmodel.registry.ledger import Ledger
from grandmodel.risk.limits import (
    Breach,
    book_breaches,
    collar_breaches,
    daily_loss_breach,
    instrument_cap,
    limit_change,
    limits_as_record,
    limits_of_line,
    limits_of_record,
    same_bet,
    value_at_risk_breach,
)

LIMITS, BREAKER = RiskLimits(), BreakerLimits()
SYMBOLS = ("ES", "NQ", "CL")
CALM = np.full(3, 0.01)
CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def breaches(*exposure: float, move: float = 0.001, rho: float = 0.0, **changes: Any) -> list[Breach]:
    limits = LIMITS.model_copy(update=changes)
    n = len(exposure)
    correlation = np.full((n, n), rho) + (1 - rho) * np.eye(n)
    return list(book_breaches(limits, np.array(exposure), np.full(n, move), correlation, SYMBOLS[:n]))


def test_a_book_within_its_limits_breaks_none() -> None:
    assert breaches(0.75, -0.75, 0.5, rho=0.6) == []
    assert breaches() == []


@pytest.mark.parametrize(
    ("exposure", "changes", "expected"),
    [
        (
            (0.6, -0.6),
            {"gross_exposure_max": 1.0, "concentration_max_frac": 1.0},
            Breach("gross_exposure_max", 1.2, 1.0),
        ),
        ((-0.5, -0.5), {"net_exposure_max": 0.9}, Breach("net_exposure_max", 1.0, 0.9)),
        ((0.1, -0.1, 0.1), {"positions_max": 2}, Breach("positions_max", 3.0, 2.0)),
        ((0.1, -0.8), {}, Breach("concentration_max_frac", 0.16, 0.15, "NQ")),
        ((0.1, -0.5), {"trade_risk_max_frac": 0.0004}, Breach("trade_risk_max_frac", 0.0005, 0.0004, "NQ")),
    ],
)
def test_a_breach_names_limit_value_and_bound(
    exposure: tuple[float, ...], changes: dict[str, float], expected: Breach
) -> None:
    (found,) = breaches(*exposure, **changes)
    assert (found.limit, found.symbol) == (expected.limit, expected.symbol)
    assert (found.value, found.bound) == pytest.approx((expected.value, expected.bound))


def test_the_cap_of_the_breaker_stands_in_for_a_higher_gross_limit() -> None:
    (found,) = book_breaches(LIMITS, np.array([0.5, -0.5]), CALM[:2], np.eye(2), SYMBOLS[:2], gross_cap=0.9)
    assert found == Breach("gross_exposure_max", 1.0, 0.9)


def test_two_positions_of_one_bet_break_the_correlation_limit_and_a_hedge_does_not() -> None:
    found = breaches(0.3, 0.3, rho=0.8)
    assert [(one.limit, one.symbol, one.value) for one in found] == [
        ("correlation_max", "ES", 0.8),
        ("correlation_max", "NQ", 0.8),
    ]
    assert breaches(0.3, -0.3, rho=0.8) == []
    assert [one.limit for one in breaches(0.3, -0.3, rho=-0.8)] == ["correlation_max"] * 2
    assert breaches(0.3, 0.0, rho=0.9) == []
    assert same_bet(np.array([1.0, -2.0]), np.array([[1.0, 0.5], [0.5, 1.0]])).tolist() == [[0.0, -0.5], [-0.5, 0.0]]


def test_an_exposure_that_overflows_breaks_the_gross_limit() -> None:
    with np.errstate(invalid="ignore"):
        assert "gross_exposure_max" in [one.limit for one in breaches(np.inf, -np.inf)]


def test_a_book_exactly_at_its_limits_breaks_none() -> None:
    at = {"gross_exposure_max": 1.0, "net_exposure_max": 0.5, "concentration_max_frac": 0.75}
    assert breaches(0.75, -0.25, rho=0.7, **at) == []


def test_the_daily_loss_is_broken_where_it_is_reached() -> None:
    assert daily_loss_breach(LIMITS, 1.0, 0.9501) is None
    found = daily_loss_breach(LIMITS, 1.0, 0.95)
    assert found is not None
    assert (found.limit, found.bound) == ("daily_loss_max_frac", 0.05)
    assert found.value == pytest.approx(0.05)


def test_value_at_risk_and_collar_name_what_they_found() -> None:
    assert value_at_risk_breach(LIMITS, 0.05) is None
    assert value_at_risk_breach(LIMITS, 0.06) == Breach("value_at_risk_max_frac", 0.06, 0.05)
    (found,) = collar_breaches(LIMITS, np.array([100.0, 94.0]), np.array([100.0, 100.0]), SYMBOLS)
    assert (found.limit, found.symbol, found.bound) == ("price_collar_frac", "NQ", 0.05)
    assert found.value == pytest.approx(0.06)


def test_an_instrument_may_hold_what_both_its_limits_allow() -> None:
    assert instrument_cap(LIMITS, np.array([0.001, 0.1])).tolist() == pytest.approx([0.75, 0.2])


def test_every_environment_states_every_limit() -> None:
    import yaml

    for path in [CONFIGS / f"{name}.yaml" for name in ENVIRONMENTS]:
        content = yaml.safe_load(path.read_text())
        assert set(content["limits"]) == set(RiskLimits.model_fields), path.name
        assert set(content["breaker"]) == set(BreakerLimits.model_fields), path.name
        assert limits_of_record(limits_as_record(load_environment(path).limits, BREAKER)) == (
            load_environment(path).limits,
            BREAKER,
        )


def ledger_line(folder: Path, new: RiskLimits, new_breaker: BreakerLimits = BREAKER, kind: str = "limit_change") -> Any:
    ledger = Ledger(folder / "ledger.jsonl", lambda: datetime(2026, 1, 2, tzinfo=UTC))
    subject = limit_change(LIMITS, BREAKER, new, new_breaker)
    ledger.append(kind, actor="ann", reason="smaller book", subject=subject)
    return asdict(ledger.read()[-1])


def test_limits_change_by_a_line_of_the_ledger(tmp_path: Path) -> None:
    new = LIMITS.model_copy(update={"positions_max": 3, "trade_risk_max_frac": 0.01})
    breaker = BREAKER.model_copy(update={"half_drawdown_frac": 0.08})
    line = ledger_line(tmp_path, new, breaker)
    assert line["subject"]["changed"]["limits.positions_max"] == {"from": 20, "to": 3}
    assert set(line["subject"]["changed"]) == {
        "limits.positions_max", "limits.trade_risk_max_frac", "breaker.half_drawdown_frac",
    }  # fmt: skip
    assert limits_of_line(LIMITS, BREAKER, line) == (new, breaker)


def test_a_change_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="must change a limit"):
        limit_change(LIMITS, BREAKER, LIMITS, BREAKER)


def rehashed(line: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = {**{key: value for key, value in line.items() if key != "hash"}, **changes}
    return {**body, "hash": hash_json(body)}


def test_what_is_no_such_line_changes_nothing(tmp_path: Path) -> None:
    new = LIMITS.model_copy(update={"positions_max": 3})
    line = ledger_line(tmp_path, new)
    subject = line["subject"]
    wider = {**subject, "changed": {"limits.positions_max": {"from": 20, "to": 300}}}
    for bad, said in (
        ({**line, "subject": wider}, "hash must match"),
        (rehashed(line, kind="waiver"), "of kind limit_change"),
        (rehashed(line, actor=" "), "actor and reason"),
        (rehashed(line, subject=wider), "lead to the limits"),
        (rehashed(line, subject={**subject, "changed": {"limits.nothing": {"from": 1, "to": 2}}}), "start from"),
        ({}, "of kind"),
    ):
        with pytest.raises(LedgerError, match=said):
            limits_of_line(LIMITS, BREAKER, bad)
    with pytest.raises(LedgerError, match="start from the value in force"):
        limits_of_line(new, BREAKER, line)


def test_a_value_that_is_not_allowed_is_refused() -> None:
    record = {**limits_as_record(LIMITS, BREAKER), "limits.trade_risk_max_frac": 2.0}
    with pytest.raises(ConfigError, match="trade_risk_max_frac"):
        limits_of_record(record)
