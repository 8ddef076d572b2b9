"""From published files to prepared data sets, and what can be said of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from filelock import FileLock

from mmcl_bench import facts, paths
from mmcl_bench.errors import UserError
from mmcl_bench.skeleton.layouts import get_layout
from mmcl_bench.skeleton.readers import READERS, Advance, OnBad, Reader, clip_fault
from mmcl_bench.skeleton.store import (
    CARD,
    Clip,
    DatasetCard,
    SkeletonDataset,
    remove_drafts,
    write_dataset,
)


class Frames(TypedDict):
    """Frames of the clips of a data set."""

    min: int
    median: float
    max: int


class Summary(TypedDict):
    """What :func:`summary` says of a prepared data set."""

    name: str
    title: str
    synthetic: bool
    clips: int
    classes: int
    subjects: int
    frames: Frames
    bodies: dict[int, int]
    """Clips by number of bodies."""
    joints: int
    layout: str
    modalities: list[str]
    duplicates: dict[str, int]
    """By side: test clips that equal a training clip in every number."""
    skipped: int
    fingerprint: str


def prepare(
    name: str, source: Path | None, root: Path, skip_bad: bool = False, advance: Advance | None = None
) -> SkeletonDataset:
    """Reads the data set ``name`` from ``source`` (a zip or a folder) and writes it to ``root/<name>``.

    A set that is there already is replaced once the new one is whole. Without ``source``, the zip is looked for in the
    folder of :func:`mmcl_bench.paths.sources_folder`; an embedded set needs none. ``advance`` is called with the clips
    done and the clips in all.

    Raises :class:`UserError` when the source is not that data set, a clip in it cannot be used (unless ``skip_bad``:
    the card then says which and why), or the disk is full; what stood in ``root`` stays.
    """
    reader = READERS.get(name)()
    source = _source(reader, source)
    with _sole_writer(root / name):
        return _write(reader, source, root / name, skip_bad, advance)


def open_dataset(name: str, root: Path, advance: Advance | None = None) -> SkeletonDataset:
    """Opens a prepared data set. An embedded one that is missing is made first, by one process for all that wait.

    Raises :class:`UserError` with the line to type when it must be prepared first.
    """
    reader = READERS.get(name)
    folder = root / name
    if not (folder / CARD).is_file():
        if not reader.embedded:
            raise UserError(f"{folder}: {name} is not prepared; run {_prepare_line(reader, root)}")
        with _sole_writer(folder):
            if not (folder / CARD).is_file():
                return _write(reader(), None, folder, skip_bad=False, advance=advance)
    return SkeletonDataset.open(folder)


def duplicates(dataset: SkeletonDataset, side: str) -> list[tuple[str, str]]:
    """(train sample_id, test sample_id) of clips that are equal in every number, across a side of the data set.

    A test clip that equals several training clips is named once with each.
    """
    if side not in dataset.card.sides:
        raise UserError(f"{dataset.card.name} has no side {side!r}; it has {', '.join(dataset.card.sides)}")
    parting = dataset.card.sides[side]
    train: defaultdict[bytes, list[str]] = defaultdict(list)
    test: list[tuple[bytes, str]] = []
    columns = zip(dataset.index["sample_id"], dataset.index[parting.column], strict=True)
    for row, (sample_id, number) in enumerate(columns):
        if number in parting.train:
            train[dataset.content_hash(row)].append(sample_id)
        elif number in parting.test:
            test.append((dataset.content_hash(row), sample_id))
    return [(twin, sample_id) for content, sample_id in test for twin in train.get(content, ())]


def summary(dataset: SkeletonDataset) -> Summary:
    """The figures of a prepared data set that a person asks for first."""
    card, index = dataset.card, dataset.index
    frames = index["n_frames"]
    return Summary(
        name=card.name,
        title=card.title,
        synthetic=card.synthetic,
        clips=card.n_clips,
        classes=len(card.classes),
        subjects=int(index["subject"].nunique()),
        frames=Frames(min=int(frames.min()), median=float(frames.median()), max=int(frames.max())),
        bodies={int(n): int(clips) for n, clips in index["n_bodies"].value_counts().sort_index().items()},
        joints=dataset.tracks.shape[1],
        layout=card.layout,
        modalities=[str(modality) for modality in card.modalities],
        duplicates={side: len({test for _, test in duplicates(dataset, side)}) for side in card.sides},
        skipped=len(card.skipped),
        fingerprint=card.fingerprint,
    )


def _source(reader: Reader, source: Path | None) -> Path | None:
    if reader.embedded:
        if source is not None:
            raise UserError(f"{reader.name} is generated, not read; leave out --source")
        return None
    if source is not None:
        return source
    if folder := paths.sources_folder():
        return folder / f"{reader.name}.zip"
    raise UserError(f"{reader.name}: give its zip or folder with --source PATH; it comes from {reader.homepage}")


def _write(
    reader: Reader, source: Path | None, folder: Path, skip_bad: bool, advance: Advance | None
) -> SkeletonDataset:
    _refuse_foreign(folder)
    n_joints = len(get_layout(reader.layout))
    skipped: dict[str, str] = {}

    def on_bad(file: str, reason: str) -> None:
        if not skip_bad:
            raise UserError(f"{source or reader.name}: {file} {reason}; mend it, or leave it out with --skip-bad")
        skipped[file] = reason

    clips = reader.clips(source, on_bad, advance or _silent)
    try:
        return write_dataset(folder, _sound(clips, n_joints, on_bad), n_joints, _describe(reader), skipped)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); nothing was changed; "
            "make room, or choose another place with --data-root"
        ) from error


def _refuse_foreign(folder: Path) -> None:
    """Raises :class:`UserError` where writing would replace something that is no prepared data set."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / CARD).is_file()):
        raise UserError(f"{folder}: holds something else; move it away, or choose another place with --data-root")


def _sound(clips: Iterable[Clip], n_joints: int, on_bad: OnBad) -> Iterator[Clip]:
    for clip in clips:
        if fault := clip_fault(clip, n_joints):
            on_bad(clip.file or clip.sample_id, fault)
        else:
            yield clip


def _describe(reader: Reader) -> DatasetCard:
    return DatasetCard(
        name=reader.name,
        title=reader.title,
        synthetic=reader.synthetic,
        layout=reader.layout,
        class_table=reader.class_table,
        classes=tuple(text.name for text in facts.class_texts(reader.class_table).classes),
        sides=dict(reader.sides),
        default_side=reader.default_side,
        frame_rate=reader.frame_rate,
        modalities=reader.modalities,
        homepage=reader.homepage,
        citation=reader.citation,
        fingerprint="",
        n_clips=0,
    )


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    """Holds the right to write ``folder``, after waiting for it. The lock of a killed run falls with it."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise UserError(
            f"{folder.parent}: cannot be written ({error.strerror or error}); choose another place with --data-root"
        ) from error
    try:
        remove_drafts(folder)
        yield
    finally:
        lock.release()


def _prepare_line(reader: type[Reader], root: Path) -> str:
    place = "" if root == paths.data_root() else f" --data-root {root}"
    return f"mmcl-bench data prepare {reader.name} --source PATH{place}, with the files from {reader.homepage}"


def _silent(done: int, total: int) -> None:
    """An :data:`Advance` that shows nothing."""
