"""The champion in production on the same days: production refuses a release that is shown to be worse.

The champion's own features, scalers and weights decide over the test spans of the new release, at today's costs. Where
the champion was fitted on some of these days it has the advantage of having seen them; then the comparison is told, and
refuses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.core.errors import GrandModelError
from grandmodel.data.dataset import Dataset
from grandmodel.features.scaler import Span
from grandmodel.gates import g3_seeds
from grandmodel.market.tape import MarketTape, build_tape
from models.feature_spec import FeatureSpec
from models.release import Release, Tapes
from pipelines.evaluate import daily
from pipelines.features import plan_folds
from pipelines.paths import histories
from pipelines.tapes import fold_folders
from pipelines.workspace import Workspace


def champion_evidence(workspace: Workspace, champion: Path | None) -> dict[str, Any]:
    """Return how the packaged release of ``workspace`` compares with the bundle ``champion``, as plain JSON types.

    The comparison is gate G3's, with the champion as its only baseline. A champion that cannot decide on these bars,
    because its instruments, features or parameters are others, is told as such with the reason.
    """
    if champion is None:
        return {"against_champion": None, "champion": "production has no champion yet"}
    params, spans_ns = workspace.params, spans_tested_ns(workspace)
    try:
        returns, fitted_on_test = champion_daily_returns(workspace, champion, spans_ns)
    except (GrandModelError, ValueError, KeyError, OSError) as error:
        return {"against_champion": None, "champion": f"the champion cannot decide on these bars: {error}"}
    verdict = g3_seeds.judge(
        load_file(workspace.evaluate / "evidence" / "daily.safetensors")["release"],
        {"champion": returns},
        margin=params.gates.excess_lower_bound_min,
        seeds_min=params.gates.seeds_min,
        draws=params.evaluation.bootstrap_draws,
        confidence=params.evaluation.confidence,
        seed=params.seed,
        required=("champion",),
    )
    told = "fitted on some of the days compared" if fitted_on_test else "fitted before the days compared"
    shown = {"against_champion": verdict.to_dict(), "champion": told}
    return shown | {"champion_fitted_before": not fitted_on_test}


def spans_tested_ns(workspace: Workspace) -> list[Span]:
    """Return the test spans [start, stop), UTC nanoseconds, in the order of the days that ``evaluate`` wrote."""
    abouts = [json.loads((folder / "fold.json").read_text()) for folder in fold_folders(workspace.features)]
    plan = plan_folds(Dataset.load(workspace.features / "bars"), workspace.params)
    return histories(plan, [[(start, stop) for start, stop in about["test_ns"]] for about in abouts])[0]


def champion_daily_returns(
    workspace: Workspace, champion: Path, spans_ns: Sequence[Span]
) -> tuple[NDArray[np.float64], bool]:
    """Return the champion's daily net log returns float64[days] over ``spans_ns``, and whether it was fitted on any.

    Raises:
        DataError: an instrument is not the champion's, or its features were defined otherwise.
        ConfigError: its weights do not fit its own parameters.
    """
    dataset = Dataset.load(workspace.features / "bars")
    spec = FeatureSpec.from_dict(json.loads((champion / "feature_spec.json").read_text()))
    release = Release.load(champion, Params.model_validate_json((champion / "params.json").read_text()).training)
    market = workspace.params.market

    def tape(bars: dict[str, Bars], *, tactical: bool) -> MarketTape:
        columns = {symbol: (spec.tactical if tactical else spec.strategic)(one) for symbol, one in bars.items()}
        return build_tape(bars, columns, dataset.instruments, market, spec.leverage)

    both = release.tactical is not None and bool(dataset.tactical)
    tapes = Tapes(tape(dataset.strategic, tactical=False), tape(dataset.tactical, tactical=True) if both else None)
    tests = [tapes.window(*span) for span in spans_ns]
    parts = [daily(test.traded, release.decide(test, market).log_return) for test in tests]
    fitted_until_ns = max(one.strategic.fit_stop_ns for one in spec.symbols.values())
    return np.concatenate(parts), fitted_until_ns > min(start for start, _ in spans_ns)
