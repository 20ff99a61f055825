from __future__ import annotations

from pathlib import Path

import pytest

from grandmodel.core.errors import ConfigError
from grandmodel.registry.backends import ARTIFACTS_VARIABLE, TRACKING_VARIABLE, backends


def test_by_default_both_lie_beside_the_ledger(tmp_path: Path) -> None:
    found = backends(tmp_path, {})
    assert found.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert found.artifacts_uri == f"file://{tmp_path}/artifacts"


def test_an_empty_variable_is_no_variable(tmp_path: Path) -> None:
    assert backends(tmp_path, {TRACKING_VARIABLE: "", ARTIFACTS_VARIABLE: ""}) == backends(tmp_path, {})


def test_a_database_by_name_leaves_the_files_where_they_are(tmp_path: Path) -> None:
    found = backends(tmp_path, {TRACKING_VARIABLE: "postgresql+psycopg://mlflow@db.example/mlflow"})
    assert found.tracking_uri == "postgresql+psycopg://mlflow@db.example/mlflow"
    assert found.artifacts_uri == backends(tmp_path, {}).artifacts_uri


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql+psycopg://mlflow:swordfish@db/mlflow",
        "postgresql+psycopg:///mlflow?password=swordfish",
        "postgresql+psycopg:///mlflow?PassWord=swordfish",
        "postgresql+psycopg:///mlflow?sslpassword=swordfish",
        "https://swordfish@mlflow.example",
    ],
)
def test_an_address_with_a_password_is_refused_without_repeating_it(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match="must hold no password") as caught:
        backends(tmp_path, {TRACKING_VARIABLE: uri})
    assert "swordfish" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "uri"), [(TRACKING_VARIABLE, "mysql://db/mlflow"), (ARTIFACTS_VARIABLE, "ftp://host/folder")]
)
def test_another_scheme_is_refused_by_name(tmp_path: Path, variable: str, uri: str) -> None:
    with pytest.raises(ConfigError, match=f"{variable}: must begin with one of"):
        backends(tmp_path, {variable: uri})


def test_a_bucket_without_its_client_is_refused_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grandmodel.registry.backends.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="Run pip install boto3"):
        backends(tmp_path, {ARTIFACTS_VARIABLE: "s3://models/grandmodel"})


@pytest.mark.parametrize("uri", ["http://[::1", "http://swordfish\u2100@host"])
def test_what_is_no_address_is_refused_without_repeating_it(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match=f"{TRACKING_VARIABLE}: must be an address") as caught:
        backends(tmp_path, {TRACKING_VARIABLE: uri})
    assert "swordfish" not in str(caught.value)
