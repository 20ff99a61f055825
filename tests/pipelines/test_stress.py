"""Scenarios are replayed through features and policies with the breaker armed."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params, StressParams, load_environment
from grandmodel.data.dataset import Dataset
from grandmodel.gates.g6_risk import LIMITS_REQUIRED, StressRow
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import replay
from grandmodel.market.tape import MarketTape
from grandmodel.risk.scenarios import SCENARIOS
from models.release import Release, Tapes
from pipelines import stress, strikes
from pipelines.guarded import walk_guarded
from pipelines.strikes import Shock, possible_moments, rows_around, stage_at
from pipelines.tapes import FoldMarket
from pipelines.workspace import PROJECT, Workspace

RULES = load_environment(PROJECT / "configs" / "production.yaml")
LIMITS = RULES.breaker


def latest(bars: dict[str, Bars], params: Params) -> Shock:
    before, after = rows_around(bars, params)
    return stage_at(bars, int(possible_moments(bars, before, after)[-1]), before, after)


@pytest.fixture
def rows(workspace: Workspace) -> dict[str, StressRow]:
    content = json.loads((workspace.stress / "stress.json").read_text())["scenarios"]
    names = {field.name for field in fields(StressRow)}
    assert all(
        set(row) == names | {"description", "passed", "struck_at", "strikes"} and row["description"] for row in content
    )
    return {row["scenario"]: StressRow(**{key: row[key] for key in names}) for row in content}


def test_there_is_one_row_for_every_scenario_and_the_drill(rows: dict[str, StressRow]) -> None:
    assert list(rows) == [*(scenario.name for scenario in SCENARIOS), stress.DRILL]
    assert [name for name, row in rows.items() if row.drill] == [stress.DRILL]


def test_the_drill_is_cut_on_the_way_and_halted(rows: dict[str, StressRow]) -> None:
    drill = rows[stress.DRILL]
    assert drill.state == "HALTED"
    gross_max = RULES.limits.gross_exposure_max
    assert (drill.gross_cap_before, drill.gross_cap_after, drill.gross_after) == (gross_max, 0.0, 0.0)
    assert drill.events["cut"] >= 1
    assert drill.events["halt"] == 1
    assert drill.first_reason
    assert LIMITS.halt_drawdown_frac <= drill.drawdown_frac < stress.DRILL_MOVE_FRAC / 2
    assert drill.bars_to_breaker is not None
    assert drill.bars_to_breaker >= 1


def test_without_its_breaker_the_drill_would_cost_far_more(rows: dict[str, StressRow]) -> None:
    drill = rows[stress.DRILL]
    assert drill.loss_without_breaker_frac is not None
    assert drill.loss_without_breaker_frac > 1.5 * drill.loss_frac


def test_every_row_says_what_it_cost_without_a_guard_and_what_the_guard_did(workspace: Workspace) -> None:
    content = json.loads((workspace.stress / "stress.json").read_text())
    shown = [*content["scenarios"], *content["dated"], content["calm"]]
    assert len(shown) == len(SCENARIOS) + 1 + 14 + 1
    for row in shown:
        assert np.isfinite(row["loss_without_breaker_frac"])
        assert row["permitted_share"] is None or 0.0 <= row["permitted_share"] <= 1.0 + 1e-9
        assert (row["state"] == "ACTIVE" and row["gross_cap_after"] == row["gross_cap_before"]) == (
            row["first_reason"] == ""
        )
        assert (row["bars_to_breaker"] is None) == ({"cut", "halt"}.isdisjoint(row["events"]))
    assert {row["passed"] for row in shown[:-1]} == {True}


def test_a_frozen_feed_leads_to_reducing_with_the_reason(rows: dict[str, StressRow]) -> None:
    assert rows["feed_freeze"].state == "REDUCING"
    assert "price of ES is nan" in rows["feed_freeze"].first_reason


def test_a_market_without_a_shock_leaves_the_book_active(workspace: Workspace) -> None:
    calm = json.loads((workspace.stress / "stress.json").read_text())["calm"]
    assert (calm["state"], calm["first_reason"], calm["bars_to_breaker"]) == ("ACTIVE", "", None)


def test_losses_are_positive_and_no_drawdown_is_below_its_loss(rows: dict[str, StressRow]) -> None:
    assert any(row.drawdown_frac > 0.0 for row in rows.values())
    for row in rows.values():
        assert row.drawdown_frac >= max(row.loss_frac, 0.0) - 1e-12
        assert row.gross_after <= row.gross_cap_after + 1e-9


def test_limits_are_positive_and_travel_with_the_verdict(workspace: Workspace) -> None:
    content = json.loads((workspace.stress / "stress.json").read_text())
    assert content["limits"] == stress.limits_of(workspace.params, RULES)
    assert set(content["limits"]) >= LIMITS_REQUIRED
    assert min(content["limits"].values()) > 0
    assert content["gate"]["name"] == "g6_risk"
    assert content["gate"]["n"] == len(content["strikes"]) * len(SCENARIOS) + 1


def test_a_wider_spread_costs_more(workspace: Workspace, dataset: Dataset, fold: FoldMarket) -> None:
    shock = latest(dataset.tactical, workspace.params)
    plain = stress.shocked_tapes(shock.bars, fold.spec, workspace.params, 1.0).traded
    dear = stress.shocked_tapes(shock.bars, fold.spec, workspace.params, 5.0).traded
    np.testing.assert_allclose(dear.half_spread_frac, 5.0 * plain.half_spread_frac)
    np.testing.assert_array_equal(dear.features, plain.features)


def test_the_drills_team_is_as_long_as_it_can_be(workspace: Workspace, fold: FoldMarket) -> None:
    release = Release.load(workspace.train / "weights" / f"fold_{fold.number}" / "seed_0", workspace.params.training)
    assert release.tactical is not None
    tape = fold.test.traded
    full_long = np.tile(np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0], np.float32), (len(tape), 1))
    tactical = replay(
        replace(tape, intent=full_long), stress._always_long(release.tactical.spec), workspace.params.market
    )
    strategic = replay(fold.test.strategic, stress._always_long(release.strategic.spec), workspace.params.market)
    for run, offsets in ((tactical, tape.offsets), (strategic, fold.test.strategic.offsets)):
        for first, stop in pairwise(offsets):
            assert (run.position[first + 1 : stop] == 1.0).all()


def test_scenarios_play_on_thirty_minute_bars_alone(workspace: Workspace, dataset: Dataset, fold: FoldMarket) -> None:
    release = Release.load(workspace.train / "weights" / f"fold_{fold.number}" / "seed_0", workspace.params.training)
    alone = replace(release, tactical=None)
    shock = latest(dataset.strategic, workspace.params)
    assert shock.row == workspace.params.stress.warmup_bars // 6
    tapes = stress.shocked_tapes(shock.bars, fold.spec, workspace.params, 1.0)
    assert tapes.tactical is None
    desk = stress.desk_of(shock, fold.spec, workspace.params, RULES)
    row = stress.play("quiet", shock.bars, *stress._deciding(alone, tapes, workspace.params), shock.row, desk)
    assert row.scenario == "quiet"
    assert stress._drill(alone, shock, fold, workspace.params, desk).state == "HALTED"


def test_dated_scenarios_are_shown_beside_the_gate_with_and_without_the_breaker(workspace: Workspace) -> None:
    content = json.loads((workspace.stress / "stress.json").read_text())
    dated = {row["scenario"]: row for row in content["dated"]}
    assert len(dated) == 14
    assert not set(dated) & {row["scenario"] for row in content["gate"]["evidence"]["rows"]}
    assert {row["scenario"] for row in content["scenarios"]}.isdisjoint(dated)
    for row in dated.values():
        assert row["left_out"] == []
        assert set(row["direct_shocks_frac"]) == {"ES", "NQ"}
        assert np.isfinite([row["loss_frac"], row["loss_without_breaker_frac"]]).all()
        assert (row["bars_to_breaker"] is None) == (row["gross_cap_after"] == row["gross_cap_before"])
    assert dated["dotcom_2000_2002"]["direct_shocks_frac"] == {"ES": -0.4915, "NQ": -0.7755}
    assert len({row["loss_frac"] for row in dated.values()}) > 1, [row["loss_frac"] for row in dated.values()]


def test_an_instrument_without_a_direct_shock_is_left_out_by_name(
    workspace: Workspace, dataset: Dataset, fold: FoldMarket
) -> None:
    shock = latest(dataset.tactical, workspace.params)
    known = fold.spec.symbols["NQ"]
    unheard = known.instrument.model_copy(update={"symbol": "QX", "asset_class": "commodity_future"})
    spec = replace(fold.spec, symbols={**fold.spec.symbols, "QX": replace(known, instrument=unheard)})
    both = replace(shock, bars={"ES": shock.bars["ES"], "QX": replace(shock.bars["NQ"], symbol="QX")})
    assert all(set(moves) == {"ES"} for _, moves, _ in stress.direct_shocks(both, spec))
    alone = replace(shock, bars={"QX": both.bars["QX"]})
    assert all(moves == {} for _, moves, _ in stress.direct_shocks(alone, spec))
    assert len(stress.direct_shocks(alone, spec)) == 14


def test_a_long_team_loses_what_the_breaker_leaves_it(
    workspace: Workspace, dataset: Dataset, fold: FoldMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Release.load(workspace.train / "weights" / f"fold_{fold.number}" / "seed_0", workspace.params.training)
    long_team = stress._always_long((release.tactical or release.strategic).spec)

    def deciding(_: Release, tapes: Tapes, __: Params) -> tuple[MarketTape, TeamPolicy]:
        full_long = np.tile(np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0], np.float32), (len(tapes.traded), 1))
        return replace(tapes.traded, intent=full_long), long_team

    monkeypatch.setattr(stress, "_deciding", deciding)
    shock = latest(dataset.tactical, workspace.params)
    desk = stress.desk_of(shock, fold.spec, workspace.params, RULES)
    rows = {row["scenario"]: row for row in stress.dated_rows(release, shock, fold, workspace.params, RULES, desk)}
    crash = rows["gfc_2008"]
    assert crash["state"] == "HALTED"
    assert LIMITS.halt_drawdown_frac <= crash["drawdown_frac"] < 0.3
    assert crash["loss_without_breaker_frac"] > crash["loss_frac"] + 0.05
    assert rows["yen_carry_2024"]["loss_without_breaker_frac"] < crash["loss_without_breaker_frac"]


def test_every_scenario_struck_where_the_release_held_something(workspace: Workspace) -> None:
    content = json.loads((workspace.stress / "stress.json").read_text())
    assert len({one["moment"] for one in content["strikes"]}) == len(content["strikes"]) > 0
    assert all(one["gross_before"] > 0 for one in content["strikes"])
    by_scenario = {row["scenario"]: row for row in content["scenarios"]}
    for row in content["gate"]["evidence"]["rows"]:
        assert row["loss_frac"] <= by_scenario[row["scenario"]]["loss_frac"]


def test_where_no_moment_is_left_the_gate_refuses_with_a_sentence_and_the_stage_ends(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    params = workspace.params.model_copy(update={"stress": StressParams(warmup_bars=10**6, after_bars=288)})
    assert "and there is none" in str(refusal(workspace, params, monkeypatch, tmp_path)["gate"]["reason"])


def test_a_release_that_never_holds_anything_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(strikes, "gross_held", lambda _, __, ___, moments: np.zeros(len(moments)))
    gate = refusal(workspace, workspace.params, monkeypatch, tmp_path)["gate"]
    assert not gate["passed"]
    assert "holds nothing at any of" in gate["reason"]


def refusal(workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    monkeypatch.setattr(Workspace, "params", property(lambda _: params))
    monkeypatch.setattr(Workspace, "stress", property(lambda _: folder))
    stress.stress(workspace)
    content: dict[str, Any] = json.loads((folder / "stress.json").read_text())
    assert (content["scenarios"], content["dated"], content["gate"]["passed"]) == ([], [], False)
    assert content["limits"]
    return content


def test_a_fall_below_zero_is_valued_at_the_shock_and_an_instrument_without_a_move_keeps_its_capital(
    workspace: Workspace, dataset: Dataset, fold: FoldMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Release.load(workspace.train / "weights" / f"fold_{fold.number}" / "seed_0", workspace.params.training)
    found = strikes.strikes_of(dataset.tactical, release, fold, workspace.params)
    assert not isinstance(found, str)
    shock = found[0]
    desk = stress.desk_of(shock, fold.spec, workspace.params, RULES)
    deciding = stress._deciding(
        release, stress.shocked_tapes(shock.bars, fold.spec, workspace.params, 1.0), workspace.params
    )
    calm = walk_guarded(*deciding, shock.bars, shock.row, desk)
    held = dict(zip(deciding[0].symbols, calm.held[0] * calm.exposure_per_position[0], strict=True))
    struck = max(held, key=lambda symbol: abs(held[symbol]))
    assert held[struck] != 0.0
    scenario = stress.library().scenarios[0]
    told = [(scenario, {struck: -3.0}, {struck: "stated"}), (scenario, {struck: -0.2}, {struck: "stand-in"})]
    monkeypatch.setattr(stress, "direct_shocks", lambda *_: told)
    below, fall = stress.dated_rows(release, shock, fold, workspace.params, RULES, desk)
    assert below["loss_frac"] == pytest.approx(3.0 * held[struck])
    assert (below["revalued"], fall["revalued"]) == (True, False)
    assert "state" not in below
    assert fall["left_out"] == [symbol for symbol in held if symbol != struck]
    assert fall["how"] == {struck: "stand-in"}
    assert fall["gross_before"] == pytest.approx(sum(map(abs, held.values())))  # of all instruments and their capital
