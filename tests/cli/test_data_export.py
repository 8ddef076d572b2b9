"""``data export`` and ``data synth``: what is written comes back through the readers of the published forms."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mmcl_bench.cli.data import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.ntu_skeleton import parse_skeleton
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.readers.ntu import Ntu60, missing_samples
from mmcl_bench.datasets.readers.ntu_npz import Ntu60CrossSubject
from mmcl_bench.datasets.store import Clip, Side, SkeletonDataset
from mmcl_bench.datasets.synth.scene import camera_of, make_clip, make_skeleton
from mmcl_bench.datasets.writers.synthetic import LIKE, clip_names, wanted_clips
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.joint_maps import joint_matrix
from mmcl_bench.skeleton.layouts import KINECT_V1, KINECT_V2
from prepared import write_dataset
from published import ntu60
from toys import tiny_card, toy_clip, write_toy


def run(*arguments: object) -> str:
    """What the command writes to standard output. Raises what it raises."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def shown(dataset: SkeletonDataset, row: int) -> tuple[int, list[tuple[int, bytes]]]:
    """What a clip shows; bodies in an order of their own, as the reader of NTU RGB+D sorts them by motion."""
    return int(dataset.index["n_frames"][row]), in_any_order(dataset.bodies(row))


def in_any_order(bodies: tuple[BodyTrack, ...]) -> list[tuple[int, bytes]]:
    return sorted((body.start, np.ascontiguousarray(body.positions).tobytes()) for body in bodies)


def all_shown(dataset: SkeletonDataset) -> Counter[object]:
    """Every clip's label and what it shows, however it is called."""
    labels = dataset.index["label"]
    return Counter((int(labels[row]), str(shown(dataset, row))) for row in range(len(labels)))


@pytest.fixture
def ntu(tmp_path: Path) -> SkeletonDataset:
    """A tiny synthetic NTU RGB+D 60, prepared below ``root``."""
    return prepare("ntu60", ntu60.write(tmp_path), tmp_path / "root", workers=1)


# synth


@pytest.mark.parametrize("output", ["set.zip", "set"])
def test_synthetic_text_files_come_back_equal_through_the_reader(output: str, tmp_path: Path) -> None:
    run("synth", "--like", "ntu60", "--clips", 70, "--format", "skeleton", "--output", tmp_path / output)
    dataset = prepare("ntu60", tmp_path / output, tmp_path / "root", settings={"denoise": "none"}, workers=1)
    assert len(dataset.index) == 70
    expected = Counter(
        (clip.label, clip.subject, clip.camera, str((clip.n_frames, in_any_order(clip.bodies))))
        for clip in (make_skeleton(*wanted) for wanted in wanted_clips(70))
    )
    index = dataset.index
    found = Counter(
        (int(label), int(subject), int(camera), str(shown(dataset, row)))
        for row, (label, subject, camera) in enumerate(
            zip(index["label"], index["subject"], index["camera"], strict=True)
        )
    )
    assert found == expected


def test_synthetic_bodies_are_those_of_the_embedded_set() -> None:
    for label, subject, take in ((0, 1, 1), (52, 3, 2)):
        whole, bare = make_clip(label, subject, take), make_skeleton(label, subject, take)
        assert in_any_order(whole.bodies) == in_any_order(bare.bodies)
        assert (bare.rgb, bare.answers) == (None, ())


@pytest.mark.parametrize("form", ["skeleton", "npz"])
def test_the_number_of_processes_changes_no_byte(form: str, tmp_path: Path) -> None:
    for workers in (1, 2):
        run("synth", "--clips", 30, "--format", form, "--workers", workers, "--output", tmp_path / f"{workers}.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_a_synthetic_npz_comes_back_equal_through_its_reader(tmp_path: Path) -> None:
    run("synth", "--clips", 60, "--format", "npz", "--output", tmp_path / "NTU60_CS.npz")
    dataset = prepare("ntu60-cs-npz", tmp_path / "NTU60_CS.npz", tmp_path / "root", workers=1)
    clips = [make_skeleton(*wanted) for wanted in wanted_clips(60)]
    assert all_shown(dataset) == Counter(
        (clip.label, str((clip.n_frames, in_any_order(clip.bodies)))) for clip in clips
    )
    train = sum(clip.subject in Ntu60.sides["x-sub"].train for clip in clips)
    assert dataset.index["fold"].value_counts().to_dict() == {1: train, 2: 60 - train}
    with np.load(tmp_path / "NTU60_CS.npz") as npz:
        assert npz["x_train"].shape == (train, 300, 150)


def test_clips_are_spread_evenly() -> None:
    wanted = wanted_clips(7200)
    assert len(set(wanted)) == 7200
    assert set(Counter(clip.label for clip in wanted).values()) == {120}
    assert set(Counter(clip.subject for clip in wanted).values()) == {180}
    assert set(Counter((clip.label, clip.subject) for clip in wanted).values()) == {3}
    assert set(Counter(camera_of(*clip) for clip in wanted).values()) == {2400}


def test_a_set_like_ntu120_has_its_classes_and_both_its_sides(tmp_path: Path) -> None:
    run("synth", "--like", "ntu120", "--clips", 240, "--output", tmp_path / "set.zip")
    dataset = prepare("ntu120", tmp_path / "set.zip", tmp_path / "root", workers=1)
    index = dataset.index
    assert dataset.card.synthetic
    assert set(Counter(index["label"]).values()) == {2}
    assert len(set(index["label"])) == len(dataset.card.classes) == 120
    assert (index["setup"].between(1, 17) == (index["label"] < 60)).all()
    for side in dataset.card.sides.values():
        assert all(mask.sum() > 60 for mask in side.masks(index))


def test_a_set_like_ntu120_is_spread_over_cameras_and_setups_of_each_side() -> None:
    like = LIKE["ntu120"]
    wanted = wanted_clips(120 * 106 * 2, like=like)
    assert set(Counter(clip.subject for clip in wanted).values()) == {240}
    setups = Counter((like.setup_of(clip), camera_of(*clip)) for clip in wanted)
    assert len(setups) == 32 * 3
    assert min(setups.values()) > 0.5 * len(wanted) / len(setups)


def test_another_seed_shares_no_clip_and_fewer_subjects_are_the_first() -> None:
    assert not {*wanted_clips(3000)} & {*wanted_clips(3000, seed=1)}
    assert {clip.subject for clip in wanted_clips(600, n_subjects=5)} == {1, 2, 3, 4, 5}


def test_no_synthetic_clip_is_called_like_one_that_readers_leave_out() -> None:
    names = {*clip_names(wanted_clips(7200))}
    assert len(names) == 7200
    assert not names & missing_samples()
    every_number = {f"{name[:12]}R{take:03d}{name[-4:]}" for name in names for take in (1, 2)}
    assert every_number & missing_samples()  # else this tests nothing


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(made: object, advance: object, done: int, total: int) -> object:
        yield b""
        raise KeyboardInterrupt

    monkeypatch.setattr("mmcl_bench.datasets.writers.synthetic.counted", stop)
    for output in ("set", "set.zip"):
        CliRunner().invoke(app, ["synth", "--clips", "9", "--output", str(tmp_path / output)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--clips", 9, "--like", "nw-ucla"], "--like nw-ucla: the generator knows the classes of ntu60 and ntu120"),
        (["--clips", 9, "--like", "ntu120", "--subjects", 107], "--subjects 107: the generator has 1 to 106 subjects"),
        (["--clips", 9, "--subjects", 41], "--subjects 41: the generator has 1 to 40 subjects"),
        (["--clips", 10**9], "--clips 1000000000: with 40 subjects there are names for 1 to"),
        (["--clips", 9, "--side", "x-sub"], "--side is for --format npz"),
        (["--clips", 1, "--format", "npz"], "too few to train and to test on side x-sub; raise --clips"),
        (["--clips", 9, "--format", "npz", "--side", "x-set"], "--side x-set: there are x-sub and x-view"),
    ],
)
def test_what_cannot_be_made_is_one_line(options: list[object], line: str, tmp_path: Path) -> None:
    assert line in refusal("synth", "--output", tmp_path / "set", *options)
    assert list(tmp_path.iterdir()) == []


# export


def export(tmp_path: Path, name: str, form: str, output: str, *options: object) -> Path:
    run("export", name, "--format", form, "--output", tmp_path / output, "--data-root", tmp_path / "root", *options)
    return tmp_path / output


def test_text_files_of_ntu_come_back_equal(ntu: SkeletonDataset, tmp_path: Path) -> None:
    source = export(tmp_path, "ntu60", "ntu-skeleton", "exported", "--workers", 2)
    again = prepare("ntu60", source, tmp_path / "again", settings={"denoise": "none"}, workers=1)
    facts = ["sample_id", "label", "subject", "camera", "setup", "n_bodies", "n_frames"]
    assert again.index[facts].equals(ntu.index[facts])
    assert [shown(again, row) for row in range(len(ntu.index))] == [shown(ntu, row) for row in range(len(ntu.index))]


def test_an_npz_of_ntu_comes_back_equal(ntu: SkeletonDataset, tmp_path: Path) -> None:
    source = export(tmp_path, "ntu60", "ctr-gcn-npz", "NTU60_CS.npz", "--frames", 40)
    again = prepare("ntu60-cs-npz", source, tmp_path / "again", workers=1)
    assert all_shown(again) == all_shown(ntu)
    train = ntu.index["subject"].isin(Ntu60.sides["x-sub"].train).sum()
    assert (again.index["fold"] == 1).sum() == train
    with np.load(source) as npz:
        assert npz["x_train"].shape == (train, 40, 150)


def test_an_npz_takes_the_side_and_the_frames_that_are_asked_for(ntu: SkeletonDataset, tmp_path: Path) -> None:
    longest = int(ntu.index["n_frames"].max())
    source = export(tmp_path, "ntu60", "ctr-gcn-npz", "cv.npz", "--side", "x-view", "--centred")
    with np.load(source) as npz:
        assert len(npz["x_test"]) == (ntu.index["camera"] == 1).sum()
        assert npz["x_test"].shape[1] == longest
        assert not npz["x_test"][:, 0, 3:6].any()
    line = refusal(
        *("export", "ntu60", "--format", "ctr-gcn-npz", "--output", tmp_path / "short.npz"),
        *("--data-root", tmp_path / "root", "--frames", longest - 1),
    )
    assert f"has {longest} frames; give --frames {longest} or more" in line
    assert not (tmp_path / "short.npz").exists()


def test_another_layout_is_mapped(tmp_path: Path) -> None:
    write_toy(tmp_path / "root", "nw-ucla", 10, 2, 3)
    toy = SkeletonDataset.open(tmp_path / "root" / "nw-ucla")
    matrix = joint_matrix("kinect-v1", "kinect-v2")
    with np.load(export(tmp_path, "nw-ucla", "ctr-gcn-npz", "ucla.npz")) as npz:
        train = np.flatnonzero(toy.index["camera"].isin([1, 2]))
        assert npz["y_train"].argmax(axis=1).tolist() == toy.index["label"][train].tolist()
        assert npz["x_train"].shape == (len(train), 14, 150)
        for numbers, clip in zip(npz["x_train"], train, strict=True):
            expected = np.einsum("uv,tvc->tuc", matrix, toy.bodies(int(clip))[0].positions)
            np.testing.assert_allclose(numbers[:, :75].reshape(14, 25, 3), expected, atol=1e-5)
            assert not numbers[:, 75:].any()
    source = export(tmp_path, "nw-ucla", "ntu-skeleton", "ucla.zip")
    again = prepare("ntu60", source, tmp_path / "again", settings={"denoise": "none"}, workers=1)
    assert len(again.index) == len(toy.index) == 60
    assert again.index["camera"].value_counts().to_dict() == {1: 20, 2: 20, 3: 20}


@pytest.mark.parametrize("mark", [np.nan, 0.0])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_joints_that_were_not_seen_are_zeros_in_what_is_written(mark: float, tmp_path: Path) -> None:
    clips = [toy_clip(7, label, subject, 1, 20) for label in (0, 1) for subject in (1, 2)]
    for clip in clips:
        clip.bodies[0].positions[:, KINECT_V1.index("left_hand")] = mark
    sides = {"x-sub": Side(column="subject", train=(1,), test=(2,), source="test")}
    write_dataset(tmp_path / "root" / "tiny", clips, 20, tiny_card(sides=sides))
    with np.load(export(tmp_path, "tiny", "ctr-gcn-npz", "tiny.npz")) as npz:
        joints = npz["x_train"][..., :75].reshape(2, -1, 25, 3)
    made_of_it = {"left_hand", "left_hand_tip", "left_thumb"}
    assert {KINECT_V2.joints[at] for at in np.flatnonzero(~joints.any((0, 1, 3)))} == made_of_it
    assert np.isfinite(joints).all()
    folder = export(tmp_path, "tiny", "ntu-skeleton", "tiny")
    _, (body,) = parse_skeleton(next(folder.glob("*A001.skeleton")).read_bytes())
    assert {KINECT_V2.joints[at] for at in np.flatnonzero(~body.positions.any((0, 2)))} == made_of_it


def test_clips_that_differ_in_no_number_are_counted_as_repetitions(tmp_path: Path) -> None:
    write_toy(tmp_path / "toys", "utd-mhad", 2, 1, 1)
    toy = SkeletonDataset.open(tmp_path / "toys" / "utd-mhad")
    clips = [
        Clip(sample_id, label=4, subject=2, n_frames=14, bodies=toy.bodies(0)) for sample_id in ("first", "second")
    ]
    write_dataset(tmp_path / "root" / "utd-mhad", clips, 20, toy.card)
    folder = export(tmp_path, "utd-mhad", "ntu-skeleton", "folder")
    assert sorted(path.name for path in folder.iterdir()) == [
        "S001C001P002R001A005.skeleton",
        "S001C001P002R002A005.skeleton",
        "SYNTHETIC.txt",
    ]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--format", "ctr-gcn-npz", "--side", "x-viu"], "unknown side 'x-viu'. Did you mean x-view"),
        (
            ["--format", "ntu-skeleton", "--side", "x-sub"],
            "--side, --frames and --centred are for --format ctr-gcn-npz",
        ),
        (["--format", "ctr-gcn-npz"], "is there already; move it away, or choose another --output"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    options: list[object], line: str, ntu: SkeletonDataset, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    assert line in refusal("export", "ntu60", "--output", tmp_path / "mine", "--data-root", tmp_path / "root", *options)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_set_without_test_clips_has_no_npz(tmp_path: Path) -> None:
    write_toy(tmp_path / "root", "nw-ucla", 3, 2, 2)
    line = refusal(
        *("export", "nw-ucla", "--format", "ctr-gcn-npz", "--output", tmp_path / "ucla.npz"),
        *("--data-root", tmp_path / "root"),
    )
    assert line == "nw-ucla: has no clip to test with on side x-view"


def test_a_read_npz_can_be_written_again(tmp_path: Path) -> None:
    from published import ntu60_cs_npz

    source = ntu60_cs_npz.write(tmp_path)
    prepare("ntu60-cs-npz", source, tmp_path / "root", workers=1)
    again = export(tmp_path, "ntu60-cs-npz", "ctr-gcn-npz", "again.npz", "--frames", 30)
    with np.load(source) as old, np.load(again) as new:
        for name in old.files:
            np.testing.assert_array_equal(old[name], new[name])
    assert (
        Ntu60CrossSubject.default_side
        in json.loads((tmp_path / "root" / "ntu60-cs-npz" / "card.json").read_text())["sides"]
    )
