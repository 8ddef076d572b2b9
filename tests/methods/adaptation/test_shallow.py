"""Shallow adaptation: what scikit-adaptation's own pipelines give, on features that are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import eig
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

from methods.test_methods import clips, problem
from mmcl_bench.core.grants import Setting
from mmcl_bench.evaluation.choosing import TITLES, ChosenBy, column_of
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.adaptation.tca import TransferComponents
from mmcl_bench.methods.shared import shallow_adaptation
from mmcl_bench.methods.shared.shallow_adaptation import ShallowAdaptation
from mmcl_bench.protocols.problem import ClipView, Context, LabelledClips, Problem

N = 60
CENTRES = np.array([[-2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 3.0, 0.0]])


def features(seed: int, n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Three classes in the plane, and noise; the target is moved by ``shift`` and wider."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    rows = CENTRES[labels] + 0.4 * draw.normal(size=(n, 3))
    return (rows * (1 + shift / 10) + np.array([shift, -shift, 0.0])).astype(np.float32), labels


SOURCE, LABELS = features(0, N, 0.0)
HELD_OUT, HELD_OUT_LABELS = features(1, 15, 0.0)
TARGET, _ = features(2, N - 6, 3.0)
TEST, TEST_LABELS = features(3, 21, 3.0)


WIDE = np.random.default_rng(4).normal(size=(3, 600)).astype(np.float32)
"""A map to more dimensions than there are clips, of which three are independent."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> tuple[Problem, ClipView]:
    """A problem whose clips have these features in the place of joint positions, and its test clips."""
    views = {name: clips(len(rows), seed) for seed, (name, rows) in enumerate(by_name.items())}
    rows_of = {id(views[name]): rows for name, rows in by_name.items()}
    monkeypatch.setattr(shallow_adaptation, "joint_features", lambda view, n_bodies, normalise: rows_of[id(view)])
    whole = problem("transfer", setting=Setting.UNLABELLED)
    classes = whole.classes.take(np.arange(3), np.ones(3, dtype=bool))
    no_subjects = np.zeros(N, dtype=np.int64)
    return replace(
        whole,
        classes=classes,
        train=LabelledClips(views["source"], LABELS, no_subjects, {}),
        validation=LabelledClips(views["held out"], HELD_OUT_LABELS, no_subjects[:15], {}),
        target=views["target"],
    ), views["test"]


by_name = {"source": SOURCE, "held out": HELD_OUT, "target": TARGET, "test": TEST}


def coral() -> Any:
    from skada import CORALAdapter

    return CORALAdapter()


def subspace() -> Any:
    from skada import SubspaceAlignmentAdapter

    return SubspaceAlignmentAdapter(n_components=3, random_state=0)


def transport() -> Any:
    from skada import OTMappingAdapter

    return OTMappingAdapter(norm="median")


def monge() -> Any:
    from skada import LinearOTMappingAdapter

    return LinearOTMappingAdapter(reg=1e-2)


ADAPTERS: dict[str, Callable[[], Any]] = {
    "coral": coral,
    "subspace-alignment": subspace,
    "otda": transport,
    "linear-monge": monge,
}


def fitted(name: str, given: Problem, folder: Path, **settings: object) -> ShallowAdaptation:
    method = METHODS.get(name)(features="joints", **settings)
    assert isinstance(method, ShallowAdaptation)
    method.fit(given, Context(seed=0, folder=folder))
    return method


@pytest.mark.parametrize("name", ADAPTERS)
def test_scores_are_those_of_skada_s_own_pipeline(name: str, given: tuple[Problem, ClipView], tmp_path: Path) -> None:
    from skada import make_da_pipeline

    whole, test = given
    found = fitted(name, whole, tmp_path, Cs=(1.0,)).score(test)
    theirs = make_da_pipeline(StandardScaler(), ADAPTERS[name](), LogisticRegression(C=1.0, max_iter=1000))
    domains = np.repeat([1, -2], [len(SOURCE), len(TARGET)])
    known = np.concatenate([LABELS, np.full(len(TARGET), -1)])
    theirs.fit(np.concatenate([SOURCE, TARGET]), known, sample_domain=domains)
    expected = theirs.predict_proba(TEST)
    np.testing.assert_allclose(np.exp(found), expected, rtol=0.02, atol=0.01)


@pytest.mark.parametrize("name", [*ADAPTERS, "jdot"])
def test_a_moved_target_is_recognised(name: str, given: tuple[Problem, ClipView], tmp_path: Path) -> None:
    whole, test = given
    without = fitted("logistic-source-only", replace(whole, target=None), tmp_path)
    assert (without.score(test).argmax(1) == TEST_LABELS).mean() < 0.7
    assert (fitted(name, whole, tmp_path).score(test).argmax(1) == TEST_LABELS).mean() > 0.9


@pytest.mark.parametrize("name", [*ADAPTERS, "jdot"])
def test_features_may_be_more_than_clips(
    name: str, given: tuple[Problem, ClipView], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, test = given
    narrow = shallow_adaptation.joint_features
    monkeypatch.setattr(shallow_adaptation, "joint_features", lambda *asked: 100 * narrow(*asked) @ WIDE)
    found = fitted(name, whole, tmp_path).score(test)
    assert np.isfinite(found).all()
    assert (found.argmax(1) == TEST_LABELS).mean() > 0.5


def test_a_map_shows_source_clips_where_the_adapter_brings_them(
    given: tuple[Problem, ClipView], tmp_path: Path
) -> None:
    whole, test = given
    apart = {}
    for name in ("logistic-source-only", "coral"):
        of_source, of_target = fitted(name, whole, tmp_path).embed_domains(whole.train.clips, test)
        apart[name] = np.linalg.norm(of_source.mean(0) - of_target.mean(0))
    assert apart["coral"] < apart["logistic-source-only"] / 5


def test_the_penalty_is_chosen_on_held_out_source_clips(given: tuple[Problem, ClipView], tmp_path: Path) -> None:
    whole, _ = given
    method = METHODS.get("coral")(features="joints", Cs=(1e-6, 1.0))
    report = method.fit(whole, Context(seed=0, folder=tmp_path))
    by_C = report.notes["validation by C"]
    assert report.chosen == {"C": 1.0 if by_C["1.0"] > by_C["1e-06"] else 1e-6}
    again = METHODS.get("coral")(features="joints", Cs=(1e-6, 1.0))
    assert again.fit(replace(whole, validation=None), Context(seed=0, folder=tmp_path, chosen={"C": 0.5})).chosen == {
        "C": 0.5
    }


@pytest.mark.parametrize("by", TITLES)
@pytest.mark.parametrize("name", ["coral", "jdot"])
def test_the_penalty_is_chosen_by_the_score_that_is_named(
    name: str, by: ChosenBy, given: tuple[Problem, ClipView], tmp_path: Path
) -> None:
    method = METHODS.get(name)(features="joints", Cs=(1e-4, 1e-2, 1.0), choose_by=by)
    report = method.fit(given[0], Context(seed=0, folder=tmp_path))
    figures = report.notes[f"{column_of(by)} by C"]
    assert figures[str(report.chosen["C"])] == max(figures.values())
    if by == "entropy":
        assert report.chosen["C"] == 1.0, "the weakest penalty lets it be the surest"
    found = replace(given[0], validation=None)
    assert method.fit(found, Context(seed=0, folder=tmp_path, chosen=report.chosen)).chosen == report.chosen


def test_the_penalty_s_entropy_is_skada_s(given: tuple[Problem, ClipView], tmp_path: Path) -> None:
    from skada import make_da_pipeline
    from skada.metrics import PredictionEntropyScorer

    method = METHODS.get("linear-monge")(features="joints", Cs=(1.0,), choose_by="entropy")
    notes = method.fit(given[0], Context(seed=0, folder=tmp_path)).notes
    theirs = make_da_pipeline(StandardScaler(), monge(), LogisticRegression(C=1.0, max_iter=1000))
    clips, domains = np.concatenate([SOURCE, TARGET]), np.repeat([1, -2], [len(SOURCE), len(TARGET)])
    known = np.concatenate([LABELS, np.full(len(TARGET), -1)])
    theirs.fit(clips, known, sample_domain=domains)
    expected = 3 * PredictionEntropyScorer()(theirs, clips, known, sample_domain=domains)
    assert notes["entropy_score by C"]["1.0"] == pytest.approx(expected, rel=0.05)


def test_an_adapter_learns_from_no_more_clips_than_it_is_told(given: tuple[Problem, ClipView], tmp_path: Path) -> None:
    method = fitted("tca", given[0], tmp_path, most_clips=10)
    assert method.drawn.source.shape == method.drawn.target.shape == (10, 3)
    assert len(np.unique(method.drawn.labels)) > 1


def test_transfer_components_solve_the_paper_s_problem_and_join_the_means() -> None:
    rows, domains = np.concatenate([SOURCE, TARGET]).astype(float), np.repeat([1, -2], [len(SOURCE), len(TARGET)])
    adapter = TransferComponents(2, mu=1e-3).fit(rows, sample_domain=domains)
    n = len(rows)
    K, H = rbf_kernel(rows), np.eye(n) - 1 / n
    e = np.where(domains == 1, 1 / len(SOURCE), -1 / len(TARGET))
    values, vectors = eig(np.linalg.solve(K @ np.outer(e, e) @ K + 1e-3 * np.eye(n), K @ H @ K))
    first = vectors[:, np.argsort(-values.real)[:2]].real
    expected, found = (np.linalg.qr(each)[0] for each in (first, adapter.step.normalization_.T))
    np.testing.assert_allclose(np.abs(np.linalg.det(expected.T @ found)), 1, atol=1e-4)
    mapped = adapter.transform(rows)
    apart = mapped[domains == 1].mean(0) - mapped[domains == -2].mean(0)
    assert np.linalg.norm(apart) < 1e-2 * mapped.std()
