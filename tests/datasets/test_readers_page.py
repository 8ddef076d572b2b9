"""The plug-in reader of docs/readers.md works as the page says."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import find_task
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from published import kinect_v1_person

PAGE = Path(__file__).parents[2] / "docs" / "readers.md"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's reader, installed as the page says; its name."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (entry,) = re.findall(r'^([\w-]+) = "my_package:(\w+)"$', PAGE.read_text(), flags=re.MULTILINE)
    module = ModuleType("my_package")
    exec(source, module.__dict__)  # noqa: S102 - our own page
    monkeypatch.setitem(__import__("sys").modules, "my_package", module)
    points = metadata.EntryPoints([metadata.EntryPoint(entry[0], f"my_package:{entry[1]}", "mmcl_bench.datasets")])
    real = metadata.entry_points
    monkeypatch.setattr(
        metadata, "entry_points", lambda **given: points if given == {"group": "mmcl_bench.datasets"} else real(**given)
    )
    return str(entry[0])


def test_a_plugged_in_set_is_prepared_and_run(plugin: str, tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    for action in (1, 2, 10):
        for subject in range(1, 7):
            positions = kinect_v1_person(action * 10 + subject, 15) * 1000
            np.savetxt(folder / f"a{action:02d}_s{subject:02d}.txt", positions.reshape(15, 60))
    dataset = prepare(plugin, folder, tmp_path / "data", workers=1)
    assert (dataset.card.n_clips, dataset.card.classes[0]) == (18, "walk")
    task = find_task("supervised", plugin, None, {}, tmp_path / "data")
    stored, _ = run_job(make_job(task, METHODS.get("logistic"), 0), RunSite(tmp_path / "data", tmp_path / "results"))
    assert stored.result.task.identity == "supervised/lab-recordings@2[split=x-sub]"
