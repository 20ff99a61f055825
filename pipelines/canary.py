"""Shadow replay: champion and challenger decide on bars that neither was fitted on, each through a guard of its own.

    python -m pipelines.canary --data PATH --champion BUNDLE --challenger BUNDLE --out FOLDER

``PATH`` holds raw bars, old ones included: the features look back. Writes ``days.json`` (the days of the shadow) and
``bars.safetensors`` (every decision of both).

Fills and their costs are those of the market model, so the slippage of a shadow is a modelled one. Not a DVC stage.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from grandmodel.core.bars import Bars
from grandmodel.core.config import Environment, Params, load_environment
from grandmodel.core.errors import DataError
from grandmodel.core.files import write_bytes_atomic, write_json_atomic
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.dataset import Dataset, RawDataset
from grandmodel.gates.canary_days import CanaryDay, Traded
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.tape import MarketTape, build_tape
from models.feature_spec import FeatureSpec
from models.release import Release, Tapes, strategic_intents
from pipelines.guarded import Passage, feed_of, go_on_guarded, walks_to
from pipelines.ingest import ingest
from pipelines.stress import desk_of
from pipelines.strikes import Shock, possible_moments, rows_around, stage_at
from pipelines.validate import validate
from pipelines.workspace import PROJECT, Workspace, finish


@dataclass(frozen=True)
class Shadow:
    """What one release did on the unseen bars, decision by decision; D moments, N instruments."""

    symbols: tuple[str, ...]
    moment_ns: NDArray[np.int64]  # [D]
    session: NDArray[np.int32]  # [D] of the newest bar
    passage: Passage
    fill_session: NDArray[np.int32]  # [F] one of every bar of every instrument
    traded: NDArray[np.float64]  # [F] money traded in it, over the equity of the sleeve
    cost: NDArray[np.float64]  # [F] paid in it, likewise; rolls included


def shadow_days(
    champion: Path, challenger: Path, dataset: Dataset, params: Params, rules: Environment, *, since_ns: int = 0
) -> tuple[list[CanaryDay], dict[str, Shadow]]:
    """Return a day of record for every whole session of unseen bars, and both shadows.

    Args:
        champion: bundle or package that stands.
        challenger: bundle or package on trial.
        dataset: bars of exactly the instruments of both.
        params: of the market and of how long a walk warms up.
        rules: limits of the guard.
        since_ns: no bar that starts before this moment counts as unseen, UTC nanoseconds.

    Raises:
        DataError: no unseen session with enough history before it, or an instrument that a release does not know.
    """
    specs = {folder: spec_of(folder) for folder in (champion, challenger)}
    unseen_ns = max(since_ns, *(fitted_until_ns(spec) for spec in specs.values()))
    stretch = unseen_stretch(dataset, unseen_ns, params)
    shadows = {
        name: walk_shadow(folder, specs[folder], dataset, stretch, params, rules)
        for name, folder in (("champion", champion), ("challenger", challenger))
    }
    first = next(iter(stretch.bars.values())).session[stretch.row]
    # The newest session may still go on, so it is left for the next run.
    sessions = [int(one) for one in np.unique(shadows["champion"].session) if one >= first][:-1]
    days = [
        CanaryDay(session, 0.0, day_of(shadows["champion"], session), day_of(shadows["challenger"], session))
        for session in sessions
    ]
    return days, shadows


def spec_of(folder: Path) -> FeatureSpec:
    """Return the features of the release in ``folder``, as fitted."""
    return FeatureSpec.from_dict(json.loads((folder / "feature_spec.json").read_text()))


def fitted_until_ns(spec: FeatureSpec) -> int:
    """Return the end of the newest span that any scaler of the release was fitted on, which is that of its training."""
    return max(one.strategic.fit_stop_ns for one in spec.symbols.values())


def unseen_stretch(dataset: Dataset, unseen_ns: int, params: Params) -> Shock:
    """Return the bars from the warm-up on, with the first unseen session as the row at which the guard opens.

    Raises:
        DataError: no session after ``unseen_ns`` begins in all instruments at once with enough known rows before it.
    """
    bars = dataset.tactical or dataset.strategic
    before, _ = rows_around(bars, params)
    moments = possible_moments(bars, before, 1)
    moments = moments[moments >= unseen_ns]
    if not len(moments):
        raise DataError(
            f"bars of {dataset.name}",
            "a session after the training data must begin in all instruments at once, with known bars before it",
            f"{np.datetime64(unseen_ns, 'ns')} is the end of the training data",
            "Give newer bars",
        )
    return stage_at(bars, int(moments[0]), before, max(len(one) for one in bars.values()))


def walk_shadow(
    folder: Path, spec: FeatureSpec, dataset: Dataset, stretch: Shock, params: Params, rules: Environment
) -> Shadow:
    """Let the release in ``folder`` warm up, then decide through a guard on every unseen bar."""
    release = Release.load(folder, Params.model_validate_json((folder / "params.json").read_text()).training)
    tape, policy = deciding(release, spec, dataset, stretch.bars, params)
    walks = walks_to(tape, policy, stretch.row)
    passage = go_on_guarded(walks, tape, stretch.bars, stretch.row, desk_of(stretch, spec, params, rules))
    feed = feed_of(stretch.bars)
    first = len(feed.moment_ns) - len(passage.equity)
    newest = [one.session[feed.row[first:, i]] for i, one in enumerate(stretch.bars.values())]
    session, money, cost = [], [], []
    for walk, symbol in zip(walks, tape.symbols, strict=True):
        part, done = tape.rows(symbol), walk.replay()
        lived = slice(part.start + stretch.row, part.stop)
        session.append(tape.session[lived])
        money.append(done.turnover[lived] * tape.leverage[lived])
        cost.append(done.cost_frac[lived])
    return Shadow(
        tape.symbols, feed.moment_ns[first:], np.max(newest, axis=0), passage,
        np.concatenate(session), np.concatenate(money), np.concatenate(cost),
    )  # fmt: skip


def deciding(
    release: Release, spec: FeatureSpec, dataset: Dataset, stretch: Mapping[str, Bars], params: Params
) -> tuple[MarketTape, TeamPolicy]:
    """Return the tape of ``stretch`` on the traded clock, with intents, and the policy that trades it.

    Features and intents come from all bars of ``dataset``, so that they do not depend on where the stretch begins.
    """

    def tape(bars: Mapping[str, Bars], whole: Mapping[str, Bars], *, tactical: bool) -> MarketTape:
        columns = {}
        for symbol, one in bars.items():
            start = int(np.searchsorted(whole[symbol].start_ns, one.start_ns[0]))
            values = (spec.tactical if tactical else spec.strategic)(whole[symbol])
            columns[symbol] = values[start : start + len(one)]
        return build_tape(bars, columns, dataset.instruments, params.market, spec.leverage)

    if release.tactical is None or not dataset.tactical:
        return tape(stretch, dataset.strategic, tactical=False), release.strategic
    traded = tape(stretch, dataset.tactical, tactical=True)
    tapes = Tapes(tape(dataset.strategic, dataset.strategic, tactical=False), traded)
    return traded.with_intents(strategic_intents(release.strategic, tapes, params.market)), release.tactical


def day_of(shadow: Shadow, session: int) -> Traded:
    """Return what ``shadow`` did in one session; its first decision stands at the close before the unseen bars."""
    moments = np.flatnonzero(shadow.session == session)
    passage, fills = shadow.passage, shadow.fill_session == session
    asks = passage.asked[moments] != passage.held[moments]
    money = float(shadow.traded[fills].sum())
    equity_before = passage.equity[max(int(moments[0]) - 1, 0)]
    return Traded(
        decisions=int(asks.size),
        orders=int(asks.sum()),
        rejects=int((asks & (passage.permitted[moments] != passage.asked[moments])).sum()),
        limit_hits=sum(any(event.limit for event in passage.events[t]) for t in moments),
        fills=int((shadow.traded[fills] > 0.0).sum()),
        slippage_frac=float(shadow.cost[fills].sum()) / money if money > 0.0 else None,
        log_return=float(np.log(passage.equity[int(moments[-1])] / equity_before)),
    )


def bar_records(shadows: Mapping[str, Shadow]) -> dict[str, NDArray[np.generic]]:
    """Return every decision of both: moments int64[D], and equity [D], held, asked, permitted [D, N] of each."""
    found: dict[str, NDArray[np.generic]] = {"moment_ns": next(iter(shadows.values())).moment_ns}
    for name, shadow in shadows.items():
        for column in ("equity", "held", "asked", "permitted"):
            found[f"{name}/{column}"] = np.ascontiguousarray(getattr(shadow.passage, column))
    return found


def read_unseen(data: Path, symbols: tuple[str, ...]) -> Dataset:
    """Read raw bars of ``symbols`` and judge them as a run would. Raises DataError on a blocking finding."""
    with TemporaryDirectory() as place:
        workspace = Workspace(Path(place))
        ingest(workspace, data, symbols=symbols)
        validate(workspace)
        return to_bars(RawDataset.load(workspace.ingest))


def main() -> None:
    """Replay both releases over unseen bars from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "champion", "challenger", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--since", default="1970-01-01", help="first moment (UTC) from which bars count as unseen")
    given = parser.parse_args()

    def work() -> None:
        params = Params.model_validate_json((given.challenger / "params.json").read_text())
        dataset = read_unseen(given.data, tuple(spec_of(given.challenger).symbols))
        rules = load_environment(PROJECT / "configs" / "canary.yaml")
        since_ns = int(np.datetime64(given.since, "ns").astype(np.int64))
        days, shadows = shadow_days(given.champion, given.challenger, dataset, params, rules, since_ns=since_ns)
        given.out.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(given.out / "bars.safetensors", save(bar_records(shadows)))
        content = {"simulated": dataset.simulated, "days": [day.to_dict() for day in days]}
        write_json_atomic(given.out / "days.json", content)

    finish(work)


if __name__ == "__main__":
    main()
