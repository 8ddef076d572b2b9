"""What validation holds out shares no performer, and where none is known no performance, with what trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.store import Clip, SkeletonDataset
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.base import Needs, Protocol, Rows
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.skeleton.layouts import get_layout
from prepared import write_dataset
from toys import toy_card, toy_clip


def performances(name: str, n: int, n_classes: int, subjects: int = 1) -> Iterator[Clip]:
    """Each of ``n`` performances of every class, seen by three cameras; all on the training side of every side."""
    joints = len(get_layout(READERS.get(name).layout))
    for number, label, camera in product(range(n), range(n_classes), (1, 2, 3)):
        clip = toy_clip(0, label, number, camera, joints)
        # A subject that the set does not name is 0.
        subject = 0 if subjects == 1 else 1 + 2 * (number % subjects)
        yield replace(clip, sample_id=f"{number:03d}-{label:02d}-{camera}", subject=subject, setup=number + 1, fold=1)


def rules(root: Path, task: str, clips: Iterator[Clip]) -> Protocol:
    bound = load_task(task)
    (name,) = bound.datasets
    write_dataset(root / name, clips, len(get_layout(READERS.get(name).layout)), toy_card(name))
    return PROTOCOLS.get(bound.card.family)(bound, {name: SkeletonDataset.open(root / name)}, Needs(), root / "cache")


def another(protocol: Protocol, task: str) -> Protocol:
    """The rules of another task on the same data."""
    bound = load_task(task)
    return PROTOCOLS.get(bound.card.family)(bound, protocol.data, Needs(), protocol.cache)


def parts(protocol: Protocol) -> tuple[Rows, Rows]:
    train, validation, _ = protocol._hold_out(protocol.train_rows)
    return train, validation


def test_where_no_subject_is_named_whole_performances_are_held_out(tmp_path: Path) -> None:
    protocol = rules(tmp_path, "supervised/pku-mmd[split=x-sub]", performances("pku-mmd", 10, 4))
    train, validation = parts(protocol)
    assert len(train) + len(validation) == 10 * 4 * 3
    assert len(validation) == 2 * 4 * 3
    assert not set(train.of_index("setup")) & set(validation.of_index("setup"))
    assert protocol.validation_notes == {}


@pytest.mark.parametrize(
    ("name", "split", "clips", "column"),
    [
        # JHMDB's setups say in which of its three splits a clip trains, and cross its people.
        ("jhmdb", "split-1", performances("jhmdb", 14, 3, subjects=3), "subject"),
        ("pku-mmd", "x-sub", performances("pku-mmd", 10, 4), "setup"),
    ],
)
def test_a_part_of_the_training_side_shares_no_person_or_performance_with_the_rest(
    tmp_path: Path, name: str, split: str, clips: Iterator[Clip], column: str
) -> None:
    whole = rules(tmp_path, f"supervised/{name}[split={split}]", clips)
    tested: list[int] = []
    for part in range(1, 4):
        protocol = another(whole, f"supervised/{name}[split={split},tested=validation-{part}]")
        assert not set(protocol.test_rows.of_index(column)) & set(protocol.train_rows.of_index(column))
        assert set(protocol.train_rows.rows) <= set(whole.train_rows.rows)
        tested += protocol.test_rows.rows.tolist()
    assert len(tested) == len(set(tested))
    assert set(tested) <= set(whole.train_rows.rows)


def test_where_one_person_is_left_to_train_the_note_says_so(tmp_path: Path) -> None:
    whole = rules(tmp_path, "supervised/nw-ucla[split=x-sub]", performances("nw-ucla", 8, 4, subjects=2))
    protocol = another(whole, "supervised/nw-ucla[split=x-sub,tested=validation-1]")
    parts(protocol)
    assert "all that train are of one person" in protocol.validation_notes["held out"]


def test_no_part_is_tested_where_people_are_not_told(tmp_path: Path) -> None:
    whole = rules(tmp_path, "supervised/ntu60-cs-npz", performances("ntu60-cs-npz", 10, 4))
    with pytest.raises(UserError, match="people of the training side cannot be told apart"):
        another(whole, "supervised/ntu60-cs-npz[tested=validation-1]").final_problem()


def test_a_set_that_tells_neither_subjects_nor_performances_says_so(tmp_path: Path) -> None:
    protocol = rules(tmp_path, "supervised/ntu60-cs-npz", performances("ntu60-cs-npz", 10, 4))
    train, validation = parts(protocol)
    assert len(validation) > 0
    assert len(train) > len(validation)
    assert protocol.validation_notes["held out"].startswith("single clips of ntu60-cs-npz, as it tells neither")


def test_clips_that_are_recordings_of_their_own_need_no_note(tmp_path: Path) -> None:
    protocol = rules(tmp_path, "supervised/kinetics-skeleton", performances("kinetics-skeleton", 5, 4))
    assert len(parts(protocol)[1]) > 0
    assert protocol.validation_notes == {}


@pytest.mark.parametrize(("n", "held_out_alone"), [(20, True), (5, False)])
def test_pseudo_unseen_clips_are_of_held_out_subjects_where_these_have_enough(
    n: int, held_out_alone: bool, tmp_path: Path
) -> None:
    """Of five subjects one is held out: 12 clips of a class with twenty performances, 3 with five; 10 are enough."""
    protocol = rules(tmp_path, "zero-shot/nw-ucla[split=8/2]", performances("nw-ucla", n, 10, subjects=5))
    train, validation, pseudo_unseen = protocol._hold_out(protocol.train_rows)
    seen, unseen = (validation.where(np.isin(validation.columns, pseudo_unseen, invert=each)) for each in (True, False))
    (subject,) = set(seen.of_index("subject"))
    assert subject not in set(train.of_index("subject"))
    assert not set(train.columns) & set(pseudo_unseen)
    assert (set(unseen.of_index("subject")) == {subject}) is held_out_alone
    assert len(unseen) == 2 * (n // 5 if held_out_alone else n) * 3
    assert ("pseudo-unseen clips" in protocol.validation_notes) is not held_out_alone


def of_pairs(pairs: Iterator[tuple[int, int]], n_classes: int = 3) -> Iterator[Clip]:
    joints = len(get_layout(READERS.get("nw-ucla").layout))
    for (one, other), label in product(pairs, range(n_classes)):
        clip = toy_clip(0, label, 100 * one + other, 1, joints)
        yield replace(clip, sample_id=f"{one}-{other}-{label}", subject=one, other_subjects=(other,), camera=1)


def people(rows: Rows) -> set[int]:
    return {*rows.of_index("subject").tolist(), *(n for others in rows.of_index("other_subjects") for n in others)}


@pytest.mark.parametrize("n_people", [3, 5, 7, 12])
def test_no_one_of_a_pair_trains_and_validates(n_people: int, tmp_path: Path) -> None:
    protocol = rules(tmp_path, "supervised/nw-ucla[split=x-view]", of_pairs(combinations(range(1, n_people + 1), 2)))
    train, validation = parts(protocol)
    assert len(validation) > 0
    assert len(train) > 0
    if n_people > 3:
        assert not people(train) & people(validation)
        assert protocol.validation_notes == {}
    else:  # any pair of three people leaves no other pair without one of them
        assert protocol.validation_notes["held out"].startswith("single clips")


def test_people_whom_clips_show_together_are_one_subject_to_a_method(tmp_path: Path) -> None:
    pairs = [(1, 2), (3, 4), (2, 5), (6, 7)]
    protocol = rules(tmp_path, "supervised/nw-ucla[split=x-view]", of_pairs(iter(pairs)))
    subjects = protocol._labelled(protocol.train_rows, np.arange(10)).subjects
    first = protocol.train_rows.of_index("subject")
    number = {int(one): {int(n) for n in subjects[first == one]} for one in first}
    assert number[1] == number[2]
    assert len({*map(frozenset, number.values())}) == 3


def test_unlabelled_pairs_of_a_selection_fit_show_no_one_who_is_held_out(tmp_path: Path) -> None:
    """Each person stands beside the next one, so that clips connect all of them."""
    chain = list(of_pairs(((one, one + 1) for one in range(1, 13)), 10))
    tested = [replace(clip, sample_id=f"t-{clip.sample_id}", camera=3) for clip in chain[:10]]
    labelled = rules(tmp_path, "supervised/nw-ucla[split=x-view,labels=25%]", iter([*chain, *tested]))
    needs = Needs(unlabelled=True)
    protocol = PROTOCOLS.get("supervised")(labelled.task, labelled.data, needs, labelled.cache)
    _, validation = parts(protocol)
    held_out = people(validation)
    free = [clip for clip in chain if not held_out & {clip.subject, *clip.other_subjects}]
    final, first = protocol.final_problem().unlabelled, protocol.selection_problem().unlabelled
    assert final is not None
    assert first is not None
    assert 0 < len(first.clips) < len(final.clips)
    assert len(first.clips) <= len(free)
