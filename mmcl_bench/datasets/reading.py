"""Reading the units of a source, by several processes where there are cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmcl_bench.core.parallel import in_order
from mmcl_bench.datasets.formats.archive import Archive, BadFile
from mmcl_bench.datasets.parts import Bad, Part
from mmcl_bench.datasets.readers import READERS, Reader, Unit, clip_fault
from mmcl_bench.datasets.store import Clip, DatasetCard


@dataclass(frozen=True)
class Work:
    """What a process needs to read any unit of a source."""

    reader: str
    settings: dict[str, Any]
    source: Path | None
    card: DatasetCard
    n_joints: int


@dataclass(frozen=True)
class Stretch:
    """Some units, and the part that they become."""

    units: tuple[Unit, ...]
    part: Part


def read_all(work: Work, stretches: Sequence[Stretch], workers: int | None = None) -> Iterator[Stretch]:
    """Makes the part of every stretch that has none, and yields the stretches in their order as they are done.

    ``workers`` are processes, by default one a core, eight at most. On a stop, what is being read is finished and
    kept. Raises :class:`UserError` when the source cannot be opened or a process is killed, ``OSError`` when the disk
    is full.
    """
    missing = [not stretch.part.is_done for stretch in stretches]
    waiting = [stretch for stretch, is_missing in zip(stretches, missing, strict=True) if is_missing]
    with (
        closing(_StretchReader(work)) as reader,
        closing(in_order(reader, waiting, workers, items_a_call=1)) as reading,
    ):
        for stretch, is_missing in zip(stretches, missing, strict=True):
            if is_missing:
                next(reading)
            yield stretch


class _StretchReader:
    """A reader at its source, which is opened in the process that reads, when it first does."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._opened = ExitStack()

    def __call__(self, stretch: Stretch) -> None:
        bad: Bad = []
        stretch.part.write(self._clips(stretch, bad), self._work.card, self._work.n_joints, bad)

    def close(self) -> None:
        self._opened.close()

    @cached_property
    def _reader(self) -> Reader:
        return READERS.get(self._work.reader)(**self._work.settings)

    @cached_property
    def _archive(self) -> Archive:
        return self._opened.enter_context(self._reader.open(self._work.source))

    def _clips(self, stretch: Stretch, bad: Bad) -> Iterator[Clip]:
        """The usable clips of a stretch; the others are added to ``bad``."""

        def on_bad(name: str, reason: str) -> None:
            bad.append((name, reason))

        for unit in stretch.units:
            try:
                for clip in self._reader.clips(self._archive, unit, on_bad):
                    card = self._work.card
                    if fault := clip_fault(clip, self._work.n_joints, len(card.classes), card.unit):
                        on_bad(clip.file or clip.sample_id, fault)
                    else:
                        yield clip
            except BadFile as error:
                on_bad(unit.file, str(error))
