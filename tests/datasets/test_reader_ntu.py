"""NTU RGB+D 60 and 120: which files are read, which bodies stay, who trains and who tests."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.denoise import Step, denoise, motion
from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.formats.ntu_skeleton import TrackedBody
from mmcl_bench.datasets.readers import Reader
from mmcl_bench.datasets.readers.ntu import Ntu60, Ntu120, missing_samples
from mmcl_bench.datasets.store import Clip
from published import ntu60, ntu120
from published.ntu60 import Sighting, clip_file, moving_person, skeleton_file

MISSING = "S001C002P005R002A008"


def read(reader: Reader, source: Path) -> list[Clip]:
    """Every clip of a source that has no bad one."""

    def on_bad(name: str, reason: str) -> None:
        raise AssertionError((name, reason))

    with reader.open(source) as archive:
        return [clip for unit in reader.units(archive) for clip in reader.clips(archive, unit, on_bad)]


def folder_of(place: Path, files: dict[str, bytes]) -> Path:
    source = place / "nturgb+d_skeletons"
    source.mkdir()
    for name, content in files.items():
        (source / f"{name}.skeleton").write_bytes(content)
    return source


def same(first: list[Clip], second: list[Clip]) -> bool:
    """Whether clips are equal, but for the files they are from."""
    return [clip.sample_id for clip in first] == [clip.sample_id for clip in second] and all(
        np.array_equal(body.positions, other.positions)
        for clip, twin in zip(first, second, strict=True)
        for body, other in zip(clip.bodies, twin.bodies, strict=True)
    )


# Which files


def test_names_say_who_does_what_where(tmp_path: Path) -> None:
    content = clip_file(1, n_bodies=1, n_frames=15)
    (clip,) = read(Ntu60(), folder_of(tmp_path, {"S003C002P017R001A060": content}))
    assert (clip.sample_id, clip.label, clip.subject) == ("S003C002P017R001A060", 59, 17)
    assert (clip.camera, clip.setup, clip.n_frames) == (2, 3, 15)
    np.testing.assert_allclose(clip.bodies[0].positions, moving_person(1, 15), atol=1e-6)


def test_a_zip_and_the_folder_unpacked_from_it_are_the_same(tmp_path: Path) -> None:
    zipped = ntu60.write(tmp_path)
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(zipped) as file:
        file.extractall(unpacked)
    clips = read(Ntu60(), zipped)
    assert len(clips) == 12
    assert same(clips, read(Ntu60(), unpacked))


def test_a_folder_of_zips_and_the_folder_unpacked_from_them_are_the_same(tmp_path: Path) -> None:
    zips = ntu120.write(tmp_path)
    unpacked = tmp_path / "unpacked"
    for path in zips.iterdir():
        with zipfile.ZipFile(path) as file:
            file.extractall(unpacked)
    clips = read(Ntu120(), zips)
    assert Counter(clip.setup for clip in clips) == {1: 6, 18: 12}
    assert same(clips, read(Ntu120(), unpacked))
    half_zipped = tmp_path / "half-zipped"
    half_zipped.mkdir()
    shutil.copy(zips / ntu60.ZIP, half_zipped)
    with zipfile.ZipFile(zips / ntu120.SECOND_ZIP) as file:
        file.extractall(half_zipped)
    assert same(clips, read(Ntu120(), half_zipped))


def test_the_smaller_set_is_found_in_the_larger(tmp_path: Path) -> None:
    zips = ntu120.write(tmp_path)
    assert same(read(Ntu60(), zips), read(Ntu60(), zips / ntu60.ZIP))


@pytest.mark.parametrize(("name", "setups"), [(ntu60.ZIP, "1 to 1"), (ntu120.SECOND_ZIP, "18 to 18")])
def test_one_zip_of_two_is_refused(tmp_path: Path, name: str, setups: str) -> None:
    source = ntu120.write(tmp_path) / name
    with pytest.raises(UserError, match=f"{name}: holds only setups {setups}; put both zips of NTU RGB.D 120 in one"):
        read(Ntu120(), source)


def test_the_second_zip_alone_is_not_the_smaller_set(tmp_path: Path) -> None:
    source = ntu120.write(tmp_path) / ntu120.SECOND_ZIP
    with pytest.raises(UserError, match=r"not NTU RGB\+D 60: holds none of its setups 1 to 17"):
        read(Ntu60(), source)


def test_an_action_that_the_set_lacks_is_a_bad_file(tmp_path: Path) -> None:
    source = folder_of(tmp_path, {"S001C001P001R001A061": clip_file(1, 1, 12)})
    with pytest.raises(BadFile, match=r"has action 61; NTU RGB\+D 60 has 1 to 60"):
        read(Ntu60(), source)


def test_a_clip_without_any_body_is_a_bad_file(tmp_path: Path) -> None:
    source = folder_of(tmp_path, {"S001C001P001R001A001": b"2\r\n0\r\n0\r\n"})
    with pytest.raises(BadFile, match="shows nobody in any of its 2 frames"):
        read(Ntu60(), source)


# Missing samples


def test_the_official_list_is_whole() -> None:
    missing = missing_samples()
    assert len(missing) == 535
    assert sum(int(sample[1:4]) <= 17 for sample in missing) == 302
    assert all(re.fullmatch(r"S\d{3}C00[123]P\d{3}R00[12]A\d{3}", sample) for sample in missing)
    assert all((int(sample[1:4]) <= 17) == (int(sample[-3:]) <= 60) for sample in missing)


def test_missing_samples_are_left_out_unless_kept(tmp_path: Path) -> None:
    content = clip_file(1, 1, 12)
    source = folder_of(tmp_path, {MISSING: content, "S001C002P005R002A007": content})
    assert [clip.sample_id for clip in read(Ntu60(), source)] == ["S001C002P005R002A007"]
    assert [clip.sample_id for clip in read(Ntu60(missing="keep"), source)] == ["S001C002P005R002A007", MISSING]


# Sides


@pytest.mark.parametrize(
    ("reader", "side", "column", "n_train", "n_all"),
    [
        (Ntu60, "x-sub", "subject", 20, 40),
        (Ntu60, "x-view", "camera", 2, 3),
        (Ntu120, "x-sub", "subject", 53, 106),
        (Ntu120, "x-set", "setup", 16, 32),
    ],
)
def test_everyone_is_on_one_side(reader: type[Reader], side: str, column: str, n_train: int, n_all: int) -> None:
    parting = reader.sides[side]
    assert parting.column == column
    assert len(parting.train) == n_train
    assert sorted(parting.train + parting.test) == list(range(1, n_all + 1))


def test_subjects_keep_their_side_in_the_larger_set() -> None:
    small, large = Ntu60.sides["x-sub"], Ntu120.sides["x-sub"]
    assert set(small.train) < set(large.train)
    assert set(small.test) < set(large.test)
    assert set(Ntu120.sides["x-set"].train) == {setup for setup in range(1, 33) if setup % 2 == 0}


# Settings


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ("length,spread,motion", ["length", "spread", "motion"]),
        ("spread, length", ["length", "spread"]),
        ("motion", ["motion"]),
        ("none", []),
        (["length"], ["length"]),
    ],
)
def test_steps_are_chosen_by_name(given: object, steps: list[str]) -> None:
    assert Ntu60(denoise=given).settings.model_dump(mode="json")["denoise"] == steps


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"denoise": "lenght"}, "denoise.0: .*'length', 'spread' or 'motion'"),
        ({"missing": "drop"}, "missing: .*'keep'"),
    ],
)
def test_unknown_choices_are_refused_with_those_there_are(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=f"ntu60: setting {message}.*its settings: denoise, missing"):
        Ntu60(**settings)


def test_all_bodies_are_kept_where_nothing_is_denoised(tmp_path: Path) -> None:
    person = moving_person(1, 20)
    content = skeleton_file([[Sighting(1, person[t]), *([Sighting(2, person[t])] if t < 5 else [])] for t in range(20)])
    source = folder_of(tmp_path, {"S001C001P001R001A001": content})
    (denoised,), (raw,) = read(Ntu60(), source), read(Ntu60(denoise="none"), source)
    assert [len(body.positions) for body in denoised.bodies] == [20]
    assert sorted(len(body.positions) for body in raw.bodies) == [5, 20]


# Denoising


def body(body_id: int, n_frames: int, width: float = 0.5, sway: float = 0.3, n_wide: int = 0) -> TrackedBody:
    """A body two metres high whose joints stand on a diagonal; it sways to the side, and is wide at first."""
    along = np.linspace(0, 1, 25)
    positions = np.zeros((n_frames, 25, 3), dtype=np.float32)
    positions[..., 0] = width * along + sway * np.sin(np.arange(n_frames))[:, None]
    positions[:n_wide, :, 0] *= 5 / width
    positions[..., 1] = 2 * along
    return TrackedBody(body_id, np.arange(n_frames), positions)


def kept(bodies: list[TrackedBody], *steps: Step) -> list[int]:
    return [one.body_id for one in denoise(bodies, steps)]


def test_motion_is_the_sum_of_the_variances_of_all_coordinates() -> None:
    positions = np.random.default_rng(0).normal(size=(9, 25, 3))
    expected = sum(np.var([*positions[:, :, axis].flat]) for axis in range(3))
    assert motion(positions) == pytest.approx(expected)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_joints_that_were_not_seen_count_for_no_motion_and_no_width() -> None:
    whole, part = body(1, 20), body(1, 20)
    part.positions[:, 7] = np.nan
    assert motion(part.positions) == pytest.approx(motion(np.delete(whole.positions, 7, axis=1)))
    assert sorted(kept([part, body(2, 20)], *Step)) == sorted(kept([whole, body(2, 20)], *Step))


def test_the_most_moving_body_is_first_whatever_the_steps() -> None:
    bodies = [body(1, 20, sway=0.1), body(2, 20, sway=0.8), body(3, 20, sway=0.4)]
    for steps in ([], [Step.LENGTH], [Step.SPREAD], [Step.MOTION], [*Step]):
        assert kept(bodies, *steps) == [2, 3, 1]


def test_eleven_frames_are_too_few_and_twelve_are_enough() -> None:
    assert kept([body(1, 11), body(2, 12)], Step.LENGTH) == [2]
    assert sorted(kept([body(1, 12), body(2, 12)], Step.LENGTH)) == [1, 2]
    assert sorted(kept([body(1, 11), body(2, 12)], Step.SPREAD, Step.MOTION)) == [1, 2]


def test_where_all_are_too_short_the_longest_stays() -> None:
    assert kept([body(1, 3, sway=0.9), body(2, 9, sway=0.1), body(3, 9, sway=0.2)], *Step) == [3]


def test_who_is_wide_in_70_of_100_frames_is_no_person() -> None:
    person = body(1, 100)
    assert kept([person, body(2, 100, n_wide=70)], Step.SPREAD) == [1]
    assert sorted(kept([person, body(2, 100, n_wide=69)], Step.SPREAD)) == [1, 2]
    assert sorted(kept([person, body(2, 100, width=1.5)], Step.SPREAD)) == [1, 2]
    assert kept([person, body(2, 100, width=1.7)], Step.SPREAD) == [1]
    assert sorted(kept([person, body(2, 100, n_wide=70)], Step.LENGTH)) == [1, 2]


def test_where_all_are_wide_the_last_stays() -> None:
    assert kept([body(1, 20, width=3), body(2, 20, width=3), body(3, 20, width=3)], Step.SPREAD) == [3]


def test_frames_in_which_a_body_is_wide_do_not_make_it_the_main_actor() -> None:
    person, flickering = body(1, 100, sway=0.5), body(2, 100, sway=0.1, n_wide=20)
    assert motion(flickering.positions) > motion(person.positions)
    assert kept([person, flickering]) == [2, 1]
    assert kept([person, flickering], Step.SPREAD) == [1, 2]


def test_who_hardly_moves_or_moves_too_much_is_no_person_but_for_the_main_actor() -> None:
    still = TrackedBody(3, np.arange(20), body(3, 20).positions * np.float32(0.1))
    wild, wilder = body(4, 20, sway=2.5), body(5, 20, sway=3)
    assert motion(still.positions) < 0.089925
    assert 2 < motion(wild.positions) < motion(wilder.positions)
    assert kept([still, body(1, 20)], Step.MOTION) == [1]
    assert kept([still, body(1, 20), wild, wilder], Step.MOTION) == [5, 1]
    assert kept([still], Step.MOTION) == [3]
    assert kept([still, body(1, 20)], Step.LENGTH, Step.SPREAD) == [1, 3]
