import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from grandmodel.core.config import BreakerLimits, GateParams
from grandmodel.data.calendar.absent import AbsentSessions
from grandmodel.data.dataset import Listing
from grandmodel.gates import g0_data, g3_seeds, g4_selection, g5_costs, g6_risk
from grandmodel.gates.g5_costs import CostRow
from grandmodel.gates.g6_risk import StressRow
from grandmodel.gates.gate_report import gate_rows
from grandmodel.gates.ladder import verdict
from grandmodel.gates.report import (
    BreakerRow,
    CheckRow,
    DataSummary,
    DatedRow,
    FindingRow,
    InstrumentRow,
    MoveRow,
    ReportInput,
    TrainingRow,
    curve_of,
    render_report,
    strategy_of,
)
from grandmodel.gates.risk_number import QUESTIONS, RiskNumber
from grandmodel.stats.bootstrap import Interval, bootstrap_difference
from grandmodel.stats.trials import Trials
from tests.grandmodel.gates.risk_samples import LOSSES, coverage, shock

DAYS = 420
DATED = {
    "universe": (Listing("NQ", 18_000, 20_000, True, "NQ_5m.parquet"),),
    "first_test_session": 19_000,
    "sessions": {"NQ": AbsentSessions(2000, np.empty(0, np.int32))},
    "universe_grace_days": 14,
    "absent_sessions_max_frac": 0.05,
}
PAID = CostRow("NQ", half_spread_ticks=0.5, commission=2.0, traded=100.0, paid=0.02, stated=0.015)
VOID = {"meta", "br", "link", "img", "hr", "input"}


class _Structure(HTMLParser):
    """Check that tags nest, and collect ids and the targets of references."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [] if tag in VOID else [tag]
        self._collect(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._collect(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes the wrong element at {self.getpos()}"

    def _collect(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            self.targets += [value or ""] if name in ("href", "src", "xlink:href", "action") else []
            self.targets += re.findall(r"url\(([^)]*)\)", value or "")


def _shown(text: str) -> str:
    """Return ``text`` as the page spells it."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text.replace("'", "&#39;"))


def example(edge: float = 0.0012) -> ReportInput:
    """Return a report over simulated returns whose figures come from the gates themselves."""
    stream = np.random.default_rng(11)
    market = 0.009 * stream.standard_t(5, DAYS) / np.sqrt(5 / 3)
    market -= market.mean()
    own = stream.normal(0.0, 0.006, (5, DAYS)) + stream.normal(0.0, 0.004, DAYS)
    release = edge + own + stream.normal(0.0, 0.0002, (5, 1))
    tables = {
        "flat": np.zeros(DAYS),
        "buy_and_hold": market,
        "random": stream.normal(-0.0002, 0.008, (20, DAYS)),
        "moving_average": stream.normal(-0.0001, 0.008, DAYS),
    }
    oracle = 0.004 + stream.normal(0.0, 0.008, DAYS)
    options = {"draws": 400, "confidence": 0.95, "seed": 1}
    excess = bootstrap_difference(release, {**tables, "oracle": oracle}, **options)
    rows = [
        StressRow("flash_crash", 0.083, 0.114, 1.0, 0.5, 0.41, "REDUCING", 2, gross_before=0.8),
        StressRow("volatility_x5", 0.031, 0.064, 1.0, 1.0, 0.66, "ACTIVE", None),
        StressRow("gap_through_the_stop", 0.12, 0.158, 1.0, 0.25, 0.2, "REDUCING", 1),
        StressRow("full_exposure_crash", 0.31, 0.34, 1.0, 0.0, 0.0, "HALTED", 1, drill=True),
    ]
    checks = {"high is the highest price": True, "no duplicate bars": True, "prices are finite": True}
    names, sessions = tuple(f"seed_{row}" for row in range(5)), np.arange(DAYS, dtype=np.int32)
    trials = Trials(names, sessions, release, unseen=0, picked=False, counted="5 seeds of one configuration")
    gates = (
        g0_data.judge(checks=checks, data_hash="ab" * 32, licence="CC0-1.0", rows=210_000, simulated=True, **DATED),
        g3_seeds.judge(release, tables, margin=0.0, seeds_min=3, **options),
        g4_selection.judge(release[0], trials=trials, thresholds=GateParams(), draws=400, seed=1),
        g5_costs.judge(
            returns=release,
            returns_at_cost=release - 0.0002,
            cost_multiple=2.0,
            returns_with_delay=release - 0.0003,
            delay_bars=1,
            costs=(PAID,),
            costs_at_multiple=(PAID._replace(paid=0.04),),
            **options,
        ),
        g6_risk.judge(
            rows,
            dict.fromkeys(g6_risk.LIMITS_REQUIRED, 0.05),
            loss_max_frac=0.25,
            breaker=BreakerLimits(),
            numbers=(RiskNumber("1 day", 0.99, 320, 3, ("historical",), 0.02, dict.fromkeys(QUESTIONS, 0.6)),),
            false_alarm_max=0.05,
        ),
    )
    days = tuple(str(day) for day in np.datetime64("2024-03-01") + np.arange(DAYS) * 7 // 5)
    learning = np.linspace(-0.02, 0.05, 40)
    return ReportInput(
        release_id="2f9c1e7a",
        stage="production" if edge > 0.0005 else "dev",
        created="2026-11-22T10:00:00.000000+00:00",
        verdict=verdict(gates, [gate.name for gate in gates]),
        gates=gates,
        gate_rows=gate_rows(gates, GateParams()),
        data=DataSummary(
            "embedded market",
            True,
            "CC0-1.0",
            "grandmodel simulator, seed 7 <edge 1>",
            (InstrumentRow("NQ", 5, 105_000, "2020-01-01", "2025-12-31"),),
            (
                FindingRow("info", "NQ", "Clock read as UTC."),
                FindingRow("warning", "CL", "3 duplicate bars dropped at rows 17, 18 and 901."),
            ),
            tuple(CheckRow(name, held, "0 rows break it") for name, held in checks.items()),
        ),
        days=days,
        fold_starts=(days[0], days[DAYS // 2]),
        curves=(
            curve_of("release", "release", release),
            *(curve_of(name, "baseline", table) for name, table in tables.items()),
            curve_of("oracle", "oracle", oracle),
        ),
        strategies=(
            strategy_of("release", "release", release, turnover_per_year=310.0),
            *(
                strategy_of(name, "baseline", table, turnover_per_year=None, excess=excess[name])
                for name, table in tables.items()
            ),
            strategy_of("oracle", "oracle", oracle, turnover_per_year=900.0, excess=excess["oracle"]),
        ),
        oracle_share=0.31,
        stress=tuple(rows),
        stress_loss_max_frac=0.25,
        breakers=(BreakerRow("production", (0.1, 0.15, 0.2)),),
        training=tuple(
            TrainingRow(
                team,
                fold,
                seed,
                400_000,
                "cd" * 32,
                (fold, seed) == (1, 0),
                tuple((learning + 0.003 * stream.normal(size=40)).tolist()),
            )
            for team in ("strategic", "tactical")
            for fold in (0, 1)
            for seed in range(3)
        ),
        moves=(MoveRow("dev", "1", "release flow", "2026-11-22T10:00:00Z", "ef" * 32),),
        lineage=(("data", "ab" * 32), ("params", "12" * 32), ("code commit", "34" * 20), ("weights", "cd" * 32)),
        reproduce=("git checkout 3434343", "make run"),
    )


@pytest.fixture(scope="module")
def report() -> ReportInput:
    return example()


@pytest.fixture(scope="module")
def page(report: ReportInput) -> str:
    return render_report(report)


def test_the_verdict_and_every_gate_stand_on_the_page(report: ReportInput, page: str) -> None:
    assert report.verdict.passed
    assert "Passed: the release stands in production." in page
    assert report.verdict.sentence in page
    assert report.release_id in page
    for gate in report.gates:
        assert _shown(gate.reason) in page
        assert _shown(gate.evidence["power_statement"]) in page
    assert page.count('<span class="badge pass">passed</span>') >= len(report.gates)


def test_what_each_gate_could_have_shown_stands_beside_its_thresholds(report: ReportInput, page: str) -> None:
    section = page[page.index("What each gate could have shown") : page.index('id="stress"')]
    assert section.count('<th scope="row">') == len(report.gate_rows) > 0
    for row in report.gate_rows:
        assert _shown(row.smallest_defect) in section
        assert _shown(row.data_needed) in section
        for one in row.thresholds:
            assert _shown(one.source) in section
    assert "What each gate could have shown" not in render_report(replace(report, gate_rows=()))


def test_strategies_carry_their_figures_and_intervals(report: ReportInput, page: str) -> None:
    section = page[page.index('id="strategies"') : page.index('id="gates"')]
    assert section.count("<svg class=") == len(report.strategies) - 1
    for name in ("Buy and hold", "Random", "Moving average", "Flat"):
        assert f">{name}<" in section
    assert "undefined" in section  # the Sharpe ratio of doing nothing
    assert "Simulator&#39;s oracle" in section
    assert _shown("31 %") in section


def test_stress_breakers_data_training_lineage_and_commands_are_there(page: str) -> None:
    for words in ("Flash crash", "HALTED", "drill: full exposure forced", "not reached", "make run", "12" * 32):
        assert words in page
    for words in (
        "3 duplicate bars dropped",
        "3 of 3 expectations held",
        "Strategic team",
        "400,000",
        "cdcdcdcdcdcdcdcd",
    ):
        assert words in page
    assert page.count('class="spark"') == 12


def test_dated_scenarios_show_their_shocks_and_who_is_left_out(report: ReportInput, page: str) -> None:
    assert "by direct shocks" not in page
    rows = (
        DatedRow("gfc_2008", (("ES", -0.3989), ("CL", -0.517)), ("GC",), 0.21, 0.47, 13, "HALTED"),
        DatedRow("svb_2023", (), ("GC",)),
        DatedRow("rates_2022", (("NQ", -0.2543),), (), 0.12, 0.15, None, "REDUCING", stand_ins=("NQ",)),
        DatedRow("negative_oil_2020", (("CL", -1.6),), (), 0.137, revalued=True),
    )
    dated = render_report(replace(report, dated=rows))
    _Structure().feed(dated)
    for words in (
        "Dated scenarios, by direct shocks",
        "(not shocked: GC)",
        "none stated",
        "not known",
        "NQ*",
        "* A stand-in",
        "valued anew at the shock, not replayed",
    ):
        assert words in dated
    for figure in ("39.9", "51.7", "21.0", "47.0"):
        assert figure in dated


def test_risk_is_drawn_where_there_is_something_to_draw(report: ReportInput) -> None:
    full = replace(report, coverage=coverage(), correlation=shock(), losses=LOSSES)
    page = render_report(full)
    structure = _Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == []
    assert {target[1:] for target in structure.targets} <= set(structure.ids)
    assert len(structure.ids) == len(set(structure.ids))
    for words in (
        "2 of 3 methods may vote",
        "raised 1 alarm over 4 out-of-sample days; the largest, CRITICAL with a score of 15.0, on 2025-01-08",
        "what the guard cost",
        '<span class="badge refuse">red</span>',
    ):
        assert _shown(words) in page
    drawn = page[page.index('id="coverage"') : page.index("<h3>Strategic team")]
    assert drawn.count('<svg role="img"') == 8  # four drawings, each for a screen and for a phone
    assert "nan" not in drawn.lower()
    assert set(re.findall(r"var\((--[\w-]+)\)", page)) <= set(re.findall(r"(--[\w-]+):", page))


def test_risk_that_cannot_be_drawn_is_a_sentence_and_no_figure(report: ReportInput, page: str) -> None:
    section = page[page.index('id="coverage"') : page.index('id="stress"')]
    assert "No out-of-sample days were judged." in section
    assert "Correlations were not watched." in section
    sentences = render_report(replace(report, coverage="Too few <days>.", correlation="One instrument."))
    section = sentences[sentences.index('id="coverage"') : sentences.index('id="stress"')]
    assert "Too few &lt;days&gt;." in section
    assert "One instrument." in section
    assert "<svg" not in section
    quiet = render_report(replace(report, correlation=shock(worst=False)))
    assert "raised no alarm over 4 out-of-sample days" in quiet
    assert "move against each other" not in quiet


def test_simulated_data_is_labelled_and_real_data_is_not(report: ReportInput, page: str) -> None:
    assert "SIMULATED DATA" in page
    real = render_report(replace(report, data=replace(report.data, simulated=False)))
    assert "SIMULATED DATA" not in real


def test_a_strategic_release_says_so(report: ReportInput, page: str) -> None:
    assert "no tactical team" not in page
    assert "no tactical team" in render_report(replace(report, strategic_only=True))


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    assert "http" not in page.replace('http-equiv="', "")
    assert "//" not in re.sub(r"/\*.*?\*/", "", page)
    assert "<script" not in page
    assert "@import" not in page
    assert "<link" not in page
    assert "<img" not in page
    structure = _Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == []
    assert structure.tags.count("svg") >= 2
    assert structure.targets
    assert all(target.startswith("#") for target in structure.targets)
    assert {target[1:] for target in structure.targets} <= set(structure.ids)
    assert len(structure.ids) == len(set(structure.ids))


def test_drawings_take_their_colours_from_the_page(page: str) -> None:
    drawing = page[page.index('<div class="wide">') : page.index('<div class="narrow">')]
    assert "var(--release)" in drawing
    assert "var(--baseline-0)" in drawing
    assert "#0101" not in page
    assert "<style" not in drawing
    assert "<metadata" not in drawing
    assert set(re.findall(r"var\((--[\w-]+)\)", page)) <= set(re.findall(r"(--[\w-]+):", page))


def test_equal_input_gives_equal_bytes_and_a_page_of_modest_size(report: ReportInput, page: str) -> None:
    assert render_report(report) == page
    assert len(page) < 600_000


def test_text_from_data_is_escaped(report: ReportInput, page: str) -> None:
    assert "&lt;edge 1&gt;" in page
    assert "<edge 1>" not in page
    hostile = render_report(replace(report, notes=("<script>alert(1)</script>",)))
    assert "<script>" not in hostile


def test_a_refused_release_says_which_gate_and_why() -> None:
    report = example(edge=0.0)
    page = render_report(report)
    assert not report.verdict.passed
    assert "Refused: the release stays in dev." in page
    assert "g3_seeds" in report.verdict.refused_by
    assert "not shown to beat" in page
    assert '<span class="badge refuse">refused</span>' in page


def test_a_release_refused_at_its_data_renders_without_the_rest() -> None:
    gate = g0_data.judge(checks={"no NaN": False}, data_hash="", licence="", rows=5, simulated=False, **DATED)
    data = DataSummary("broken.csv", False, "", "", checks=(CheckRow("no NaN", False, "row 3"),))
    page = render_report(ReportInput("none", "dev", "2026", verdict([gate], ["g0_data"]), (gate,), data))
    for words in (
        "did not reach an out-of-sample evaluation",
        "Nothing was trained",
        "Licence: missing",
        "<details open>",
    ):
        assert words in page


def test_a_single_seed_has_no_band() -> None:
    curve = curve_of("release", "release", np.full(30, 0.01))
    assert curve.lower == ()
    assert curve.equity[-1] == pytest.approx(np.exp(0.3))


def test_strategy_figures_are_interquartile_means_over_rows() -> None:
    daily = np.outer([0.0, 0.001, 0.002, 0.003, 0.5], np.ones(10))
    row = strategy_of("x", "baseline", daily, turnover_per_year=1.0, excess=Interval(0.1, 0.0, 0.2, 0.05, 0.95))
    expected = np.mean([np.expm1(252 * r) for r in (0.001, 0.002, 0.003)])
    assert row.net_return_annual_frac == pytest.approx(expected)
    assert row.sharpe_annual is None
    assert row.max_drawdown_frac == 0.0


def test_a_sharpe_ratio_that_one_row_lacks_is_undefined_for_all() -> None:
    moving = np.array([0.01, -0.01, 0.02])
    assert strategy_of("x", "release", np.stack([moving, moving]), turnover_per_year=1.0).sharpe_annual is not None
    assert strategy_of("x", "release", np.stack([moving, 0.0 * moving]), turnover_per_year=1.0).sharpe_annual is None
