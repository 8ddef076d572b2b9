"""Transfer: what each setting grants of the target's training side, and that nothing is seen of its test side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.datasets.store import Clip, Side, SkeletonDataset
from mmcl_bench.protocols.base import Protocol
from mmcl_bench.protocols.catalogue import find_task, load_task
from mmcl_bench.protocols.problem import ClipView, LabelledClips, Problem, mapped_to_layout
from mmcl_bench.skeleton.layouts import LayoutTable
from prepared import write_dataset
from toys import toy_card, toy_clip
from transfer_toys import BY_TEXTS, ONE, SHARED, rules, with_noise

SEVERAL = "transfer/hdm05-and-nw-ucla-and-utkinect-to-utd-mhad"


@pytest.fixture
def root(transfer_data_root: Path) -> Path:
    return transfer_data_root


def clips_of(view: ClipView) -> list[bytes]:
    return [view.bodies(clip)[0].positions.tobytes() for clip in range(len(view))]


def rows_of(dataset: SkeletonDataset, mask: np.ndarray, layout: str = "kinect-v1") -> set[bytes]:
    rows = np.flatnonzero(mask)
    view = ClipView([dataset.bodies(int(row)) for row in rows], [14] * len(rows), dataset.card.layout)
    return set(clips_of(mapped_to_layout(view, layout)))


def test_several_sources_train_together_in_the_layout_of_most_of_them(root: Path) -> None:
    protocol = rules(root, SEVERAL)
    # Of the maps in protocols/class_maps: squat, throw basketball and jog of HDM05; throw, walk, sit, stand of the
    # others; push and clap of UTKinect.
    labels = {"hdm05": [4, 9, 10], "nw-ucla": [3, 4, 5, 8], "utkinect": [0, 1, 2, 5, 6, 9]}
    assert len(protocol.classes) == 9
    train = protocol.final_problem().train
    assert train.clips.layout == "kinect-v1"
    data = {name: protocol.data[name] for name in labels}
    wanted = {name: rows_of(each, each.index.label.isin(labels[name])) for name, each in data.items()}
    assert set(clips_of(train.clips)) == set.union(*wanted.values())
    assert train.domains is not None
    clips, order = clips_of(train.clips), ["hdm05", "nw-ucla", "utkinect"]
    assert all(clip in wanted[order[domain]] for clip, domain in zip(clips, train.domains, strict=True))
    for subject in np.unique(train.subjects):
        assert len(set(train.domains[train.subjects == subject])) == 1
    throw = protocol.classes.names.index("throw")
    assert set(train.domains[train.labels == throw]) == {1, 2}


@pytest.mark.parametrize("task", [ONE, SEVERAL])
def test_sets_with_a_clip_in_common_are_refused(root: Path, tmp_path: Path, task: str) -> None:
    for name in ("hdm05", "nw-ucla", "utkinect"):
        (tmp_path / name).symlink_to(root / name)
    source = SkeletonDataset.open(root / "nw-ucla")
    copied = Clip("a01", 0, 1, int(source.index.n_frames[0]), source.bodies(0))
    write_dataset(tmp_path / "utd-mhad", [copied], 20, SkeletonDataset.open(root / "utd-mhad").card)
    with pytest.raises(UserError, match="utd-mhad and nw-ucla share 1 clip, which would both train and be tested"):
        rules(tmp_path, task).final_problem()


def test_validation_is_of_held_out_people_of_every_source(root: Path) -> None:
    problem = rules(root, SEVERAL).selection_problem()
    assert problem.validation is not None
    assert problem.train.domains is not None
    assert problem.validation.domains is not None
    assert set(problem.validation.domains) == set(problem.train.domains) == {0, 1, 2}
    assert set(clips_of(problem.validation.clips)).isdisjoint(clips_of(problem.train.clips))


def target_side(protocol: Protocol, odd: int) -> set[bytes]:
    target = protocol.data["utd-mhad"]
    return rows_of(target, target.index.label.isin(SHARED) & (target.index.subject % 2 == odd))


@pytest.mark.parametrize("phase", ["selection_problem", "final_problem"])
def test_each_setting_sees_its_part_of_the_target_and_no_other(root: Path, phase: str) -> None:
    seen: dict[Setting, tuple[object, ...]] = {}
    for setting in Setting:
        problem: Problem = getattr(rules(root, ONE, setting), phase)()
        seen[setting] = problem.target, problem.few_shot, problem.target_unlabelled
    assert {setting: tuple(each is not None for each in parts) for setting, parts in seen.items()} == {
        Setting.INDUCTIVE: (False, False, False),
        Setting.UNLABELLED: (True, False, False),
        Setting.SOURCE_FREE: (False, False, False),
        Setting.TRANSDUCTIVE: (False, False, True),
        Setting.FEW_SHOT: (False, True, False),
    }
    protocol = rules(root, ONE, Setting.UNLABELLED)
    target = seen[Setting.UNLABELLED][0]
    assert isinstance(target, ClipView)
    assert set(clips_of(target)) == set(clips_of(protocol.target_clips())) == target_side(protocol, 1)
    assert set(clips_of(protocol.test_clips())) == target_side(protocol, 0)


def test_a_first_fit_at_test_time_adapts_to_the_clips_that_it_chooses_on(root: Path) -> None:
    protocol = rules(root, ONE, Setting.TRANSDUCTIVE)
    problem = protocol.selection_problem()
    assert problem.target_unlabelled is not None
    assert problem.validation is not None
    assert clips_of(problem.target_unlabelled) == clips_of(problem.validation.clips)
    final = protocol.final_problem().target_unlabelled
    assert final is not None
    assert clips_of(final) == clips_of(protocol.test_clips())


def few_shot(root: Path, seed: int, shots: int = 1) -> LabelledClips:
    found = rules(root, ONE.replace("=1", f"={shots}"), Setting.FEW_SHOT, seed).final_problem().few_shot
    assert found is not None
    return found


def test_few_shot_methods_get_as_many_clips_of_each_class_other_ones_for_each_seed(root: Path) -> None:
    protocol = rules(root, ONE)
    target, names = protocol.data["utd-mhad"], protocol.classes.names
    label_of = {name: label for label, name in SHARED.items()}
    for seed in range(3):
        found = few_shot(root, seed)
        assert np.bincount(found.labels).tolist() == [1, 1, 1, 1]
        for clip, label in zip(clips_of(found.clips), found.labels, strict=True):
            of_class = target.index.label == label_of[names[label]]
            assert clip in rows_of(target, of_class & (target.index.subject % 2 == 1))
    assert clips_of(few_shot(root, 0).clips) == clips_of(few_shot(root, 0).clips)
    assert len({tuple(sorted(clips_of(few_shot(root, seed).clips))) for seed in range(6)}) > 1
    assert np.bincount(few_shot(root, 0, shots=2).labels).tolist() == [2, 2, 2, 2]


def test_classes_with_too_few_clips_for_few_shot_are_named(root: Path) -> None:
    with pytest.raises(
        UserError, match="utd-mhad has fewer than 3 clips on its training side of throw, walk, sit down"
    ):
        few_shot(root, 0, shots=3)


def test_a_target_without_a_training_side_is_refused_where_one_is_needed(tmp_path: Path, root: Path) -> None:
    """A set of one's own whose side tests all of its people, under the classes of UTD-MHAD."""
    side = {"all": Side(column="subject", train=(9,), test=(1, 2, 3, 4), source="test")}
    card = toy_card("utd-mhad").model_copy(
        update={"name": "mine", "reader": "custom", "sides": side, "default_side": "all"}
    )
    clips = [toy_clip(1, label, subject, 1, 20) for label in range(27) for subject in range(1, 5)]
    write_dataset(tmp_path / "mine", clips, 20, card)
    (tmp_path / "nw-ucla").symlink_to(root / "nw-ucla")
    name = "transfer/nw-ucla-to-mine"
    assert rules(tmp_path, name).final_problem().target is None
    for setting in (Setting.UNLABELLED, Setting.FEW_SHOT):
        with pytest.raises(UserError, match=f"mine has no training clip on side all, and a {setting} method adapts"):
            rules(tmp_path, name, setting).final_problem()


def test_layouts_without_a_joint_map_are_refused_before_anything_is_trained(tmp_path: Path, root: Path) -> None:
    joints = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", *(f"j{number}" for number in range(12)))
    layout = LayoutTable(joints=joints, bones=(joints,), centre="j0", parts={"head": ("j5",)}).layout()
    card = toy_card("utd-mhad").model_copy(update={"name": "mine", "reader": "custom", "layout": layout})
    clips = [toy_clip(1, label, subject, 1, len(joints)) for label in range(27) for subject in range(1, 5)]
    write_dataset(tmp_path / "mine", clips, len(joints), card)
    (tmp_path / "nw-ucla").symlink_to(root / "nw-ucla")
    with pytest.raises(
        UserError, match=r"has 7 of the 20 joints of kinect-v1 by name.*the nearest layout that has one"
    ):
        rules(tmp_path, "transfer/nw-ucla-to-mine").selection_problem()


def test_by_texts_all_classes_of_the_target_are_candidates_behind_those_of_the_sources(root: Path) -> None:
    protocol = rules(root, BY_TEXTS)
    problem = protocol.final_problem()
    assert (problem.family, problem.metric) == ("zero-shot", "zsl_top1")
    # 31 classes of the three sets, of which five are in two: walk, sit down, stand up, throw and carry.
    n_source = 11 + 10 + 10 - 5
    assert len(problem.classes) == n_source + 27
    assert problem.classes.seen.tolist() == [True] * n_source + [False] * 27
    assert problem.classes.embeddings is not None
    assert len(set(problem.classes.names[:n_source])) == n_source
    assert set(problem.train.labels) == set(range(n_source))
    assert problem.train.domains is not None
    walk = problem.classes.names.index("walk around")
    assert set(problem.train.domains[problem.train.labels == walk]) == {1, 2}
    # The same shared classes as above: squat, throw basketball, jog, throw, walk, sit, stand, push, clap.
    assert np.flatnonzero(protocol.classes.seen).tolist() == [3, 4, 6, 17, 21, 22, 23, 24, 26]
    assert len(protocol.test_clips()) == 27 * 2


def test_by_texts_choosing_happens_on_source_classes_alone(root: Path) -> None:
    protocol = rules(root, BY_TEXTS)
    problem = protocol.selection_problem()
    assert problem.validation is not None
    assert len(problem.classes) == 26
    assert (~problem.classes.seen).sum() == 5, "a fifth of the source classes is pseudo-unseen"
    assert set(problem.train.labels) == set(np.flatnonzero(problem.classes.seen))
    assert set(problem.validation.labels) >= set(np.flatnonzero(~problem.classes.seen))


def test_by_texts_a_few_labelled_clips_are_refused(root: Path) -> None:
    with pytest.raises(UserError, match="few-shot methods need classes=shared"):
        rules(root, BY_TEXTS, Setting.FEW_SHOT).final_problem()


@pytest.mark.parametrize(
    ("target", "source", "parameters", "message"),
    [
        ("utkinect", "utkinect", {}, "from utkinect to itself"),
        ("utkinect", "nw-ucla, utkinect", {}, "from utkinect to itself"),
        ("nw-ucla", "msr-action3d", {}, r"msr-action3d and nw-ucla have 1 \(throw\); name those"),
        ("hdm05", "nw-ucla,utkinect", {}, "nw-ucla and utkinect and hdm05 have 0;"),
        ("utd-mhad", "nw-ucla", {"shots": "0"}, "shots=0: how many labelled clips"),
        ("utd-mhad", "nw-ucla", {"shots": "few"}, "shots=few"),
        ("utd-mhad", "nw-ucla", {"classes": "text"}, "Did you mean texts"),
        ("utd-mhad", "nw-ucla", {"fields": "name"}, "add classes=texts"),
        ("utd-mhad", "nw-ucla,utkinect", {"class_map": "map.toml"}, "a class map is of one source"),
        ("utd-mhad", "nw-ukla", {}, "Did you mean nw-ucla"),
    ],
)
def test_what_does_not_fit_is_one_line(target: str, source: str, parameters: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        find_task("transfer", target, source, parameters)
    assert "\n" not in str(caught.value)


def test_an_unknown_side_of_the_target_is_one_line() -> None:
    with pytest.raises(UserError, match="unknown side 'x-vieww'"):
        _ = load_task("transfer/utd-mhad-to-nw-ucla[side=x-vieww]").hash


def test_sources_in_any_order_are_one_task_whose_name_asks_for_it_again() -> None:
    one, other = (find_task("transfer", "utd-mhad", names, {}) for names in ("utkinect,nw-ucla", "nw-ucla, utkinect"))
    assert one.identity == other.identity == "transfer/nw-ucla-and-utkinect-to-utd-mhad@3"
    assert load_task(one.identity).hash == one.hash == other.hash
    assert one.datasets == ("nw-ucla", "utkinect", "utd-mhad")
    assert len({one.hash, find_task("transfer", "utd-mhad", "nw-ucla", {}).hash}) == 2
    texts = find_task("transfer", "utd-mhad", "utkinect", {"classes": "texts", "shots": "1"})
    assert texts.identity == "transfer/utkinect-to-utd-mhad@3[classes=texts,shots=1]"


def fingerprints(problem: Problem) -> Iterator[str]:
    """Of everything that a method gets: labels, people, clips."""
    for part in (problem.train, problem.validation, problem.few_shot):
        if part is not None:
            yield part.clips.fingerprint() + part.labels.tobytes().hex() + part.subjects.tobytes().hex()
    for view in (problem.target, problem.target_unlabelled):
        if view is not None:
            yield view.fingerprint()


@pytest.mark.parametrize("setting", list(Setting))
@pytest.mark.parametrize("name", [ONE, BY_TEXTS])
def test_noise_in_the_place_of_target_labels_changes_nothing_that_a_method_gets(
    root: Path, tmp_path: Path, name: str, setting: Setting
) -> None:
    if name == BY_TEXTS and setting is Setting.FEW_SHOT:
        pytest.skip("refused")
    true, noisy = rules(root, name, setting), rules(with_noise(root, tmp_path), name, setting)
    for phase in ("selection_problem", "final_problem"):
        seen = [list(fingerprints(getattr(protocol, phase)())) for protocol in (true, noisy)]
        assert (seen[0] == seen[1]) is (setting is not Setting.FEW_SHOT), phase
    assert true.target_clips().fingerprint() == noisy.target_clips().fingerprint()
    assert true.test_clips().fingerprint() == noisy.test_clips().fingerprint()
    assert (true.test_rows.columns != noisy.test_rows.columns).any()
