"""Anyone's own data: a table of clips, a page of facts, and one ``.npy`` or ``.csv`` file a clip."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmcl_bench.errors import UserError
from mmcl_bench.facts import ClassText
from mmcl_bench.registry import unknown
from mmcl_bench.skeleton.archive import Archive, BadFile, base_name
from mmcl_bench.skeleton.dense import tracks_of
from mmcl_bench.skeleton.formats.npy import read_array
from mmcl_bench.skeleton.layouts import Layout, get_layout
from mmcl_bench.skeleton.readers import OnBad, Reader, Unit
from mmcl_bench.skeleton.store import Clip, DatasetCard, Side

FACTS, MANIFEST = "dataset.toml", "manifest.csv"
REQUIRED = ("sample_id", "file", "label")
NUMBERS = ("subject", "camera", "setup", "start", "stop")
FOLDS = {"": 0, "train": 1, "test": 2}
_PER_METRE = {"metres": 1.0, "centimetres": 100.0, "millimetres": 1000.0, "image": 1.0}
_UP: Mapping[str, np.ndarray] = {
    "y": np.eye(3),
    "-y": np.diag([1.0, -1.0, -1.0]),
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "-z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
}
"""Turns the axis that points up to y, about the axis to the side."""
Label = Annotated[str | int, Field(union_mode="left_to_right")]


class OwnSide(BaseModel):
    """Who trains and who tests, by a column of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: Literal["subject", "camera", "setup"]
    train: Annotated[tuple[int, ...], Field(min_length=1)]
    test: Annotated[tuple[int, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _disjoint(self) -> OwnSide:
        if both := sorted(set(self.train) & set(self.test)):
            raise ValueError(f"{self.column} {both[0]} is on both sides")
        return self


class OwnSplit(BaseModel):
    """The classes that a zero-shot task holds out, by name; the split is called ``seen/unseen``, such as ``8/2``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unseen: Annotated[tuple[str, ...], Field(min_length=1)]


class OwnFacts(BaseModel):
    """What ``dataset.toml`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    title: Annotated[str, Field(min_length=1)]
    synthetic: bool = False
    """Not recorded from people."""
    layout: str
    unit: Literal["metres", "centimetres", "millimetres", "image"] = "metres"
    """Of the positions; ``image``: of 2D key points, in image heights."""
    up: Literal["y", "-y", "z", "-z"] = "y"
    frame_rate: Annotated[float, Field(gt=0)] | None = None
    homepage: str = ""
    citation: str = ""
    classes: Annotated[tuple[ClassText, ...], Field(alias="class")] = ()
    """In label order; without them, the labels of the manifest in alphabetical order."""
    side: dict[str, OwnSide] = {}
    default_side: str | None = None
    split: dict[str, OwnSplit] = {}


class Custom(Reader):
    """What the owner says it is: ``dataset.toml`` and ``manifest.csv`` beside the clips."""

    name = "custom"
    title = "your own data"
    layout = "kinect-v2"
    class_table = "custom"
    frame_rate = None
    sides: ClassVar[Mapping[str, Side]] = {}
    default_side = ""
    homepage = "docs/datasets/custom.md"
    citation = "as the owner says"

    def card(self, archive: Archive) -> DatasetCard:
        own = _facts(archive)
        rows = _manifest(archive)
        classes = _classes(archive, own, rows)
        sides = _sides(archive, own, rows)
        default = own.default_side or next(iter(sides))
        if default not in sides:
            raise UserError(f"{archive.source}: {FACTS}: default_side: {unknown('side', default, sorted(sides))}")
        names = [text.name for text in classes]
        splits = {name: _unseen(archive, name, split, names) for name, split in own.split.items()}
        return DatasetCard(
            name=self.name,
            reader=self.name,
            reader_version=self.version,
            title=own.title,
            synthetic=own.synthetic,
            layout=own.layout,
            unit="image" if own.unit == "image" else "metres",
            class_table=self.class_table,
            classes=tuple(names),
            class_texts=classes,
            splits=splits,
            sides=sides,
            default_side=default,
            frame_rate=own.frame_rate,
            modalities=self.modalities,
            homepage=own.homepage,
            citation=own.citation or own.title,
            fingerprint="",
            n_clips=0,
        )

    def units(self, archive: Archive) -> list[Unit]:
        own = _facts(archive)
        rows = _manifest(archive)
        names = [text.name for text in _classes(archive, own, rows)]
        folder = PurePosixPath(_only(archive, MANIFEST)).parent
        files = set(archive.names())
        units = []
        for number, row in rows:
            where = f"{archive.source}: {MANIFEST}, row {number}"
            file = (folder / row["file"]).as_posix()
            if file not in files:
                raise UserError(f"{where}: there is no file {row['file']!r}; paths are relative to {MANIFEST}")
            label = _label(row["label"], names)
            if label is None:
                raise UserError(f"{where}: {unknown('class', row['label'], names)}")
            form = (own.layout, own.up, own.unit)
            units.append(Unit(file, (row["sample_id"], label, *_numbers(row, where), FOLDS[row["fold"]], *form)))
        return units

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        sample_id, label, subject, camera, setup, start, stop, fold, layout, up, unit_of_length = unit.detail
        read = _from_npy if unit.file.lower().endswith(".npy") else _from_csv
        bodies = read(archive.read(unit.file), get_layout(layout))[:, start:stop]
        if not bodies.size:
            raise BadFile(f"has no frames {start} to {stop}")
        if np.isinf(bodies).any():
            raise BadFile("has infinite positions; leave unseen joints empty or NaN")
        placed = bodies @ _UP[up].T / _PER_METRE[unit_of_length]
        tracks = tracks_of(np.where(np.isnan(placed).any(-1, keepdims=True), 0, placed))
        yield Clip(
            sample_id=sample_id,
            label=label,
            subject=subject,
            camera=camera,
            setup=setup,
            fold=fold,
            n_frames=bodies.shape[1],
            bodies=tracks,
            file=unit.file,
        )


Rows = list[tuple[int, dict[str, str]]]
"""Rows of the manifest with their line numbers; absent columns are empty."""


def _only(archive: Archive, name: str) -> str:
    found = [file for file in archive.names() if base_name(file) == name]
    if len(found) != 1:
        raise UserError(
            f"{archive.source}: holds {len(found)} files {name}; "
            f"a data set of your own has one {FACTS} and one {MANIFEST}"
        )
    return found[0]


def _text(archive: Archive, name: str) -> str:
    file = _only(archive, name)
    try:
        return archive.read(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{archive.source}: {file} is not in UTF-8; save it as UTF-8") from error
    except BadFile as error:
        raise UserError(f"{archive.source}: {file} {error}") from error


def _facts(archive: Archive) -> OwnFacts:
    """The content of ``dataset.toml``. Raises :class:`UserError` with the entry that is wrong."""
    where = f"{archive.source}: {FACTS}"
    try:
        own = OwnFacts.model_validate(tomllib.loads(_text(archive, FACTS)))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: no TOML ({_first_line(error)})") from error
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"]) or "file"
        raise UserError(f"{where}: {entry}: {_first_line(first['msg'])}") from error
    except RecursionError as error:
        raise UserError(f"{where}: is nested too deep") from error
    try:
        get_layout(own.layout)
    except UserError as error:
        raise UserError(f"{where}: layout: {error}") from error
    return own


def _manifest(archive: Archive) -> Rows:
    """The rows of ``manifest.csv``. Raises :class:`UserError` with the row that is wrong."""
    where = f"{archive.source}: {MANIFEST}"
    try:
        table = list(csv.reader(io.StringIO(_text(archive, MANIFEST), newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{where}: no CSV ({error})") from error
    header = [name.strip() for name in table[0]] if table else []
    known = (*REQUIRED, *NUMBERS, "fold")
    if missing := [name for name in REQUIRED if name not in header]:
        raise UserError(f"{where}: has no column {missing[0]}; it needs {', '.join(REQUIRED)}")
    if strange := [name for name in header if name not in known or header.count(name) > 1]:
        raise UserError(f"{where}: {unknown('column', strange[0], list(known))} Each may stand once.")
    rows: Rows = []
    seen: dict[str, int] = {}
    for number, cells in enumerate(table[1:], 2):
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise UserError(f"{where}, row {number}: has {len(cells)} cells; the first row has {len(header)}")
        row = dict.fromkeys(known, "") | {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        _check_row(row, f"{where}, row {number}", seen)
        seen[row["sample_id"]] = number
        rows.append((number, row))
    if not rows:
        raise UserError(f"{where}: lists no clip")
    return rows


def _check_row(row: Mapping[str, str], where: str, seen: Mapping[str, int]) -> None:
    for name in REQUIRED:
        if not row[name] or not row[name].isprintable():
            raise UserError(f"{where}: {name} is empty or has characters that cannot be printed")
    if row["sample_id"] in seen:
        raise UserError(f"{where}: sample_id {row['sample_id']} stands in row {seen[row['sample_id']]} already")
    if row["fold"] not in FOLDS:
        raise UserError(f"{where}: fold {row['fold']!r} is neither train nor test")
    _numbers(row, where)


def _numbers(row: Mapping[str, str], where: str) -> tuple[int | None, ...]:
    """Subject, camera, setup, start and stop."""
    found: list[int | None] = []
    for name in NUMBERS:
        text = row[name]
        if text and not (text.isascii() and text.isdigit() and len(text) < 10):
            raise UserError(f"{where}: {name} {text!r} is no whole number")
        found.append(int(text) if text else None if name == "stop" else 0)
    return tuple(found)


def _classes(archive: Archive, own: OwnFacts, rows: Rows) -> tuple[ClassText, ...]:
    if not own.classes:
        names = sorted({row["label"] for _, row in rows})
        return tuple(ClassText.model_validate({"name": name}) for name in names)
    names = [text.name for text in own.classes]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{archive.source}: {FACTS}: class {twice[0]!r} stands twice")
    return own.classes


def _unseen(archive: Archive, name: str, split: OwnSplit, names: list[str]) -> tuple[int, ...]:
    """The numbers of the unseen classes of a split. Raises :class:`UserError` when they or its name do not fit."""
    where = f"{archive.source}: {FACTS}: split {name}"
    for label in split.unseen:
        if label not in names:
            raise UserError(f"{where}: {unknown('class', label, names)}")
    unseen = tuple(sorted({names.index(label) for label in split.unseen}))
    expected = f"{len(names) - len(unseen)}/{len(unseen)}"
    if name.partition(":")[0] != expected or len(names) - len(unseen) < 2:
        raise UserError(f"{where}: should be called {expected}, for its seen and unseen classes; two must be seen")
    return unseen


def _label(text: str, names: list[str]) -> int | None:
    """The number of a class, from its name or its zero-based number."""
    if text in names:
        return names.index(text)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < len(names) else None


def _sides(archive: Archive, own: OwnFacts, rows: Rows) -> dict[str, Side]:
    """The sides of ``dataset.toml``, and that of the manifest's column ``fold`` where it has one."""
    source = "the owner's dataset.toml"
    sides = {name: Side(source=source, **side.model_dump()) for name, side in own.side.items()}
    if any(row["fold"] for _, row in rows):
        sides["official"] = Side(column="fold", train=(1,), test=(2,), source="the owner's manifest.csv")
    if not sides:
        raise UserError(
            f"{archive.source}: says nothing of who trains and who tests; add [side.x-sub] to {FACTS} or a column fold "
            f"with train and test to {MANIFEST}"
        )
    for name, side in sides.items():
        values = {_value(row, side.column) for _, row in rows}
        for part, wanted in (("train", side.train), ("test", side.test)):
            if not values & set(wanted):
                raise UserError(f"{archive.source}: side {name}: no clip of {MANIFEST} is on its {part} side")
    return sides


def _value(row: Mapping[str, str], column: str) -> int:
    return FOLDS[row["fold"]] if column == "fold" else int(row[column] or 0)


def _from_npy(content: bytes, layout: Layout) -> np.ndarray:
    """(M, T, V, 3) from an array (T, V, 3) or (M, T, V, 3)."""
    array = read_array(content)
    if array.ndim not in (3, 4) or array.shape[-2:] != (len(layout), 3):
        raise BadFile(f"has an array of shape {array.shape}; expected ([bodies,] frames, {len(layout)}, 3)")
    if array.dtype.kind != "f":
        raise BadFile(f"has numbers of kind {array.dtype}; expected floating-point numbers")
    return np.asarray(array if array.ndim == 4 else array[None], dtype=np.float64)


def _from_csv(content: bytes, layout: Layout) -> np.ndarray:
    """(1, T, V, 3) from a row a frame, x, y and z of every joint in the order of the layout; empty cells are unseen."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise BadFile("is not in UTF-8") from error
    except csv.Error as error:
        raise BadFile(f"is no CSV ({error})") from error
    rows = [row for row in rows if any(row)]
    # A first row without any number is a header.
    if rows and not any(map(_is_number, rows[0])):
        rows = rows[1:]
    n_columns = len(layout) * 3
    positions = np.empty((len(rows), n_columns))
    for number, row in enumerate(rows, 1):
        if len(row) != n_columns:
            raise BadFile(f"has {len(row)} columns in frame {number}; expected {len(layout)} joints times 3")
        try:
            positions[number - 1] = [float(cell) if cell.strip() else np.nan for cell in row]
        except ValueError as error:
            raise BadFile(f"has something that is no number in frame {number}") from error
    return positions.reshape(1, len(rows), len(layout), 3)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _first_line(error: Any) -> str:
    return str(error).partition("\n")[0]
