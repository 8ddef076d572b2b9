"""The prepared form: what is written comes back, nothing half-written stays, damage is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import (
    CARD,
    INDEX,
    INSTRUCT,
    RGB,
    TRACKS,
    Clip,
    SkeletonDataset,
    atomic_folder,
    fingerprint,
    remove_drafts,
)
from mmcl_bench.skeleton.clips import BodyTrack, Modality
from prepared import write_dataset
from toys import tiny_card, toy_clip

JOINTS = 4
DESCRIBE = tiny_card(modalities=(Modality.SKELETON, Modality.RGB, Modality.INSTRUCT))


def make_clips(n_clips: int = 130) -> list[Clip]:
    """Clips of one to three bodies that come and go; more than one group of images."""
    rng = np.random.default_rng(3)
    return [
        Clip(
            sample_id=f"c{number:03}",
            label=number % 2,
            subject=1 + number % 2,
            camera=number % 3,
            setup=7,
            n_frames=9,
            bodies=tuple(
                BodyTrack(start, rng.normal(size=(5, JOINTS, 3)).astype(np.float32)) for start in range(1 + number % 3)
            ),
            rgb=f"image {number}".encode(),
            answers=((f"What is {number}?", "a number"),) * (number % 2),
        )
        for number in range(n_clips)
    ]


@pytest.fixture
def written(tmp_path: Path) -> SkeletonDataset:
    return write_dataset(tmp_path / "tiny", make_clips(), JOINTS, DESCRIBE)


def test_every_clip_comes_back_as_it_was(written: SkeletonDataset) -> None:
    clips = make_clips()
    assert written.card.n_clips == len(written.index) == len(clips)
    for row, clip in enumerate(clips):
        stored = written.index.iloc[row]
        assert (stored.sample_id, stored.label, stored.subject) == (clip.sample_id, clip.label, clip.subject)
        assert (stored.camera, stored.setup, stored.n_frames) == (clip.camera, clip.setup, clip.n_frames)
        bodies = written.bodies(row)
        assert [body.start for body in bodies] == [body.start for body in clip.bodies]
        for body, expected in zip(bodies, clip.bodies, strict=True):
            np.testing.assert_array_equal(body.positions, expected.positions)


def test_tracks_are_an_ordinary_npy_file(written: SkeletonDataset) -> None:
    tracks = np.load(written.folder / TRACKS, allow_pickle=False)
    assert tracks.dtype == np.dtype("<f4")
    assert tracks.shape == (sum(len(body.positions) for clip in make_clips() for body in clip.bodies), JOINTS, 3)


def test_tracks_cannot_be_written_through_a_data_set(written: SkeletonDataset) -> None:
    with pytest.raises(ValueError, match="read-only"):
        written.bodies(0)[0].positions[0] = 0


def test_images_come_in_the_order_asked_for(written: SkeletonDataset) -> None:
    assert list(written.images([129, 0, 64, 63])) == [b"image 129", b"image 0", b"image 64", b"image 63"]


def test_answers_come_back_with_their_clip(written: SkeletonDataset) -> None:
    answers = written.answers()
    assert len(answers) == 65
    assert tuple(answers.iloc[1]) == ("c003", "What is 3?", "a number")


def test_the_same_clips_give_the_same_bytes_in_whatever_order_they_come(tmp_path: Path) -> None:
    one = write_dataset(tmp_path / "one" / "tiny", make_clips(), JOINTS, DESCRIBE)
    two = write_dataset(tmp_path / "two" / "tiny", make_clips()[::-1], JOINTS, DESCRIBE)
    assert one.index["sample_id"].is_monotonic_increasing
    for name in (CARD, TRACKS, INDEX, RGB, INSTRUCT):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def _with_position(clip: Clip) -> Clip:
    positions = clip.bodies[0].positions.copy()
    positions[0, 0, 0] = np.nextafter(positions[0, 0, 0], np.float32(9))
    return replace(clip, bodies=(BodyTrack(clip.bodies[0].start, positions), *clip.bodies[1:]))


@pytest.mark.parametrize(
    "change",
    [
        _with_position,
        lambda clip: replace(clip, label=1 - clip.label),
        lambda clip: replace(clip, subject=9),
        lambda clip: replace(clip, fold=1),
        lambda clip: replace(clip, n_frames=10),
        lambda clip: replace(clip, rgb=b"another"),
        lambda clip: replace(clip, answers=(("Another?", "yes"),)),
        lambda clip: replace(clip, sample_id=clip.sample_id + "-"),
        lambda clip: replace(clip, bodies=(replace(clip.bodies[0], start=2), *clip.bodies[1:])),
    ],
)
def test_any_change_of_content_changes_the_fingerprint(tmp_path: Path, change) -> None:
    clips = make_clips(6)
    before = write_dataset(tmp_path / "before", clips, JOINTS, DESCRIBE).card.fingerprint
    after = write_dataset(tmp_path / "after", [*clips[:3], change(clips[3]), *clips[4:]], JOINTS, DESCRIBE)
    assert after.card.fingerprint != before


def test_another_layout_with_as_many_joints_makes_other_data_of_ones_own_set(tmp_path: Path) -> None:
    found = set()
    for layout in ("cad60-15", "florence-15", "nite-15"):
        card = tiny_card(reader="custom", layout=layout)
        found.add(write_dataset(tmp_path / layout, [toy_clip(0, 0, 1, 1, 15)], 15, card).card.fingerprint)
    assert len(found) == 3


def test_the_fingerprint_can_be_checked_against_the_files(written: SkeletonDataset) -> None:
    assert fingerprint(SkeletonDataset.open(written.folder)) == written.card.fingerprint
    assert len(written.card.fingerprint) == len(hashlib.sha256().hexdigest())


def test_equal_motion_has_an_equal_content_hash(tmp_path: Path) -> None:
    clip = make_clips(1)[0]
    twin = replace(clip, sample_id="d", label=1, subject=2)
    longer = replace(clip, sample_id="e", n_frames=10)
    first, second, third = write_dataset(tmp_path / "tiny", [clip, twin, longer], JOINTS, DESCRIBE).index["content"]
    assert first == second != third


def test_two_clips_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two clips are called c000"):
        write_dataset(tmp_path / "tiny", make_clips(1) * 2, JOINTS, DESCRIBE)
    assert list(tmp_path.iterdir()) == []


def test_no_clip_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no clip"):
        write_dataset(tmp_path / "tiny", [], JOINTS, DESCRIBE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "clips",
    [
        [replace(make_clips(1)[0], label=2)],
        [replace(make_clips(1)[0], rgb=None)],
        [replace(make_clips(1)[0], bodies=(BodyTrack(0, np.zeros((5, JOINTS + 1, 3), np.float32)),))],
    ],
    ids=["label without a class", "no image", "another joint count"],
)
def test_a_reader_that_breaks_its_contract_is_stopped(tmp_path: Path, clips: list[Clip]) -> None:
    with pytest.raises(ValueError, match=r"c00\d"):
        write_dataset(tmp_path / "tiny", clips, JOINTS, DESCRIBE)
    assert list(tmp_path.iterdir()) == []


def test_a_set_stays_whole_when_its_replacement_fails(written: SkeletonDataset) -> None:
    def interrupted() -> Iterator[Clip]:
        yield make_clips(1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(written.folder, interrupted(), JOINTS, DESCRIBE)
    assert fingerprint(SkeletonDataset.open(written.folder)) == written.card.fingerprint
    assert [path.name for path in written.folder.parent.iterdir()] == ["tiny"]


def test_a_set_is_replaced_by_a_new_one(written: SkeletonDataset) -> None:
    assert write_dataset(written.folder, make_clips(5), JOINTS, DESCRIBE).card.n_clips == 5
    assert [path.name for path in written.folder.parent.iterdir()] == ["tiny"]


def test_drafts_of_another_set_are_left_alone(tmp_path: Path) -> None:
    for draft in (".tiny.draft-1", ".tiny-2.draft-1"):
        (tmp_path / draft).mkdir()
    remove_drafts(tmp_path / "tiny")
    assert [path.name for path in tmp_path.iterdir()] == [".tiny-2.draft-1"]


@pytest.mark.parametrize("damage", [b"", b"no such format", None], ids=["empty", "garbage", "cut short"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        (CARD, lambda dataset: SkeletonDataset.open(dataset.folder)),
        (INDEX, lambda dataset: dataset.index),
        (TRACKS, lambda dataset: dataset.tracks),
        (RGB, lambda dataset: list(dataset.images([0]))),
        (INSTRUCT, lambda dataset: dataset.answers()),
    ],
)
def test_a_damaged_file_is_named_with_the_line_to_type(
    written: SkeletonDataset, name: str, read, damage: bytes | None
) -> None:
    path = written.folder / name
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    with pytest.raises(UserError, match=rf"{name}.*mmcl-bench data prepare tiny again") as caught:
        read(SkeletonDataset.open(written.folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [INDEX, TRACKS, RGB, INSTRUCT])
def test_a_missing_file_is_named(written: SkeletonDataset, name: str) -> None:
    (written.folder / name).unlink()
    dataset = SkeletonDataset.open(written.folder)
    with pytest.raises(UserError, match=f"{name}: missing"):
        _ = dataset.index, dataset.tracks, list(dataset.images([0])), dataset.answers()


def test_a_card_of_another_format_says_what_to_type(written: SkeletonDataset) -> None:
    path = written.folder / CARD
    path.write_text(path.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(UserError, match="of format 3, not 2; run mmcl-bench data prepare tiny again"):
        SkeletonDataset.open(written.folder)


def test_a_folder_that_is_not_there_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run mmcl-bench data prepare tiny"):
        SkeletonDataset.open(tmp_path / "tiny")


@pytest.mark.parametrize("file", ["../precious.txt", "/etc/passwd", "..", "a/b", "a\\b"])
def test_an_addition_is_a_file_of_the_set_itself(file: str, written: SkeletonDataset) -> None:
    """Its file is removed once another takes its place."""
    card = json.loads((written.folder / CARD).read_text())
    card["additions"] = [
        {"kind": "features", "name": "x", "modality": "rgb", "file": file, "sha256": "0", "n_clips": 1}
    ]
    (written.folder / CARD).write_text(json.dumps(card))
    with pytest.raises(UserError, match="not a card"):
        SkeletonDataset.open(written.folder)


def test_a_stop_while_a_set_is_replaced_leaves_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "set"
    target.mkdir()
    (target / "former").touch()
    rename = Path.rename

    def stopped(path: Path, to: Path) -> Path:
        if to == target and not path.name.endswith("-replaced"):
            raise KeyboardInterrupt
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt), atomic_folder(target) as draft:
        (draft / "new").touch()
    assert [path.name for path in target.iterdir()] == ["former"]
    # A kill leaves no time to put it back.
    rename(target, tmp_path / ".set.draft-1-replaced")
    (tmp_path / ".set.draft-1").mkdir()
    remove_drafts(target)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["set", "set/former"]
