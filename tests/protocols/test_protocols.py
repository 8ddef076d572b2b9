"""The rules: who trains, who tests, what is held out, and that nothing can be seen that must not be."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.datasets.classes import class_texts
from mmcl_bench.datasets.store import Clip, SkeletonDataset
from mmcl_bench.protocols import PROTOCOLS, splits
from mmcl_bench.protocols.base import Needs, Protocol, Rows
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.problem import ClipView, Problem, mapped_to_layout
from mmcl_bench.skeleton.clips import BodyTrack, Modality
from mmcl_bench.skeleton.layouts import get_layout
from prepared import write_dataset
from toys import write_toy


def protocol(root: Path, name: str, needs: Needs | None = None, limit: int | None = None) -> Protocol:
    task = load_task(name)
    data = {dataset: SkeletonDataset.open(root / dataset) for dataset in task.datasets}
    return PROTOCOLS.get(task.card.family)(task, data, needs or Needs(), root / "cache", limit)


def contents(view: ClipView) -> set[bytes]:
    return {body.positions.tobytes() for clip in range(len(view)) for body in view.bodies(clip)}


def of_dataset(dataset: SkeletonDataset, rows: np.ndarray) -> set[bytes]:
    return {np.asarray(body.positions).tobytes() for row in rows for body in dataset.bodies(int(row))}


def test_supervised_sides_are_those_of_the_card(toy_data_root: Path) -> None:
    rules = protocol(toy_data_root, "supervised/nw-ucla[split=x-view]")
    dataset = rules.data["nw-ucla"]
    camera = dataset.index["camera"].to_numpy()
    assert contents(rules.final_problem().train.clips) == of_dataset(dataset, np.flatnonzero(camera < 3))
    assert contents(rules.test_clips()) == of_dataset(dataset, np.flatnonzero(camera == 3))


@pytest.mark.parametrize(("split", "column", "n_parts"), [("x-view", "camera", 2), ("x-sub", "subject", 3)])
def test_parts_of_a_training_side_are_tested_in_its_place_by_camera_or_person(
    toy_data_root: Path, split: str, column: str, n_parts: int
) -> None:
    whole = protocol(toy_data_root, f"supervised/nw-ucla[split={split}]")
    index, training = whole.data["nw-ucla"].index, set(whole.train_rows.rows.tolist())
    tested: list[int] = []
    for part in range(1, n_parts + 1):
        rules = protocol(toy_data_root, f"supervised/nw-ucla[split={split},tested=validation-{part}]")
        assert rules.task.hash != whole.task.hash
        own, kept = rules.test_rows.rows.tolist(), rules.train_rows.rows.tolist()
        assert set(own) | set(kept) == training
        assert not set(index[column][own]) & set(index[column][kept])
        tested += own
    assert sorted(tested) == sorted(training), "every clip of the training side is tested once"
    with pytest.raises(UserError, match=f"has {n_parts} parts; name validation-1 to validation-{n_parts}"):
        protocol(toy_data_root, f"supervised/nw-ucla[split={split},tested=validation-{n_parts + 1}]").final_problem()


def shares_of_labels(root: Path, needs: Needs | None = None) -> dict[int, Protocol]:
    named = {percent: f"supervised/nw-ucla[split=x-view,labels={percent}%]" for percent in (10, 25, 50)}
    return {percent: protocol(root, name, needs) for percent, name in named.items()} | {
        100: protocol(root, "supervised/nw-ucla[split=x-view]", needs)
    }


def test_shares_of_labels_are_of_each_class_and_nested_under_one_test(toy_data_root: Path) -> None:
    rules = shares_of_labels(toy_data_root)
    counts = {percent: np.bincount(each.train_rows.columns) for percent, each in rules.items()}
    for percent, found in counts.items():
        np.testing.assert_array_equal(found, np.ceil(np.round(counts[100] * percent / 100, 6)))
    rows = {percent: set(each.train_rows.rows.tolist()) for percent, each in rules.items()}
    assert rows[10] < rows[25] < rows[50] < rows[100]
    assert len({frozenset(each.test_rows.rows.tolist()) for each in rules.values()}) == 1
    assert rules[100].task.identity == "supervised/nw-ucla@2[split=x-view]"
    assert len({each.task.hash for each in rules.values()}) == 4


def test_clips_without_a_label_come_with_none_and_only_to_who_asks(toy_data_root: Path) -> None:
    asking = Needs(unlabelled=True)
    problem = shares_of_labels(toy_data_root, asking)[25].final_problem()
    assert problem.unlabelled is not None
    whole = contents(protocol(toy_data_root, "supervised/nw-ucla[split=x-view]").final_problem().train.clips)
    assert contents(problem.unlabelled.clips) == whole - contents(problem.train.clips)
    assert [field.name for field in fields(problem.unlabelled)] == ["clips", "features"]
    assert shares_of_labels(toy_data_root)[25].final_problem().unlabelled is None
    assert shares_of_labels(toy_data_root, asking)[100].final_problem().unlabelled is None
    # Labels of these clips that change once it is known which they are change nothing, not even an order.
    spied = shares_of_labels(toy_data_root, asking)[25]
    labelled, mask = set(spied.train_rows.rows.tolist()), spied._has_label(spied._training_side())  # type: ignore[attr-defined]
    index = spied.data["nw-ucla"].index
    others = [row for row in range(len(index)) if row not in labelled]
    index.loc[others, "label"] = index.loc[others, "label"].to_numpy()[::-1]
    spied._has_label = lambda rows: mask  # type: ignore[attr-defined]
    again = spied.final_problem()
    assert again.unlabelled is not None
    assert again.unlabelled.clips.fingerprint() == problem.unlabelled.clips.fingerprint()
    assert again.train.clips.fingerprint() == problem.train.clips.fingerprint()


def test_choosing_holds_out_the_unlabelled_clips_of_the_same_people_too(toy_data_root: Path) -> None:
    rules = shares_of_labels(toy_data_root, Needs(unlabelled=True))[50]
    problem, index = rules.selection_problem(), rules.data["nw-ucla"].index
    assert problem.unlabelled is not None
    assert problem.validation is not None
    subject_of = {
        bytes_: int(index.subject[row])
        for row in range(len(index))
        for bytes_ in of_dataset(rules.data["nw-ucla"], np.array([row]))
    }
    held_out, unlabelled = (
        {subject_of[clip] for clip in contents(view)} for view in (problem.validation.clips, problem.unlabelled.clips)
    )
    assert unlabelled
    assert not held_out & unlabelled


def test_scored_clips_have_images_only_for_a_method_that_scores_with_them(
    toy_data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_row(self: Protocol, rows: Rows, modality: Modality, spec: str) -> np.ndarray:
        return rows.rows[:, None].astype(np.float32)

    monkeypatch.setattr(Protocol, "_features_of_one", of_row)
    encoders = {Modality.RGB: "an encoder"}
    for scores_with in (frozenset(), frozenset({Modality.RGB})):
        rules = protocol(
            toy_data_root, "supervised/nw-ucla[split=x-view]", Needs(encoders=encoders, scores_with=scores_with)
        )
        dataset = rules.data["nw-ucla"]
        dataset.card = dataset.card.model_copy(update={"modalities": (Modality.SKELETON, Modality.RGB)})
        problem = rules.selection_problem()
        assert problem.validation is not None
        assert set(problem.train.features) == {Modality.RGB}
        views = rules.test_clips(), problem.validation.clips, problem.train.clips
        assert [set(view.features) for view in views] == [scores_with] * 3
        if scores_with:
            np.testing.assert_array_equal(views[0].features[Modality.RGB][:, 0], rules.test_rows.rows)


def test_selection_holds_out_whole_subjects_of_the_training_side(toy_data_root: Path) -> None:
    rules = protocol(toy_data_root, "supervised/nw-ucla[split=x-view]")
    problem = rules.selection_problem()
    assert problem.validation is not None
    held_out, kept = contents(problem.validation.clips), contents(problem.train.clips)
    assert not held_out & kept
    assert held_out | kept == contents(rules.final_problem().train.clips)
    index = rules.data["nw-ucla"].index
    subjects = [
        {
            int(index.subject[row])
            for row in range(len(index))
            if of_dataset(rules.data["nw-ucla"], np.array([row])) <= side
        }
        for side in (held_out, kept)
    ]
    assert not subjects[0] & subjects[1]


def test_zero_shot_trains_on_seen_classes_of_the_training_side_alone(toy_data_root: Path) -> None:
    rules = protocol(toy_data_root, "zero-shot/nw-ucla[split=8/2]")
    dataset, index = rules.data["nw-ucla"], rules.data["nw-ucla"].index
    unseen = splits.split("nw-ucla", "8/2").unseen
    trains = (index.subject % 2 == 1) & ~index.label.isin(unseen)
    problem = rules.final_problem()
    assert contents(problem.train.clips) == of_dataset(dataset, np.flatnonzero(trains))
    assert set(problem.train.labels.tolist()) == set(range(10)) - set(unseen)
    assert np.flatnonzero(~problem.classes.seen).tolist() == list(unseen)
    assert contents(rules.test_clips()) == of_dataset(dataset, np.flatnonzero(index.subject % 2 == 0))


def test_all_clips_of_unseen_classes_are_tested_where_asked_for_and_nothing_else_changes(toy_data_root: Path) -> None:
    usual, every = (
        protocol(toy_data_root, f"zero-shot/nw-ucla[split=8/2,unseen_clips={which}]") for which in ("test-side", "all")
    )
    dataset, index = every.data["nw-ucla"], every.data["nw-ucla"].index
    unseen = index.label.isin(splits.split("nw-ucla", "8/2").unseen)
    assert contents(usual.test_clips()) == of_dataset(dataset, np.flatnonzero(index.subject % 2 == 0))
    assert contents(every.test_clips()) == of_dataset(dataset, np.flatnonzero((index.subject % 2 == 0) | unseen))
    labels = dict(zip(index.sample_id, index.label, strict=True))
    assert [labels[name] for name in every.test_sample_ids()] == every.test_rows.columns.tolist()
    for ours, theirs in (
        (usual.final_problem(), every.final_problem()),
        (usual.selection_problem(), every.selection_problem()),
    ):
        assert contents(ours.train.clips) == contents(theirs.train.clips)
        assert ours.train.labels.tolist() == theirs.train.labels.tolist()
    assert usual.validation_sample_ids() == every.validation_sample_ids()


def test_zero_shot_selection_knows_no_unseen_class_at_all(toy_data_root: Path) -> None:
    rules = protocol(toy_data_root, "zero-shot/nw-ucla[split=8/2]")
    names = class_texts("nw-ucla").names
    unseen = {names[label] for label in splits.split("nw-ucla", "8/2").unseen}
    problem = rules.selection_problem()
    assert problem.validation is not None
    assert not unseen & set(problem.classes.names)
    pseudo = set(np.flatnonzero(~problem.classes.seen).tolist())
    assert len(pseudo) == 2
    assert not pseudo & set(problem.train.labels.tolist())
    assert pseudo < set(problem.validation.labels.tolist())


@pytest.mark.parametrize(("split", "n_draws"), [("8/2", 3), ("5/5", 2)])
def test_a_small_set_draws_pseudo_unseen_classes_several_times_and_none_twice(
    split: str, n_draws: int, toy_data_root: Path
) -> None:
    name = f"zero-shot/nw-ucla[split={split}]"
    problem = protocol(toy_data_root, name, Needs(draws=3)).selection_problem()
    assert len(problem.draws) == n_draws - 1
    drawn: list[str] = []
    for each in (problem, *problem.draws):
        assert each.validation is not None
        assert not each.classes.seen[each.validation.labels].all()
        assert each.classes.seen[each.train.labels].all()
        drawn += [each.classes.names[at] for at in np.flatnonzero(~each.classes.seen)]
    assert len(set(drawn)) == len(drawn)
    assert protocol(toy_data_root, name).selection_problem().draws == ()


def test_another_text_encoder_holds_out_the_same(toy_data_root: Path) -> None:
    def held_out(text: str) -> list[str]:
        rules = protocol(toy_data_root, f"zero-shot/nw-ucla[split=8/2,text={text}]")
        return [*rules.validation_sample_ids(), *rules.test_sample_ids()]

    assert held_out("hf:some-other-encoder") == held_out("minilm")


def test_pseudo_unseen_classes_are_synse_s_own_where_they_exist(toy_data_root: Path) -> None:
    task = load_task("zero-shot/synth60[split=55/5]")
    assert splits.split(str(task.card.table), "55/5").validation_unseen == (16, 21, 25, 31, 48)


def test_test_clips_that_are_also_in_training_can_be_left_out(tmp_path: Path, toy_data_root: Path) -> None:
    dataset = SkeletonDataset.open(toy_data_root / "nw-ucla")
    bodies = {row: dataset.bodies(row) for row in range(len(dataset.index))}
    cameras = dataset.index["camera"].to_numpy()
    train, test = np.flatnonzero(cameras != 3)[:4], np.flatnonzero(cameras == 3)[:4]
    for from_row, to_row in zip(train, test, strict=True):
        bodies[to_row] = bodies[from_row]
    clips = [
        Clip(row.sample_id, row.label, row.subject, row.n_frames, bodies[at], camera=row.camera)
        for at, row in enumerate(dataset.index.itertuples())
    ]
    write_dataset(tmp_path / "nw-ucla", clips, 20, dataset.card)
    kept = protocol(tmp_path, "supervised/nw-ucla[split=x-view]")
    removed = protocol(tmp_path, "supervised/nw-ucla[split=x-view,duplicates=removed]")
    assert len(kept.test_rows) == (cameras == 3).sum()
    assert set(kept.test_sample_ids()) - set(removed.test_sample_ids()) == set(dataset.index["sample_id"][test])
    assert sorted(removed.train_rows.rows) == sorted(kept.train_rows.rows)


def test_a_test_of_nothing_but_duplicates_is_refused_before_anything_is_trained(
    tmp_path: Path, toy_data_root: Path
) -> None:
    dataset = SkeletonDataset.open(toy_data_root / "nw-ucla")
    bodies = dataset.bodies(0)
    clips = [
        Clip(row.sample_id, row.label, row.subject, int(dataset.index["n_frames"][0]), bodies, camera=row.camera)
        for row in dataset.index.itertuples()
    ]
    write_dataset(tmp_path / "nw-ucla", clips, 20, dataset.card)
    assert len(protocol(tmp_path, "supervised/nw-ucla[split=x-view]").test_rows)
    rules = protocol(tmp_path, "supervised/nw-ucla[split=x-view,duplicates=removed]")
    with pytest.raises(UserError, match="no test clip is left; every one equals a training clip"):
        rules.selection_problem()


def test_a_target_without_clips_of_the_shared_classes_is_refused(tmp_path: Path, toy_data_root: Path) -> None:
    write_toy(tmp_path, "nw-ucla", 10, 2, 1)
    write_toy(tmp_path, "utd-mhad", 4, 2, 1)  # the first shared class is the fifth
    with pytest.raises(UserError, match="no test clip is left; the data hold none of its test side and classes"):
        protocol(tmp_path, "transfer/nw-ucla-to-utd-mhad").final_problem()


def test_other_data_under_the_name_of_a_published_set_are_refused(tmp_path: Path) -> None:
    write_toy(tmp_path, "nw-ucla", 10, 2, 3)
    card = tmp_path / "nw-ucla" / "card.json"
    card.write_text(
        card.read_text()
        .replace('"reader":"nw-ucla"', '"reader":"custom"')
        .replace('"reader": "nw-ucla"', '"reader": "custom"')
    )
    with pytest.raises(UserError, match="was read as custom, so its figures are none of nw-ucla"):
        protocol(tmp_path, "supervised/nw-ucla")


def test_transfer_trains_on_the_source_and_tests_on_shared_classes_of_the_target(toy_data_root: Path) -> None:
    rules = protocol(toy_data_root, "transfer/nw-ucla-to-utd-mhad")
    assert rules.classes.names == ("throw", "walk", "sit down", "stand up")
    # By meaning: NW-UCLA's own ids a11, a04, a05, a06 and UTD-MHAD's a5, a23, a25, a24, zero-based.
    source, target = rules.data["nw-ucla"], rules.data["utd-mhad"]
    assert contents(rules.final_problem().train.clips) == of_dataset(
        source, np.flatnonzero(source.index.label.isin([8, 3, 4, 5]))
    )
    tested = target.index.label.isin([4, 22, 24, 23]) & (target.index.subject % 2 == 0)
    assert contents(rules.test_clips()) == of_dataset(target, np.flatnonzero(tested))


def test_what_a_method_does_to_its_problem_changes_nothing_for_the_judge(toy_data_root: Path) -> None:
    rules = protocol(toy_data_root, "zero-shot/nw-ucla[split=8/2]")
    problem = rules.final_problem()
    problem.classes.seen[:] = True
    assert problem.classes.embeddings is not None
    problem.classes.embeddings[:] = 0
    assert (~rules.test_scored(np.zeros((len(rules.test_rows), 10)), 0.0).seen).sum() == 2
    assert np.abs(rules.embedded_classes.embeddings).max() > 0


def test_target_clips_are_there_for_transductive_methods_alone(toy_data_root: Path) -> None:
    name = "transfer/nw-ucla-to-utd-mhad"
    assert protocol(toy_data_root, name).final_problem().target_unlabelled is None
    target = protocol(toy_data_root, name, Needs(setting=Setting.TRANSDUCTIVE)).final_problem().target_unlabelled
    assert target is not None
    assert contents(target) == contents(protocol(toy_data_root, name).test_clips())


def test_what_zero_shot_chooses_on_is_what_a_transductive_method_adapts_to_first(toy_data_root: Path) -> None:
    rules = protocol(toy_data_root, "zero-shot/nw-ucla[split=8/2]", Needs(setting=Setting.TRANSDUCTIVE))
    first, final = rules.selection_problem(), rules.final_problem()
    assert first.validation is not None
    assert first.target_unlabelled is not None
    assert final.target_unlabelled is not None
    assert contents(first.target_unlabelled) == contents(first.validation.clips)
    assert not contents(first.target_unlabelled) & contents(rules.test_clips())
    assert contents(final.target_unlabelled) == contents(rules.test_clips())


def test_a_limit_keeps_every_class_as_long_as_it_can(toy_data_root: Path) -> None:
    rules = protocol(toy_data_root, "supervised/nw-ucla", limit=20)
    assert len(rules.final_problem().train) == 20
    assert np.bincount(rules.final_problem().train.labels).tolist() == [2] * 10


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_that_leaves_nothing_to_choose_on_is_one_line(toy_data_root: Path, limit: int) -> None:
    with pytest.raises(UserError, match="raise --limit"):
        protocol(toy_data_root, "zero-shot/nw-ucla[split=8/2]", limit=limit).selection_problem()


def test_an_unknown_side_is_one_line(toy_data_root: Path) -> None:
    with pytest.raises(UserError, match="Did you mean x-view"):
        protocol(toy_data_root, "zero-shot/nw-ucla[side=x-vieww]").final_problem()


def test_the_order_of_test_clips_tells_nothing_of_their_classes(toy_data_root: Path) -> None:
    rules = protocol(toy_data_root, "supervised/nw-ucla")
    labels = rules.test_scored(np.zeros((len(rules.test_rows), 10)), 0.0).labels
    repeats = np.mean(labels[1:] == labels[:-1])
    assert repeats < 0.3, "sorted labels would repeat 5 of 6 times, shuffled ones 1 of 10"


def test_joints_are_mapped_by_the_stated_rules() -> None:
    source, target = get_layout("kinect-v2"), get_layout("kinect-v1")
    positions = np.random.default_rng(0).normal(size=(3, 25, 3)).astype(np.float32)
    view = mapped_to_layout(ClipView([[BodyTrack(0, positions)]], [3], source.name), target.name)
    mapped = view.bodies(0)[0].positions
    assert view.layout == "kinect-v1"
    np.testing.assert_allclose(mapped[:, target.index("head")], positions[:, source.index("head")])
    np.testing.assert_allclose(mapped[:, target.index("hip_center")], positions[:, source.index("spine_base")])


def reachable(start: object) -> Iterator[object]:
    """Everything that references lead to from an object, but for modules, types and functions' globals."""
    seen: dict[int, object] = {}
    queue = [start]
    while queue:
        thing = queue.pop()
        if id(thing) in seen or isinstance(thing, type(gc) | type):
            continue
        seen[id(thing)] = thing
        yield thing
        if isinstance(thing, np.ndarray) and thing.base is not None:
            queue.append(thing.base)
        if hasattr(thing, "__globals__"):
            queue.extend(cell.cell_contents for cell in thing.__closure__ or ())
            continue
        queue.extend(gc.get_referents(thing))


class Spy:
    """Follows every reference from what a method is given, as no honest method would."""

    def __init__(self, *given: object) -> None:
        self.things = [thing for start in given for thing in reachable(start)]

    def arrays(self) -> list[np.ndarray]:
        return [thing for thing in self.things if isinstance(thing, np.ndarray)]

    def text(self) -> set[str]:
        return {thing for thing in self.things if isinstance(thing, str)}

    def holds(self, numbers: np.ndarray) -> bool:
        """Whether any array is these numbers, in any integer or float type."""
        return any(
            a.shape == numbers.shape and np.array_equal(a, numbers) for a in self.arrays() if a.dtype.kind in "iuf"
        )

    def frames(self) -> set[bytes]:
        """The first joint of every frame in every array of positions."""
        return {frame[0].tobytes() for a in self.arrays() if a.ndim == 3 and a.shape[2] == 3 for frame in a}


@pytest.mark.parametrize(
    "name",
    [
        *("zero-shot/nw-ucla[split=8/2]", "zero-shot/nw-ucla[split=8/2,unseen_clips=all]"),
        *("supervised/nw-ucla[split=x-sub]", "supervised/nw-ucla[split=x-sub,tested=validation-1]"),
        "transfer/nw-ucla-to-utd-mhad",
    ],
)
@pytest.mark.parametrize("phase", ["selection_problem", "final_problem"])
def test_a_spy_finds_neither_test_labels_nor_forbidden_clips(toy_data_root: Path, name: str, phase: str) -> None:
    rules = protocol(toy_data_root, name)
    problem: Problem = getattr(rules, phase)()
    spy = Spy(problem, rules.test_clips())
    assert not any(isinstance(thing, Protocol | SkeletonDataset | np.memmap) for thing in spy.things)
    test_labels = rules.test_rows.columns
    assert not spy.holds(test_labels)
    assert not spy.holds(np.sort(test_labels))
    sample_ids = {sample_id for dataset in rules.data.values() for sample_id in dataset.index.sample_id}
    assert not sample_ids & spy.text()

    only_problem = Spy(problem)
    for forbidden in _forbidden_rows(rules):
        positions = next(iter(rules.data[rules.task.card.dataset].bodies(int(forbidden)))).positions
        assert np.asarray(positions)[0, 0].tobytes() not in only_problem.frames()


def _forbidden_rows(rules: Protocol) -> Iterator[int]:
    """Rows of the tested set that no inductive method may train on: the test side, and unseen classes anywhere."""
    index = rules.data[rules.task.card.dataset].index
    yield from rules.test_rows.rows
    if rules.task.card.family == "zero-shot":
        unseen = np.flatnonzero(~rules.classes.seen)
        yield from np.flatnonzero(index.label.isin(unseen))


def test_a_spy_would_find_what_is_there(toy_data_root: Path) -> None:
    """The check above can fail: the same spy finds labels and clips that it is allowed to have."""
    rules = protocol(toy_data_root, "supervised/nw-ucla[split=x-sub]")
    problem = rules.final_problem()
    spy = Spy(problem)
    assert spy.holds(problem.train.labels)
    assert problem.train.clips.bodies(0)[0].positions[0, 0].tobytes() in spy.frames()
    test_labels = rules.test_rows.columns
    assert Spy(rules).holds(test_labels)


@pytest.mark.parametrize("name", ["zero-shot/nw-ucla[split=8/2]", "supervised/nw-ucla", "transfer/nw-ucla-to-utd-mhad"])
def test_test_labels_that_are_replaced_by_noise_change_nothing_that_a_method_gets(
    name: str, toy_data_root: Path
) -> None:
    """So they change no score of any method. In zero-shot and supervised tasks, labels of a side stay on their side."""

    def given(generator: np.random.Generator | None) -> list[str]:
        rules = protocol(toy_data_root, name, Needs(setting=Setting.TRANSDUCTIVE, draws=2))
        if generator is not None:
            dataset = rules.test_rows.dataset
            rows, index = rules.test_rows.rows, dataset.index.copy()
            labels = index["label"].to_numpy().copy()
            unseen = np.isin(rules.test_rows.columns, np.flatnonzero(~rules.classes.seen))
            for some in (rows[unseen], rows[~unseen]):
                labels[some] = generator.permutation(labels[some])
            index["label"] = labels
            rules = protocol(toy_data_root, name, Needs(setting=Setting.TRANSDUCTIVE, draws=2))
            vars(rules.test_rows.dataset)["index"] = index
            del vars(rules)["test_rows"]
        first, final = rules.selection_problem(), rules.final_problem()
        views = [each.train.clips for each in (first, *first.draws, final)]
        views += [each.validation.clips for each in (first, *first.draws) if each.validation is not None]
        views += [each.target_unlabelled for each in (first, final) if each.target_unlabelled is not None]
        labels_given = [each.train.labels.tobytes() for each in (first, *first.draws, final)]
        return [view.fingerprint() for view in (*views, rules.test_clips())] + [each.hex() for each in labels_given]

    assert given(np.random.default_rng(0)) == given(None)
