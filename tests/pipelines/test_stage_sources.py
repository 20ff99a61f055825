"""DVC reruns a stage exactly when something it is made from changed: its code too."""

from __future__ import annotations

from pathlib import PurePosixPath

import grimp
import pytest
import yaml

from pipelines.workspace import PROJECT, STAGES

# Package docstrings and versions change no artefact.
EXEMPT = {"grandmodel", "grandmodel.registry", "pipelines"}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipelines", "models", "grandmodel")


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_is_among_its_dependencies(graph: grimp.ImportGraph, stage: str) -> None:
    declared = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    modules = (graph.find_upstream_modules(f"pipelines.{stage}") | {f"pipelines.{stage}"}) - EXEMPT
    assert len(modules) > 5
    paths = {module: PurePosixPath(module.replace(".", "/")) for module in modules}
    missing = [
        module
        for module, path in paths.items()
        if not any(str(path).startswith(f"{one}/") or str(path) == one or f"{path}.py" == one for one in declared)
    ]
    assert missing == []
