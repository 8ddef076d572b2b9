"""Choices that are averaged over several draws of pseudo-unseen classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from methods.test_methods import N_CLASSES, problem, settings
from mmcl_bench.evaluation.metrics import fit_calibration
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared.feature_method import FeatureMethod
from mmcl_bench.protocols.problem import Context, Problem


def of(name: str) -> FeatureMethod:
    method = METHODS.get(name)(**settings(METHODS.get(name)))
    assert isinstance(method, FeatureMethod)
    return method


def with_draws(n: int) -> Problem:
    """The toy problem, and others in which another of its classes is unseen."""
    given = problem("zero-shot")
    order = np.arange(N_CLASSES)
    draws = []
    for at in range(1, n + 1):
        seen = np.roll(given.classes.seen, at)
        train = replace(given.train, labels=np.roll(order, at)[given.train.labels])
        draws.append(replace(given, classes=replace(given.classes, seen=seen), train=train))
    return replace(given, draws=tuple(draws))


def test_the_mean_of_the_draws_decides() -> None:
    main, other, third = of("eszsl"), of("eszsl"), of("eszsl")
    for each in (main, other, third):
        each._figures = {}
    assert other.choose("penalty", {1: 0.9, 2: 0.8, 3: 0.1}) == 1
    assert third.choose("penalty", {1: 0.1, 2: 0.6, 3: 0.7}) == 3
    main._others = (other, third)
    assert main.choose("penalty", {1: 0.5, 2: 0.4, 3: 0.5}) == 2


@pytest.mark.parametrize("name", ["eszsl", "pgfa", "cada-vae", "flora"])
def test_the_final_fit_takes_what_was_chosen_on_all_draws(name: str, tmp_path: Path) -> None:
    context = Context(seed=5, folder=tmp_path / "job", shared=tmp_path / "shared", shared_seed=1)
    method = of(name)
    report = method.fit(with_draws(2), context)
    assert report.notes["draws of pseudo-unseen classes"] == 3
    assert method.of_draws == (method,), "the fits on other draws are not kept"
    whole = replace(problem("zero-shot"), validation=None)
    final = of(name).fit(whole, replace(context, folder=tmp_path / "final", chosen=report.chosen))
    assert final.chosen == report.chosen
    assert final.calibration is None


def test_the_calibration_is_the_mean_of_the_draws(tmp_path: Path) -> None:
    context = Context(seed=5, folder=tmp_path / "job", shared=tmp_path / "shared", shared_seed=1)
    given = with_draws(2)
    one_choice = {"feature_penalties": (1.0,), "text_penalties": (0.1,)}
    report = METHODS.get("eszsl")(**settings(METHODS.get("eszsl"), **one_choice)).fit(given, context)
    alone = []
    for each in (given, *given.draws):
        method = METHODS.get("eszsl")(**settings(METHODS.get("eszsl"), **one_choice))
        method.fit(replace(each, draws=()), context)
        assert each.validation is not None
        scores = method.score(each.validation.clips)
        alone.append(fit_calibration(scores, each.validation.labels, each.classes.seen))
    assert report.calibration == pytest.approx(fmean(alone))
