"""What every registered reader makes of files that other systems, programs and servers have had in their hands."""

from __future__ import annotations

import codecs
import io
import os
import re
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import open_with_zips
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.sources import open_source
from mmcl_bench.datasets.store import SkeletonDataset

NAMES = [name for name in READERS.names() if not READERS.get(name).embedded]
OF_ONE_FILE = [name for name in NAMES if READERS.get(name).published.endswith((".pkl", ".npz"))]
OF_MANY_FILES = sorted({*NAMES} - {*OF_ONE_FILE})
Files = Mapping[str, bytes]


def files_in(source: Path) -> Files:
    with open_with_zips(source, "*.zip") as archive:
        names = [name for name in archive.names() if not name.endswith(".zip")]
        return {name.replace(".zip/", "/"): archive.read(name) for name in names}


def zipped(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return path


def in_folder(path: Path, files: Files) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def clips(dataset: SkeletonDataset) -> list[tuple[str, int, str]]:
    """What tells whether two prepared sets hold the same: ids, labels, and hashes of all positions."""
    index = dataset.index
    return list(zip(index["sample_id"], index["label"], index["content"], strict=True))


def refusal(name: str, source: Path, root: Path) -> str:
    """The one line that refuses a source, of which nothing is left."""
    with pytest.raises(UserError) as caught:
        prepare(name, source, root, workers=1)
    assert "\n" not in str(caught.value)
    assert not root.is_dir() or [path.name for path in root.iterdir() if path.suffix != ".lock"] == []
    return str(caught.value)


# Text with a byte order mark


def is_text(content: bytes) -> bool:
    return content.isascii() and b"\0" not in content


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", OF_MANY_FILES)
def test_text_with_a_byte_order_mark_is_read_as_text_without(
    name: str, encoding: str, sources: Callable[[str], Path], tmp_path: Path
) -> None:
    files = files_in(sources(name))
    marked = {
        file: content.decode().encode(encoding) if is_text(content) else content for file, content in files.items()
    }
    plain = prepare(name, sources(name), tmp_path / "plain", workers=1)
    assert clips(prepare(name, zipped(tmp_path / "set.zip", marked), tmp_path / "root", workers=1)) == clips(plain)


@pytest.mark.parametrize("name", OF_MANY_FILES)
def test_text_that_is_not_what_its_mark_says_is_refused(
    name: str, sources: Callable[[str], Path], tmp_path: Path
) -> None:
    files = files_in(sources(name))
    if not (texts := [file for file, content in files.items() if is_text(content)]):
        pytest.skip("its files are no text")
    wrong = {file: codecs.BOM_UTF32_LE + content if file in texts else content for file, content in files.items()}
    assert "save it as UTF-8" in refusal(name, zipped(tmp_path / "set.zip", wrong), tmp_path / "root")


# Names of files


def with_backslashes(files: Files) -> Files:
    return {f"New folder/{file}".replace("/", "\\"): content for file, content in files.items()}


def with_what_systems_add(files: Files) -> Files:
    """And with a dot before each name, and accents as letters of their own, as macOS has them."""
    parted = {unicodedata.normalize("NFD", f"./données über/{file}"): content for file, content in files.items()}
    added = {
        file.replace(Path(file).name, f"{folder}._{Path(file).name}"): b"\0\5\26\7"
        for file in parted
        for folder in ("", "__MACOSX/")
    }
    return {**parted, **added, ".DS_Store": b"\0\0\0\1Bud1", "x/Thumbs.db": b"\xd0\xcf\x11\xe0", "desktop.ini": b"[x]"}


@pytest.mark.parametrize("pack", [zipped, in_folder])
@pytest.mark.parametrize("rename", [with_backslashes, with_what_systems_add])
@pytest.mark.parametrize("name", OF_MANY_FILES)
def test_the_system_that_packed_the_files_plays_no_part(
    name: str,
    rename: Callable[[Files], Files],
    pack: Callable[[Path, Files], Path],
    sources: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    plain = prepare(name, sources(name), tmp_path / "plain", workers=1)
    source = pack(tmp_path / "set.zip", rename(files_in(sources(name))))
    dataset = prepare(name, source, tmp_path / "root", workers=1)
    assert clips(dataset) == clips(plain)
    assert dataset.card.skipped == {}


def test_a_manifest_and_its_files_may_be_of_different_systems(tmp_path: Path) -> None:
    files = dict(files_in(published.write("custom", tmp_path)))
    manifest = next(file for file in files if file.endswith("manifest.csv"))
    clip = next(file for file in files if file.endswith(".npy"))
    folder = Path(manifest).parent
    listed = Path(clip).relative_to(folder).as_posix()
    files[(folder / "clips" / "ré.npy").as_posix()] = files.pop(clip)
    text = files[manifest].decode().replace(listed, unicodedata.normalize("NFD", "clips\\ré.npy"))
    source = zipped(tmp_path / "set.zip", {**files, manifest: text.encode()})
    assert prepare("custom", source, tmp_path / "root", workers=1).card.skipped == {}


@pytest.mark.parametrize("file", ["..\\..\\x.txt", "..\\x.txt", "\\etc\\x.txt"])
def test_a_name_that_climbs_out_by_backslashes_is_refused(file: str, tmp_path: Path) -> None:
    assert "climbs out" in refusal("utd-mhad", zipped(tmp_path / "set.zip", {file: b""}), tmp_path / "root")


@pytest.mark.parametrize("pack", [zipped, in_folder])
def test_folders_may_be_called_in_any_script(
    pack: Callable[[Path, Files], Path], sources: Callable[[str], Path], tmp_path: Path
) -> None:
    # With a wide blank, a joiner and a combination of signs.
    files = {
        f"新しい\u3000フォルダー/क्\u200dष 👩\u200d💻/{file}": content
        for file, content in files_in(sources("utd-mhad")).items()
    }
    assert prepare("utd-mhad", pack(tmp_path / "set.zip", files), tmp_path / "root", workers=1).card.skipped == {}


def test_two_files_of_a_folder_that_come_to_one_name_are_both_named(tmp_path: Path) -> None:
    name = "Skeleton/a1_s1_t1_skeleton.mat"
    source = in_folder(tmp_path / "set", {name: b"", name.replace("/", "\\"): b""})
    assert "are one name; remove one of them" in refusal("utd-mhad", source, tmp_path / "root")


@pytest.mark.parametrize(("folder", "shown"), [(b"caf\xe9", r"caf\udce9"), (b"two\nlines", r"two\nlines")])
def test_a_name_that_cannot_be_printed_is_shown_as_escapes(folder: bytes, shown: str, tmp_path: Path) -> None:
    source = in_folder(tmp_path / "set", {f"{os.fsdecode(folder)}/a1_s1_t1_skeleton.mat": b""})
    assert f"{shown}/a1_s1_t1_skeleton.mat is not" in refusal("utd-mhad", source, tmp_path / "root")


# Other kinds of files


def gzipped_tar(files: Files, mode: str) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()


TEXT = {"a.txt": b"text"}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
MATLAB_73 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n"
OTHERS = {
    "tar": (gzipped_tar(TEXT, "w"), "a tar archive", "unpack it"),
    "tar.gz": (gzipped_tar(TEXT, "w:gz"), "a gzip file, as tar.gz", "unpack it"),
    "tar.bz2": (gzipped_tar(TEXT, "w:bz2"), "a bzip2 file", "unpack it"),
    "tar.xz": (gzipped_tar(TEXT, "w:xz"), "an xz file", "unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive", "unpack it"),
    "rar": (b"Rar!\x1a\x07\x01\0", "a RAR archive", "unpack it"),
    "web page": (b"\n<!DOCTYPE html>\n<title>Sign in</title>", "a web page", "download the file itself"),
    "old web page": (codecs.BOM_UTF8 + b"<!-- proxy --><HTML><BODY>", "a web page", "download the file itself"),
    "answer of a server": (b'<?xml version="1.0"?><Error>NoSuchKey', "an XML text", "download it again"),
    "LFS": (LFS, "a Git LFS pointer", "git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s12--00.zip\n", "a git-annex pointer", "git annex get"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "(HDF5)", "-v7"),
    "MATLAB 7.3": (MATLAB_73, "a MATLAB 7.3 file", "-v7"),
    "MATLAB 5": (b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM", "a single MATLAB file", "give the folder"),
    "numpy": (b"\x93NUMPY\1\0", "a single numpy array", "give the folder"),
    "PDF": (b"%PDF-1.7", "a PDF", "download it again"),
    "zeros": (bytes(5000), "nothing but zeros", "download it again"),
    "empty": (b"", "an empty file", "download it again"),
    "a part of a zip": (b"PK\x07\x08PK\x03\x04", "the first part of a zip", "put its parts together"),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", NAMES)
def test_another_kind_of_file_is_named_as_what_it_is(name: str, kind: str, tmp_path: Path) -> None:
    content, what, mend = OTHERS[kind]
    source = tmp_path / (READERS.get(name).published or "set.zip")
    source.write_bytes(content)
    line = refusal(name, source, tmp_path / "root")
    assert str(source) in line
    if name not in OF_ONE_FILE or not content.startswith(b"PK"):
        assert what in line
        assert mend in line


@pytest.mark.parametrize("name", OF_MANY_FILES)
def test_a_single_file_of_a_set_is_no_set(name: str, sources: Callable[[str], Path], tmp_path: Path) -> None:
    for file, content in files_in(sources(name)).items():
        source = tmp_path / Path(file).name
        source.write_bytes(content)
        if content and not zipfile.is_zipfile(source):
            assert "give the" in refusal(name, source, tmp_path / "root")


@pytest.mark.parametrize("name", OF_MANY_FILES)
def test_what_lies_in_the_place_of_a_file_is_named(name: str, sources: Callable[[str], Path], tmp_path: Path) -> None:
    for number, file in enumerate(files := files_in(sources(name))):
        content = (LFS, b"<html><body>Too many requests")[number % 2]
        source = zipped(tmp_path / f"{number}.zip", {**files, file: content})
        try:
            prepare(name, source, tmp_path / f"{number}", workers=1)
        except UserError as error:
            line = str(error)
        else:
            line = ""
        # Nothing is read from notes, and from a clip that is listed to show nobody.
        if line or not (file.endswith(".txt") or "nobody" in file):
            assert "a Git LFS pointer" in line or "a web page" in line
            assert Path(file).name in line


@pytest.mark.parametrize("name", OF_MANY_FILES)
def test_archives_in_an_archive_are_named(name: str, sources: Callable[[str], Path], tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", files_in(sources(name))).read_bytes()
    for outer in (zipped(tmp_path / "set.zip", {"in/Skeleton.zip": inner}), in_folder(tmp_path / "set", {"s.7z": b""})):
        assert "which must be unpacked first" in refusal(name, outer, tmp_path / "root")


@pytest.mark.parametrize("name", OF_MANY_FILES)
def test_a_cut_zip_is_named_as_that(name: str, sources: Callable[[str], Path], tmp_path: Path) -> None:
    source = zipped(tmp_path / "set.zip", files_in(sources(name)))
    source.write_bytes(source.read_bytes()[:-30])
    assert "is a zip that is cut short; download it again" in refusal(name, source, tmp_path / "root")


@pytest.mark.parametrize("name", OF_MANY_FILES)
def test_a_source_of_another_set_is_called_what_it_is(
    name: str, sources: Callable[[str], Path], tmp_path: Path
) -> None:
    source = sources(name)
    other = next(each for each in ("utkinect", "sysu-3d-hoi") if each != name)
    assert re.search(rf"these are files of .*\b{name}\b", refusal(other, source, tmp_path / "root"))


def test_clips_to_predict_are_called_what_they_are(tmp_path: Path) -> None:
    clips = in_folder(tmp_path / "clips", {"a.npy": LFS, "._a.npy": b"\0\5\26\7", "__MACOSX/a.npy": b""})
    bad: dict[str, str] = {}
    with open_source(str(clips), tmp_path, layout="kinect-v1") as source:
        (unit,) = source.units
        assert list(source.clips(unit, bad.__setitem__)) == []
    assert "is a Git LFS pointer" in bad["a.npy"]
    (tmp_path / "clips.zip").write_bytes(OTHERS["tar"][0])
    for reader in (None, "utd-mhad"):
        opened = open_source(str(tmp_path / "clips.zip"), tmp_path, reader, usual_reader="utd-mhad")
        with pytest.raises(UserError, match="is a tar archive; unpack it"), opened:
            pass


# A clip in two places


@pytest.mark.parametrize("name", OF_MANY_FILES)
def test_two_copies_of_a_clip_are_both_named_before_one_is_read(
    name: str, sources: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_in(sources(name))
    twice = {f"{folder}/{file}": content for folder in ("first", "second") for file, content in files.items()}
    source = zipped(tmp_path / "set.zip", twice)
    monkeypatch.setattr(READERS.get(name), "clips", None)
    line = refusal(name, source, tmp_path / "root")
    assert "first/" in line
    assert "second/" in line


def test_a_zip_beside_the_folder_unpacked_from_it_is_found_before_reading(
    sources: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_in(sources("ntu60"))
    source = in_folder(tmp_path / "set", {f"unpacked/{file}": content for file, content in files.items()})
    zipped(source / "nturgbd_skeletons_s001_to_s017.zip", files)
    monkeypatch.setattr(READERS.get("ntu60"), "clips", None)
    line = refusal("ntu60", source, tmp_path / "root")
    assert "nturgbd_skeletons_s001_to_s017.zip/" in line
    assert "unpacked/" in line
