from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from grandmodel.core.errors import ConfigError
from grandmodel.core.hashing import canonical_json
from grandmodel.registry.materials import bill_of_materials

LOCK = Path(__file__).parents[3] / "requirements.lock"


def test_every_locked_package_that_is_installed_is_told_with_version_and_purl() -> None:
    bill = bill_of_materials(LOCK)
    told = {one["name"]: one for one in bill["components"]}
    assert len(told) > 100
    assert list(told) == sorted(told)
    for name in ("numpy", "torch", "mlflow", "pyyaml"):
        assert told[name]["version"] == version(name)
        assert told[name]["purl"] == f"pkg:pypi/{name}@{version(name)}"
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")


def test_licences_stand_where_packages_declare_them() -> None:
    told = {one["name"]: one.get("licenses") for one in bill_of_materials(LOCK)["components"]}
    assert told["filelock"]
    assert sum(licences is not None for licences in told.values()) > 0.9 * len(told)
    for licences in filter(None, told.values()):  # one expression, or names: CycloneDX knows no mixture
        assert [set(one) for one in licences] in ([{"expression"}], [{"license"}] * len(licences))


def test_the_bill_is_the_same_each_time() -> None:
    assert canonical_json(bill_of_materials(LOCK)) == canonical_json(bill_of_materials(LOCK))


def test_the_bill_does_not_depend_on_what_else_was_imported() -> None:
    before = bill_of_materials(LOCK)
    import importlib_metadata  # noqa: F401  # its finder takes the place of the standard library's

    assert bill_of_materials(LOCK) == before


def test_a_package_that_is_not_installed_here_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("NumPy==0.0.1\nnot-a-package-of-anybody==1.0\n# a remark\n")
    assert [one["name"] for one in bill_of_materials(tmp_path / "lock")["components"]] == ["numpy"]


@pytest.mark.parametrize("content", [None, "", "numpy>=1\n"])
def test_a_lock_that_pins_nothing_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "lock").write_text(content)
    with pytest.raises(ConfigError, match="lock"):
        bill_of_materials(tmp_path / "lock")
