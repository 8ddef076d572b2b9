"""Preparing data sets: whole or not at all, and every refusal names the file."""

from __future__ import annotations

import errno
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.paths import SOURCES_VARIABLE
from mmcl_bench.datasets.formats.archive import Archive
from mmcl_bench.datasets.prepare import duplicates, open_dataset, prepare, summary
from mmcl_bench.datasets.readers import READERS, OnBad, Reader, Unit, single_body
from mmcl_bench.datasets.store import CARD, Clip, Side, SkeletonDataset

GOOD, OTHER = "a01_s01_e00_v01.json", "a02_s02_e00_v03.json"


def positions(seed: int = 0, n_frames: int = 4, n_joints: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_frames, n_joints, 3))


def clip_file(skeletons: Any, label: int = 1) -> bytes:
    return json.dumps({"file_name": "x", "skeletons": np.asarray(skeletons).tolist(), "label": label}).encode()


def make_zip(path: Path, **members: bytes) -> Path:
    """A tiny synthetic NW-UCLA with two good clips and ``members`` beside them."""
    files = {GOOD: clip_file(positions(1)), OTHER: clip_file(positions(2), label=2)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in {**files, **members}.items():
            zipped.writestr(f"all_sqe/{name}", content)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_zip(tmp_path / "nw-ucla.zip")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def standing(root: Path) -> list[str]:
    """What stands in the data root, but for locks."""
    return sorted(path.name for path in root.iterdir() if path.suffix != ".lock") if root.is_dir() else []


class Embedded(Reader):
    """A synthetic set of two clips that counts how often it is generated."""

    name = "embedded-for-tests"
    title = "Synthetic set for tests"
    layout = "kinect-v1"
    class_table = "nw-ucla"
    synthetic = True
    embedded = True
    frame_rate = 30.0
    sides = {"x-sub": Side(column="subject", train=(1,), test=(2,), source="test")}  # noqa: RUF012
    default_side = "x-sub"
    homepage = ""
    citation = ""
    generated = 0

    def units(self, archive: Archive) -> list[Unit]:
        type(self).generated += 1
        return [Unit("c1", (1,)), Unit("c2", (2,))]

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        (number,) = unit.detail
        yield Clip(unit.file, label=0, subject=number, n_frames=4, bodies=single_body(positions(number)))


@pytest.fixture
def embedded() -> Iterator[str]:
    READERS.register(Embedded.name)(Embedded)
    Embedded.generated = 0
    yield Embedded.name
    READERS.unregister(Embedded.name)


# The published sets


def test_nw_ucla_has_95_test_clips_that_are_training_clips(sources_dir: Path, root: Path) -> None:
    dataset = prepare("nw-ucla", sources_dir / "nw-ucla.zip", root)
    figures = summary(dataset)
    assert figures["clips"] == 1484
    assert figures["duplicates"]["x-view"] == 95
    assert (figures["frames"]["min"], figures["classes"], figures["subjects"]) == (1, 10, 10)
    camera = dict(zip(dataset.index["sample_id"], dataset.index["camera"], strict=True))
    label = dict(zip(dataset.index["sample_id"], dataset.index["label"], strict=True))
    pairs = duplicates(dataset, "x-view")
    assert {(camera[train], camera[test]) for train, test in pairs} == {(2, 3)}
    twins = [label[test] for test in {test for _, test in pairs}]
    assert (twins.count(1), twins.count(2)) == (50, 45)  # classes 2 and 3, counted from one
    assert sum(number == 3 for number in camera.values()) == 464


def test_utd_mhad_is_prepared_whole(sources_dir: Path, root: Path) -> None:
    figures = summary(prepare("utd-mhad", sources_dir / "utd-mhad.zip", root))
    assert (figures["clips"], figures["classes"], figures["subjects"], figures["joints"]) == (861, 27, 8, 20)
    assert figures["duplicates"] == {"x-sub": 0}
    assert figures["bodies"] == {1: 861}


# Preparing


def test_a_prepared_set_names_its_classes_and_says_what_it_is(source: Path, root: Path) -> None:
    seen: list[tuple[int, int]] = []
    card = prepare("nw-ucla", source, root, advance=lambda done, total: seen.append((done, total))).card
    assert seen == [(2, 2)]
    assert (card.n_clips, card.synthetic, card.layout, card.default_side) == (2, False, "kinect-v1", "x-view")
    assert len(card.classes) == 10
    assert open_dataset("nw-ucla", root).card == card


def test_preparing_again_gives_the_same_fingerprint(source: Path, root: Path) -> None:
    assert prepare("nw-ucla", source, root).card == prepare("nw-ucla", source, root).card
    assert standing(root) == ["nw-ucla"]


def test_the_zip_is_found_in_the_folder_of_sources(source: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOURCES_VARIABLE, str(source.parent))
    assert prepare("nw-ucla", None, root).card.n_clips == 2


def test_a_file_is_found_there_under_its_owner_s_name(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert published.write("ntu60-cs-npz", tmp_path).name == "NTU60_CS.npz"
    monkeypatch.setenv(SOURCES_VARIABLE, str(tmp_path))
    assert prepare("ntu60-cs-npz", None, root).card.n_clips >= 8


def test_without_a_source_the_message_says_where_to_get_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOURCES_VARIABLE, raising=False)
    with pytest.raises(UserError, match=r"--source PATH; it comes from https://"):
        prepare("utd-mhad", None, root)


def test_a_set_that_is_not_prepared_says_the_line_to_type(root: Path) -> None:
    with pytest.raises(UserError, match=rf"mmcl-bench data prepare nw-ucla --source PATH --data-root {root}"):
        open_dataset("nw-ucla", root)


def test_an_unknown_set_is_answered_with_the_nearest_name(root: Path) -> None:
    with pytest.raises(UserError, match="Did you mean nw-ucla"):
        open_dataset("nw-ucl", root)


BAD = {
    "empty": (clip_file([]), "has no frames"),
    "all zero": (clip_file(np.zeros((4, 20, 3))), "is all zeros"),
    "NaN": (clip_file(np.full((4, 20, 3), np.nan)), "is all zeros or NaN"),
    "too large for a float": (clip_file(positions() * 1e300), "has NaN or infinite"),
    "millimetres": (clip_file(positions() * 1000), "is no measurement in metres"),
    "joint count": (clip_file(positions(n_joints=25)), "has 25 joints; expected 20"),
    "no JSON": (b"\0", "is not as published"),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_a_bad_clip_stops_the_preparing_and_is_named(tmp_path: Path, root: Path, content: bytes, reason: str) -> None:
    source = make_zip(tmp_path / "nw-ucla.zip", **{"a01_s05_e00_v01.json": content})
    with pytest.raises(UserError, match=r"nw-ucla\.zip: all_sqe/a01_s05_e00_v01\.json.*--skip-bad") as caught:
        prepare("nw-ucla", source, root)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert standing(root) == []


def test_skip_bad_leaves_bad_clips_out_and_says_which(tmp_path: Path, root: Path) -> None:
    members = {f"a01_s05_e{number:02}_v01.json": content for number, (content, _) in enumerate(BAD.values())}
    dataset = prepare("nw-ucla", make_zip(tmp_path / "nw-ucla.zip", **members), root, skip_bad=True)
    assert dataset.index["sample_id"].tolist() == [Path(GOOD).stem, Path(OTHER).stem]
    assert summary(dataset)["skipped"] == len(BAD)
    for name, (_, reason) in zip(members, BAD.values(), strict=True):
        assert reason in dataset.card.skipped[f"all_sqe/{name}"]


def test_a_set_of_bad_clips_only_is_refused(tmp_path: Path, root: Path) -> None:
    bad = {GOOD: b"", OTHER: b""}
    with pytest.raises(UserError, match="no clip to prepare"):
        prepare("nw-ucla", make_zip(tmp_path / "nw-ucla.zip", **bad), root, skip_bad=True)
    assert standing(root) == []


# What stands on the disk


@pytest.mark.parametrize("before", [0, 1], ids=["nothing before", "a set before"])
def test_a_full_disk_is_one_line_and_changes_nothing(
    source: Path, root: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    for _ in range(before):
        prepare("nw-ucla", source, root)

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mmcl_bench.datasets.parts.pq.write_table", full)
    with pytest.raises(UserError, match=r"No space left on device.*--data-root"):
        prepare("nw-ucla", source, root)
    assert standing(root) == ["nw-ucla"] * before
    if before:
        assert open_dataset("nw-ucla", root).card.n_clips == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_fills_up_while_files_are_read_leaves_nothing(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mmcl_bench.datasets.prepare._UNITS_A_STRETCH", 1)
    monkeypatch.setattr("mmcl_bench.datasets.parts.write_atomically", full)
    with pytest.raises(UserError, match=r"No space left on device.*--data-root"):
        prepare("nw-ucla", make_zip(tmp_path / "nw-ucla.zip"), root, workers=workers)
    assert standing(root) == []


def test_a_data_root_that_is_a_file_is_one_line(source: Path, root: Path) -> None:
    root.write_text("")
    with pytest.raises(UserError, match="--data-root"):
        prepare("nw-ucla", source, root)


def test_what_a_killed_run_left_goes_at_the_next_preparing(source: Path, root: Path) -> None:
    draft = root / ".nw-ucla.draft-dead"
    draft.mkdir(parents=True)
    (draft / "tracks.npy").write_bytes(b"half")
    prepare("nw-ucla", source, root)
    assert standing(root) == ["nw-ucla"]


def test_a_folder_of_other_files_is_never_replaced(source: Path, root: Path) -> None:
    mine = root / "nw-ucla" / GOOD
    mine.parent.mkdir(parents=True)
    mine.write_bytes(clip_file(positions()))
    with pytest.raises(UserError, match="holds something else"):
        prepare("nw-ucla", source, root)
    assert mine.is_file()


# Embedded sets


def test_an_embedded_set_is_made_on_first_use(embedded: str, root: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = open_dataset(embedded, root, lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]
    assert open_dataset(embedded, root).card == first.card
    assert Embedded.generated == 1


def test_an_embedded_set_is_made_once_for_all_that_wait(embedded: str, root: Path) -> None:
    started = threading.Barrier(4)
    found: list[SkeletonDataset] = []

    def use() -> None:
        started.wait()
        found.append(open_dataset(embedded, root))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({dataset.card.fingerprint for dataset in found}) == 1
    assert len(found) == 4
    assert Embedded.generated == 1


def test_an_embedded_set_of_another_format_is_made_again(embedded: str, root: Path) -> None:
    card = open_dataset(embedded, root).folder / CARD
    card.write_text(card.read_text().replace('"format": 2', '"format": 1'))
    assert open_dataset(embedded, root).card.n_clips == 2
    assert Embedded.generated == 2


def test_an_embedded_set_is_made_again_when_its_generator_has_changed(
    embedded: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_dataset(embedded, root)
    monkeypatch.setattr(Embedded, "version", 2)
    assert open_dataset(embedded, root).card.reader_version == 2


def test_a_set_that_an_older_reader_prepared_says_the_line_to_type(
    source: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare("nw-ucla", source, root)
    monkeypatch.setattr(READERS.get("nw-ucla"), "version", 2)
    with pytest.raises(UserError, match="by version 1 of its reader, which is at 2; run mmcl-bench data prepare"):
        open_dataset("nw-ucla", root)


def test_an_embedded_set_takes_no_source(embedded: str, source: Path, root: Path) -> None:
    with pytest.raises(UserError, match="leave out --source"):
        prepare(embedded, source, root)


# Duplicates


def test_duplicates_are_found_across_the_sides_only(tmp_path: Path, root: Path) -> None:
    twin, lone = clip_file(positions(5)), clip_file(positions(6))
    members = {
        "a01_s01_e01_v01.json": twin,
        "a01_s01_e02_v02.json": twin,
        "a01_s02_e03_v03.json": twin,
        "a01_s03_e04_v01.json": lone,
        "a01_s03_e05_v02.json": lone,
    }
    dataset = prepare("nw-ucla", make_zip(tmp_path / "nw-ucla.zip", **members), root)
    test = "a01_s02_e03_v03"
    assert duplicates(dataset, "x-view") == [("a01_s01_e01_v01", test)]
    assert summary(dataset)["duplicates"] == {"x-view": 1, "x-sub": 1}
    with pytest.raises(UserError, match="no side 'x-set'; it has x-view, x-sub"):
        duplicates(dataset, "x-set")


# Untrusted bytes


def _refusal(source: Path, root: Path, skip_bad: bool = False) -> str | None:
    """The one line that refuses a source, or None when it could be prepared."""
    try:
        prepare("nw-ucla", source, root, skip_bad, workers=1)
    except UserError as error:
        line = str(error)
        return line if "\n" not in line else pytest.fail(f"more than one line: {line!r}")
    return None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mutations=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6),
    cut=st.one_of(st.none(), st.integers(0, 1 << 16)),
    skip_bad=st.booleans(),
)
def test_a_mutated_zip_is_prepared_or_refused(
    source: Path, root: Path, mutations: list[tuple[int, int]], cut: int | None, skip_bad: bool
) -> None:
    content = bytearray(source.read_bytes())
    for at, value in mutations:
        content[at % len(content)] = value
    mutated = source.with_name("mutated.zip")
    mutated.write_bytes(content[: None if cut is None else cut % len(content)])
    refusal = _refusal(mutated, root, skip_bad)
    assert refusal is None or "mutated.zip" in refusal or "no clip" in refusal
    assert set(standing(root)) <= {"nw-ucla"}


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_mutated_clip_is_prepared_or_refused(source: Path, root: Path, mutations: list[tuple[int, int]]) -> None:
    content = bytearray(clip_file(positions(1, n_frames=1)))
    for at, value in mutations:
        content[at % len(content)] = value
    make_zip(source, **{GOOD: bytes(content)})
    refusal = _refusal(source, root)
    assert refusal is None or GOOD in refusal
