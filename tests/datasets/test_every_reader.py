"""What every registered reader owes: the same bytes however it is read, and one line for whatever it is given.

The sources are the tiny synthetic ones of ``tests/published``. ``MMCL_BENCH_FUZZ`` sets how many damaged sources each
reader meets; ``nox -s fuzz`` sets it so that all together meet twenty thousand.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets import prepare as preparing
from mmcl_bench.datasets.formats.asf_amc import METRES_AN_INCH
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.readers import READERS, Reader, Unit
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.skeleton.transforms import prepare_clips
from published import hdm05, kinetics_skeleton, ntu60, ntu60_cs_npz, ntu60_pyskl, pku_mmd

NAMES = [name for name in READERS.names() if not READERS.get(name).embedded]
CASES = int(os.environ.get("MMCL_BENCH_FUZZ", "15"))
HANGS = timedelta(seconds=20)
"""Far more than any tiny source takes, however busy the machine."""


def standing(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.suffix != ".lock") if root.is_dir() else []


def content(dataset: SkeletonDataset) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in dataset.folder.iterdir()}


def all_positions(dataset: SkeletonDataset) -> Iterator[np.ndarray]:
    return (body.positions for row in range(len(dataset.index)) for body in dataset.bodies(row))


def unseen(positions: np.ndarray) -> np.ndarray:
    return np.isnan(positions).all(-1)


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_states_its_facts(name: str) -> None:
    reader = READERS.get(name)
    assert reader.name == name
    assert reader.title
    assert reader.citation
    if reader.sides:
        assert reader.default_side in reader.sides


@pytest.mark.parametrize("name", NAMES)
def test_the_published_form_is_read_whole(name: str, sources: Callable[[str], Path], tmp_path: Path) -> None:
    dataset = prepare(name, sources(name), tmp_path, workers=1)
    assert dataset.card.skipped == {}
    assert dataset.card.n_clips == len(dataset.index) >= 8
    assert dataset.index["label"].between(0, len(dataset.card.classes) - 1).all()
    assert dataset.card.default_side in dataset.card.sides
    for side in dataset.card.sides.values():
        numbers = set(dataset.index[side.column])
        assert numbers & set(side.train), side
        assert numbers & set(side.test), side
    assert all(np.isfinite(positions).all() for positions in all_positions(dataset))


@pytest.mark.parametrize("name", NAMES)
def test_heads_are_above_feet(name: str, sources: Callable[[str], Path], tmp_path: Path) -> None:
    from mmcl_bench.skeleton.layouts import get_layout

    dataset = prepare(name, sources(name), tmp_path, workers=1)
    layout = get_layout(dataset.card.layout)
    head = layout.index("head" if "head" in layout.joints else "nose")
    foot = layout.index("left_foot" if "left_foot" in layout.joints else "left_ankle")
    rises = [
        seen[:, head, 1] - seen[:, foot, 1]
        for positions in all_positions(dataset)
        if len(seen := positions[positions.any(axis=(1, 2))])
    ]
    assert np.median(np.concatenate(rises)) > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_worker_count_changes_no_byte(
    name: str, sources: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "_UNITS_A_STRETCH", 3)
    alone = prepare(name, sources(name), tmp_path / "alone", workers=1)
    shared = prepare(name, sources(name), tmp_path / "shared", workers=2)
    assert content(alone) == content(shared)
    assert standing(tmp_path / "shared") == [name]


def elsewhere(person: Callable[[int, int], np.ndarray], by: np.ndarray, seed: int, n_frames: int) -> np.ndarray:
    return person(seed, n_frames) + by


def a_metre_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the people of the tiny sources are somewhere else in the room, or in the image."""
    sways = hdm05.swaying

    def walked(seed: int, n_frames: int) -> dict[str, np.ndarray]:
        values = sways(seed, n_frames)
        values["root"][:, [0, 2]] += 0.45 / METRES_AN_INCH
        return values

    monkeypatch.setattr(hdm05, "swaying", walked)
    for modules, by in (
        ((ntu60, ntu60_cs_npz, ntu60_pyskl, pku_mmd), [1, -1, 1]),
        ((kinetics_skeleton,), [0.1, -0.1]),
    ):
        moves = partial(elsewhere, modules[0].moving_person, np.array(by))
        for module in modules:
            monkeypatch.setattr(module, "moving_person", moves)


def features(dataset: SkeletonDataset) -> np.ndarray:
    bodies = [dataset.bodies(row) for row in range(len(dataset.index))]
    view = ClipView(bodies, dataset.index["n_frames"].tolist(), dataset.card.layout)
    return prepare_clips(view, n_frames=16).tracks.numpy()


@pytest.mark.parametrize("name", NAMES)
def test_where_people_stand_changes_no_feature(
    name: str, sources: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home = prepare(name, sources(name), tmp_path / "home", workers=1)
    a_metre_away(monkeypatch)
    away = prepare(name, published.write(name, tmp_path), tmp_path / "away", workers=1)
    # The files of CTR-GCN's form are moved onto the first body already.
    assert name.endswith("-npz") or not np.allclose(at_home.tracks, away.tracks, atol=0.05)
    # The numbers of pyskl's files have 11 bits, millimetres at that distance.
    np.testing.assert_allclose(features(away), features(at_home), atol=0.05 if "pyskl" in name else 2e-3)


class Stopped(BaseException):
    """Stands for Ctrl-C and for a kill."""


@pytest.mark.parametrize("name", NAMES)
def test_a_stopped_run_goes_on_where_it_was(
    name: str, sources: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "_UNITS_A_STRETCH", 1)
    whole = prepare(name, sources(name), tmp_path / "whole", workers=1)
    reader = READERS.get(name)
    read: list[str] = []
    original = reader.clips

    def counted(self: Reader, archive: object, unit: Unit, on_bad: object) -> Iterator[object]:
        read.append(str(unit))
        return original(self, archive, unit, on_bad)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Stopped

    monkeypatch.setattr(reader, "clips", counted)
    root = tmp_path / "stopped"
    try:
        prepare(name, sources(name), root, advance=stop, workers=1)
    except Stopped:
        before = list(read)
        assert name not in standing(root)
        resumed = prepare(name, sources(name), root, workers=1)
        assert set(before).isdisjoint(read[len(before) :])
        assert content(resumed) == content(whole)
    else:
        assert len(read) < 2  # a set of one unit cannot be stopped between two
    assert standing(root) == [name]


# Sources that are something else


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)),
        lambda path: path.write_text("no data set at all\n"),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: os.mkfifo(path),
        lambda path: None,
    ],
    ids=["empty folder", "empty file", "empty zip", "text", "endless device", "pipe", "absent"],
)
def test_something_else_is_refused_in_one_line(name: str, damage: Callable[[Path], object], tmp_path: Path) -> None:
    source = tmp_path / "source"
    damage(source)
    with pytest.raises(UserError) as caught:
        prepare(name, source, tmp_path / "root", workers=1)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert standing(tmp_path / "root") == []


# Damaged sources


class Source:
    """The files of a tiny source, ready to be damaged and written as it was: a zip, a folder or one file."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        if path.is_dir():
            self.kind = "folder"
            self.files = {
                file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
            }
        elif zipfile.is_zipfile(path):
            self.kind = "zip"
            with zipfile.ZipFile(path) as zipped:
                self.files = {each.filename: zipped.read(each) for each in zipped.infolist() if not each.is_dir()}
        else:
            self.kind = "file"
            self.files = {path.name: path.read_bytes()}

    def write(self, folder: Path, at: str, damaged: bytes | None, rename: str | None) -> Path:
        path = folder / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        files = [(rename or name if name == at else name, self._content(name, at, damaged)) for name in self.files]
        kept = [(name, content) for name, content in files if content is not None]
        if self.kind == "file":
            path.write_bytes(kept[0][1] if kept else b"")
        elif self.kind == "folder":
            path.mkdir()
            for name, content in kept:
                target = path / Path(name).as_posix().replace("..", "up").lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        else:
            with zipfile.ZipFile(path, "w") as zipped:
                for name, content in kept:
                    zipped.writestr(name, content)
        return path

    def _content(self, name: str, at: str, damaged: bytes | None) -> bytes | None:
        return damaged if name == at else self.files[name]


WORDS = [
    b"nan",
    b"inf",
    b"-inf",
    b"1e39",
    b"-1",
    b"0",
    b"",
    b"x",
    b"999999999999999999999",
    b"\xff\xfe",
    b'"',
    b"[[",
    b"1e-9",
]


@st.composite
def damages(draw: st.DrawFn, source: Source) -> tuple[str, bytes | None, str | None]:
    """A file of the source, what becomes of its bytes (None: it is gone), and its new name (None: the old one)."""
    at = draw(st.sampled_from(sorted(source.files)))
    content = source.files[at]
    kind = draw(st.sampled_from(["bytes", "word", "cut", "insert", "lines", "encode", "replace", "gone", "rename"]))
    position = draw(st.integers(0, max(len(content) - 1, 0)))
    if kind == "bytes":
        mutated = bytearray(content)
        for where, value in draw(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=8)):
            if mutated:
                mutated[where % len(mutated)] = value
        return at, bytes(mutated), None
    if kind == "word":
        words = list(re.finditer(rb"[^\s,\[\]]+", content[position:][:400]))
        if not words:
            return at, content, None
        word = draw(st.sampled_from(words))
        new = draw(st.sampled_from(WORDS))
        return at, content[: position + word.start()] + new + content[position + word.end() :], None
    if kind == "cut":
        return at, content[:position], None
    if kind == "insert":
        return at, content[:position] + draw(st.binary(max_size=40)) + content[position:], None
    if kind == "lines":
        lines = content.split(b"\n")
        number = draw(st.integers(0, len(lines) - 1))
        return (
            at,
            b"\n".join(
                lines[:number] + lines[number : number + 1] * draw(st.sampled_from([0, 2, 50])) + lines[number + 1 :]
            ),
            None,
        )
    if kind == "encode":
        return at, content.decode("latin-1").encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-8-sig"]))), None
    if kind == "replace":
        return (
            at,
            draw(st.sampled_from([b"", b"\0" * 300, b"[" * 5000, b"{}", b"<html></html>", b"1 2 3\n" * 90])),
            None,
        )
    if kind == "gone":
        return at, None, None
    return at, content, draw(st.sampled_from(["../" + at, "/" + at, at + ".bak", "deep/" * 40 + at, at.upper(), "x"]))


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_source_is_prepared_or_refused_in_one_line(
    name: str, sources: Callable[[str], Path], tmp_path: Path
) -> None:
    source = Source(sources(name))

    @settings(max_examples=CASES, deadline=HANGS, database=None, suppress_health_check=list(HealthCheck))
    @given(damage=damages(source), skip_bad=st.booleans())
    def meets(damage: tuple[str, bytes | None, str | None], skip_bad: bool) -> None:
        damaged = source.write(tmp_path / "damaged", *damage)
        root = tmp_path / "root"
        shutil.rmtree(root, ignore_errors=True)
        try:
            dataset = prepare(name, damaged, root, skip_bad, workers=1)
        except UserError as error:
            line = str(error)
        else:
            line = ""
            assert all(np.isfinite(positions[~unseen(positions)]).all() for positions in all_positions(dataset))
            assert skip_bad or not dataset.card.skipped
        assert "\n" not in line
        assert len(line) < 1500
        assert standing(root) == ([] if line else [name])

    meets()


@pytest.mark.parametrize("name", NAMES)
def test_a_link_in_a_zip_is_never_followed(name: str, sources: Callable[[str], Path], tmp_path: Path) -> None:
    source = sources(name)
    if not zipfile.is_zipfile(source):
        pytest.skip("its source is no zip")
    linked = tmp_path / source.name
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(linked, "w") as new:
        for member in old.infolist():
            link = zipfile.ZipInfo(member.filename)
            link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            new.writestr(link, "/etc/passwd")
    with pytest.raises(UserError) as caught:
        prepare(name, linked, tmp_path / "root", workers=1)
    assert "\n" not in str(caught.value)
