"""MLflow, kept quiet and offline: the only file that imports it, and only when it is first used.

Facts of MLflow 3.17 that shape this file: ``search_model_versions`` returns no aliases; versions may come as int;
``copy_model_version`` copies no bytes and, depending on the version, no tags; moving an alias is one atomic row.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from grandmodel.core.errors import RegistryError
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.relocation import path_of, relocate, uri_below

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

ValueT = TypeVar("ValueT")

EXPERIMENT, TRIALS_EXPERIMENT = "grandmodel", "trials"
BUNDLE_FOLDER = "bundle"
_PARAMS_PER_BATCH = 100
_METRICS_PER_BATCH = 1000
_PARAM_CHARACTERS_MAX = 6000


class Tracking:
    """The MLflow calls the registry needs, each safe to repeat."""

    def __init__(
        self, uri: str, artifacts_uri: str, models: tuple[str, ...], *, may_be_made: Callable[[], bool] = lambda: True
    ) -> None:
        self.uri = uri
        self.artifacts_uri = artifacts_uri
        self._models = models
        self._may_be_made = may_be_made

    @cached_property
    def client(self) -> MlflowClient:
        """Return the client after creating database, experiment and registered models where they are absent.

        Raises RegistryError where a file of SQLite is gone that the ledger knows moves in.
        """
        if not self.is_made() and not self._may_be_made():
            rule = "must be there, for the ledger knows moves in it"
            raise RegistryError(f"MLflow at {self.uri}", rule, do="Restore it, or begin with an empty state folder")
        with self._errors("could not be opened"):
            from mlflow.tracking import MlflowClient

            if self.artifacts_uri.startswith("file:"):
                self.local_path(self.artifacts_uri).mkdir(parents=True, exist_ok=True)
            if self.uri.startswith("sqlite:///"):
                database = Path(self.uri.removeprefix("sqlite:///"))
                _create_database(database)
                relocate(database, EXPERIMENT, self.artifacts_uri)
            client = MlflowClient(self.uri, self.uri)
            # The experiment comes last, so that where it stands the models stand too.
            if client.get_experiment_by_name(EXPERIMENT) is None:
                known = {model.name for model in client.search_registered_models()}
                for name in self._models:
                    if name not in known:
                        client.create_registered_model(name)
                client.create_experiment(EXPERIMENT, artifact_location=self.artifacts_uri)
        return client

    def is_made(self) -> bool:
        """Return whether the database is there; one behind an address is taken to be."""
        return not self.uri.startswith("sqlite:///") or os.path.exists(self.uri.removeprefix("sqlite:///"))

    def log_release(
        self,
        bundle: Bundle,
        *,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        params: Mapping[str, object],
        curves: Mapping[str, Sequence[tuple[int, float]]],
        now_ms: int,
    ) -> tuple[str, str]:
        """Log a sealed bundle as a run with it as artifact and return (run id, bundle URI); once per release and key.

        ``curves`` are series of (step, value) by name.
        """
        with self._errors("could not log the release"):
            from mlflow.entities import Metric, Param, RunTag

            experiment = self.client.get_experiment_by_name(EXPERIMENT)
            assert experiment is not None, "the client creates the experiment"
            known_by = {"release_id": bundle.release_id, "public_key": bundle.public_key}
            wanted = " AND ".join(f"tags.{key} = '{value}'" for key, value in known_by.items())
            runs = self.client.search_runs([experiment.experiment_id], wanted)
            run = (
                runs[0]
                if runs
                else self.client.create_run(
                    experiment.experiment_id, now_ms, {**tags, **known_by}, run_name=bundle.release_id
                )
            )
            run_id, uri = str(run.info.run_id), f"{run.info.artifact_uri}/{BUNDLE_FOLDER}"
            if run.info.status == "FINISHED":
                return run_id, uri
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
            for some in _batches(params, _PARAMS_PER_BATCH):
                self.client.log_batch(
                    run_id, params=[Param(key, str(value)[:_PARAM_CHARACTERS_MAX]) for key, value in some]
                )
            points = [(name, 0, value) for name, value in sorted(metrics.items())]
            points += [(name, step, value) for name, series in sorted(curves.items()) for step, value in series]
            for start in range(0, len(points), _METRICS_PER_BATCH):
                batch = points[start : start + _METRICS_PER_BATCH]
                self.client.log_batch(run_id, [Metric(name, float(value), now_ms, step) for name, step, value in batch])
            self.client.log_artifacts(run_id, str(bundle.folder), BUNDLE_FOLDER)
            self.client.set_terminated(run_id, "FINISHED", now_ms)
            return run_id, uri

    def log_trial(self, trial_id: str, *, tags: Mapping[str, str], metrics: Mapping[str, float], now_ms: int) -> str:
        """Log one trial as a run without artifacts and return the run's id; once per trial."""
        with self._errors("could not log a trial"):
            from mlflow.entities import Metric

            found = self.client.get_experiment_by_name(TRIALS_EXPERIMENT)
            location = f"{self.artifacts_uri}/{TRIALS_EXPERIMENT}"
            experiment_id = (
                found.experiment_id
                if found
                else self.client.create_experiment(TRIALS_EXPERIMENT, artifact_location=location)
            )
            runs = self.client.search_runs([experiment_id], f"tags.trial_id = '{trial_id}'")
            if runs and runs[0].info.status == "FINISHED":
                return str(runs[0].info.run_id)
            all_tags = {**tags, "trial_id": trial_id}
            run = runs[0] if runs else self.client.create_run(experiment_id, now_ms, all_tags, run_name=trial_id[:12])
            run_id = str(run.info.run_id)
            self.client.log_batch(run_id, [Metric(name, value, now_ms, 0) for name, value in sorted(metrics.items())])
            self.client.set_terminated(run_id, "FINISHED", now_ms)
            return run_id

    def trial_runs(self) -> set[str]:
        """Return the ids of the runs of trials that MLflow shows; a deleted run is not among them."""
        with self._errors("could not list the runs of trials"):
            experiment = self.client.get_experiment_by_name(TRIALS_EXPERIMENT)
            found: set[str] = set()
            token: str | None = "" if experiment else None
            while experiment and token is not None:
                page = self.client.search_runs([experiment.experiment_id], page_token=token or None)
                found |= {str(run.info.run_id) for run in page}
                token = page.token or None
        return found

    def attach(self, run_id: str, path: Path) -> None:
        """Log one file beside the bundle of a run; a file of that name is replaced."""
        with self._errors(f"could not attach {path.name}"):
            self.client.log_artifact(run_id, str(path))

    def create_version(self, model: str, source: str, run_id: str) -> str:
        """Create a version of ``model``: a copy when ``source`` is ``models:/name/version``, else from its files."""
        with self._errors(f"could not create a version of {model}"):
            if source.startswith("models:/"):
                return str(self.client.copy_model_version(source, model).version)
            return str(self.client.create_model_version(model, uri_below(self.artifacts_uri, source), run_id).version)

    def versions(self, model: str, source: str | None = None) -> list[str]:
        """Return the versions of ``model``, or those made from ``source``, oldest first."""
        with self._errors(f"could not list {model}"):
            found: list[ModelVersion] = list(self.client.search_model_versions(f"name = '{model}'"))
        wanted = None if source is None else (source, uri_below(self.artifacts_uri, source))
        return sorted((str(one.version) for one in found if wanted is None or one.source in wanted), key=int)

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Write those of ``tags`` that the version does not hold yet."""
        with self._errors(f"could not tag {model} version {version}"):
            held = self.client.get_model_version(model, version).tags
            for key, value in tags.items():
                if held.get(key) != value:
                    self.client.set_model_version_tag(model, version, key, value)

    def tags(self, model: str, version: str) -> dict[str, str]:
        """Return the tags of one version."""
        with self._errors(f"could not read {model} version {version}"):
            return dict(self.client.get_model_version(model, version).tags)

    def aliases(self, model: str) -> dict[str, str]:
        """Return alias -> version of one registered model."""
        with self._errors(f"could not read {model}"):
            aliases = self.client.get_registered_model(model).aliases
            return {alias: str(version) for alias, version in aliases.items()}

    def set_alias(self, model: str, alias: str, version: str | None) -> None:
        """Move ``alias`` to ``version``, or take it away when that is None; writes nothing where it stands already."""
        held = self.aliases(model).get(alias)
        if held == version:
            return
        with self._errors(f"could not move the alias {alias} of {model}"):
            if version is None:
                self.client.delete_registered_model_alias(model, alias)
            else:
                self.client.set_registered_model_alias(model, alias, version)

    def bundle_path(self, model: str, version: str) -> Path:
        """Return where the bundle of one version lies on this machine; a remote store is downloaded first."""
        with self._errors(f"could not find the bundle of {model} version {version}"):
            return self.local_path(self.client.get_model_version_download_uri(model, version))

    def local_path(self, uri: str) -> Path:
        """Return the local folder of an artifact URI; a remote store is downloaded first, a local one may be absent."""
        local = path_of(uri_below(self.artifacts_uri, uri))
        if local is not None:
            return local
        with self._errors(f"could not fetch {uri}"):
            from mlflow.artifacts import download_artifacts

            return Path(download_artifacts(artifact_uri=uri, tracking_uri=self.uri))

    @contextmanager
    def _errors(self, failure: str) -> Iterator[None]:
        _silence()
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError  # MLflow lets those of the first connection through

        try:
            yield
        except Exception as error:
            if not isinstance(error, (MlflowException, SQLAlchemyError, OSError, sqlite3.Error, *_bucket_errors())):
                raise
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise RegistryError(f"MLflow at {self.uri}", failure, first_line) from error


def _create_database(path: Path) -> None:
    """Create the schema beside ``path`` and link it there when it is whole: a kill half-way leaves no broken database.

    The caller holds the lock of the registry.
    """
    if path.exists():
        return
    from mlflow.tracking import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    for leftover in (unfinished, unfinished.with_name(unfinished.name + "-journal")):
        leftover.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{unfinished}", f"sqlite:///{unfinished}")
    os.link(unfinished, path)
    unfinished.unlink()


def _bucket_errors() -> tuple[type[Exception], ...]:
    """Return what the client of a bucket raises; nothing where no bucket was spoken to."""
    if "boto3" not in sys.modules:
        return ()
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (Boto3Error, BotoCoreError, ClientError)


def _silence() -> None:
    """Turn off telemetry, progress bars and notices before MLflow is imported; what a person has set stays."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.utils.logging_utils import disable_logging

    disable_logging()  # type: ignore[no-untyped-call]
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)


def _batches(items: Mapping[str, ValueT], size: int) -> Iterator[list[tuple[str, ValueT]]]:
    pairs = sorted(items.items())
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]
