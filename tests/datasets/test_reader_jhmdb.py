"""JHMDB: pixels in image heights, splits from the lists, source videos as subjects."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.classes import TEXT_FIELDS, class_texts
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.readers.jhmdb import source_video
from mmcl_bench.skeleton.layouts import get_layout
from mmcl_bench.video.projection import ProjectedSkeletons
from published.jhmdb import ACTIONS, SIDES, joint_file, name_of


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The tiny source as a folder."""
    source = tmp_path / "unpacked"
    with zipfile.ZipFile(published.write("jhmdb", tmp_path)) as zipped:
        zipped.extractall(source)
    return source


def test_clips_have_the_sides_of_the_lists_and_the_people_of_their_source_video(unpacked: Path, tmp_path: Path) -> None:
    dataset = prepare("jhmdb", unpacked, tmp_path / "root", workers=1)
    index = dataset.index.set_index("sample_id")
    for split in range(3):
        trains, tests = dataset.card.sides[f"split-{split + 1}"].masks(dataset.index)
        expected = {name_of(action, at) for action in ACTIONS for at, side in SIDES.items() if side[split] == "1"}
        assert set(dataset.index["sample_id"][trains]) == expected
        assert (trains ^ tests).all()
    of_film = [index.subject[name_of(action, number)] for action in ACTIONS for number in (0, 1)]
    assert len(set(of_film)) == 1
    assert index.subject.nunique() == 3
    assert [dataset.card.classes[index.label[name_of(action, 3)]] for action in ACTIONS] == list(ACTIONS)


def test_positions_are_pixels_in_image_heights_from_the_middle(unpacked: Path, tmp_path: Path) -> None:
    dataset = prepare("jhmdb", unpacked, tmp_path / "root", workers=1)
    name = name_of("wave", 2)
    pixels = loadmat(unpacked / "joint_positions" / "wave" / name / "joint_positions.mat")["pos_img"]
    (body,) = dataset.bodies(dataset.index["sample_id"].tolist().index(name))
    joint, frame = get_layout("jhmdb-15").index("left_wrist"), 7
    x, y = pixels[:, 12, frame]
    np.testing.assert_allclose(body.positions[frame, joint], [(x - 160) / 240, (120 - y) / 240, 0], atol=1e-6)
    assert body.positions.shape == (17, 15, 3)


def test_a_folder_of_the_zips_as_published_gives_the_same_set(unpacked: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    for part in ("joint_positions", "splits"):
        shutil.make_archive(str(packed / part), "zip", unpacked, part)
    one, other = (prepare("jhmdb", path, tmp_path / f"root-{path.name}", workers=1) for path in (unpacked, packed))
    assert one.card.fingerprint == other.card.fingerprint


@pytest.mark.parametrize(
    ("name", "action", "source"),
    [
        ("April_09_brush_hair_u_nm_np1_ba_goo_0", "brush_hair", "April_09"),
        ("Faith_Rewarded_catch_f_cm_np1_fr_med_15", "catch", "Faith_Rewarded"),
        ("Song_I_Can_Wave_clap_h_nm_np2_le_bad_3", "clap", "Song_I_Can_Wave"),
        ("of_another_form", "clap", "of_another_form"),
    ],
)
def test_the_source_video_is_the_name_without_action_and_tags(name: str, action: str, source: str) -> None:
    assert source_video(name, action) == source


def test_what_is_wrong_is_said_with_its_file(unpacked: Path, tmp_path: Path) -> None:
    folder = unpacked / "joint_positions" / "catch" / name_of("catch", 1)
    (folder / "joint_positions.mat").write_bytes(joint_file(1, 9, pos_img=np.zeros((2, 14, 9))))
    with pytest.raises(UserError, match=r"joint_positions\.mat has an array 'pos_img' of shape \(2, 14, 9\)"):
        prepare("jhmdb", unpacked, tmp_path / "root", workers=1)
    (folder / "joint_positions.mat").write_bytes(joint_file(1, 9))
    (unpacked / "splits" / "catch_test_split2.txt").unlink()
    with pytest.raises(UserError, match=r"catch_test_split1\.txt to 3 do not put on one side each"):
        prepare("jhmdb", unpacked, tmp_path / "root", workers=1)
    shutil.rmtree(unpacked / "splits")
    with pytest.raises(UserError, match=r"holds no list such as catch_test_split1\.txt"):
        prepare("jhmdb", unpacked, tmp_path / "root", workers=1)


def test_people_are_cut_out_around_their_joints(unpacked: Path) -> None:
    name = name_of("wave", 0)
    pixels = loadmat(unpacked / "joint_positions" / "wave" / name / "joint_positions.mat")["pos_img"]
    with ProjectedSkeletons.open(unpacked) as projected:
        places = projected.places(name)
        assert projected.places("another") is None
    assert places is not None
    assert len(places) == 15
    np.testing.assert_allclose(places[4], pixels[:, :, 4].T / [320, 240])


def test_there_are_21_classes_with_all_texts() -> None:
    table = class_texts("jhmdb")
    assert len(table.names) == 21
    assert list(table.names) == sorted(table.names)
    for text in table.classes:
        assert all(text.slot(field)[0] for field in TEXT_FIELDS)
