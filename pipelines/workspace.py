"""Where one run of the pipeline keeps its files, and how a stage starts and fails."""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from grandmodel.core.config import Params, Profile, load_params
from grandmodel.core.errors import ConfigError, GrandModelError
from grandmodel.core.files import write_text_atomic

PROJECT = Path(__file__).resolve().parents[1]
OWNER_VARIABLE = "GRANDMODEL_OWNER_PID"
STAGES = ("ingest", "validate", "features", "train", "evaluate", "stress", "package")


@dataclass(frozen=True)
class Workspace:
    """One run: its folder below the project root, and its parameters.

    ``artifacts/`` belongs to DVC and follows ``params.yaml``; every other run of the flow gets a folder of its own
    below ``runs/``, which carries its parameters.
    """

    folder: Path
    params_path: Path = PROJECT / "params.yaml"

    @cached_property
    def params(self) -> Params:
        """All that changes a model."""
        return load_params(self.params_path)

    @property
    def ingest(self) -> Path:
        """Raw rows with their files and lines."""
        return self.folder / "ingest"

    @property
    def validate(self) -> Path:
        """Verdict of the expectations, and Data Docs."""
        return self.folder / "validate"

    @property
    def features(self) -> Path:
        """Bars, folds, feature specifications, scaled columns."""
        return self.folder / "features"

    @property
    def train(self) -> Path:
        """Weights of every fold and seed, and learning curves."""
        return self.folder / "train"

    @property
    def evaluate(self) -> Path:
        """Out-of-sample evidence and the verdicts of G0 to G5."""
        return self.folder / "evaluate"

    @property
    def stress(self) -> Path:
        """Scenario rows and the verdict of G6."""
        return self.folder / "stress"

    @property
    def package(self) -> Path:
        """The bundle of the release."""
        return self.folder / "package"

    @property
    def tensorboard(self) -> Path:
        """Event files of the trainings, for TensorBoard; they carry times and are no out of DVC."""
        return self.folder / "tensorboard"

    @property
    def units(self) -> Path:
        """Trainings keyed by what they depend on: they survive a killed run, so it resumes."""
        return self.folder / ".units"


def open_workspace(folder: Path) -> Workspace:
    """Return the workspace in ``folder``: under the parameters it carries, or those of the project if it has none."""
    own = folder / "params.yaml"
    return Workspace(folder, own) if own.exists() else Workspace(folder)


def profile_params(profile: Profile) -> Params:
    """Return the project's parameters, or what ``params.quick.yaml`` makes of them.

    Raises ConfigError on an unknown key, and where the parameters call themselves by another profile's name.
    """
    overlay = PROJECT / "params.quick.yaml" if profile == "quick" else None
    params = load_params(PROJECT / "params.yaml", overlay)
    if params.profile != profile:
        raise ConfigError(f"{overlay or PROJECT / 'params.yaml'} key profile", f"must be {profile}", params.profile)
    return params


def write_params(folder: Path, params: Params) -> None:
    """Let the run in ``folder`` carry ``params``."""
    write_text_atomic(folder / "params.yaml", yaml.safe_dump(params.model_dump(), sort_keys=False))


def cores() -> int:
    """Return how many processors this process may use: ``taskset`` or a container may grant fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def empty_folder(path: Path) -> Path:
    """Return ``path`` as an existing, empty folder."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def run_stage(stage: Callable[[Workspace], None]) -> None:
    """Run one stage from the command line: exit 1 with one sentence on an operating error."""
    parser = argparse.ArgumentParser(description=stage.__doc__)
    parser.add_argument("--workspace", type=Path, default=PROJECT / "artifacts", help="where stages keep their files")
    workspace = open_workspace(parser.parse_args().workspace)
    finish(lambda: stage(workspace))


def finish(work: Callable[[], None]) -> None:
    """Run ``work``; end the process quickly, with one sentence on standard error if it failed."""
    end_with_owner()
    try:
        work()
    except GrandModelError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    # Collecting the object graphs of torch and Great Expectations at exit costs more than a second.
    gc.disable()
    gc.freeze()


def end_with_owner() -> None:
    """End this process soon after the flow that owns it is gone, however it went.

    A flow killed with SIGKILL can signal nobody; without this its stage would train on, and hold DVC's lock.
    """
    owner = os.environ.get(OWNER_VARIABLE)
    if owner:
        threading.Thread(target=_watch, args=(int(owner),), daemon=True).start()


def _watch(owner_pid: int) -> None:
    while True:
        try:
            os.kill(owner_pid, 0)
        except ProcessLookupError:
            os._exit(1)
        time.sleep(0.5)
