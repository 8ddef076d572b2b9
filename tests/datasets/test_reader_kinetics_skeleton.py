"""Kinetics-skeleton: against files written by hand, and against ST-GCN's rules spelt out with numpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.classes import class_texts
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.skeleton.layouts import OPENPOSE_18
from published.kinetics_skeleton import clip

CLIP = "-abc_DEF123"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with one clip on each side."""
    folder = tmp_path / "kinetics-skeleton"
    for part, seed in (("train", 1), ("val", 2)):
        put(folder, part, clip(seed, 57, 3), name=CLIP if part == "train" else "other")
    return folder


def put(folder: Path, part: str, content: dict[str, Any], name: str = CLIP) -> None:
    """Writes a clip, and the label file that goes with it."""
    (folder / f"kinetics_{part}").mkdir(parents=True, exist_ok=True)
    (folder / f"kinetics_{part}" / f"{name}.json").write_text(json.dumps(content))
    listed = {name: {"has_skeleton": True, "label": "clapping", "label_index": 57}}
    (folder / f"kinetics_{part}_label.json").write_text(json.dumps(listed))


def prepared(source: Path, skip_bad: bool = False, **settings: str) -> SkeletonDataset:
    return prepare("kinetics-skeleton", source, source.parent / "root", skip_bad, workers=1, settings=settings)


def refusal(source: Path, **settings: str) -> str:
    with pytest.raises(UserError) as caught:
        prepared(source, **settings)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


def one_frame(*people: tuple[float, dict[str, tuple[float, float]]]) -> dict[str, Any]:
    """A clip of one frame; each person has a confidence and the places of the joints that were seen."""
    skeletons = []
    for confidence, places in people:
        pose = [share for joint in OPENPOSE_18.joints for share in places.get(joint, (0.3, 0.3))]
        skeletons.append({"pose": pose, "score": [confidence * (joint in places) for joint in OPENPOSE_18.joints]})
    return {"data": [{"frame_index": 1, "skeleton": skeletons}], "label": "clapping", "label_index": 57}


def test_positions_are_image_heights_from_the_middle_with_y_up(source: Path) -> None:
    put(source, "train", one_frame((0.9, {"nose": (0.5, 0.25), "left_wrist": (1, 1), "right_wrist": (0, 0.5)})))
    (body,) = prepared(source).bodies(0)
    expected = np.zeros((1, 18, 3), np.float32)
    expected[0, OPENPOSE_18.index("nose")] = 0, 0.25, 0
    expected[0, OPENPOSE_18.index("left_wrist")] = 170 / 256, -0.5, 0
    expected[0, OPENPOSE_18.index("right_wrist")] = -170 / 256, 0, 0
    np.testing.assert_allclose(body.positions, expected, atol=1e-7)


def st_gcn(content: dict[str, Any], n_bodies: int) -> np.ndarray:
    """(M, T, 18, 2) in shares of the image from its middle, y down: the rules of the published feeder."""
    found = np.zeros((len(content["data"]), 5, 18, 3))
    for frame in content["data"]:
        for body, skeleton in enumerate(frame["skeleton"][:5]):
            found[frame["frame_index"] - 1, body, :, 0] = skeleton["pose"][0::2]
            found[frame["frame_index"] - 1, body, :, 1] = skeleton["pose"][1::2]
            found[frame["frame_index"] - 1, body, :, 2] = skeleton["score"]
    found[..., :2] -= 0.5
    found[..., :2][found[..., 2] == 0] = 0
    order = np.argsort(-found[..., 2].sum(-1), axis=1, kind="stable")
    ranked = np.take_along_axis(found, order[..., None, None], axis=1)
    return ranked[:, :n_bodies, :, :2].transpose(1, 0, 2, 3)


@pytest.mark.parametrize("n_bodies", [1, 2, 4])
def test_bodies_are_ranked_as_st_gcn_ranks_them(n_bodies: int, source: Path) -> None:
    content = clip(5, 57, 7)
    put(source, "train", content)
    dataset = prepared(source, bodies=str(n_bodies))
    row = list(dataset.index["sample_id"]).index(CLIP)
    assert dataset.index["n_frames"][row] == len(content["data"])
    found = np.zeros((n_bodies, len(content["data"]), 18, 3), np.float32)
    for body, track in enumerate(dataset.bodies(row)):
        found[body, track.start : track.start + len(track.positions)] = track.positions
    expected = st_gcn(content, n_bodies) * [340 / 256, -1]
    np.testing.assert_allclose(found[..., :2], expected, atol=1e-6)
    assert not found[..., 2].any()


def test_frames_are_placed_by_their_number(source: Path) -> None:
    content = clip(5, 57, 1)
    content["data"] = [frame for frame in content["data"] if frame["frame_index"] in (3, 4, 9)][::-1]
    put(source, "train", content)
    dataset = prepared(source)
    (body,) = dataset.bodies(0)
    assert dataset.index["n_frames"][0] == 7
    assert body.positions.any(axis=(1, 2)).tolist() == [True, True, False, False, False, False, True]


def test_clips_listed_without_a_skeleton_are_left_out(tmp_path: Path) -> None:
    dataset = prepare("kinetics-skeleton", published.write("kinetics-skeleton", tmp_path), tmp_path / "root", workers=1)
    assert len(dataset.index) == 12
    assert not dataset.index["sample_id"].str.startswith("nobody").any()
    assert dataset.index["fold"].value_counts().to_dict() == {1: 6, 2: 6}


def test_class_names_are_alphabetical_as_label_indices_are() -> None:
    names = class_texts("kinetics-400").names
    assert len(names) == 400
    assert sorted(names, key=str.lower) == list(names)
    assert (names[0], names[57], names[399]) == ("abseiling", "clapping", "zumba")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content.update(label_index=58), "has label 58, and 57 in the label file"),
        (lambda content: content.update(data=[]), "has no frames"),
        (lambda content: content.pop("data"), "data: Field required"),
        (lambda content: content["data"][0].update(frame_index=2), "two frames of one number"),
        (lambda content: content["data"][0].update(frame_index=10**9), "frame_index"),
        (lambda content: content["data"][0].update(frame_index=-1), "frame_index"),
        (lambda content: content["data"][0].update(frame_index="1"), "frame_index"),
        (lambda content: content["data"][0]["skeleton"][0]["pose"].pop(), "pose: List should have at least 36"),
        (lambda content: content["data"][0]["skeleton"][0]["score"].append(1), "score: List should have at most 18"),
        (lambda content: content["data"][0]["skeleton"][0]["pose"].__setitem__(3, None), "pose.3"),
        (lambda content: content["data"][0]["skeleton"][0]["pose"].__setitem__(3, float("nan")), "finite"),
        (lambda content: content["data"][0]["skeleton"][0]["pose"].__setitem__(3, 1e30), "image heights away"),
        (lambda content: content.update(data=[{"frame_index": 1, "skeleton": []}]), "shows nobody in its one frame"),
    ],
)
def test_a_bad_clip_is_refused_by_name(change: Callable[[dict[str, Any]], object], reason: str, source: Path) -> None:
    content = clip(5, 57, 1)
    change(content)
    put(source, "train", content)
    line = refusal(source)
    assert f"kinetics_train/{CLIP}.json " in line
    assert reason in line
    assert list(prepared(source, skip_bad=True).index["sample_id"]) == ["other"]


@pytest.mark.parametrize(
    "content",
    [b"", b"[" * 100_000, b'{"data":' * 50_000, b"\xff\xfe{}", b"null", b"1" * 5000, b'{"data": 1e999}', b"{}"],
    ids=["empty", "deep lists", "deep dicts", "UTF-16", "null", "long number", "infinite", "nothing"],
)
def test_what_is_no_clip_is_refused_in_one_line(content: bytes, source: Path) -> None:
    (source / f"kinetics_train/{CLIP}.json").write_bytes(content)
    assert "is not as published" in refusal(source)
    (source / "kinetics_val_label.json").write_bytes(content)
    if content != b"{}":
        assert "kinetics_val_label.json is not as published" in refusal(source)


def test_files_and_the_label_file_must_agree(source: Path) -> None:
    (source / "kinetics_train" / "extra.json").write_text(json.dumps(clip(1, 57, 1)))
    assert "kinetics_train/extra.json is not in the label file" in refusal(source)
    (source / "kinetics_train" / "extra.json").unlink()
    (source / f"kinetics_train/{CLIP}.json").rename(source / f"kinetics_val/{CLIP}.json")
    (source / "kinetics_train" / "x.json").write_text("{}")
    assert f"kinetics_train/{CLIP}.json is not there" in refusal(source)


@pytest.mark.parametrize("gone", ["kinetics_train_label.json", "kinetics_val_label.json"])
def test_a_label_file_that_is_not_there_is_named(gone: str, source: Path) -> None:
    (source / gone).unlink()
    assert f"holds no {gone}" in refusal(source)


@pytest.mark.parametrize("bodies", ["0", "6", "two", ""])
def test_a_number_of_bodies_that_is_none_is_refused(bodies: str, source: Path) -> None:
    assert "setting bodies" in refusal(source, bodies=bodies)
