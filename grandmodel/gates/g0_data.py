"""G0: the data passed its suite, is known by hash, and may be used.

Not checked here: exchange-calendar gaps beyond what the suite finds, and whether the universe of instruments is dated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from grandmodel.gates.result import GateResult, plain
from grandmodel.gates.text import count, listing

NAME = "g0_data"


def judge(
    *, checks: Mapping[str, bool], data_hash: str, licence: str, rows: int, simulated: bool, source: str = ""
) -> GateResult:
    """Refuse data whose suite failed or never ran, whose hash is no SHA-256, whose licence is blank, or without rows.

    ``checks`` maps each expectation of the validation suite to whether it held. The statistic counts faults; none may
    remain. n is the number of expectations.
    """
    failed = [name for name, held in checks.items() if not held]
    faults = [f"expectation {name} failed" for name in failed]
    if not checks:
        faults.append("the validation suite has no expectations")
    if not re.fullmatch(r"[0-9a-f]{64}", data_hash):
        faults.append("the data hash is unknown")
    if not licence.strip():
        faults.append("the licence is missing (state it as `licence:` in a dataset.yaml beside the data)")
    if rows < 1:
        faults.append("there are no rows")
    evidence = {
        "checks": dict(checks),
        "faults": faults,
        "data_hash": data_hash,
        "licence": licence,
        "source": source,
        "simulated": simulated,
        "rows": rows,
        "statistic_name": "faults",
        "power_statement": "Exact: each listed expectation that does not hold is caught; what no expectation "
        "describes is not.",
    }
    if faults:
        reason = f"The data is refused: {listing(faults)}."
    else:
        held = count(len(checks), "critical expectation held", "critical expectations held")
        reason = f"All {held} on {count(rows, 'row')}; hash {data_hash[:12]}, licence {licence.strip()}."
    return GateResult(NAME, not faults, float(len(faults)), 0.0, 1.0, len(checks), reason, plain(evidence))
