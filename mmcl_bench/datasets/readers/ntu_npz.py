"""NTU RGB+D 60 and 120 as one ``.npz`` a protocol, the form in which CTR-GCN and its successors are trained.

Form of the files: ``data/ntu/seq_transformation.py`` and ``feeders/feeder_ntu.py`` of Uason-Chen/CTR-GCN. An ``.npz``
is a zip of ``.npy`` arrays; here ``x_train`` and ``x_test`` (N, T, 150), two bodies of 25 joints of x, y and z, zeros
where there is none, and ``y_train`` and ``y_test`` (N, K), a one for the class. A file has gigabytes, so no array is
ever read whole: rows of a stored array are read where they lie, those of a deflated one as they are inflated.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import Archive, BadFile, NoFiles, ZipArchive, open_archive, opened_as
from mmcl_bench.datasets.formats.npy import MAX_HEADER, Header, read_header
from mmcl_bench.datasets.readers import OnBad, Reader, Unit, WholeCopy, folds_of_the_files
from mmcl_bench.datasets.readers.ntu import Ntu60, Ntu120
from mmcl_bench.datasets.store import Clip
from mmcl_bench.skeleton.dense import tracks_of

N_BODIES, N_JOINTS = 2, 25
N_NUMBERS = N_BODIES * N_JOINTS * 3
"""Numbers in a frame."""
MAX_ROWS = 1 << 20
MAX_FRAMES = 1 << 14
"""The published files have 300 frames and at most 63,026 rows."""
MAX_INFLATION = 256
"""Times that deflated positions may grow; what grows more holds next to nothing."""
ROWS_A_UNIT = 16

_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a zip's member: 26 other bytes, then the lengths of its name and of its extra field."""
_FAULTS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, OverflowError)
"""What :mod:`zipfile` raises on bytes that no honest writer made."""
FOLDS: Mapping[str, int] = {"train": 1, "test": 2}


@dataclass(frozen=True)
class NpyArray:
    """An array in a zip, and what its header says."""

    member: zipfile.ZipInfo
    header: Header

    @property
    def is_stored(self) -> bool:
        """Whether it lies in the zip as it is, so that any row can be read alone."""
        return self.member.compress_type == zipfile.ZIP_STORED

    @property
    def row_bytes(self) -> int:
        return math.prod(self.header.shape[1:]) * self.header.dtype.itemsize

    def row(self, content: bytes) -> np.ndarray:
        """One row from its bytes. Raises :class:`BadFile` when there are too few."""
        if len(content) < self.row_bytes:
            raise BadFile("is cut short")
        return np.frombuffer(content, self.header.dtype).reshape(self.header.shape[1:])


class Npz(Archive):
    """An open ``.npz`` whose arrays are read a row at a time, by ``file``, the same file opened once more."""

    def __init__(self, archive: ZipArchive, file: IO[bytes]) -> None:
        self.source = archive.source
        self._archive = archive
        self._file = file
        self._arrays: dict[str, NpyArray] = {}

    def names(self) -> list[str]:
        return self._archive.names()

    def read(self, name: str) -> bytes:
        return self._archive.read(name)

    def identity(self) -> str:
        return self._archive.identity()

    def array(self, name: str) -> NpyArray:
        """The array called ``name``. Raises :class:`BadFile` when it is none, or is not of the size that it says."""
        if name not in self._arrays:
            self._arrays[name] = self._read_header(name)
        return self._arrays[name]

    def rows(self, array: NpyArray, first: int, last: int) -> Iterator[np.ndarray]:
        """Rows ``first`` to ``last``, the latter not included. Raises :class:`BadFile` when they cannot be had."""
        if array.is_stored:
            yield from self._stored_rows(array, first, last)
        else:
            yield from self._inflated_rows(array, first, last)

    def require_checksum(self, array: NpyArray) -> None:
        """Raises :class:`BadFile` when the bytes of ``array`` are not those that were once written."""
        try:
            with self._archive.zip.open(array.member) as stream:
                while stream.read(1 << 20):
                    pass
        except _FAULTS as error:
            raise BadFile("is damaged: its checksum is wrong, and which clips that touches cannot be told") from error

    def _read_header(self, name: str) -> NpyArray:
        member = self._archive.member(name)
        try:
            with self._archive.zip.open(member) as stream:
                return _described(member, stream)
        except _FAULTS as error:
            raise BadFile("is damaged: the zip is not whole") from error

    def _stored_rows(self, array: NpyArray, first: int, last: int) -> Iterator[np.ndarray]:
        try:
            self._file.seek(array.member.header_offset)
            name, extra = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
            start = array.member.header_offset + _LOCAL_HEADER.size + name + extra + array.header.start
            for row in range(first, last):
                self._file.seek(start + row * array.row_bytes)
                yield array.row(self._file.read(array.row_bytes))
        except _FAULTS as error:
            raise BadFile("cannot be read: the zip is not whole") from error

    def _inflated_rows(self, array: NpyArray, first: int, last: int) -> Iterator[np.ndarray]:
        try:
            with self._archive.zip.open(array.member) as stream:
                stream.read(array.header.start)
                for row in range(last):
                    content = stream.read(array.row_bytes)
                    if row >= first:
                        yield array.row(content)
                # The checksum is compared at the end.
                stream.read(1)
        except _FAULTS as error:
            raise BadFile("is damaged: it cannot be inflated") from error


def _described(member: zipfile.ZipInfo, stream: IO[bytes]) -> NpyArray:
    header = read_header(stream.read(MAX_HEADER))
    if header.fortran_order:
        raise BadFile("has its numbers in Fortran's order")
    if header.n_bytes != member.file_size:
        raise BadFile("is cut short, or is not of the size that its header says")
    array = NpyArray(member, header)
    if array.is_stored and member.file_size != member.compress_size:
        raise BadFile("is damaged: its sizes in the zip differ")
    return array


class _NtuNpz(Reader):
    """Kinect v2 joints of two bodies at most, as the shared preprocessing leaves them.

    Metres, y up, denoised, and moved: the middle of the spine of the first body is in the origin in the first frame.
    Nothing is known of subjects, cameras and setups.
    """

    recording = None
    layout = "kinect-v2"
    frame_rate = 30.0
    collection = "NTU RGB+D"
    homepage = "https://github.com/Uason-Chen/CTR-GCN#data-preparation"
    original: ClassVar[type[Ntu60 | Ntu120]]
    """The reader of the set as its owners publish it."""
    n_rows: ClassVar[tuple[int, int]]
    """Of the published file: train, test."""

    def __init_subclass__(cls) -> None:
        cls.class_table = cls.original.class_table
        cls.citation = f"{cls.original.citation}; file: Y. Chen et al.: CTR-GCN, ICCV 2021"
        source = f"the arrays x_train and x_test of {cls.published}"
        cls.sides = {cls.default_side: folds_of_the_files(source)}

    def open(self, source: Path | None) -> AbstractContextManager[Archive]:
        return NoFiles() if source is None else _open_npz(source, self.published)

    def whole_copy(self) -> WholeCopy:
        return WholeCopy(sum(self.n_rows), sides={self.default_side: self.n_rows})

    def units(self, archive: Archive) -> list[Unit]:
        npz = opened_as(Npz, archive)
        wanted = [f"{kind}_{fold}.npy" for fold in FOLDS for kind in "xy"]
        if missing := sorted({*wanted} - {*npz.names()}):
            raise self.lacking(archive, f"no {', '.join(missing)}; it should be {self.published}")
        for name in wanted:
            try:
                self._require_form(name, npz.array(name))
            except BadFile as error:
                raise UserError(f"{archive.source}: {name} {error}; it should be {self.published}") from error
        self._require_own(npz)
        return [unit for fold in FOLDS for unit in self._units(npz, fold)]

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        npz = opened_as(Npz, archive)
        fold, first, last = unit.detail
        positions, labels = (npz.array(f"{kind}_{fold}.npy") for kind in "xy")
        if first == last:
            # A unit without rows stands for the check of a whole array.
            npz.require_checksum(npz.array(unit.file))
            return
        rows = zip(npz.rows(positions, first, last), npz.rows(labels, first, last), strict=True)
        for row, (numbers, one_hot) in enumerate(rows, first):
            name = f"x_{fold}[{row}]"
            label = _label(one_hot)
            if label is None:
                on_bad(name, f"has a row of y_{fold} that is not one 1 among zeros")
            else:
                yield _clip(numbers, name, f"{fold}-{row:06d}", label, FOLDS[fold])

    def _units(self, npz: Npz, fold: str) -> list[Unit]:
        """Stretches of rows where rows can be read alone, after the checks of whole arrays; else all rows in one."""
        positions, labels = (npz.array(f"{kind}_{fold}.npy") for kind in "xy")
        n_rows, file = positions.header.shape[0], positions.member.filename
        if not (positions.is_stored and labels.is_stored):
            return [Unit(file, (fold, 0, n_rows))]
        checks = [Unit(array.member.filename, (fold, 0, 0)) for array in (positions, labels)]
        starts = range(0, n_rows, ROWS_A_UNIT)
        return checks + [Unit(file, (fold, first, min(first + ROWS_A_UNIT, n_rows))) for first in starts]

    def _require_form(self, name: str, array: NpyArray) -> None:
        """Raises :class:`BadFile` for an array that is not of the published form."""
        shape, dtype = array.header.shape, array.header.dtype
        n_rows, shown = shape[0], " x ".join(map(str, shape))
        if not 1 <= n_rows <= MAX_ROWS:
            raise BadFile(f"has {n_rows} rows; expected 1 to {MAX_ROWS}")
        if name.startswith("y"):
            if shape[1:] != (self.n_classes,) or dtype.kind not in "fiub":
                raise BadFile(f"has {shown} of {dtype}; expected rows x {self.n_classes} classes")
            return
        if len(shape) != 3 or shape[2] != N_NUMBERS or dtype.kind != "f":
            raise BadFile(f"has {shown} of {dtype}; expected rows x frames x {N_NUMBERS} of floats")
        if not 1 <= shape[1] <= MAX_FRAMES:
            raise BadFile(f"has clips of {shape[1]} frames; expected 1 to {MAX_FRAMES}")
        if array.member.file_size > MAX_INFLATION * array.member.compress_size:
            raise BadFile(f"grows more than {MAX_INFLATION} times when it is inflated, which is refused")

    def _require_own(self, npz: Npz) -> None:
        """Raises :class:`UserError` for arrays that do not go together, or are those of another published file."""
        counts = []
        for fold in FOLDS:
            (n_clips, *_), (n_labels, *_) = (npz.array(f"{kind}_{fold}.npy").header.shape for kind in "xy")
            if n_clips != n_labels:
                raise UserError(f"{npz.source}: x_{fold} has {n_clips} rows and y_{fold} {n_labels}; download it again")
            counts.append(n_clips)
        for other in (Ntu60CrossSubject, Ntu60CrossView, Ntu120CrossSubject, Ntu120CrossSetup):
            if tuple(counts) == other.n_rows and other.name != self.name:
                raise UserError(f"{npz.source}: has the rows of {other.published}; prepare it as {other.name}")


class Ntu60CrossSubject(_NtuNpz):
    name = "ntu60-cs-npz"
    title = "NTU RGB+D 60, cross-subject, in CTR-GCN's form"
    original = Ntu60
    default_side = "x-sub"
    published = "NTU60_CS.npz"
    n_rows = Ntu60.n_clips["x-sub"]


class Ntu60CrossView(_NtuNpz):
    name = "ntu60-cv-npz"
    title = "NTU RGB+D 60, cross-view, in CTR-GCN's form"
    original = Ntu60
    default_side = "x-view"
    published = "NTU60_CV.npz"
    n_rows = Ntu60.n_clips["x-view"]


class Ntu120CrossSubject(_NtuNpz):
    name = "ntu120-csub-npz"
    title = "NTU RGB+D 120, cross-subject, in CTR-GCN's form"
    original = Ntu120
    default_side = "x-sub"
    published = "NTU120_CSub.npz"
    n_rows = Ntu120.n_clips["x-sub"]


class Ntu120CrossSetup(_NtuNpz):
    name = "ntu120-cset-npz"
    title = "NTU RGB+D 120, cross-setup, in CTR-GCN's form"
    original = Ntu120
    default_side = "x-set"
    published = "NTU120_CSet.npz"
    n_rows = Ntu120.n_clips["x-set"]


@contextmanager
def _open_npz(source: Path, published: str) -> Iterator[Npz]:
    """Opens the file ``source``, or the file called ``published`` in the folder ``source``."""
    path = source / published if source.is_dir() else source
    if path.is_dir() or not path.exists():
        raise UserError(f"{path}: no such file; give {published} or the folder that holds it")
    with ExitStack() as stack:
        archive = stack.enter_context(open_archive(path))
        if not isinstance(archive, ZipArchive):
            raise UserError(f"{path}: no file; give {published} or the folder that holds it")
        yield Npz(archive, stack.enter_context(path.open("rb")))


def _label(one_hot: np.ndarray) -> int | None:
    """Where the only number that is not 0 stands, if that is a 1."""
    marked = np.flatnonzero(one_hot)
    return int(marked[0]) if len(marked) == 1 and one_hot[marked[0]] == 1 else None


def _clip(numbers: np.ndarray, name: str, sample_id: str, label: int, fold: int) -> Clip:
    """A clip from the (T, 150) of its row; what is behind the last frame in which a body was seen is padding."""
    # Signalling NaNs, which clip_fault finds too, would warn.
    with np.errstate(invalid="ignore"):
        bodies = tracks_of(numbers.reshape(len(numbers), N_BODIES, N_JOINTS, 3).swapaxes(0, 1))
    return Clip(
        sample_id=sample_id,
        label=label,
        subject=0,
        fold=fold,
        n_frames=max((body.start + len(body.positions) for body in bodies), default=len(numbers)),
        bodies=bodies,
        file=name,
    )
