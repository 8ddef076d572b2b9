"""What is taken out of a clip is a setting, and its default changes no name of a stored job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from methods.test_methods import clips, problem
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared.feature_method import FeatureSettings
from mmcl_bench.methods.shared.network_settings import NetworkSettings
from mmcl_bench.protocols.problem import ClipView, Context
from mmcl_bench.running.jobs import settings_of
from mmcl_bench.skeleton.transforms import Normalisation, prepare_clips

METHODS_ON_JOINTS = {"logistic": {}, "logistic-source-only": {"features": "joints", "Cs": (0.01,)}}
HAVING = [name for name in METHODS.names() if "normalise" in METHODS.get(name).Settings.model_fields]


def moved(view: ClipView, by: float) -> ClipView:
    bodies = [
        [replace(body, positions=body.positions + np.float32(by)) for body in view.bodies(n)] for n in range(len(view))
    ]
    return ClipView(bodies, view.n_frames.tolist(), view.layout)


@pytest.mark.parametrize("name", HAVING)
def test_the_default_leaves_settings_as_results_have_them(name: str) -> None:
    method = METHODS.get(name)
    usual = settings_of(method, "quick")
    assert usual.get("normalise", True) is True
    assert settings_of(method, "quick", {"normalise": "root+facing+scale"}) == usual
    changed = settings_of(method, "quick", {"normalise": "root+facing"})
    assert changed == {**usual, "normalise": "root+facing"}
    assert method.Settings.shown(changed, usual) == {"normalise": "root+facing"}
    assert method.check(usual).as_json() == usual


@pytest.mark.parametrize("what", get_args(Normalisation))
def test_networks_and_extractors_get_clips_without_it(what: Normalisation) -> None:
    view = clips(3, 0)
    expected = prepare_clips(view, 64, what).tracks
    for settings in (NetworkSettings(normalise=what), FeatureSettings(normalise=what).network()):
        np.testing.assert_array_equal(settings.prepare(view).tracks, expected)


@pytest.mark.parametrize(("flag", "what"), [(True, "root+facing+scale"), (False, "root")])
def test_a_flag_is_the_same_as_what_it_stands_for(flag: bool, what: Any) -> None:
    assert NetworkSettings(normalise=flag) == NetworkSettings(normalise=what)
    assert NetworkSettings(normalise=what).as_json()["normalise"] is flag


@pytest.mark.parametrize("name", METHODS_ON_JOINTS)
def test_without_root_the_place_of_a_clip_counts(name: str, tmp_path: Path) -> None:
    for what, counts in (("none", True), ("root", False)):
        method = METHODS.get(name)(**METHODS_ON_JOINTS[name], normalise=what)
        method.fit(replace(problem("transfer"), validation=None), Context(seed=0, folder=tmp_path))
        here, away = (method.score(moved(clips(4, 3), by)) for by in (0.0, 1.0))
        assert np.allclose(here, away, atol=1e-3) is not counts
