"""The Python interface: classes of one's own, several methods, tables that a notebook shows, and its public names."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.naive_bayes import GaussianNB

import mmcl_bench as mb
from mmcl_bench.cli.options import SiteOptions
from mmcl_bench.core.compute import find_device
from mmcl_bench.core.errors import UserError
from mmcl_bench.methods import METHODS

TASK = "supervised/nw-ucla[split=x-sub]"


def gaussian(smoothing: float) -> type[mb.Method]:
    """A class as a cell of a notebook defines it anew."""

    class Gaussian(mb.EstimatorMethod):
        name: ClassVar[str] = "gaussian"
        summary: ClassVar[str] = "a Gaussian for each class"

        class Settings(mb.MethodSettings):
            smoothing_times: float = 1.0

        settings: Settings

        def estimator(self, seed: int) -> Any:
            return GaussianNB(var_smoothing=smoothing * self.settings.smoothing_times)

    return Gaussian


@pytest.fixture
def places(toy_data_root: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    yield {"data_root": toy_data_root, "results_root": tmp_path, "device": "cpu"}
    if "gaussian" in METHODS:
        METHODS.unregister("gaussian")


def test_a_class_runs_beside_named_methods_and_is_run_again_when_it_is_new(places: dict[str, Any]) -> None:
    first = gaussian(1.0)
    table = mb.run(TASK, [first, "logistic,chance"], settings={"C": 0.1}, **places)
    assert list(dict.fromkeys(table.method)) == ["gaussian", "logistic", "chance"]
    assert table.stored[1].result.method.overrides == {"C": 0.1}

    def started(method: Any, **more: Any) -> str:
        return mb.run(TASK, method, **places, **more).stored[0].result.provenance.started

    former = started(first)
    assert former == table.stored[0].result.provenance.started, "the same class, so its result is shown"
    scores = table.stored[0].scores
    new = gaussian(1e-3)
    with pytest.raises(UserError, match="unknown task"):
        mb.run("supervised/nw", new, **places)
    changed = mb.run(TASK, new, **places).stored[0]
    assert not np.array_equal(changed.scores, scores), "its code is another now"
    assert started("gaussian") == started(gaussian(1.0), fresh=False) == changed.result.provenance.started


def test_a_table_is_shown_though_its_results_were_replaced(places: dict[str, Any]) -> None:
    former = mb.run(TASK, [gaussian(1.0), "chance"], **places)
    mb.run(TASK, gaussian(1e-3), **places)
    assert "<td>gaussian</td>" in former._repr_html_()
    written = io.StringIO()
    Console(file=written, width=200).print(former)
    assert "[6 rows x" in written.getvalue()


def test_a_deterministic_class_runs_once(places: dict[str, Any]) -> None:
    method = gaussian(1.0)
    method.deterministic = True
    assert mb.run(TASK, [method, "chance"], 2, **places).groupby("method").seed.nunique().to_dict() == {
        "chance": 2,
        "gaussian": 1,
    }


class Nameless(mb.EstimatorMethod):
    summary: ClassVar[str] = "it has no name"

    def estimator(self, seed: int) -> Any:
        return GaussianNB()


class Taken(Nameless):
    name: ClassVar[str] = "chance"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Nameless, "Nameless: a method is a class that derives from mmcl_bench.Method and has a name of its own"),
        (dict, "dict: a method is a class that derives"),
        (gaussian(1.0)(), "Gaussian: a method is a class that derives"),
        (Taken, "a method named 'chance' exists already; give yours a name of its own"),
        ("chanse", "unknown method 'chanse'. Did you mean chance"),
    ],
)
def test_what_is_no_method_is_one_line(method: Any, message: str, places: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")) as error:
        mb.run(TASK, method, **places)
    assert "\n" not in str(error.value)


def test_a_table_is_shown_as_html_and_by_rich(places: dict[str, Any]) -> None:
    table = mb.run([TASK, "supervised/utd-mhad"], "logistic,chance", 2, **places)
    shown = table._repr_html_()
    assert shown.count("<table>") == 2
    assert "<th>logistic (quick)</th>" in shown
    assert "supervised/nw-ucla@2[split=x-sub]" in shown
    written = io.StringIO()
    Console(file=written, width=120).print(table)
    assert "logistic (quick)" in written.getvalue()
    assert type(table[table.main]) is pd.DataFrame


def test_what_is_shown_of_a_name_is_escaped(places: dict[str, Any]) -> None:
    table = mb.run(TASK, "chance", **places)
    (job,) = table.stored
    method = job.result.method.model_copy(update={"name": "<script>alert(1)</script>"})
    job.result = job.result.model_copy(update={"method": method})
    assert "<script>" not in table._repr_html_()
    assert "&lt;script&gt;" in table._repr_html_()


def test_a_trained_model_scores_arrays(places: dict[str, Any]) -> None:
    mb.run(TASK, gaussian(1.0), **places)
    model = mb.trained_model("supervised/nw-ucla", "gaussian", results_root=places["results_root"])
    skeletons = np.random.default_rng(0).normal(size=(3, 12, 20, 3))
    scores = model.method.score(mb.clips(skeletons, "kinect-v1"))
    assert scores.shape == (3, len(model.classes))
    one = model.method.score(mb.clips(skeletons[1], "kinect-v1"))
    np.testing.assert_allclose(one, scores[1:2], rtol=1e-6)


def test_the_public_names_are_listed_and_load_nothing_heavy() -> None:
    names = dir(mb)
    assert {"run", "clips", "Method", "trained_model", "read_results", "list_tasks", "load_task"} <= {*names}
    assert all(getattr(mb, name) is not None for name in names)
    code = "import sys, mmcl_bench as mb; dir(mb); print({'torch', 'pandas', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_device_is_named_and_chosen_as_on_the_command_line(places: dict[str, Any]) -> None:
    assert inspect.signature(mb.run).parameters["device"].default == SiteOptions().device == "auto"
    (stored,) = mb.run(TASK, "chance", **places | {"device": "auto"}).stored
    assert stored.result.provenance.device_type == find_device("auto")
    with pytest.raises(UserError, match="--device abacus: this machine has no such device"):
        mb.run(TASK, "chance", **places | {"device": "abacus"})
