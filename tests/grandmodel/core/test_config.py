"""Parameters under an overlay: what it names is set otherwise, the rest stays, what nobody knows is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from grandmodel.core.config import load_params
from grandmodel.core.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[3]
BASE = PROJECT / "params.yaml"


def overlay(folder: Path, content: object) -> Path:
    path = folder / "overlay.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_an_overlay_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    plain = load_params(BASE).model_dump()
    laid = load_params(BASE, overlay(tmp_path, {"training": {"strategic": {"frames": 7}}, "seed": 3})).model_dump()
    assert (laid["training"]["strategic"]["frames"], laid["seed"]) == (7, 3)
    laid["training"]["strategic"]["frames"] = plain["training"]["strategic"]["frames"]
    assert laid | {"seed": plain["seed"]} == plain


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"training": {"sedes": 3}}, r"params\.yaml under overlay\.yaml key training\.sedes"),
        ({"training": {"strategic": 3}}, r"key training\.strategic"),
        ({"folds": {"scheme": "random"}}, r"key folds\.scheme"),
        (["training"], r"overlay\.yaml: the file must hold keys with values"),
    ],
)
def test_an_overlay_that_no_model_knows_is_refused_by_key(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_params(BASE, overlay(tmp_path, content))


def test_the_quick_profile_sets_only_what_differs() -> None:
    def leaves(content: dict[str, object], prefix: str = "") -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in content.items():
            found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return found

    plain, quick = (
        leaves(yaml.safe_load((PROJECT / name).read_text())) for name in ("params.yaml", "params.quick.yaml")
    )
    assert len(quick) >= 5
    assert [key for key, value in quick.items() if plain[key] == value] == []
