import pytest

from grandmodel.gates import g0_data

GOOD = {
    "checks": {"high is highest": True, "no duplicates": True},
    "data_hash": "ab" * 32,
    "licence": "CC0-1.0",
    "rows": 100,
    "simulated": True,
}


def test_clean_known_and_licensed_data_passes() -> None:
    result = g0_data.judge(**GOOD)
    assert result.passed
    assert result.statistic == 0.0
    assert result.n == 2
    assert "All 2 critical expectations held on 100 rows" in result.reason
    assert "CC0-1.0" in result.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"checks": {"no duplicates": False}}, "expectation no duplicates failed"),
        ({"checks": {}}, "no expectations"),
        ({"data_hash": "unknown"}, "hash is unknown"),
        ({"licence": "  "}, "licence is missing"),
        ({"rows": 0}, "no rows"),
    ],
)
def test_each_fault_refuses_and_is_named(change: dict[str, object], words: str) -> None:
    result = g0_data.judge(**{**GOOD, **change})
    assert not result.passed
    assert result.statistic == 1.0
    assert words in result.reason
