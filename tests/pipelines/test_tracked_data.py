from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from grandmodel.core.errors import DataError
from pipelines.ingest import refuse_untracked
from pipelines.workspace import PROJECT


def test_the_tracked_bars_pass(tmp_path: Path) -> None:
    tracked = PROJECT / "data.dvc"
    refuse_untracked(yaml.safe_load(tracked.read_text())["meta"]["raw_hash"], tracked)


def test_bars_that_dvc_hashed_anew_are_still_refused(tmp_path: Path) -> None:
    tracked = tmp_path / "data.dvc"
    tracked.write_text(yaml.safe_dump({"meta": {"raw_hash": "a" * 64}, "outs": [{"md5": "rewritten.dir"}]}))
    with pytest.raises(DataError, match=r"data/: the bars must be those of data\.dvc, hash aaaaaaaaaaaa; found 'bbbb"):
        refuse_untracked("b" * 64, tracked)
