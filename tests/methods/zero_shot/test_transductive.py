"""Methods that adapt a base to unlabelled clips: their rules by hand, what they may see, and how jobs name the base."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from methods.test_methods import clips, problem, settings
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.evaluation.metrics import fit_calibration
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared.transductive import BaseClips, Choice, TransductiveMethod
from mmcl_bench.methods.zero_shot.label_propagation import LabelPropagation, propagated
from mmcl_bench.methods.zero_shot.pgfa import PGFA
from mmcl_bench.methods.zero_shot.prototypes import prototypes, unit
from mmcl_bench.methods.zero_shot.skeleton_cache import SkeletonCache, descriptors, votes_by_class
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.base import Needs, Protocol
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.problem import Context, Problem, Progress, silent
from mmcl_bench.running.jobs import Job, make_job

ADAPTING = ["prototypes", "skeleton-cache", "label-propagation"]
PLACES = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [9.0, 0.0], [9.0, 1.0]])
"""Two groups of clips."""
SURE = np.array([[9.0, 0.0], [0.2, 0.0], [0.0, 0.1], [0.0, 9.0], [0.1, 0.0]])
"""Scores: the first and the fourth clip are sure, and of different classes."""


def given_clips() -> Problem:
    """A problem whose unlabelled clips are those of validation."""
    return problem("zero-shot", setting=Setting.TRANSDUCTIVE)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one extractor is trained for all of these tests."""
    return tmp_path_factory.mktemp("shared")


def job(method: str, **overrides: str) -> Job:
    return make_job(load_task("zero-shot/utd-mhad[split=22/5]"), METHODS.get(method), 0, overrides=overrides)


def adapting(name: str) -> TransductiveMethod:
    method = METHODS.get(name)(**settings(METHODS.get(name)))
    assert isinstance(method, TransductiveMethod)
    return method


def test_of_the_clips_predicted_as_a_class_those_of_lowest_entropy_come_first() -> None:
    by_class = BaseClips(SURE, PLACES).most_confident()
    assert [of_class.tolist() for of_class in by_class] == [[0, 1, 4], [3, 2]]


@pytest.mark.parametrize("share", [0.4, 0.9])
def test_prototypes_and_their_scores_are_those_of_the_release(share: float, parity_dir: Path) -> None:
    given = load_file(parity_dir / "zoo_pgfa.safetensors")
    name = f"factor_0_{round(10 * share)}"
    vectors = given["output.test_embedding_unit"]
    texts = given["input.text_raw"][-given["output.class_scores"].shape[1] :]
    found = prototypes(BaseClips(given["output.class_scores"], vectors), texts, share)
    np.testing.assert_allclose(found, given[f"output.prototypes_{name}"], atol=1e-6)
    np.testing.assert_allclose(vectors @ unit(found).T, given[f"output.prototype_scores_{name}"], atol=1e-5)


def test_a_class_with_less_than_one_clip_keeps_its_text() -> None:
    texts = np.array([[3.0, 4.0], [5.0, 6.0]])
    found = prototypes(BaseClips(SURE, PLACES), texts, 0.4)  # of three clips one, of two none
    np.testing.assert_array_equal(found, [[0.0, 0.0], [5.0, 6.0]])


def test_descriptors_are_means_over_parts_thirds_and_all() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype(np.float32)
    found = descriptors(torch.from_numpy(maps), [[0], [1, 3], [2], [0, 1]]).numpy()
    expected = [
        *(maps[:, :, :, part].mean((2, 3)) for part in ([0], [1, 3], [2], [0, 1])),
        *(maps[:, :, third].mean((2, 3)) for third in ([0, 1], [2, 3], [4, 5])),
        maps.mean((2, 3)),
    ]
    for at, vector in enumerate(expected):
        norm = np.linalg.norm(vector, axis=1, keepdims=True)
        np.testing.assert_allclose(found[:, at], vector / norm, atol=1e-5)


def test_cached_clips_vote_by_how_alike_they_are() -> None:
    clip = np.array([[[1.0, 0.0], [0.0, 1.0]]])  # two descriptors
    cached = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]]])
    found = votes_by_class(clip, cached, np.array([0, 0, 2]), 3, beta=2.0)
    same, orthogonal, opposite = 1.0, math.exp(-2), math.exp(-4)
    np.testing.assert_allclose(found, [[(same + (orthogonal + same) / 2) / 2, 0, opposite]])


def test_the_cache_keeps_the_surest_clips_and_adds_their_votes() -> None:
    method = SkeletonCache(size=1)
    vectors = np.array([[[1.0, 0.0]], [[0.6, 0.8]], [[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]])
    given, choice = BaseClips(SURE, vectors), {"alpha": 0.5, "beta": 1.0}
    kept = method.kept_of(given, choice)
    np.testing.assert_array_equal(kept["descriptors"], vectors[[0, 3]])
    found = method.adapted(BaseClips(SURE[1:2], vectors[1:2]), kept, choice)
    spread = np.mean([4.5, 0.1, 0.05, 4.5, 0.05])
    expected = [0.2 / spread + 0.5 * math.exp(-0.4), 0.5 * math.exp(-0.2)]
    np.testing.assert_allclose(found, [expected])


def test_sure_clips_label_their_neighbours() -> None:
    found = propagated(BaseClips(SURE, PLACES), share=0.4, neighbours=3, alpha=0.2)
    assert found.argmax(axis=1).tolist() == [0, 0, 0, 1, 1]  # the base says 0, 0, 1, 1, 0


def test_another_clip_is_labelled_by_its_neighbours() -> None:
    method, choice = LabelPropagation(), {"share": 0.4, "neighbours": 2}
    kept = method.kept_of(BaseClips(SURE, PLACES), choice)
    new = BaseClips(np.zeros((2, 2)), np.array([[1.0, 1.5], [8.0, 0.5]]))
    found = method.adapted(new, kept, choice)
    expected = [kept["distributions"][nearest].mean(axis=0) for nearest in ([1, 2], [3, 4])]
    np.testing.assert_allclose(found, expected)


def own_scores(method: TransductiveMethod, given: Problem, context: Context) -> np.ndarray:
    """What the base alone says of the clips to adapt to."""
    assert given.target_unlabelled is not None
    base = METHODS.get(method.settings.base)(**method.settings.base_method.settings)
    base.fit(replace(given, target_unlabelled=None), context)
    embedded = base.embed(given.target_unlabelled)
    if method.name != "prototypes":
        return base.score(given.target_unlabelled).astype(np.float64)
    assert embedded is not None
    assert given.classes.embeddings is not None
    return unit(embedded) @ given.classes.embeddings.T


@pytest.mark.parametrize("name", ADAPTING)
def test_clips_are_assigned_after_a_calibration_that_validation_gave(
    name: str, tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(seed=5, folder=tmp_path / "adapting", shared=shared)
    method, given, adapted_to = adapting(name), given_clips(), []
    kept_of = method.kept_of

    def watched(clips: BaseClips, choice: Choice) -> dict[str, np.ndarray]:
        adapted_to.append(clips.scores)
        return kept_of(clips, choice)

    monkeypatch.setattr(method, "kept_of", watched)
    report = method.fit(given, context)
    own = own_scores(method, given, replace(context, folder=tmp_path / "alone"))
    assert given.validation is not None
    calibration = fit_calibration(own, given.validation.labels, given.classes.seen)
    assert report.chosen["calibration"] == pytest.approx(calibration, abs=1e-5)
    for scores in adapted_to:
        np.testing.assert_allclose(scores, own - calibration * given.classes.seen, atol=1e-5)


@pytest.mark.parametrize("name", ADAPTING)
def test_the_final_fit_adapts_as_was_chosen_and_to_its_own_clips(name: str, tmp_path: Path, shared: Path) -> None:
    first = adapting(name)
    context = Context(seed=5, folder=tmp_path, shared=shared)
    chosen = first.fit(given_clips(), context).chosen
    assert {"base", "calibration", *first.choices()[0]} == set(chosen)
    whole, all_taken = (
        replace(given_clips(), validation=None),
        {**chosen, **first.choices()[-1]},
    )
    found = []
    for unlabelled in (clips(10, 7), clips(10, 8)):
        final = adapting(name)
        final.fit(replace(whole, target_unlabelled=unlabelled), replace(context, chosen=all_taken))
        found.append(final.score(clips(4, 3)))
    # Clips that play no part would leave the same bits.
    assert np.abs(found[0] - found[1]).max() > 1e-6


def test_a_stopped_base_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    method = METHODS.get("prototypes")
    short = {"epochs": 2, "min_steps": 0, "batch_size": 8, "n_frames": 8}
    asked = {"base": "skeleton-only", "base_preset": "quick", "base_settings": short}

    def stopped(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if list((tmp_path / "stopped" / "base").rglob("*.checkpoint")):
            raise KeyboardInterrupt

    def scores(folder: str, progress: Progress = silent) -> np.ndarray:
        made = method(**asked)
        made.fit(
            given_clips(),
            Context(seed=5, folder=tmp_path / folder, progress=progress),
        )
        return made.score(clips(5, 3))

    with pytest.raises(KeyboardInterrupt):
        scores("stopped", stopped)
    np.testing.assert_array_equal(scores("stopped"), scores("whole"))


def test_a_base_whose_settings_fix_everything_chooses_nothing(tmp_path: Path) -> None:
    asked = {"epochs": 2, "min_steps": 0, "batch_size": 8, "n_frames": 8, "selection": "fixed"}
    method = METHODS.get("prototypes")(base="skeleton-only", base_preset="quick", base_settings=asked)
    first = method.fit(given_clips(), Context(seed=5, folder=tmp_path / "first"))
    assert all("validation" not in row for row in first.history)
    whole = replace(given_clips(), validation=None)
    final = method.fit(whole, Context(seed=5, folder=tmp_path / "final", chosen=first.chosen))
    assert final.chosen == first.chosen
    assert final.history == first.history


def rules(root: Path, cache: Path) -> Protocol:
    task, data = load_task("zero-shot/nw-ucla[split=8/2]"), {"nw-ucla": SkeletonDataset.open(root / "nw-ucla")}
    return PROTOCOLS.get("zero-shot")(task, data, Needs(setting=Setting.TRANSDUCTIVE), cache)


def test_noise_in_the_place_of_the_labels_of_unseen_test_clips_changes_no_score(
    toy_data_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(toy_data_root / "nw-ucla", tmp_path / "nw-ucla")
    index = pd.read_parquet(tmp_path / "nw-ucla" / "index.parquet")
    unseen = rules(toy_data_root, tmp_path).classes.seen[index.label] == np.False_
    labels = index.label.to_numpy().copy()
    labels[unseen] = np.random.default_rng(0).permutation(labels[unseen])
    assert (labels != index.label).any()
    index.assign(label=labels.astype(np.int32)).to_parquet(tmp_path / "nw-ucla" / "index.parquet")
    found = []
    for root in (toy_data_root, tmp_path):
        method, given = adapting("prototypes"), rules(root, tmp_path / "cache")
        chosen = {"calibration": 0.1, "share": 0.6, "base": {"step": 6, "of": 6, "extractor": {"epoch": 2, "of": 2}}}
        context = Context(seed=1, folder=tmp_path / root.name, chosen=chosen, shared=tmp_path / "cache")
        method.fit(given.final_problem(), context)
        found.append(method.score(given.test_clips()))
    np.testing.assert_array_equal(*found)


def test_a_job_is_of_its_base_and_of_the_settings_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = job("prototypes")
    assert plain.settings["base_method"]["settings"] == PGFA.presets["quick"].as_json()
    assert plain.overrides == {"base": "pgfa"}
    steps = PGFA.presets["quick"].as_json()["steps"]
    assert plain.hash == job("prototypes", base="pgfa", base_settings=json.dumps({"steps": steps})).hash
    other = job("prototypes", base="skeleton-only")
    assert other.overrides == {"base": "skeleton-only"}
    shorter = job("prototypes", base_settings='{"steps": 5}')
    assert shorter.overrides == {"base": "pgfa", "base_settings": {"steps": 5}}
    assert shorter.settings["base_method"]["settings"]["steps"] == 5
    assert METHODS.get("prototypes")(**shorter.settings).settings.as_json() == shorter.settings
    monkeypatch.setattr(PGFA, "presets", {**PGFA.presets, "quick": PGFA.Settings(steps=7)})
    monkeypatch.setattr(METHODS.get("prototypes"), "presets", METHODS.get("prototypes").usual_presets())
    assert len({plain.hash, other.hash, shorter.hash, job("prototypes").hash}) == 4
    assert METHODS.get("prototypes")(**plain.settings).settings.as_json() == plain.settings, "stored jobs stay readable"


def test_texts_and_teachers_are_those_of_the_base() -> None:
    on_star = job("skeleton-cache", base="star")
    assert METHODS.get("skeleton-cache").needed_text_slots(on_star.settings) == METHODS.get("star").text_slots
    assert on_star.canonical()["slot_texts"] == job("star").canonical()["slot_texts"]
    assert METHODS.get("prototypes")(base="mmcl").encoders() == METHODS.get("mmcl")().encoders()


@pytest.mark.parametrize(
    ("method", "base", "message"),
    [
        ("prototypes", "smie", "maps clips to no space of class texts; choose another base, such as pgfa"),
        ("skeleton-cache", "mmcl", "has no feature maps of the shared extractor"),
        ("label-propagation", "chance", "has no features to compare clips by"),
        ("label-propagation", "prototypes", "adapts to unlabelled clips itself"),
        ("prototypes", "logistic", "is no zero-shot method"),
        ("prototypes", "pfga", "Did you mean pgfa"),
    ],
)
def test_a_base_that_cannot_be_adapted_is_one_line(method: str, base: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        job(method, base=base)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("base_settings", '{"stepps": 5}', "method pgfa: setting stepps=5"),
        ("base_settings", "few", "setting base_settings=few"),
        ("base_method", "pgfa", "setting base_method=pgfa"),
        ("base_preset", "fast", "base pgfa: unknown preset 'fast'"),
    ],
)
def test_a_setting_that_the_base_has_not_is_one_line(setting: str, value: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        job("prototypes", **{setting: value})
    assert "\n" not in str(caught.value)


def test_a_model_whose_base_has_changed_is_refused(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = adapting("prototypes")
    method.fit(given_clips(), Context(seed=5, folder=tmp_path / "work", shared=shared))
    method.save(tmp_path / "model")
    with pytest.raises(UserError, match="choose a job of pgfa"):
        method.replace_classes(np.ones((2, 16), dtype=np.float32))
    monkeypatch.setattr(PGFA, "version", PGFA.version + 1)
    with pytest.raises(UserError, match="its base was pgfa version 1, which is at version 2 now"):
        METHODS.get("prototypes")(**method.settings.as_json()).load(tmp_path / "model")
