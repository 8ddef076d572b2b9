"""A copy that lacks published clips is told, whatever reads it and however the clips were lost."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import published
from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.audit import Severity, audit
from mmcl_bench.datasets.prepare import open_dataset, prepare
from mmcl_bench.datasets.readers import READERS, WholeCopy
from mmcl_bench.datasets.store import CARD, SkeletonDataset
from toys import write_toy

PUBLISHED = {
    "hdm05": (287, {}),
    "jhmdb": (928, {}),
    "kinetics-skeleton": (260_232, {"official": (240_436, 19_796)}),
    "msr-action3d": (567, {}),
    "ntu60": (56_578, {"x-sub": (40_091, 16_487), "x-view": (37_646, 18_932)}),
    "ntu60-cs-npz": (56_578, {"x-sub": (40_091, 16_487)}),
    "ntu60-cv-npz": (56_578, {"x-view": (37_646, 18_932)}),
    "ntu60-pyskl": (56_578, {"x-sub": (40_091, 16_487), "x-view": (37_646, 18_932)}),
    "ntu120": (113_945, {"x-sub": (63_026, 50_919), "x-set": (54_468, 59_477)}),
    "ntu120-csub-npz": (113_945, {"x-sub": (63_026, 50_919)}),
    "ntu120-cset-npz": (113_945, {"x-set": (54_468, 59_477)}),
    "ntu120-pyskl": (113_945, {"x-sub": (63_026, 50_919), "x-set": (54_468, 59_477)}),
    "nw-ucla": (1_484, {"x-view": (1_020, 464)}),
    "pku-mmd": (1_076, {"x-sub": (944, 132), "x-view": (717, 359)}),
    "pku-mmd-2": (1_009, {"x-view": (671, 338)}),
    "sysu-3d-hoi": (480, {}),
    "utd-mhad": (861, {"x-sub": (431, 430)}),
    "utkinect": (199, {}),
}
"""What the owners, or those who made the form, publish; PKU-MMD in videos."""
CLIP_FILE = {
    "hdm05": ".amc",
    "jhmdb": ".mat",
    "kinetics-skeleton": "kinetics_val/-synthetic",
    "utkinect": "joints_s",
    "sysu-3d-hoi": "sklWorld.mat",
    "pku-mmd": "0300-M.txt",
    "pku-mmd-2": "A01N02-M.txt",
}
"""What the name of a clip's file holds, where other files lie beside them."""


def _without_a_part(name: str, source: Path, folder: Path) -> Path:
    """A copy of a tiny source without one of its clips, or without all files of one video."""
    copy = folder / source.name
    if source.is_dir():
        shutil.copytree(source, copy)
        for path in map(Path, _lost(name, [path.as_posix() for path in copy.rglob("*") if path.is_file()])):
            path.unlink()
            if path.suffix in (".zip", ".pkl"):
                _file_without_a_part(name, source / path.relative_to(copy), path)
    else:
        _file_without_a_part(name, source, copy)
    return copy


def _file_without_a_part(name: str, source: Path, copy: Path) -> None:
    if source.suffix == ".pkl":
        content = pickle.loads(source.read_bytes())  # noqa: S301 - written by this test
        copy.write_bytes(pickle.dumps({**content, "annotations": content["annotations"][:-1]}, protocol=2))
    elif source.suffix == ".npz":
        np.savez(copy, **{key: rows[:-1] if "test" in key else rows for key, rows in np.load(source).items()})
    else:
        with zipfile.ZipFile(source) as whole, zipfile.ZipFile(copy, "w") as part:
            for member in sorted({*whole.namelist()} - _lost(name, whole.namelist())):
                part.writestr(member, whole.read(member))


def _lost(name: str, files: list[str]) -> set[str]:
    clips = sorted(file for file in files if CLIP_FILE.get(name, "") in file and not file.endswith("paper.txt"))
    return set(clips) if name.startswith("pku") else {clips[-1]}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Path, SkeletonDataset]]:
    """The tiny source of a set, and what it is prepared to; its reader takes it for the whole published set."""

    def make(name: str) -> tuple[Path, SkeletonDataset]:
        (tmp_path / "source").mkdir()
        source = published.write(name, tmp_path / "source")
        dataset = prepare(name, source, tmp_path / "first", workers=1)
        reader, known = READERS.get(name), dataset.card.completeness
        assert known is not None
        clips = frozenset(dataset.index["sample_id"])
        n = len({clip.rpartition("_")[0] for clip in clips}) if known.counted == "videos" else len(clips)
        of_names = reader().whole_copy()
        whole = WholeCopy(
            n, counted=known.counted, sample_ids=clips if of_names and of_names.sample_ids else frozenset()
        )
        monkeypatch.setattr(reader, "whole_copy", lambda self: whole)
        if not whole.sample_ids:
            monkeypatch.setattr(reader, "missing_clips", lambda self, found: frozenset())
        return source, dataset

    return make


def test_every_reader_of_a_published_set_knows_how_much_a_whole_copy_holds() -> None:
    expected = {name for name in READERS.names() if not READERS.get(name).embedded and READERS.get(name).sides}
    assert set(PUBLISHED) == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_whole_copy_holds_what_is_published(name: str) -> None:
    whole = READERS.get(name)().whole_copy()
    assert whole is not None
    assert (whole.count, dict(whole.sides)) == PUBLISHED[name]
    assert all(sum(side) == whole.count for side in whole.sides.values())
    assert len(whole.sample_ids) in (0, whole.count)
    assert whole.faulty <= whole.sample_ids


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_part_of_a_published_set_is_told(name: str, tmp_path: Path) -> None:
    dataset = prepare(name, published.write(name, tmp_path), tmp_path / "root", workers=1)
    found = dataset.card.completeness
    assert found is not None
    assert not found.is_whole
    assert found.published == PUBLISHED[name][0]
    assert str(found).endswith(f"of {PUBLISHED[name][0]:,} published {found.counted}")
    (finding,) = [
        finding for finding in audit(dataset, lambda done, total: None).findings if finding.kind == "incomplete"
    ]
    assert finding.check.severity is Severity.ERROR
    assert (finding.count, finding.of) == (found.published - found.present, found.published)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_copy_with_a_part_removed_is_told(
    name: str, tiny: Callable[[str], tuple[Path, SkeletonDataset]], tmp_path: Path
) -> None:
    source, _ = tiny(name)
    whole = prepare(name, source, tmp_path / "whole", workers=1).card.completeness
    assert whole is not None
    assert whole.is_whole, whole
    part = prepare(name, _without_a_part(name, source, tmp_path), tmp_path / "part", skip_bad=True, workers=1)
    found = part.card.completeness
    assert found is not None
    assert not found.is_whole, found
    assert found.present < found.published == whole.published


def test_nobody_asks_generated_sets_to_be_whole(tmp_path: Path) -> None:
    write_toy(tmp_path, "nw-ucla", 10, 2, 3)
    assert open_dataset("nw-ucla", tmp_path).card.completeness is None


@pytest.mark.parametrize(("clips", "told"), [(30, "30 of 30"), (1200, "30 of 1,200"), (None, None)])
def test_the_owner_of_a_set_may_say_how_many_clips_it_has(clips: int | None, told: str | None, tmp_path: Path) -> None:
    source = published.write("custom", tmp_path)
    facts = source / "dataset.toml"
    if clips is not None:
        facts.write_text(f"clips = {clips}\n{facts.read_text(encoding='utf-8')}", encoding="utf-8")
    found = prepare("custom", source, tmp_path / "root", prepared_as="mine").card.completeness
    assert (found and str(found)) == (told and f"{told} published clips")


def _nw_ucla(folder: Path, keep: Callable[[str], bool], replaced: dict[str, bytes] | None = None) -> Path:
    """The tiny set, and clips of a whole copy that it lacks, as copies of one of its own."""
    with zipfile.ZipFile(published.write("nw-ucla", folder)) as whole:
        content = {name.rpartition("/")[2]: whole.read(name) for name in whole.namelist()}
    path = folder / "copy.zip"
    sample = json.loads(content["a01_s01_e00_v01.json"])
    with zipfile.ZipFile(path, "w") as zipped:
        for number, clip in enumerate(sorted(READERS.get("nw-ucla")().whole_copy().sample_ids)):
            if keep(clip):
                label = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12).index(int(clip[1:3])) + 1
                sample |= {"file_name": clip, "label": label}
                sample["skeletons"][0][0] = [number / 1000, 0.0, 2.0]
                zipped.writestr(f"{clip}.json", (replaced or {}).get(clip) or json.dumps(sample))
    return path


def test_missing_clips_are_named_and_counted_by_side(tmp_path: Path) -> None:
    gone = {"a01_s01_e00_v03", "a12_s10_e04_v01", "a08_s05_e06_v02"}
    dataset = prepare("nw-ucla", _nw_ucla(tmp_path, lambda clip: clip not in gone), tmp_path / "root", workers=1)
    found = dataset.card.completeness
    assert found is not None
    assert (str(found), set(found.missing)) == ("1,481 of 1,484 published clips", gone)
    assert found.sides == {"x-view": ((1018, 1020), (463, 464))}


def test_a_clip_that_is_damaged_in_this_copy_is_missing(tmp_path: Path) -> None:
    source = _nw_ucla(tmp_path, lambda clip: True, {"a01_s01_e00_v03": b"{"})
    found = prepare("nw-ucla", source, tmp_path / "root", skip_bad=True, workers=1).card.completeness
    assert found is not None
    assert (found.present, found.missing) == (1483, ("a01_s01_e00_v03",))


def test_a_set_that_was_prepared_before_is_told_when_it_is_opened(tmp_path: Path) -> None:
    folder = prepare("nw-ucla", published.write("nw-ucla", tmp_path), tmp_path / "root", workers=1).folder
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    del card["completeness"]
    (folder / CARD).write_text(json.dumps(card), encoding="utf-8")
    assert str(open_dataset("nw-ucla", tmp_path / "root").card.completeness) == "12 of 1,484 published clips"


def test_the_commands_say_it(tmp_path: Path) -> None:
    source = published.write("nw-ucla", tmp_path)
    where = ["--data-root", str(tmp_path / "root")]
    told = "12 of 1,484 published clips"
    prepared = CliRunner().invoke(app, ["data", "prepare", "nw-ucla", "--source", str(source), *where])
    assert prepared.exit_code == 0
    assert f"incomplete: nw-ucla has {told}" in prepared.stderr
    assert told in " ".join(prepared.stdout.split())
    info = json.loads(CliRunner().invoke(app, ["data", "info", "nw-ucla", "--json", *where]).stdout)
    assert (info["completeness"], info["is_whole"], len(info["missing"])) == (told, False, 100)
    listed = json.loads(CliRunner().invoke(app, ["data", "list", "--json", *where]).stdout)
    assert {row["name"]: row["state"] for row in listed}["nw-ucla"] == f"prepared, {told}"


@pytest.mark.parametrize("lost", ["empty", "blank", "gone"])
def test_a_pku_mmd_label_file_without_labels_is_named_and_counted(
    lost: str, tiny: Callable[[str], tuple[Path, SkeletonDataset]], tmp_path: Path
) -> None:
    source, whole = tiny("pku-mmd")
    copy = tmp_path / "copy.zip"
    with zipfile.ZipFile(source) as zipped, zipfile.ZipFile(copy, "w") as part:
        for name in zipped.namelist():
            is_lost = "label" in name.lower() and "0300-M" in name
            if not (is_lost and lost == "gone"):
                part.writestr(name, {"empty": b"", "blank": b" \n\n"}[lost] if is_lost else zipped.read(name))
    with pytest.raises(UserError, match=r"0300-M.*label"):
        prepare("pku-mmd", copy, tmp_path / "root", workers=1)
    found = prepare("pku-mmd", copy, tmp_path / "root", skip_bad=True, workers=1)
    assert any("0300-M" in name for name in found.card.skipped)
    assert found.card.n_clips < whole.card.n_clips
    assert str(found.card.completeness) == "5 of 6 published videos"


def test_pku_mmd_names_listed_videos_that_are_not_there(tmp_path: Path) -> None:
    source = _without_a_part("pku-mmd", published.write("pku-mmd", tmp_path), _made(tmp_path / "part"))
    noted = prepare("pku-mmd", source, tmp_path / "root", workers=1).card.noted
    assert any("lists videos that are not there: 0300-M" in what for what in noted.values())


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_ntu_names_what_a_performance_lacks() -> None:
    reader = READERS.get("ntu60")()
    of_one = {f"S001C{camera:03d}P001R001A{action:03d}" for camera in (1, 2, 3) for action in range(1, 61)}
    gone = {"S001C002P001R001A007", "S001C003P001R001A060"}
    assert reader.missing_clips(of_one - gone) == gone
    assert reader.missing_clips(of_one) == set()
    assert READERS.get("ntu120")().missing_clips({"S018C001P041R001A061"}) > {"S018C002P041R001A120"}


@pytest.mark.parametrize("name", ["hdm05", "msr-action3d", "nw-ucla", "utd-mhad", "utkinect"])
def test_the_real_sets_are_whole(name: str, sources_dir: Path, tmp_path: Path) -> None:
    found = prepare(name, sources_dir / f"{name}.zip", tmp_path, skip_bad=True).card.completeness
    assert found is not None
    assert found.is_whole
    assert all(have == of for side in found.sides.values() for have, of in side)


def test_a_real_set_without_every_fifth_clip_is_told(sources_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "part.zip"
    with zipfile.ZipFile(sources_dir / "nw-ucla.zip") as whole, zipfile.ZipFile(copy, "w") as part:
        clips = [name for name in whole.namelist() if name.endswith(".json")]
        for name in clips[1::5] + clips[2::5] + clips[3::5] + clips[4::5]:
            part.writestr(name, whole.read(name))
    found = prepare("nw-ucla", copy, tmp_path / "root").card.completeness
    assert str(found) == "1,187 of 1,484 published clips"


def test_a_pku_mmd_list_that_is_cut_short_is_told(
    tiny: Callable[[str], tuple[Path, SkeletonDataset]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its videos are all there, and some of them are on no side."""
    source, _ = tiny("pku-mmd")
    whole = replace(READERS.get("pku-mmd")().whole_copy(), sides={"x-sub": (3, 3)})
    monkeypatch.setattr(READERS.get("pku-mmd"), "whole_copy", lambda self: whole)
    assert prepare("pku-mmd", source, tmp_path / "root", workers=1).card.completeness.is_whole
    copy = tmp_path / "copy.zip"
    with zipfile.ZipFile(source) as zipped, zipfile.ZipFile(copy, "w") as part:
        for name in zipped.namelist():
            part.writestr(name, zipped.read(name).replace(b"0300-M", b"") if "subject" in name else zipped.read(name))
    found = prepare("pku-mmd", copy, tmp_path / "root", workers=1).card.completeness
    assert not found.is_whole
    assert str(found) == "6 of 6 published videos; x-sub has 3 of 3 for training and 2 of 3 for testing"
