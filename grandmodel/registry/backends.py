"""Where MLflow keeps its tables and its files: beside the ledger by default, elsewhere by environment variable.

``GRANDMODEL_TRACKING_URI`` names a database (``postgresql+psycopg://user@host/name``) or an MLflow server;
``GRANDMODEL_ARTIFACTS_URI`` a bucket (``s3://bucket/prefix``). The ledger, its lock and the evidence stay local files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from grandmodel.core.errors import ConfigError

TRACKING_VARIABLE, ARTIFACTS_VARIABLE = "GRANDMODEL_TRACKING_URI", "GRANDMODEL_ARTIFACTS_URI"
TRACKING_SCHEMES = ("sqlite", "postgresql+psycopg", "http", "https")
ARTIFACT_SCHEMES = ("file", "s3")


@dataclass(frozen=True)
class Backends:
    """The two addresses that MLflow works on."""

    tracking_uri: str
    artifacts_uri: str


def backends(state: Path, environment: Mapping[str, str]) -> Backends:
    """Return what ``environment`` names; what it leaves out lies below ``state``.

    Raises ConfigError for another scheme or no address, for one with a secret in it (it would show in logs and in the
    list of processes), and for a bucket without its client.
    """
    folder = state.resolve()
    tracking = environment.get(TRACKING_VARIABLE) or f"sqlite:///{folder / 'mlflow.db'}"
    artifacts = (environment.get(ARTIFACTS_VARIABLE) or (folder / "artifacts").as_uri()).rstrip("/")
    do = "Put that of a database into ~/.pgpass, that of a server into MLFLOW_TRACKING_PASSWORD or _TOKEN"
    _check(TRACKING_VARIABLE, tracking, TRACKING_SCHEMES, do)
    _check(ARTIFACTS_VARIABLE, artifacts, ARTIFACT_SCHEMES, "Put the keys into ~/.aws/credentials")
    if artifacts.startswith("s3:") and find_spec("boto3") is None:
        raise ConfigError(ARTIFACTS_VARIABLE, "a bucket needs its client", "no boto3", "Run pip install boto3")
    return Backends(tracking, artifacts)


def _check(variable: str, uri: str, schemes: tuple[str, ...], where_secrets_go: str) -> None:
    try:
        parts = urlsplit(uri)
    except ValueError:  # whose words repeat the address, and with it what it may hold
        raise ConfigError(variable, f"must be an address that begins with one of {list(schemes)}") from None
    named = any("password" in key.casefold() or "token" in key.casefold() for key in parse_qs(parts.query))
    token = parts.scheme in ("http", "https") and parts.username is not None
    if parts.password is not None or named or token:
        raise ConfigError(variable, "an address must hold no password", f"one for {parts.hostname}", where_secrets_go)
    if parts.scheme not in schemes:
        raise ConfigError(variable, f"must begin with one of {list(schemes)}", uri)
