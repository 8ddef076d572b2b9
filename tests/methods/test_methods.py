"""What every registered method must do, and what MMCL does with the modalities that it is given."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.datasets.classes import TEXT_FIELDS
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import COSTS, Method
from mmcl_bench.methods.shared.adaptation_method import AdaptationMethod
from mmcl_bench.methods.shared.feature_method import FeatureMethod, FeatureSettings
from mmcl_bench.methods.shared.transductive import TransductiveMethod
from mmcl_bench.protocols.base import Protocol
from mmcl_bench.protocols.problem import (
    ClassTable,
    ClipView,
    Context,
    FitReport,
    LabelledClips,
    Problem,
    UnlabelledPairs,
)
from mmcl_bench.skeleton.clips import BodyTrack, Modality
from small_backbone import SMALL
from transfer_toys import ONE, rules, with_noise

SHORT = {"epochs": 2, "min_steps": 0, "batch_size": 8, "backbone": SMALL}
SHORT_HEAD = {"extractor_epochs": 2, "extractor_min_steps": 0, "steps": 6, "samples": 5, "classifier_steps": 5}
SHORT_ADAPTATION = {"steps": 3, "copies": 1, "width": 16, "bottleneck": 8, "adaptation_steps": 3, "few_steps": 3}
"""Of methods on a frozen extractor, whose ``steps`` are steps of training."""
N_CLASSES, UNSEEN = 5, 4


def view_of(bodies: Sequence[Sequence[BodyTrack]]) -> ClipView:
    """Clips of nine frames, with image features that follow a clip wherever it stands, for methods that ask."""
    view = ClipView(bodies, [9] * len(bodies), "kinect-v1")
    steps = [np.diff(clip[0].positions[5:7, 10:14], axis=0).ravel() for clip in bodies]
    view.features = {Modality.RGB: np.array(steps, dtype=np.float32)}
    return view


def clips(n: int, seed: int) -> ClipView:
    generator = np.random.default_rng(seed)
    bodies = [
        [BodyTrack(0, generator.normal(size=(9, 20, 3)).astype(np.float32)) for _ in range(1 + at % 2)]
        for at in range(n)
    ]
    return view_of(bodies)


def problem(family: str, features: dict[Modality, int] | None = None, setting: Setting = Setting.INDUCTIVE) -> Problem:
    """A problem of five classes on noise, the last one unseen in zero-shot, and what a setting grants."""
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(N_CLASSES, 16)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    seen = np.ones(N_CLASSES, dtype=bool)
    seen[UNSEEN] = family != "zero-shot"
    names = tuple(f"class {at}" for at in range(N_CLASSES))
    texts = names if family == "zero-shot" else None
    slots = {field: embeddings[::-1].copy() for field in TEXT_FIELDS} if family == "zero-shot" else {}
    classes = ClassTable(names, seen, texts, embeddings if family == "zero-shot" else None, slots)
    labels = np.arange(20) % int(seen.sum())
    given = {m: generator.normal(size=(20, dim)).astype(np.float32) for m, dim in (features or {}).items()}
    train = LabelledClips(clips(20, 1), labels, np.arange(20) % 3, given)
    held_out = LabelledClips(clips(10, 2), np.arange(10) % N_CLASSES, np.zeros(10, dtype=np.int64), {})
    metric = "zsl_top1" if family == "zero-shot" else "top1"
    whole = Problem("toy", family, metric, classes, train, held_out)
    if setting is Setting.UNLABELLED:
        return replace(whole, target=clips(12, 6))
    if setting is Setting.TRANSDUCTIVE:
        return replace(whole, target_unlabelled=held_out.clips)
    if setting is Setting.FEW_SHOT:
        few = LabelledClips(clips(10, 6), np.arange(10) % N_CLASSES, np.zeros(10, dtype=np.int64), {})
        return replace(whole, few_shot=few)
    return whole


def fitted(method: type[Method], given: Problem, context: Context) -> tuple[Method, FitReport]:
    """A fitted method; a source-free one has seen the target's clips."""
    made = method(**settings(method))
    report = made.fit(given, context)
    if method.setting is Setting.SOURCE_FREE:
        made.save(context.folder / "model")
        made = method(**settings(method))
        made.load(context.folder / "model")
        adapted = made.adapt(clips(12, 6), replace(context, chosen=report.chosen))
        report = FitReport(report.chosen | adapted.chosen, report.history + adapted.history)
    return made, report


def settings(method: type[Method], **changes: object) -> dict[str, object]:
    quick = method.presets["quick"].as_json()
    if issubclass(method, TransductiveMethod):
        base = METHODS.get(quick["base"])
        usual = base.presets["quick"].as_json()
        return {**quick, "base_settings": {key: v for key, v in settings(base).items() if v != usual[key]}, **changes}
    adapts = issubclass(method, AdaptationMethod)
    on_extractor = SHORT_HEAD if issubclass(method.Settings, FeatureSettings) else {}
    short = {**SHORT, **on_extractor, **(SHORT_ADAPTATION if adapts else {}), **changes}
    return {**quick, **{key: value for key, value in short.items() if key in quick}}


def families() -> list[tuple[str, str]]:
    return [(name, family) for name in METHODS.names() for family in sorted(METHODS.get(name).families)]


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_states_what_the_tables_need(name: str) -> None:
    method = METHODS.get(name)
    assert method.name == name
    assert method.summary
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", method.kind)
    assert re.fullmatch(r"|\S.* (19|20)\d\d", method.published)
    assert method.version >= 1
    if METHODS.is_builtin(name):
        assert method.kind != "other", f"{name} states no kind"
        assert method.cost in COSTS, f"{name} states no cost"
    assert {"quick", "paper"} <= set(method.presets)
    for preset in method.presets.values():
        plain = preset.as_json()
        assert json.loads(json.dumps(plain)) == plain, "settings are plain JSON, so that a job can be hashed"
        assert method.check(plain) == preset
    lacking = [setting for setting, meaning in method.Settings.meanings().items() if not meaning]
    assert not lacking, f"a sentence below these settings says what they are: {lacking}"


@pytest.mark.parametrize(
    ("name", "family"), [each for each in families() if METHODS.get(each[0]).deterministic or each[0] == "chance"]
)
def test_a_deterministic_method_has_the_same_scores_for_every_seed(name: str, family: str, tmp_path: Path) -> None:
    method = METHODS.get(name)
    scores = []
    for seed in (1, 2):
        made, _ = fitted(method, problem(family), Context(seed=seed, folder=tmp_path / str(seed)))
        scores.append(made.score(clips(7, 3)))
    assert np.array_equal(*scores) == method.deterministic


@pytest.mark.parametrize(
    "name",
    [name for name, family in families() if family == "zero-shot" and "as_released" in settings(METHODS.get(name))],
)
def test_texts_of_unseen_classes_are_read_in_training_only_as_released(name: str) -> None:
    method = METHODS.get(name)
    assert not method().uses_unseen_texts
    assert method(as_released=True).uses_unseen_texts == (name in {"flora", "star"})
    assert method().frozen is issubclass(method, FeatureMethod)


EVERY = sorted(families(), key=lambda each: each[0] == "chance")
BUT_CHANCE = [each for each in EVERY if each[0] != "chance"]


@dataclass(frozen=True)
class FirstFit:
    method: Method
    problem: Problem
    context: Context
    report: FitReport
    scores: np.ndarray
    """The first that it gave, of seven clips."""

    @classmethod
    def of(cls, name: str, family: str, folder: Path, shared: Path) -> FirstFit:
        context = Context(seed=5, folder=folder, shared=shared, shared_seed=1)
        given = problem(family, dict.fromkeys(METHODS.get(name).scores_with, 12), METHODS.get(name).setting)
        method, report = fitted(METHODS.get(name), given, context)
        return cls(method, given, context, report, method.score(clips(7, 3)))


@pytest.fixture(params=EVERY, ids="-".join)
def first(request: pytest.FixtureRequest, first_fit: Callable[[str, str], FirstFit]) -> FirstFit:
    return first_fit(*request.param)


def test_every_method_fits_scores_and_repeats_itself(first: FirstFit, tmp_path: Path) -> None:
    report = first.report
    json.dumps({"chosen": report.chosen, "history": report.history, "notes": report.notes})
    again, _ = fitted(type(first.method), first.problem, replace(first.context, folder=tmp_path))
    if first.problem.family == "transfer":
        # Features for a map leave the fitted method as it is.
        of_source, of_target = again.embed_domains(clips(6, 1), clips(7, 3)) or (np.zeros((6, 2)), np.zeros((7, 2)))
        assert (len(of_source), len(of_target), of_source.shape[1]) == (6, 7, of_target.shape[1])
        assert np.isfinite(of_source).all()
    assert first.scores.shape == (7, N_CLASSES)
    assert np.isfinite(first.scores).all()
    np.testing.assert_array_equal(again.score(clips(7, 3)), first.scores)


def test_every_method_fits_again_with_what_it_chose(first: FirstFit, tmp_path: Path) -> None:
    whole, chosen = replace(first.problem, validation=None), first.report.chosen
    context = replace(first.context, seed=6, folder=tmp_path, chosen=chosen)
    final, report = fitted(type(first.method), whole, context)
    assert report.chosen == chosen
    for epoch in final.snapshots():
        final.restore(epoch)
    assert final.score(clips(3, 4)).shape == (3, N_CLASSES)


@pytest.mark.parametrize("first", BUT_CHANCE, indirect=True, ids="-".join)
def test_the_scores_of_a_clip_do_not_depend_on_the_other_clips(first: FirstFit) -> None:
    """A transductive one has adapted in its fit; chance draws a number a clip in their order."""
    bodies = [clips(6, 3).bodies(clip) for clip in range(6)]
    together = first.method.score(view_of(bodies))
    order = np.array([4, 0, 5, 2, 1, 3])
    permuted = first.method.score(view_of([bodies[at] for at in order]))
    alone = np.concatenate([first.method.score(view_of([one])) for one in bodies])
    np.testing.assert_allclose(permuted, together[order], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first", BUT_CHANCE, indirect=True, ids="-".join)
def test_scores_stay_when_clips_with_unseen_joints_are_moved_by_a_metre(first: FirstFit) -> None:
    def seen(by: float) -> ClipView:
        bodies = [[replace(body, positions=body.positions + np.float32(by)) for body in clip] for clip in whole]
        for number, clip in enumerate(bodies):
            for body in clip:
                body.positions[:, 7], body.positions[2:4, number] = np.nan, np.nan
        return view_of(bodies)

    whole = [clips(4, 3).bodies(clip) for clip in range(4)]
    at_home, away = first.method.score(seen(0.0)), first.method.score(seen(1.0))
    assert np.isfinite(at_home).all()
    np.testing.assert_allclose(away, at_home, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("given", "losses"),
    [
        ({}, ["classification", "alignment"]),
        ({Modality.RGB: 12}, ["classification", "contrastive", "alignment"]),
        ({Modality.INSTRUCT: 6}, ["classification", "refinement", "alignment"]),
        ({Modality.RGB: 12, Modality.INSTRUCT: 6}, ["classification", "contrastive", "refinement", "alignment"]),
    ],
)
def test_mmcl_learns_from_what_the_data_have_and_says_so(
    given: dict[Modality, int], losses: list[str], tmp_path: Path
) -> None:
    method = METHODS.get("mmcl")
    report = method(**settings(method)).fit(problem("zero-shot", given), Context(seed=0, folder=tmp_path))
    assert report.notes["losses"] == losses
    assert set(losses) <= set(report.history[0])


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.get(name).scores_with])
def test_a_method_that_scores_with_images_reads_them_and_misses_them(name: str, tmp_path: Path) -> None:
    method = METHODS.get(name)
    assert method.scores_with <= set(method(**settings(method)).encoders())
    with pytest.raises(UserError, match="features build"):
        method(**settings(method)).fit(problem("supervised"), Context(seed=0, folder=tmp_path / "lacking"))
    fitted = method(**settings(method))
    fitted.fit(problem("supervised", {Modality.RGB: 12}), Context(seed=0, folder=tmp_path / "whole"))
    seen, other = clips(4, 3), clips(4, 3)
    other.features = {Modality.RGB: -2 * seen.features[Modality.RGB]}
    assert not np.allclose(fitted.score(seen), fitted.score(other))
    other.features = {}
    with pytest.raises(UserError, match="needs image features"):
        fitted.score(other)


def test_the_weight_of_images_is_the_best_on_held_out_clips_and_is_kept(tmp_path: Path) -> None:
    """On held-out clips whose images tell the class and whose skeletons are noise, images count most."""
    method, draw = METHODS.get("rgb-fusion"), np.random.default_rng(1)
    given = problem("supervised", {Modality.RGB: N_CLASSES})
    train, held_out = given.train, given.validation
    assert held_out is not None
    telling = [np.eye(N_CLASSES, dtype=np.float32)[each.labels] for each in (train, held_out)]
    held_out.clips.features = {Modality.RGB: telling[1]}
    given = replace(given, train=replace(train, features={Modality.RGB: telling[0]}))
    first = method(**settings(method, C=10.0))
    chosen = first.fit(given, Context(seed=0, folder=tmp_path / "first")).chosen
    assert chosen["rgb_weight"] > 0.5
    assert (first.score(held_out.clips).argmax(1) == held_out.labels).all()
    final = method(**settings(method, C=10.0))
    noise = draw.normal(size=telling[0].shape).astype(np.float32)
    other = replace(given, validation=None, train=replace(train, features={Modality.RGB: noise}))
    report = final.fit(other, Context(seed=0, folder=tmp_path / "final", chosen=chosen))
    assert report.chosen["rgb_weight"] == chosen["rgb_weight"]


def test_clips_without_a_label_teach_by_their_images_alone(tmp_path: Path) -> None:
    method, given = METHODS.get("mmcl"), problem("supervised", {Modality.RGB: 12})
    pairs = UnlabelledPairs(clips(7, 9), {Modality.RGB: np.ones((7, 12), dtype=np.float32)})
    scores = []
    for name, unlabelled in (("without", None), ("with", pairs)):
        made = method(**settings(method), unlabelled_pairs=True, contrast="class", projection=6)
        report = made.fit(replace(given, unlabelled=unlabelled), Context(seed=0, folder=tmp_path / name))
        assert report.notes.get("unlabelled_pairs") == (unlabelled and 7)
        scores.append(made.score(clips(4, 3)))
    assert not np.allclose(*scores)
    with pytest.raises(UserError, match="for supervised tasks"):
        method(**settings(method), unlabelled_pairs=True).fit(
            problem("zero-shot"), Context(seed=0, folder=tmp_path / "zero-shot")
        )
    with pytest.raises(UserError, match="needs fam=true"):
        method(unlabelled_pairs=True, fam=False)


def test_variants_of_the_contrast_leave_jobs_of_the_paper_s_as_they_were() -> None:
    for name in ("mmcl", "skeleton-only"):
        for preset in METHODS.get(name).presets.values():
            assert not {"projection", "contrast", "unlabelled_pairs"} & set(preset.as_json())


def test_skeleton_only_asks_for_no_teacher() -> None:
    assert set(METHODS.get("mmcl")().encoders()) == {Modality.RGB, Modality.INSTRUCT}
    assert METHODS.get("skeleton-only")().encoders() == {}


def test_one_body_a_sample_makes_the_order_of_bodies_irrelevant(tmp_path: Path) -> None:
    method = METHODS.get("mmcl")
    fitted = method(**settings(method, n_bodies=1, normalise=False, streams=["bone"]))
    fitted.fit(problem("supervised"), Context(seed=0, folder=tmp_path))
    bodies = clips(2, 8).bodies(1)
    one = fitted.score(ClipView([bodies], [9], "kinect-v1"))
    other = fitted.score(ClipView([bodies[::-1]], [9], "kinect-v1"))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_the_paper_s_schedule_is_the_paper_s() -> None:
    paper = METHODS.get("mmcl").presets["paper"].as_json()
    stated = {
        "epochs": 110,
        "base_rate": 0.1,
        "steps": [90, 100],
        "warmup_epochs": 5,
        "batch_size": 200,
        "n_frames": 64,
        "optimizer": "sgd",
        "weight_decay": 4e-4,
        "contrastive_weight": 0.1,
        "refinement_weight": 0.2,
        "temperature": 0.4,
    }
    assert {key: paper[key] for key in stated} == stated


class Likelihoods:
    """An estimator whose log-likelihoods are too large for the differences between them in float32."""

    classes_ = np.array([0, 2])

    def predict_log_proba(self, features: np.ndarray) -> np.ndarray:
        return np.array([[-1e8 - 1, -1e8], [-1e8, -1e8 - 1]])


def test_an_estimator_s_scores_keep_their_precision() -> None:
    class Method(METHODS.get("logistic")):  # type: ignore[misc]
        def features(self, clips: ClipView) -> np.ndarray:
            return np.zeros((2, 1))

    method = Method()
    method._fitted, method._n_classes = Likelihoods(), 3
    assert method.score(clips(2, 0)).argmax(axis=1).tolist() == [2, 0]


TRANSFER = [name for name in METHODS.names() if "transfer" in METHODS.get(name).families]


def fitted_on(protocol: Protocol, method: type[Method], folder: Path, shared: Path) -> np.ndarray:
    """The test scores after both fits, as the runner makes them."""
    context = Context(seed=5, folder=folder / "selection", shared=shared, shared_seed=1)
    chosen = method(**settings(method)).fit(protocol.selection_problem(), context).chosen
    final = method(**settings(method))
    final.fit(protocol.final_problem(), replace(context, folder=folder / "final", chosen=chosen))
    if method.setting is Setting.SOURCE_FREE:
        final.adapt(protocol.target_clips(), replace(context, folder=folder / "adaptation", chosen=chosen))
    return final.score(protocol.test_clips())


@pytest.fixture(scope="module")
def noisy_data_root(transfer_data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``transfer_data_root`` with the target's labels mixed up."""
    return with_noise(transfer_data_root, tmp_path_factory.mktemp("noisy"))


@pytest.mark.parametrize("name", TRANSFER)
def test_target_labels_change_no_score_but_of_few_shot_methods(
    name: str, transfer_data_root: Path, noisy_data_root: Path, tmp_path: Path, shared: Path
) -> None:
    method = METHODS.get(name)
    true, noisy = (
        # Each side has extractors of its own.
        fitted_on(rules(root, ONE, method.setting), method, tmp_path / side, shared / side)
        for side, root in (("true", transfer_data_root), ("noisy", noisy_data_root))
    )
    assert np.array_equal(true, noisy) is (method.setting is not Setting.FEW_SHOT)
