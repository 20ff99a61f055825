"""DVC owns what depends on what, the flow owns when: both must walk the stages in one order."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import yaml

from pipelines.workspace import PROJECT, STAGES

KINDS = ("outs", "metrics", "plots")


def stages_of_dvc() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    return content


def outs(stage: dict[str, Any]) -> list[PurePosixPath]:
    items = [item for kind in KINDS for item in stage.get(kind, [])]
    return [PurePosixPath(item if isinstance(item, str) else next(iter(item))) for item in items]


def edges() -> set[tuple[str, str]]:
    """Return (earlier, later) for each out that another stage depends on, wholly or in part."""
    stages = stages_of_dvc()
    found = set()
    for earlier, maker in stages.items():
        for later, user in stages.items():
            wanted = [PurePosixPath(dependency) for dependency in user.get("deps", [])]
            if any(out == path or out in path.parents or path in out.parents for out in outs(maker) for path in wanted):
                found.add((earlier, later))
    return found


def test_flow_and_dvc_name_the_same_stages_in_one_order() -> None:
    assert tuple(stages_of_dvc()) == STAGES


def test_every_stage_follows_all_that_it_depends_on() -> None:
    assert len(edges()) >= len(STAGES) - 1
    assert not [(earlier, later) for earlier, later in edges() if STAGES.index(earlier) >= STAGES.index(later)]


def test_no_stage_stands_apart() -> None:
    assert {stage for edge in edges() for stage in edge} == set(STAGES)


def test_every_stage_is_a_module_run_by_its_name() -> None:
    for name, stage in stages_of_dvc().items():
        assert stage["cmd"] == f"python -m pipelines.{name}"
        assert (PROJECT / "pipelines" / f"{name}.py").is_file()


def test_outs_lie_below_artifacts() -> None:
    paths = [path for stage in stages_of_dvc().values() for path in outs(stage)]
    assert len(paths) >= len(STAGES)
    assert not [path for path in paths if path.parts[0] != "artifacts"]
