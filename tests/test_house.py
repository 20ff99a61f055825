"""Rules of the house that no linter knows, checked on every source file."""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).resolve().parents[1]
LINES_MAX = 500
SOURCE_SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".j2", ".sh", ".in", ".ipynb"}
SOURCE_NAMES = {"Makefile", "Dockerfile", "run", "config"}
UNTRACKED_AT_ROOT = {".dvc", ".git", ".venv", ".prefect", "artifacts", "build", "data", "mlartifacts", "runs", "state"}
UNTRACKED_ANYWHERE = {"__pycache__", ".ipynb_checkpoints", "uncommitted"}

TIME_CALLS = {"now", "utcnow", "today"}
TIME_FUNCTIONS = {"time", "time_ns", "ctime", "gmtime", "localtime"}
NUMPY_RANDOM_ALLOWED = {"Generator", "BitGenerator", "PCG64", "SeedSequence"}
RANDOM_MODULES = {"random", "secrets"}
RANDOM_CALLS = {"os.urandom", "uuid.uuid1", "uuid.uuid4"}
ESCAPE = re.compile(r"# clock-ok: \w+")

# Put together from halves, so that this file passes its own rules.
MACHINE_PATH = re.compile(r"(?<![\w.}$~])/(?:" + "|".join(("home", "root", "work", "tmp", "Users")) + r")/\w")
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
MODEL_STAGES = re.compile(
    "|".join(("transition_model_" + "version_stage", "get_latest_" + "versions", "current_" + "stage"))
    + r"|models:/[\w.]+/(?:Staging|Production|Archived|None)\b"
)


@cache
def files_of_the_project() -> tuple[Path, ...]:
    """Return what git tracks or would track; without git, everything outside the folders it ignores."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if (PROJECT / ".git").exists() and listing.returncode == 0:
        found = [PROJECT / name for name in listing.stdout.split("\0") if name]
    else:
        found = list(_walk(PROJECT))
    return tuple(path for path in sorted(found) if path.is_file() and not path.is_symlink())


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        skipped = UNTRACKED_ANYWHERE | (UNTRACKED_AT_ROOT if Path(parent) == folder else set())
        folders[:] = [name for name in folders if name not in skipped and not name.endswith("_cache")]
        yield from (Path(parent, name) for name in names)


def sources() -> list[Path]:
    """Return the files that people write."""
    found = [p for p in files_of_the_project() if p.suffix in SOURCE_SUFFIXES or p.name in SOURCE_NAMES]
    assert len(found) > 50
    return found


def python_below(*rooms: str) -> list[Path]:
    """Return the Python files of the named root folders."""
    found = [p for p in files_of_the_project() if p.suffix == ".py" and p.relative_to(PROJECT).parts[0] in rooms]
    for room in rooms:
        assert any(p.relative_to(PROJECT).parts[0] == room for p in found), f"no Python file below {room}/"
    return found


def lines_matching(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """Return ``file:line: text`` of every line that matches."""
    return [
        f"{path.relative_to(PROJECT)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def clock_and_chance(text: str) -> list[str]:
    """Return ``line: what`` for each read of the wall clock and each draw that no seed decides."""
    lines = text.splitlines()
    found = [(node.lineno, what) for node in ast.walk(ast.parse(text)) if (what := _impurity(node))]
    return [f"{number}: {what}" for number, what in sorted(found) if not ESCAPE.search(lines[number - 1])]


def _impurity(node: ast.AST) -> str:
    """Return the offending name, or an empty string. Only nodes with a line number offend."""
    if isinstance(node, ast.Import):
        return ", ".join(name.name for name in node.names if name.name in RANDOM_MODULES)
    if isinstance(node, ast.ImportFrom):
        names = {f"{node.module}.{name.name}" for name in node.names}
        forbidden = RANDOM_CALLS | {f"time.{name}" for name in TIME_FUNCTIONS} | {"numpy.random"}
        whole = node.module in RANDOM_MODULES | {"numpy.random"}
        return str(node.module) if whole else ", ".join(sorted(names & forbidden))
    if isinstance(node, ast.Attribute):
        name, owner = ast.unparse(node), ast.unparse(node.value)
        if owner in {"np.random", "numpy.random"} and node.attr not in NUMPY_RANDOM_ALLOWED:
            return name
        if (owner == "time" and node.attr in TIME_FUNCTIONS) or name in RANDOM_CALLS:
            return name
        return name if node.attr in TIME_CALLS and re.search(r"(date|datetime|Timestamp)$", owner) else ""
    return ""


@cache
def locked() -> dict[str, Version]:
    """Return the version of every package in requirements.lock."""
    lines = [line for line in (PROJECT / "requirements.lock").read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) > 100
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def wanted() -> list[Requirement]:
    """Return the direct dependencies that requirements.in names."""
    lines = [line for line in (PROJECT / "requirements.in").read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) > 20
    return [Requirement(line) for line in lines]


def test_suites_folder_does_not_shadow_great_expectations() -> None:
    folder = PROJECT / "great_expectations"
    assert list(folder.glob("expectations/*.json"))
    assert not list(folder.glob("*.py"))


def test_library_reads_no_wall_clock_and_draws_nothing_unseeded() -> None:
    paths = [p for p in python_below("grandmodel", "pipelines", "models") if p.parent != PROJECT / "grandmodel/core"]
    assert len(paths) > 20
    assert not [f"{p.relative_to(PROJECT)}:{hit}" for p in paths for hit in clock_and_chance(p.read_text())]


@pytest.mark.parametrize(
    "line",
    [
        "moment = datetime.now(UTC)",
        "moment = datetime.datetime.utcnow()",
        "moment = date.today()",
        "moment = pd.Timestamp.now()",
        "moment = time.time()",
        "from time import time_ns",
        "import random",
        "from uuid import uuid4",
        "name = uuid.uuid4()",
        "from numpy import random",
        "from numpy.random import default_rng",
        "draw = np.random.default_rng()",
        "draw = np.random.normal(size=3)",
        "clock = time.time",
    ],
)
def test_clock_and_chance_are_found(line: str) -> None:
    assert clock_and_chance(line)
    assert not clock_and_chance(f"{line}  # clock-ok: a sample of the rule")
    assert clock_and_chance(f"{line}  # clock-ok:")


@pytest.mark.parametrize(
    "line",
    [
        "generator: np.random.Generator = random_stream(seed, 'folds')",
        "began = time.monotonic()",
        "moment = clock()",
        "from uuid import uuid5",
        "from grandmodel.core.random import random_stream",
        "moment = row.time",
        "text = 'datetime.now()'",
    ],
)
def test_seeded_draws_and_given_clocks_are_allowed(line: str) -> None:
    assert not clock_and_chance(line)


def test_no_source_file_is_longer_than_the_limit() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources() if path.suffix != ".md"}
    assert not {str(path.relative_to(PROJECT)): n for path, n in lengths.items() if n > LINES_MAX}


def test_sources_name_no_path_of_one_machine() -> None:
    assert not lines_matching(MACHINE_PATH, sources())


def test_sources_hold_no_note_of_unfinished_work() -> None:
    assert not lines_matching(UNFINISHED, sources())


@pytest.mark.parametrize(("folder", "is_path"), [("/" + "home/", True), ("data/" + "tmp/", False)])
def test_paths_of_one_machine_are_found(folder: str, is_path: bool) -> None:
    assert bool(MACHINE_PATH.search(f"open('{folder}somebody/file')")) is is_path


def test_tests_reach_no_other_machine() -> None:
    with pytest.raises(OSError, match="tests stay on this machine"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_deprecated_model_stages_are_not_used() -> None:
    assert MODEL_STAGES.search("models:/grandmodel/Production")
    assert not MODEL_STAGES.search("models:/production.grandmodel@champion")
    assert not lines_matching(MODEL_STAGES, python_below("grandmodel", "pipelines", "flows", "models"))


def test_lock_satisfies_every_direct_dependency() -> None:
    unmet = [str(r) for r in wanted() if not r.specifier.contains(locked()[canonicalize_name(r.name)])]
    assert not unmet


def test_torch_is_pinned_without_its_cuda_packages() -> None:
    assert any(str(requirement).startswith("torch==") for requirement in wanted())
    assert locked()["torch"].local is None
    assert not [name for name in locked() if name.startswith(("nvidia-", "cuda-", "triton"))]


@pytest.mark.parametrize(("name", "cap"), [("fastapi", "<0.151"), ("sqlalchemy", "<2.1")])
def test_caps_that_prefect_needs_hold(name: str, cap: str) -> None:
    assert SpecifierSet(cap).contains(locked()[name])
    assert any(cap in str(requirement.specifier) for requirement in wanted() if requirement.name == name)


def test_the_wheel_depends_only_on_locked_packages() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    names = [*project["dependencies"], *project["optional-dependencies"]["pipeline"]]
    assert len(names) > 10
    assert {canonicalize_name(name) for name in names} <= {canonicalize_name(r.name) for r in wanted()}


def test_git_keeps_the_lock_of_dvc_and_its_store() -> None:
    kept = [
        "dvc.lock",
        "data.dvc",
        ".dvc/config",
        ".dvc/store/files/md5/00/0",
        "grandmodel/data/x.py",
        "grandmodel/registry/x.py",
    ]
    ignored = ["artifacts/x", "state/x", "runs/x", ".venv/x", "great_expectations/uncommitted/x"]
    listing = subprocess.run(
        ["git", "check-ignore", "--no-index", *kept, *ignored], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if listing.returncode > 1 or not (PROJECT / ".git").exists():
        pytest.skip(f"not a checkout that git reads here: {listing.stderr.strip()}")
    assert set(listing.stdout.split()) == set(ignored)
