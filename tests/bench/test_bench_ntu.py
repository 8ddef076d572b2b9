"""Speed of reading NTU RGB+D ``.skeleton`` files, one worker against one; the usual way to read them is the base."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mmcl_bench.datasets.formats.archive import Archive
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.readers import Unit
from mmcl_bench.datasets.readers.ntu import Ntu60
from mmcl_bench.datasets.store import Clip
from published.ntu60 import moving_person

N_FRAMES = 80
BODY = ("id", "clipped", "left_sure", "left", "right_sure", "right", "restricted", "lean_x", "lean_y", "state")
JOINT = ("x", "y", "z", "depth_x", "depth_y", "colour_x", "colour_y", "qw", "qx", "qy", "qz", "state")


def typical_file(seed: int) -> bytes:
    """A synthetic clip of 80 frames, with a second body in the later half; all twelve numbers of a joint vary."""
    generator = np.random.default_rng(seed)
    people = [moving_person(seed * 2 + body, N_FRAMES) for body in range(2)]
    lines = [str(N_FRAMES)]
    for frame in range(N_FRAMES):
        seen = people[: 1 + (frame >= N_FRAMES // 2)]
        lines.append(str(len(seen)))
        for body, person in enumerate(seen):
            lines += [f"{72057594037931101 + body} 0 1 1 1 1 0 -0.1062439 0.03214923 2", "25"]
            images = person[frame][:, [0, 1, 0, 1]] * [365, 365, 1060, 1060] / 3 + [256, 212, 960, 540]
            turns = generator.normal(size=(25, 4)) / 2
            numbers = np.concatenate([person[frame], images, turns], axis=1)
            lines += [" ".join(f"{number:.7g}" for number in joint) + " 2" for joint in numbers.tolist()]
    return "\r\n".join([*lines, ""]).encode()


def read_plainly(file: IO[str]) -> np.ndarray:
    """(3, T, 25, 2) from a file, line by line: readline, split, a float for each number, a dict for each joint."""

    def line(keys: Sequence[str]) -> dict[str, float]:
        return {key: float(word) for key, word in zip(keys, file.readline().split(), strict=True)}

    frames: list[list[dict[str, Any]]] = []
    for _ in range(int(file.readline())):
        bodies: list[dict[str, Any]] = []
        for _ in range(int(file.readline())):
            body: dict[str, Any] = line(BODY)
            body["joints"] = [line(JOINT) for _ in range(int(file.readline()))]
            bodies.append(body)
        frames.append(bodies)
    positions = np.zeros((3, len(frames), 25, 2))
    for frame, bodies in enumerate(frames):
        for number, body in enumerate(bodies):
            for joint, facts in enumerate(body["joints"]):
                positions[:, frame, joint, number] = facts["x"], facts["y"], facts["z"]
    return positions


class InMemory(Archive):
    """Files that were read before."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return self.files[name]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {f"S001C001P001R001A{action:03d}.skeleton": typical_file(action) for action in range(1, 9)}


@pytest.fixture(scope="module")
def zipped(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ntu") / "nturgbd_skeletons_s001_to_s017.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def from_memory_plainly(files: dict[str, bytes], zipped: Path) -> list[np.ndarray]:
    return [read_plainly(io.TextIOWrapper(io.BytesIO(content))) for content in files.values()]


def from_memory(files: dict[str, bytes], zipped: Path) -> list[Clip]:
    """With denoising, which the baseline lacks."""
    reader, archive = Ntu60(), InMemory(files)
    return [clip for name in files for clip in reader.clips(archive, Unit(name), print)]


def from_zip_plainly(files: dict[str, bytes], zipped: Path) -> list[np.ndarray]:
    with zipfile.ZipFile(zipped) as file:
        return [read_plainly(io.TextIOWrapper(file.open(name))) for name in files]


def from_zip(files: dict[str, bytes], zipped: Path) -> list[Clip]:
    reader = Ntu60()
    with reader.open(zipped) as archive:
        return [clip for name in files for clip in reader.clips(archive, Unit(name), print)]


def check(clips: list[Clip], plain: list[np.ndarray]) -> None:
    """The first body of the text is not always the main actor."""
    for clip, positions in zip(clips, plain, strict=True):
        tracks = {body.start: body.positions for body in clip.bodies}
        both = [tracks[0], tracks[N_FRAMES // 2]]
        for number, track in enumerate(both):
            expected = positions[:, -len(track) :, :, number].transpose(1, 2, 0).astype(np.float32)
            np.testing.assert_array_equal(track, expected)


@pytest.mark.benchmark(group="read 8 NTU clips of 80 frames from memory")
@pytest.mark.parametrize("read", [from_memory_plainly, from_memory], ids=["line by line", "mmcl-bench"])
def test_reading_from_memory(
    benchmark: BenchmarkFixture, files: dict[str, bytes], zipped: Path, read: Callable[..., list[Any]]
) -> None:
    benchmark.pedantic(read, (files, zipped), rounds=15, warmup_rounds=1)


@pytest.mark.benchmark(group="read 8 NTU clips of 80 frames from a zip")
@pytest.mark.parametrize("read", [from_zip_plainly, from_zip], ids=["line by line", "mmcl-bench"])
def test_reading_from_a_zip(
    benchmark: BenchmarkFixture, files: dict[str, bytes], zipped: Path, read: Callable[..., list[Any]]
) -> None:
    benchmark.pedantic(read, (files, zipped), rounds=15, warmup_rounds=1)


@pytest.mark.benchmark(group="prepare 384 NTU clips of 80 frames")
@pytest.mark.parametrize("workers", [1, 2])
def test_preparing(benchmark: BenchmarkFixture, files: dict[str, bytes], tmp_path: Path, workers: int) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for setup, (name, content) in product(range(1, 4), files.items()):
        for subject in range(1, 17):
            (source / name.replace("S001", f"S{setup:03d}").replace("P001", f"P{subject:03d}")).write_bytes(content)
    rounds = iter(range(100))

    def prepare_anew() -> None:
        prepare("ntu60", source, tmp_path / str(next(rounds)), workers=workers)

    benchmark.pedantic(prepare_anew, rounds=5, warmup_rounds=1)


def test_both_ways_read_the_same(files: dict[str, bytes], zipped: Path) -> None:
    plain = from_memory_plainly(files, zipped)
    check(from_memory(files, zipped), plain)
    check(from_zip(files, zipped), plain)
