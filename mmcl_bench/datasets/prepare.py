"""From published files to prepared data sets, and what can be said of one.

Files are read in stretches by several processes; each leaves a part beside the target (see :mod:`.parts`), and the
parts are put together at the end. A run that is stopped or killed leaves its parts; the same call goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypedDict

from filelock import FileLock

from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.parallel import ProcessKilledError
from mmcl_bench.core.registry import unknown
from mmcl_bench.datasets.completeness import with_completeness
from mmcl_bench.datasets.formats.archive import SYNTHETIC_MARK, Archive, base_name
from mmcl_bench.datasets.parts import Part, put_together
from mmcl_bench.datasets.readers import READERS, AnotherSetError, Reader
from mmcl_bench.datasets.reading import Stretch, Work, read_all
from mmcl_bench.datasets.store import CARD, FORMAT, DatasetCard, SkeletonDataset, each_subject, remove_drafts
from mmcl_bench.skeleton.layouts import get_layout

Advance = Callable[[int, int], None]
"""Called with the units of reading that are done and all of them."""

_UNITS_A_STRETCH = 64
"""Fixed, so that parts of a stopped run fit whatever number of processes goes on."""


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
    """0 where the set does not tell them apart."""
    frames: Frames
    bodies: dict[int, int]
    """Clips by number of bodies."""
    joints: int
    layout: str
    modalities: list[str]
    duplicates: dict[str, int]
    """By side: test clips that equal a training clip in every number."""
    skipped: int
    completeness: str | None
    """How many of the published clips there are; None where nobody says how many a whole copy holds."""
    is_whole: bool | None
    fingerprint: str


def prepare(
    name: str,
    source: Path | None,
    root: Path,
    skip_bad: bool = False,
    advance: Advance | None = None,
    workers: int | None = None,
    prepared_as: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> SkeletonDataset:
    """Reads the data set ``name`` from ``source`` and writes it to ``root/<prepared_as or name>``.

    A set that is there already is replaced once the new one is whole. Without ``source``, the file is looked for in the
    folder of :func:`mmcl_bench.core.paths.sources_folder`; an embedded set needs none. ``workers`` processes read, by
    default one a core, eight at most; the files are the same for any number. ``settings`` are the reader's own.

    Raises :class:`UserError` when the source is not that data set, a clip in it cannot be used (unless ``skip_bad``:
    the card then says which and why), or the disk is full; what stood in ``root`` stays.
    """
    reader = READERS.get(name)(**(settings or {}))
    folder = root / _folder_name(prepared_as or name, name)
    source = _source(reader, source)
    with sole_writer(folder):
        return _write(reader, source, folder, skip_bad, advance or _silent, workers)


def open_dataset(name: str, root: Path, advance: Advance | None = None) -> SkeletonDataset:
    """Opens a prepared data set. An embedded one that is missing or outdated is made first, by one process for all.

    Raises :class:`UserError` with the line to type when it must be prepared first.
    """
    folder = root / name
    if not (folder / CARD).is_file() and name not in READERS:
        prepared = [card.parent.name for card in root.glob(f"*/{CARD}")]
        raise UserError(unknown("data set", name, sorted({*READERS, *prepared})))
    if name in READERS and READERS.get(name).embedded:
        return _open_embedded(READERS.get(name), folder, advance or _silent)
    if not (folder / CARD).is_file():
        raise UserError(f"{folder}: {name} is not prepared; run {_prepare_line(READERS.get(name), root)}")
    dataset = SkeletonDataset.open(folder)
    card = dataset.card
    if card.reader in READERS and (current := READERS.get(card.reader).version) != card.reader_version:
        raise UserError(
            f"{folder}: prepared by version {card.reader_version} of its reader, which is at {current}; "
            f"run mmcl-bench data prepare {card.reader} again"
        )
    return with_completeness(dataset)


def duplicates(dataset: SkeletonDataset, side: str) -> list[tuple[str, str]]:
    """(train sample_id, test sample_id) of clips that are equal in every number, across a side of the data set.

    A test clip that equals several training clips is named once, with the first of them.
    """
    if side not in dataset.card.sides:
        raise UserError(f"{dataset.card.name} has no side {side!r}; it has {', '.join(dataset.card.sides)}")
    trains, tests = (dataset.index[mask] for mask in dataset.card.sides[side].masks(dataset.index))
    first_of = trains.drop_duplicates("content").set_index("content")["sample_id"]
    twins = tests[tests["content"].isin(first_of.index)]
    return list(zip(first_of[twins["content"]], twins["sample_id"], strict=True))


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
        subjects=int(each_subject(index)["subject"].loc[lambda numbers: numbers > 0].nunique()),
        frames=Frames(min=int(frames.min()), median=float(frames.median()), max=int(frames.max())),
        bodies={int(n): int(clips) for n, clips in index["n_bodies"].value_counts().sort_index().items()},
        joints=dataset.tracks.shape[1],
        layout=str(card.layout),
        modalities=[str(modality) for modality in card.modalities],
        duplicates={side: len(duplicates(dataset, side)) for side in card.sides},
        skipped=len(card.skipped),
        completeness=None if card.completeness is None else str(card.completeness),
        is_whole=None if card.completeness is None else card.completeness.is_whole,
        fingerprint=card.fingerprint,
    )


def _folder_name(name: str, reader: str) -> str:
    if name != reader and name in READERS:
        raise UserError(f"{name} is the name of a published set; call this one otherwise with --as")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", name):
        raise UserError(f"{name!r} cannot name a data set; use lower-case letters, digits and dashes")
    return name


def _source(reader: Reader, source: Path | None) -> Path | None:
    if reader.embedded:
        if source is not None:
            raise UserError(f"{reader.name} is generated, not read; leave out --source")
        return None
    if source is not None:
        return source
    if folder := paths.sources_folder():
        usual = folder / reader.published
        return usual if reader.published and usual.exists() else folder / f"{reader.name}.zip"
    raise UserError(f"{reader.name}: give its files with --source PATH; it comes from {reader.homepage}")


def _open_embedded(reader: type[Reader], folder: Path, advance: Advance) -> SkeletonDataset:
    def existing() -> SkeletonDataset | None:
        try:
            dataset = SkeletonDataset.open(folder)
        except UserError:
            return None
        return dataset if dataset.card.reader_version == reader.version else None

    if dataset := existing():
        return dataset
    with sole_writer(folder):
        return existing() or _write(reader(), None, folder, False, advance, None)


def _write(
    reader: Reader, source: Path | None, folder: Path, skip_bad: bool, advance: Advance, workers: int | None
) -> SkeletonDataset:
    """Reads all and writes it. Parts outlive a stop, but no refusal."""
    _refuse_foreign(folder)
    with reader.open(source) as archive:
        try:
            units = reader.units(archive)
        except AnotherSetError as error:
            raise UserError(f"{error}{_whose(source)}") from error
        card = _called_synthetic(reader.card(archive), archive).model_copy(update={"name": folder.name})
        identity = archive.identity()
    n_joints = len(get_layout(card.layout))
    parts = _parts_folder(folder, card, identity, [unit.file for unit in units])
    work = Work(reader.name, dict(card.settings), source, card, n_joints)
    stretches = [
        Stretch(tuple(units[first : first + _UNITS_A_STRETCH]), Part(parts / f"{first:07d}"))
        for first in range(0, len(units), _UNITS_A_STRETCH)
    ]
    try:
        parts.mkdir(exist_ok=True)
        done = 0
        for stretch in read_all(work, stretches, workers):
            _, bad = stretch.part.read()
            if bad and not skip_bad:
                name, reason = bad[0]
                where = source or reader.name
                raise UserError(f"{where}: {name} {reason}; mend it, or leave it out with --skip-bad")
            done += len(stretch.units)
            advance(done, len(units))
        dataset = put_together(folder, [stretch.part for stretch in stretches], n_joints, card)
    except ProcessKilledError:
        raise
    except UserError:
        shutil.rmtree(parts, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(parts, ignore_errors=True)
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); nothing was changed; "
            "make room, or choose another place with --data-root"
        ) from error
    shutil.rmtree(parts, ignore_errors=True)
    return dataset


def _whose(source: Path | None) -> str:
    """Says whose files a source holds; empty where no reader takes them."""
    names = []
    for name in READERS.names():
        # It is only a hint, and a reader from elsewhere may raise anything.
        with suppress(Exception):
            other = READERS.get(name)()
            with other.open(source) as archive:
                if not other.embedded and other.units(archive):
                    names.append(name)
    return f"; these are files of {' or '.join(names)}" if names else ""


def _called_synthetic(card: DatasetCard, archive: Archive) -> DatasetCard:
    """The card, which says so where files in the form of a recorded set are generated ones."""
    if card.synthetic or not any(base_name(file) == SYNTHETIC_MARK for file in archive.names()):
        return card
    return card.model_copy(update={"synthetic": True, "title": f"{card.title}, generated (synthetic)"})


def _parts_folder(folder: Path, card: DatasetCard, identity: str, files: Sequence[str]) -> Path:
    """Where the parts of this very job lie; those of other jobs for the same place are removed."""
    job = json.dumps([FORMAT, card.model_dump(mode="json"), identity, files])
    prefix = f".{folder.name}.parts-"
    wanted = folder.with_name(prefix + hashlib.sha256(job.encode()).hexdigest()[:16])
    for other in folder.parent.glob(f"{prefix}*"):
        if other != wanted:
            shutil.rmtree(other, ignore_errors=True)
    return wanted


def _refuse_foreign(folder: Path) -> None:
    """Raises :class:`UserError` where writing would replace something that is no prepared data set."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / CARD).is_file()):
        raise UserError(f"{folder}: holds something else; move it away, or choose another place with --data-root")


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Holds the right to write a set's ``folder``, after waiting for it. The lock of a killed run falls with it."""
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
