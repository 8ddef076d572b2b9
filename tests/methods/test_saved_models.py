"""A fitted method comes back from its files with the same scores, and needs nothing but skeletons to give them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from methods.test_methods import FirstFit, clips, families, problem
from methods.test_methods import fitted as fit
from mmcl_bench.core.errors import UserError
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method
from mmcl_bench.methods.chance import Chance
from mmcl_bench.methods.shared.saved import ARRAYS, FACTS, saved_layout
from mmcl_bench.nn.fam import FeatureAlignment
from mmcl_bench.nn.frm import FeatureRefinement
from mmcl_bench.protocols.problem import Context
from mmcl_bench.skeleton.clips import Modality

TEACHERS = {Modality.RGB: 12, Modality.INSTRUCT: 6}


def fitted(name: str, family: str, folder: Path, features: dict[Modality, int] | None = None) -> Method:
    method = METHODS.get(name)
    context = Context(seed=5, folder=folder / "work")
    return fit(method, problem(family, features, method.setting), context)[0]


def again(method: Method, folder: Path) -> Method:
    loaded = type(method)(**method.settings.as_json())
    loaded.load(folder)
    return loaded


@pytest.mark.parametrize(("name", "family"), families())
def test_scores_of_a_loaded_model_are_the_same_bits(
    name: str, family: str, tmp_path: Path, first_fit: Callable[[str, str], FirstFit]
) -> None:
    method = first_fit(name, family).method
    files = method.save(tmp_path / "model")
    if not files:
        with pytest.raises(UserError, match=f"{name} keeps no model"):
            method.load(tmp_path / "model")
        return
    assert sorted(files) == sorted(path.name for path in (tmp_path / "model").iterdir())
    assert saved_layout(tmp_path / "model") == "kinect-v1"
    expected = method.score(clips(7, 3))
    loaded = again(method, tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(clips(7, 3)), expected)


def test_models_that_say_nothing_of_their_steps_are_read_as_well(tmp_path: Path) -> None:
    """As they were written first: the scaler's and the linear model's arrays alone."""
    method = fitted("logistic", "supervised", tmp_path)
    method.save(tmp_path / "model")
    expected, path = method.score(clips(7, 3)), tmp_path / "model" / FACTS
    content = json.loads(path.read_text())
    del content["facts"]["steps"]
    path.write_text(json.dumps(content))
    former = {"mean_", "scale_", "coef_", "coef_.T", "intercept_", "classes_"}
    arrays = load_file(tmp_path / "model" / ARRAYS)
    save_file({key: array for key, array in arrays.items() if key in former}, tmp_path / "model" / ARRAYS)
    np.testing.assert_array_equal(again(method, tmp_path / "model").score(clips(7, 3)), expected)


def test_teachers_are_not_kept_and_scoring_never_asks_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = fitted("mmcl", "supervised", tmp_path, TEACHERS)
    method.save(tmp_path)
    assert {name.partition(".")[0] for name in load_file(tmp_path / ARRAYS)} == {"backbone"}

    def refuse(*_: object) -> None:
        raise AssertionError("a teacher was asked while scoring")

    for module in (FeatureAlignment, FeatureRefinement):
        for name in ("forward", "loss"):
            monkeypatch.setattr(module, name, refuse, raising=False)
    expected = method.score(clips(4, 3))
    np.testing.assert_array_equal(again(method, tmp_path).score(clips(4, 3)), expected)


@pytest.mark.parametrize("name", ["mmcl", "devise", "devise-joints", "pgfa-end-to-end"])
def test_classes_known_by_texts_can_be_replaced(name: str, tmp_path: Path) -> None:
    method = fitted(name, "zero-shot", tmp_path)
    embeddings = problem("zero-shot").classes.embeddings
    assert embeddings is not None
    before = method.score(clips(4, 3))
    method.replace_classes(embeddings[[3, 1]])
    np.testing.assert_allclose(method.score(clips(4, 3)), before[:, [3, 1]], rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="as 9 numbers and the model learned from 16"):
        method.replace_classes(np.ones((2, 9), dtype=np.float32))


@pytest.mark.parametrize(
    ("name", "family"), [("mmcl", "supervised"), ("logistic", "supervised"), ("chance", "transfer")]
)
def test_classes_known_by_clips_cannot_be_replaced(name: str, family: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="knows its classes by training clips"):
        fitted(name, family, tmp_path).replace_classes(np.ones((2, 16), dtype=np.float32))


def _without_layout(content: dict[str, Any]) -> None:
    del content["layout"]


def _other_format(content: dict[str, Any]) -> None:
    content["format"] = 99


def _other_version(content: dict[str, Any]) -> None:
    content["version"] = 99


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_layout, "lacks layout"),
        (_other_format, "not of format 1"),
        (_other_version, "is of chance version 99"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_line(spoil: Any, message: str, tmp_path: Path) -> None:
    fitted("chance", "supervised", tmp_path).save(tmp_path)
    content = json.loads((tmp_path / FACTS).read_text())
    spoil(content)
    (tmp_path / FACTS).write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        Chance().load(tmp_path)
    assert "\n" not in str(caught.value)
    assert "--fresh" in str(caught.value)


@pytest.mark.parametrize("file", [FACTS, ARRAYS])
def test_a_missing_or_damaged_file_is_one_line(file: str, tmp_path: Path) -> None:
    fitted("chance", "supervised", tmp_path).save(tmp_path)
    (tmp_path / file).write_bytes(b"\x80\x04 no model")
    with pytest.raises(UserError, match="damaged"):
        Chance().load(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(UserError, match=r"keeps no model|is missing"):
        Chance().load(tmp_path)
