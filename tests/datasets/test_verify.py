"""Damage to a prepared set is found wherever it is, and named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.audit.verify import prepared_folders, verify
from mmcl_bench.datasets.store import CARD, INDEX, INSTRUCT, RGB, TRACKS, Clip, SkeletonDataset
from mmcl_bench.skeleton.clips import BodyTrack, Modality
from prepared import write_dataset
from toys import tiny_card, toy_clip

DESCRIBE = tiny_card(reader="small", modalities=(Modality.SKELETON, Modality.RGB, Modality.INSTRUCT))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(1)
    clips = [
        Clip(
            sample_id=f"c{number}",
            label=number % 2,
            subject=1 + number % 2,
            n_frames=6,
            bodies=tuple(
                BodyTrack(start, random.normal(size=(4, 20, 3)).astype(np.float32)) for start in range(1 + number % 2)
            ),
            rgb=f"image {number}".encode(),
            answers=((f"What is {number}?", "a number"),),
        )
        for number in range(5)
    ]
    return write_dataset(tmp_path_factory.mktemp("verify") / "tiny", clips, 20, DESCRIBE).folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


def check(folder: Path) -> SkeletonDataset:
    return verify(folder, lambda done, total: None)


def rewrite_index(folder: Path, **columns: object) -> None:
    pd.read_parquet(folder / INDEX).assign(**columns).to_parquet(folder / INDEX)


def test_a_whole_set_passes_and_all_of_it_was_read(whole: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert verify(whole, lambda done, total: seen.append((done, total))).card.name == "tiny"
    assert seen == [(5, 5)]


def test_a_changed_clip_is_named(folder: Path) -> None:
    content = bytearray((folder / TRACKS).read_bytes())
    content[-5] ^= 1
    (folder / TRACKS).write_bytes(content)
    expected = r"tracks\.npy differs from what was prepared in c4; run mmcl-bench data prepare small --as tiny again$"
    with pytest.raises(UserError, match=expected):
        check(folder)


def test_several_changed_clips_are_counted(folder: Path) -> None:
    tracks = np.load(folder / TRACKS)
    tracks[:12] += 1
    np.save(folder / TRACKS, tracks)
    with pytest.raises(UserError, match=r"in 2 clips, the first of them c0;"):
        check(folder)


@pytest.mark.parametrize("change", [{"label": 0}, {"subject": 1}, {"camera": 7}, {"fold": 2}])
def test_a_changed_fact_of_the_index_is_found(folder: Path, change: dict[str, int]) -> None:
    rewrite_index(folder, **change)
    with pytest.raises(UserError, match=r"index\.parquet or rgb\.parquet or instruct\.parquet or card\.json differ"):
        check(folder)


def test_a_changed_image_is_found(folder: Path) -> None:
    content = (folder / RGB).read_bytes()
    (folder / RGB).write_bytes(content.replace(b"image 3", b"image 4", 1))
    with pytest.raises(UserError, match="the fingerprint is another one"):
        check(folder)


def test_missing_images_are_found(folder: Path) -> None:
    pd.read_parquet(folder / RGB)[:3].to_parquet(folder / RGB)
    with pytest.raises(UserError, match="tiny: "):
        check(folder)


def test_a_changed_answer_is_found(folder: Path) -> None:
    pd.read_parquet(folder / INSTRUCT).assign(answer="another").to_parquet(folder / INSTRUCT)
    with pytest.raises(UserError, match="the fingerprint is another one"):
        check(folder)


def test_a_missing_clip_is_found(folder: Path) -> None:
    pd.read_parquet(folder / INDEX)[:4].to_parquet(folder / INDEX)
    with pytest.raises(UserError, match=r"index\.parquet holds 4 clips; card\.json tells of 5"):
        check(folder)


def test_an_index_that_does_not_fit_the_tracks_is_found(folder: Path) -> None:
    rewrite_index(folder, offset=0)
    with pytest.raises(UserError, match=r"c1 does not fit tracks\.npy"):
        check(folder)


def test_tracks_that_nobody_owns_are_found(folder: Path) -> None:
    tracks = np.load(folder / TRACKS)
    np.save(folder / TRACKS, np.concatenate([tracks, tracks[:1]]))
    with pytest.raises(UserError, match=r"holds 29 frames of bodies, and index\.parquet tells of 28"):
        check(folder)


def test_another_fingerprint_in_the_card_is_found(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, "fingerprint": "0" * 64}))
    with pytest.raises(UserError, match="the fingerprint is another one"):
        check(folder)


@pytest.mark.parametrize("part", [TRACKS, INDEX, RGB, INSTRUCT, CARD])
@pytest.mark.parametrize("keep", [0, 40, -9])
def test_a_file_cut_short_is_found(folder: Path, part: str, keep: int) -> None:
    (folder / part).write_bytes((folder / part).read_bytes()[:keep])
    with pytest.raises(UserError, match="tiny"):
        check(folder)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    part=st.sampled_from([TRACKS, INDEX, RGB, INSTRUCT, CARD]),
    place=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
)
def test_one_changed_byte_is_found_or_changes_nothing(whole: Path, part: str, place: float, value: int) -> None:
    before = (whole / part).read_bytes()
    changed = bytearray(before)
    changed[int(place * len(before))] = value
    expected = SkeletonDataset.open(whole).index.drop(columns=["track_start", "track_length"])
    try:
        (whole / part).write_bytes(changed)
        dataset = check(whole)
    except UserError:
        pass
    else:
        pd.testing.assert_frame_equal(
            dataset.index.drop(columns=["track_start", "track_length"]), expected, check_dtype=False
        )
    finally:
        (whole / part).write_bytes(before)


def test_sets_under_a_root_are_listed_without_drafts(whole: Path) -> None:
    shutil.copytree(whole, whole.parent / ".tiny.draft-1")
    try:
        assert prepared_folders(whole.parent) == [whole]
    finally:
        shutil.rmtree(whole.parent / ".tiny.draft-1")


def test_whole_numbers_as_names_of_clips_stand_by_value(tmp_path: Path) -> None:
    clips = [replace(toy_clip(0, number % 2, 1, 1, 25), sample_id=str(number)) for number in range(1, 13)]
    written = write_dataset(tmp_path / "numbered", clips, 25, tiny_card(layout="kinect-v2"))
    assert verify(written.folder, lambda done, total: None).card.n_clips == 12
