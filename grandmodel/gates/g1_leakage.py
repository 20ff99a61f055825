"""G1: nothing known at a bar depends on a later bar, nothing earned was known, and no training touches its test.

Four looks, all exact:

* the future of a bar is cut off, or shuffled, and every stage of the stack is computed again: nothing up to that bar
  may change, to the last digit (``StackCase``);
* what was fitted is fitted again without the bars of the test (``FitCase``);
* what decisions earn is counted again from the bars after them (``EarningCase``);
* the rows that training was given keep clear of the test by label horizon and embargo (``fold_faults.py``).

The caller hands in how a stage is computed; this file draws the bars and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.random import random_stream
from grandmodel.gates.fold_faults import FoldCase, fold_faults
from grandmodel.gates.result import GateResult, plain, power_evidence, refused
from grandmodel.gates.text import count, listing, percent

NAME = "g1_leakage"
STATED_SHARE = 0.1  # the leak that the power is stated for: it changes one row in ten
SHOWN_MAX = 10
ROUNDING = 1e-12  # two orders of the same sums may differ by this much log return


class Future(StrEnum):
    """What stands behind the bar that is looked at."""

    TRUE = "true"
    CUT = "cut"
    SHUFFLED = "shuffled"


@dataclass(frozen=True)
class Known:
    """What one stage knows of one instrument from ``first_row`` of its clock up to the bar that is looked at."""

    stage: str  # such as "features"
    of: str  # such as "strategic IF"
    first_row: int
    values: NDArray[Any]  # [rows, columns]; NaN equals NaN
    columns: tuple[str, ...] = ()  # their names; empty: told by number


@dataclass(frozen=True)
class StackCase:
    """One instrument: the rows whose future may be changed, and what all stages know at such a row, in their order."""

    name: str
    rows: NDArray[np.int64]
    known: Callable[[int, Future], Sequence[Known]]


@dataclass(frozen=True)
class FitCase:
    """What was fitted on a training span, as plain data by name, and how to fit it without the test's bars."""

    name: str  # such as "what fold 1 fitted"
    fitted: Mapping[str, object]
    fitted_again: Callable[[], Mapping[str, object]]


@dataclass(frozen=True)
class EarningCase:
    """What each row earned by seeded targets, and what the bars after those decisions say: log returns float64[T]."""

    name: str
    earned: NDArray[np.float64]
    due: NDArray[np.float64]


def judge(
    stacks: Sequence[StackCase],
    fits: Sequence[FitCase],
    earnings: Sequence[EarningCase],
    folds: Sequence[FoldCase],
    *,
    cuts_per_case: int,
    shuffles_per_case: int,
    seed: int,
    without_rows: Collection[str] = (),
) -> GateResult:
    """Refuse when anything changes with the future, a fit saw more than its training, or a fold touches its test.

    The statistic counts differing rows and faults; none may remain. n is the number of rows whose future was changed.
    ``without_rows`` names the folds that rightly have no training or no test rows, such as those of an instrument that
    was not listed yet; any other fold that lacks them refuses.
    """
    if not (stacks and fits and earnings and folds):
        return refused(NAME, 0.0, "there is no stage, no fit, no account or no fold to look at")
    points = {Future.CUT: cuts_per_case, Future.SHUFFLED: shuffles_per_case}
    drawn = [(case, future, _draw_rows(case, n, seed, future)) for case in stacks for future, n in points.items()]
    empty = [case.name for case, _, rows in drawn if len(rows) == 0]
    if empty:
        return refused(NAME, 0.0, f"{listing(empty)} has no row with a future, so the comparison would be empty")
    used = [fold for fold in folds if fold.trained.any() and fold.tested.any()]
    lacking = [fold.name for fold in folds if not (fold.trained.any() and fold.tested.any())]
    unexplained = [name for name in lacking if name not in without_rows]
    if unexplained:
        return refused(
            NAME, 0.0, f"training or test rows are missing in {listing(unexplained)}, which should have both"
        )
    if not used:
        return refused(NAME, 0.0, "no fold has both training and test rows")
    idle = [case.name for case in earnings if not case.due.any()]
    if idle:
        return refused(NAME, 0.0, f"{listing(idle)} should have earned nothing, so the comparison would be empty")
    looks = [_look(case, int(row), future) for case, future, rows in drawn for row in rows]
    faults = [fault for fit in fits for fault in fit_faults(fit)]
    faults += [fault for earning in earnings for fault in earning_faults(earning)]
    faults += [fault for fold in used for fault in fold_faults(fold)]
    counts = {
        "instruments": len(stacks),
        "rows_cut": sum(len(rows) for _, future, rows in drawn if future is Future.CUT),
        "rows_shuffled": sum(len(rows) for _, future, rows in drawn if future is Future.SHUFFLED),
        "fewest_cuts": min(len(rows) for _, future, rows in drawn if future is Future.CUT),
        "fits": len(fits),
        "accounts": len(earnings),
        "folds": len(used),
    }
    return _result(looks, faults, counts, lacking)


def fit_faults(case: FitCase) -> list[str]:
    """Return what comes out otherwise when it is fitted on the bars before the test alone, in words."""
    again = case.fitted_again()
    assert again.keys() == case.fitted.keys()
    unequal = [name for name in case.fitted if case.fitted[name] != again[name]]
    return [f"{case.name} changes when the test is cut off ({listing(unequal)})"] if unequal else []


def earning_faults(case: EarningCase) -> list[str]:
    """Return where decisions earned other bars than those after them, in words."""
    wrong = np.flatnonzero(~(np.abs(case.earned - case.due) <= ROUNDING))  # so written, NaN is wrong
    if len(wrong) == 0:
        return []
    row = int(wrong[0])
    paid = f"row {row} paid {percent(case.earned[row], 4)} instead of {percent(case.due[row], 4)}"
    return [f"{case.name}: {count(len(wrong), 'row')} did not pay what the bar after the decision earned ({paid})"]


def _draw_rows(case: StackCase, points: int, seed: int, future: Future) -> NDArray[np.int64]:
    if len(case.rows) <= points:
        return case.rows
    drawn = random_stream(seed, "truncation", future, case.name).choice(case.rows, size=points, replace=False)
    return np.sort(drawn)


def _look(case: StackCase, row: int, future: Future) -> dict[str, str]:
    """Return for every stage what it knew otherwise with another future, in words; empty where it knew the same."""
    true, changed = case.known(row, Future.TRUE), case.known(row, future)
    assert [(one.stage, one.of) for one in true] == [(one.stage, one.of) for one in changed]
    return {f"{a.stage} of {a.of}": _difference(a, b, future) for a, b in zip(true, changed, strict=True)}


def _difference(true: Known, changed: Known, future: Future) -> str:
    ending = f"when the future is {future}"
    if true.values.shape != changed.values.shape or true.values.dtype != changed.values.dtype:
        forms = [f"{values.dtype} {values.shape}" for values in (changed.values, true.values)]
        return f"{true.stage} of {true.of} change their form {ending}: {forms[0]} instead of {forms[1]}"
    unequal = _unequal(true.values, changed.values)
    if not unequal.any():
        return ""
    row = int(np.argmax(unequal.any(axis=1)))
    columns = [true.columns[k] if true.columns else f"column {k}" for k in np.flatnonzero(unequal[row])]
    return f"{true.stage} of {true.of} at row {true.first_row + row} change {ending} ({listing(columns)})"


def _unequal(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    unequal = one != other
    if unequal.any() and one.dtype.kind == "f":
        unequal &= ~(np.isnan(one) & np.isnan(other))
    return np.asarray(unequal)


def _result(
    looks: list[dict[str, str]], faults: list[str], counts: dict[str, int], without_rows: list[str]
) -> GateResult:
    power = 1.0 - (1.0 - STATED_SHARE) ** counts["fewest_cuts"]
    smallest = 1.0 - 0.2 ** (1.0 / counts["fewest_cuts"])
    statement = (
        f"A look-ahead that changes {percent(STATED_SHARE, 0)} of the rows of one stage is caught with probability "
        f"{percent(power, 0)} or more; with 80 % it is caught when it changes {percent(smallest)} of them. Fits, "
        "accounts and folds are exact."
    )
    # In the order of the stack: what the first stage lets through, all stages after it show as well.
    differences = [found for look in looks for found in look.values() if found]
    changed = sum(any(look.values()) for look in looks)
    stages = list(dict.fromkeys(stage.partition(" of ")[0] for look in looks for stage in look))
    evidence = counts | {
        "stages": stages,
        "folds_without_rows": without_rows,
        "differences": differences[:SHOWN_MAX],
        "differences_total": len(differences),
        "faults": faults[:SHOWN_MAX],
        "faults_total": len(faults),
        "statistic_name": "rows that change with their future, and faults",
    }
    evidence |= power_evidence(
        statement,
        smallest=f"a look-ahead in {percent(smallest)} of the rows of one stage; one fault otherwise",
        data="none: more rows cut (gates.truncation_points) find rarer leaks",
        smallest_effect_80=smallest,
    )
    clean = not (changed or faults)
    reason = _passed(stages, counts) if clean else _leak(changed, len(looks), [*differences[:1], *faults[:2]])
    statistic = float(changed + len(faults))
    return GateResult(NAME, clean, statistic, 0.0, power, len(looks), reason, plain(evidence))


def _passed(stages: list[str], counts: dict[str, int]) -> str:
    return (
        f"{listing(stages, len(stages)).capitalize()} of {count(counts['instruments'], 'instrument')} stayed the same "
        f"at {count(counts['rows_cut'], 'row')} with the future cut off and {counts['rows_shuffled']:,} with it "
        f"shuffled; {count(counts['fits'], 'fit')} needed no bar of a test, {count(counts['accounts'], 'account')} "
        f"paid the bars after the decisions, and {count(counts['folds'], 'fold')} kept clear of their tests."
    )


def _leak(changed: int, looks: int, shown: list[str]) -> str:
    head = f"{count(changed, 'row')} of {looks:,} changed with their future: " if changed else ""
    return f"Leak: {head}{'; '.join(shown)}."
