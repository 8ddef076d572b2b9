"""NTU RGB+D 60 and 120 as pyskl publishes them: one pickle with the denoised 3D joints of all clips.

Layout of the file: ``tools/data/README.md`` and ``tools/data/ntu_preproc.py`` of kennymckormick/pyskl. It is read
by a restricted unpickler, see :mod:`mmcl_bench.datasets.formats.restricted_pickle`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import Archive, BadFile, NoFiles, opened_as
from mmcl_bench.datasets.formats.first_bytes import N_BYTES, kind_of
from mmcl_bench.datasets.formats.restricted_pickle import PickledArray, load
from mmcl_bench.datasets.readers import BadClip, OnBad, Reader, Unit, WholeCopy
from mmcl_bench.datasets.readers.ntu import Ntu60, Ntu120
from mmcl_bench.datasets.store import Clip
from mmcl_bench.skeleton.dense import tracks_of

N_JOINTS = 25
_SAMPLE = re.compile(r"S(?P<setup>\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R\d{3}A(?P<action>\d{3})", re.ASCII)
_FIRST_BYTES = b"\x80(}"
"""Of a pickled dict, from protocol 2 on, and in protocols 0 and 1."""
_LONGEST_NAME = 100


class OneFile(Archive):
    """A source that is a single open file, too large to be read at once."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.source = path
        self.file = file
        self.n_bytes = os.fstat(file.fileno()).st_size

    def names(self) -> list[str]:
        return [self.source.name]

    def read(self, name: str) -> bytes:
        raise BadFile("is too large to be read at once")


@contextmanager
def open_one_file(source: Path, wanted: str) -> Iterator[OneFile]:
    """Opens the plain file ``source``, or the file called ``wanted`` in the folder ``source``.

    Raises :class:`UserError` for a link, a device and whatever else is no plain file.
    """
    path = source / wanted if source.is_dir() and not source.is_symlink() else source
    try:
        # A pipe would block, and a link could lead anywhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(f"{path}: is a link; give the file itself") from error
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give {wanted} or the folder that holds it"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: not a plain file; give {wanted} or the folder that holds it")
    with os.fdopen(descriptor, "rb") as file:
        yield OneFile(path, file)


class _Pyskl(Reader):
    """Kinect v2 joints in the camera frame as float16: metres, y up. The body that moves most is the first."""

    layout = "kinect-v2"
    frame_rate = 30.0
    default_side = "x-sub"
    collection = "NTU RGB+D"
    homepage = "https://github.com/kennymckormick/pyskl/blob/main/tools/data/README.md"
    own_split: ClassVar[str]
    """A split that this set's file has and the other's lacks."""
    original: ClassVar[type[Ntu60 | Ntu120]]
    """The reader of the set as its owners publish it."""

    def __init_subclass__(cls) -> None:
        cls.class_table, cls.sides = cls.original.class_table, cls.original.sides
        cls.citation = f"{cls.original.citation}; H. Duan, J. Wang, K. Chen, D. Lin: PYSKL, ACM MM 2022"

    def open(self, source: Path | None) -> AbstractContextManager[Archive]:
        return NoFiles() if source is None else open_one_file(source, self.published)

    def whole_copy(self) -> WholeCopy | None:
        return self.original().whole_copy()

    def missing_clips(self, found: Set[str]) -> Set[str]:
        return self.original().missing_clips(found)

    def units(self, archive: Archive) -> list[Unit]:
        file = opened_as(OneFile, archive).file
        file.seek(0)
        beginning = file.read(N_BYTES)
        if not beginning or beginning[:1] not in _FIRST_BYTES:
            raise UserError(
                f"{archive.source}: not {self.title}: is {_what_it_is(beginning)}, no pickle like {self.published}; "
                f"see {self.homepage}"
            )
        return [Unit(archive.source.name)]

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        opened = opened_as(OneFile, archive)
        opened.file.seek(0)
        left = opened.n_bytes
        for number, annotation in enumerate(self._annotations(load(opened.file, opened.n_bytes))):
            try:
                keypoint = _positions(annotation)
                left -= keypoint.n_bytes
                if left < 0:
                    raise BadFile("annotates more than it holds: many clips share their positions")
                clip = self._clip(annotation, keypoint)
            except BadClip as error:
                on_bad(_frame_dir(annotation) or f"annotation {number}", str(error))
            else:
                yield clip

    def _annotations(self, content: object) -> list[Any]:
        annotations, split = (
            content.get(key) if isinstance(content, dict) else None for key in ("annotations", "split")
        )
        if not isinstance(annotations, list) or not isinstance(split, dict):
            raise BadFile("holds no annotations and splits; it is no file of pyskl")
        if self.own_split not in split:
            raise BadFile(f"has no split {self.own_split}, so it is no {self.published}{_whose(split)}")
        if any("keypoint_score" in each for each in annotations[:1] if isinstance(each, dict)):
            raise BadFile(f"holds 2D key points, as pyskl's hrnet files do; the 3D joints are in {self.published}")
        return annotations

    def _clip(self, annotation: dict[str, Any], keypoint: PickledArray) -> Clip:
        sample = _SAMPLE.fullmatch(_frame_dir(annotation))
        if sample is None:
            raise BadClip("is called unlike a sample of NTU RGB+D")
        if not 1 <= int(sample["setup"]) <= self.original.n_setups or not 1 <= int(sample["action"]) <= self.n_classes:
            raise BadClip(f"is no sample of {self.title}")
        label = annotation.get("label")
        if type(label) is not int or label != int(sample["action"]) - 1:
            raise BadClip("has another label than its name says")
        n_frames = keypoint.shape[1]
        if annotation.get("total_frames") != n_frames:
            raise BadClip(f"has positions for {n_frames} frames, which is not its total_frames")
        return Clip(
            sample_id=sample[0],
            label=label,
            subject=int(sample["subject"]),
            camera=int(sample["camera"]),
            setup=int(sample["setup"]),
            n_frames=n_frames,
            bodies=tracks_of(keypoint.values()),
        )


class Ntu60Pyskl(_Pyskl):
    name = "ntu60-pyskl"
    title = "NTU RGB+D 60 in pyskl's form"
    original = Ntu60
    published = "ntu60_3danno.pkl"
    own_split = "xview_train"


class Ntu120Pyskl(_Pyskl):
    name = "ntu120-pyskl"
    title = "NTU RGB+D 120 in pyskl's form"
    original = Ntu120
    published = "ntu120_3danno.pkl"
    own_split = "xset_train"


_OTHERS = {
    Ntu60Pyskl.own_split: f"{Ntu60Pyskl.published}; prepare it as {Ntu60Pyskl.name}",
    Ntu120Pyskl.own_split: f"{Ntu120Pyskl.published}; prepare it as {Ntu120Pyskl.name}",
    "train1": "ucf101_hrnet.pkl or hmdb51_hrnet.pkl, which hold 2D key points and have no reader",
    "val": "gym_hrnet.pkl or k400_hrnet.pkl, which hold 2D key points and have no reader",
    "test": "diving48_hrnet.pkl, which holds 2D key points and has no reader",
}
"""By a split that it alone has: which file of pyskl it is."""


def _whose(split: dict[str, Any]) -> str:
    """Says which other file has these splits; empty where that is not known."""
    known = next((whose for own, whose in _OTHERS.items() if own in split), None)
    return f"; it has the splits of {known}" if known else ""


def _what_it_is(beginning: bytes) -> str:
    if beginning.startswith(b"PK"):
        return "a zip, from which the file must be unpacked"
    kind = kind_of(beginning)
    return f"{kind.what} ({kind.mend})" if kind else "another kind of file"


def _frame_dir(annotation: object) -> str:
    """The name of the annotated sample; empty when there is none."""
    name = annotation.get("frame_dir") if isinstance(annotation, dict) else None
    return name[:_LONGEST_NAME] if isinstance(name, str) and name.isprintable() else ""


def _positions(annotation: object) -> PickledArray:
    """(bodies, frames, joints, 3) of floats. Raises :class:`BadClip` when it is anything else."""
    keypoint = annotation.get("keypoint") if isinstance(annotation, dict) else None
    if not isinstance(keypoint, PickledArray):
        raise BadClip("has no positions")
    if len(keypoint.shape) != 4 or keypoint.shape[2:] != (N_JOINTS, 3) or keypoint.dtype.kind != "f":
        shape = " x ".join(map(str, keypoint.shape))
        raise BadClip(f"has {shape} of {keypoint.dtype}; expected bodies x frames x {N_JOINTS} x 3 of floats")
    return keypoint
