"""Artefacts in a bucket: the registries and DVC against a server that speaks S3 (moto), as the docs configure them.

The store is one made for tests; what a real one adds, such as rights, versions and outages of hours, is not shown.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from grandmodel.core.config import Environment
from grandmodel.core.errors import RegistryError
from grandmodel.registry.backends import ARTIFACTS_VARIABLE, backends
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import SELECTED, open_registry, register

WANTED = "pip install -r tests/requirements.txt"
boto3 = pytest.importorskip("boto3", reason=f"no client of buckets: {WANTED}")
pytest.importorskip("moto", reason=f"no store that speaks S3: {WANTED}")

pytestmark = pytest.mark.slow
BUCKET = "releases"
SECRETS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("bucket") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        until = time.monotonic() + 60
        while not answers(address):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield address
        server.kill()


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A client of the bucket, which is there and empty; the environment names the store as the docs say."""
    for name, value in {**SECRETS, "MLFLOW_S3_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    yield client
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST"), timeout=10).close()


def keys(store: object) -> list[str]:
    return sorted(one["Key"] for one in store.list_objects_v2(Bucket=BUCKET).get("Contents", []))  # type: ignore[attr-defined]


def test_releases_live_in_a_bucket_and_are_verified_at_every_load(
    store: object, state: Path, environments: Mapping[str, Environment], make: Callable[..., Path]
) -> None:
    def opened() -> Registry:
        uri = backends(state, {ARTIFACTS_VARIABLE: f"s3://{BUCKET}/grandmodel"}).artifacts_uri
        return open_registry(state, environments, artifacts_uri=uri)

    for weight in (1.0, 2.0):
        bundle = make(weight)
        version = register(opened(), bundle)
        moved = opened().promote("staging", version, actor="flow", reason="green", evidence=SELECTED)
        assert moved.accepted
        shutil.rmtree(bundle)  # nothing but the bucket holds it now
    assert len([key for key in keys(store) if key.startswith("grandmodel/") and key.endswith("manifest.json")]) == 2
    assert not list((state / "artifacts").rglob("*.safetensors"))
    second = opened().load_champion("staging")
    assert opened().rollback("staging", actor="ann", reason="worse").changed
    first = opened().load_champion("staging")
    assert (first / "strategic.safetensors").read_bytes() != (second / "strategic.safetensors").read_bytes()
    for key in keys(store):
        if key.endswith("limits.json"):
            store.put_object(Bucket=BUCKET, Key=key, Body=b"{}")  # type: ignore[attr-defined]
    with pytest.raises(RegistryError, match=r"limits\.json"):
        opened().load_champion("staging")


def test_dvc_pushes_to_the_bucket_and_pulls_from_it(store: object, endpoint: str, tmp_path: Path) -> None:
    def dvc(*arguments: str) -> None:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
        subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=tmp_path, env=environment, check=True, timeout=120
        )

    bars = tmp_path / "bars.csv"
    bars.write_text("time,open\n1,2\n")
    dvc("init", "--quiet", "--no-scm")
    dvc("add", "--quiet", bars.name)
    dvc("remote", "add", "--local", "--default", "bucket", f"s3://{BUCKET}/dvc")
    dvc("remote", "modify", "--local", "bucket", "endpointurl", endpoint)
    dvc("push", "--quiet", "--remote", "bucket")
    assert len(keys(store)) == 1
    shutil.rmtree(tmp_path / ".dvc" / "cache")
    bars.unlink()
    dvc("pull", "--quiet", "--remote", "bucket")
    assert bars.read_text() == "time,open\n1,2\n"
