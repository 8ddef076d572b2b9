"""The extractor that zero-shot methods on frozen features share."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from methods.test_methods import UNSEEN, clips, problem, settings
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared import extractor
from mmcl_bench.methods.shared.extractor import Extractor, Features, trained_extractor
from mmcl_bench.methods.shared.feature_method import FeatureMethod
from mmcl_bench.nn import BACKBONES
from mmcl_bench.protocols.problem import Context, FitReport, Problem
from mmcl_bench.skeleton.transforms import PreparedTracks
from read_only import read_only


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """The problems that extractors are trained on."""
    found: list[Problem] = []
    fit = Extractor.fit

    def counted(self: Extractor, given: Problem, context: Context) -> FitReport:
        found.append(given)
        return fit(self, given, context)

    monkeypatch.setattr(Extractor, "fit", counted)
    return found


def of(name: str) -> FeatureMethod:
    method = METHODS.get(name)(**settings(METHODS.get(name)))
    assert isinstance(method, FeatureMethod)
    return method


def test_the_second_method_of_a_run_trains_none(tmp_path: Path, trainings: list[Problem]) -> None:
    context = Context(seed=1, folder=tmp_path / "one", shared=tmp_path / "shared", shared_seed=9)
    of("eszsl").fit(problem("zero-shot"), context)
    of("pgfa").fit(problem("zero-shot"), replace(context, seed=2, folder=tmp_path / "two"))
    assert len(trainings) == 1


def test_what_it_depends_on_makes_another_one(
    tmp_path: Path, trainings: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(seed=1, folder=tmp_path / "one", shared=tmp_path / "shared", shared_seed=9)
    given = problem("zero-shot")
    other = replace(given, train=replace(given.train, labels=np.roll(given.train.labels, 1)))
    of("eszsl").fit(given, context)
    of("eszsl").fit(given, replace(context, shared_seed=10))
    of("eszsl").fit(other, context)
    assert len(trainings) == 3
    monkeypatch.setattr(BACKBONES.get(of("eszsl").settings.backbone), "version", 2)
    of("eszsl").fit(given, context)
    assert len(trainings) == 4


def test_it_sees_no_clip_and_no_text_of_an_unseen_class(tmp_path: Path, trainings: list[Problem]) -> None:
    of("eszsl").fit(problem("zero-shot"), Context(seed=1, folder=tmp_path))
    (seen,) = trainings
    assert len(seen.classes) == UNSEEN
    assert seen.classes.embeddings is None
    assert seen.validation is not None
    assert len(seen.validation) == 8  # of ten clips, two are of the unseen class
    assert seen.validation.labels.max() < UNSEEN


def test_damaged_files_are_made_again_with_the_same_bits(tmp_path: Path, trainings: list[Problem]) -> None:
    context = Context(seed=1, folder=tmp_path, shared=tmp_path / "shared")
    expected = of("eszsl")
    expected.fit(problem("zero-shot"), context)
    for path in (tmp_path / "shared").rglob("*.safetensors"):
        path.write_bytes(b"cut short")
    again = of("eszsl")
    again.fit(problem("zero-shot"), context)
    assert len(trainings) == 2
    np.testing.assert_array_equal(again.score(clips(5, 3)), expected.score(clips(5, 3)))


def test_where_nothing_can_be_written_a_job_keeps_its_own(tmp_path: Path, trainings: list[Problem]) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    with read_only(shared):
        of("eszsl").fit(problem("zero-shot"), Context(seed=1, folder=tmp_path / "job", shared=shared))
    assert len(trainings) == 1
    assert not list(shared.iterdir())


def test_a_full_disk_while_features_are_kept_loses_nothing(
    tmp_path: Path, trainings: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(seed=1, folder=tmp_path / "job", shared=tmp_path / "shared", shared_seed=9)

    def full(path: Path, write: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(extractor, "write_atomically", full)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            of("eszsl").fit(problem("zero-shot"), context)
    again, other = of("eszsl"), of("eszsl")
    again.fit(problem("zero-shot"), context)
    assert len(trainings) == 1, "the extractor was there already"
    other.fit(problem("zero-shot"), replace(context, shared=tmp_path / "elsewhere"))
    np.testing.assert_array_equal(again.score(clips(5, 3)), other.score(clips(5, 3)))


def test_features_are_read_where_they_were_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = of("eszsl").settings.network()
    trained, _ = trained_extractor(problem("zero-shot"), Context(seed=1, folder=tmp_path), network)
    first = trained.features(clips(4, 3), maps=True)
    assert first.maps is not None
    np.testing.assert_allclose(first.maps.astype(np.float32).mean((2, 3)), first.pooled, atol=2e-3)

    def refused(*_: object) -> PreparedTracks:
        raise AssertionError("computed again")

    monkeypatch.setattr(Extractor, "_computed", refused)
    kept = trained.features(clips(4, 3), maps=True)
    assert isinstance(kept, Features)
    np.testing.assert_array_equal(kept.pooled, first.pooled)
    np.testing.assert_array_equal(kept.maps, first.maps)
