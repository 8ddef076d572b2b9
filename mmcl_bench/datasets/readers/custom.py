"""Anyone's own data: a table of clips, a page of facts, and one ``.npy`` or ``.csv`` file a clip."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.records import first_fault
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.text import counted, first_line, is_printable, match_name, some_of, sorted_names, without_case
from mmcl_bench.datasets.classes import ClassText
from mmcl_bench.datasets.formats.archive import Archive, BadFile, base_name, packed_inside, plain_name, text_bytes
from mmcl_bench.datasets.formats.npy import read_array
from mmcl_bench.datasets.readers import LengthUnit, OnBad, Reader, Unit, folds_of_the_files
from mmcl_bench.datasets.store import Clip, Completeness, DatasetCard, Side
from mmcl_bench.skeleton.dense import tracks_of
from mmcl_bench.skeleton.layouts import Layout, LayoutTable, get_layout, layout_names, portable

FACTS, MANIFEST = "dataset.toml", "manifest.csv"
REQUIRED = ("sample_id", "file", "label")
NUMBERS = ("subject", "camera", "setup", "start", "stop")
FOLDS = {"": 0, "train": 1, "test": 2}
"""Of the manifest's column ``fold``, where it holds words."""
CLIP_ENDINGS = (".npy", ".csv")
OFFICIAL = "official"
"""The side that the manifest's column ``fold`` makes of words."""
MAX_CELL = 500
"""Characters; a path may be long, and a line that tells of a mistake stays one that can be read."""
_PER_METRE = {"metres": 1.0, "centimetres": 100.0, "millimetres": 1000.0, "image": 1.0}
_UP: Mapping[str, np.ndarray] = {
    "y": np.eye(3),
    "-y": np.diag([1.0, -1.0, -1.0]),
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "-z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
}
"""Turns the axis that points up to y, about the axis to the side."""
_SIDE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What stands between the brackets of a task's name, so no comma, bracket or equals sign."""


def _printable(text: str) -> str:
    if not is_printable(text):
        raise ValueError("has a character that cannot be printed")
    return text


Line = Annotated[str, AfterValidator(_printable)]
Number = Annotated[int, Field(strict=True, ge=0, lt=10**9)]
"""Of a subject, camera or setup, as the manifest can hold it."""


class OwnSide(BaseModel):
    """Who trains and who tests, by a column of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: Literal["subject", "camera", "setup"]
    train: Annotated[tuple[Number, ...], Field(min_length=1)]
    test: Annotated[tuple[Number, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _disjoint(self) -> OwnSide:
        if both := sorted(set(self.train) & set(self.test)):
            raise ValueError(f"{self.column} {both[0]} is on both sides")
        return self


class OwnFolds(BaseModel):
    """Sides by the numbers of a column, each of which tests on one part of the numbers and trains on the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: Literal["subject", "camera", "setup"]
    parts: tuple[Annotated[tuple[Number, ...], Field(min_length=1)], ...] = ()
    """When not given, every number of the column is a part: leave one subject out, for example."""

    @model_validator(mode="after")
    def _disjoint(self) -> OwnFolds:
        numbers = [number for part in self.parts for number in part]
        if len(self.parts) == 1:
            raise ValueError("parts: one part leaves nothing to train with; name two or more")
        if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
            raise ValueError(f"parts: {self.column} {twice[0]} is in two of them")
        return self


class OwnSplit(BaseModel):
    """The classes that a zero-shot task holds out, by name; the split is called ``seen/unseen``, such as ``8/2``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unseen: Annotated[tuple[str, ...], Field(min_length=1)]


class OwnFacts(BaseModel):
    """What ``dataset.toml`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    title: Annotated[Line, Field(min_length=1)]
    synthetic: bool = False
    """Not recorded from people."""
    layout: str | Layout
    """A name, or a table that :class:`.LayoutTable` describes."""
    unit: str | float | None = None
    """Of the positions: a name, or how many metres one is. ``image``: of 2D key points, in image heights. Without it,
    metres, or ``image`` where the layout is one of key points from images."""
    third: Literal["confidence"] | None = None
    """What the third number of 2D key points is, if not zero."""
    least_confidence: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 0.0
    """A key point of this confidence or less was not seen."""
    up: Literal["y", "-y", "z", "-z"] = "y"
    frame_rate: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    clips: Annotated[int, Field(strict=True, gt=0)] | None = None
    """Of a whole copy, so that one that lacks some is told."""
    homepage: Line = ""
    citation: Line = ""
    classes: Annotated[tuple[ClassText, ...], Field(alias="class")] = ()
    """In label order; without them, the labels of the manifest, whole numbers by value, then others as text."""
    side: dict[str, OwnSide] = {}
    folds: dict[str, OwnFolds] = {}
    default_side: str | None = None
    split: dict[str, OwnSplit] = {}

    @field_validator("unit", mode="before")
    @classmethod
    def _known_unit(cls, unit: object) -> object:
        if isinstance(unit, str) and unit not in _PER_METRE:
            raise ValueError(f"{unknown('unit', unit, list(_PER_METRE))} A number says how many metres one is.")
        if isinstance(unit, bool) or (isinstance(unit, int | float) and not 1e-6 <= unit <= 1e6):
            raise ValueError("should be a name, or the number of metres that one is")
        return unit


class Custom(Reader):
    """What the owner says it is: ``dataset.toml`` and ``manifest.csv`` beside the clips."""

    name = "custom"
    version = 3
    title = "your own data"
    layout = "kinect-v2"
    class_table = "custom"
    frame_rate = None
    sides: ClassVar[Mapping[str, Side]] = {}
    default_side = ""
    homepage = "docs/datasets/custom.md"
    citation = "as the owner says"
    class_names = ()

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
        return (
            super()
            .card(archive)
            .model_copy(
                update={
                    **own.model_dump(include={"title", "synthetic", "frame_rate", "homepage"}),
                    "unit": _length_unit(own),
                    "classes": tuple(names),
                    "class_texts": classes,
                    "splits": splits,
                    "sides": sides,
                    "default_side": default,
                    "completeness": None if own.clips is None else Completeness(published=own.clips, present=0),
                    "citation": own.citation or own.title,
                }
            )
        )

    def layout_of(self, archive: Archive) -> str | Layout:
        return _facts(archive).layout

    def unit_of(self, archive: Archive) -> LengthUnit:
        return _length_unit(_facts(archive))

    def units(self, archive: Archive) -> list[Unit]:
        own = _facts(archive)
        rows = _manifest(archive)
        names = [text.name for text in _classes(archive, own, rows)]
        folder = PurePosixPath(_only(archive, MANIFEST)).parent
        files = set(archive.names())
        label_of = {text: _label(text, names) for text in {row["label"] for _, row in rows}}
        units = []
        for number, row in rows:
            where = f"{archive.source}: {MANIFEST}, row {number}"
            file = (folder / (plain_name(row["file"]) or row["file"])).as_posix()
            if file not in files:
                raise UserError(f"{where}: there is no file {row['file']!r}; paths are relative to {MANIFEST}")
            if not file.lower().endswith(CLIP_ENDINGS):
                raise UserError(
                    f"{where}: file {row['file']!r} is neither .npy nor .csv; save the clip as one of these"
                )
            label = label_of[row["label"]]
            if label is None:
                raise UserError(f"{where}: {unknown('class', row['label'], names)}")
            units.append(Unit(file, (row["sample_id"], label, *_numbers(row, where), _fold(row), _form(own))))
        return units

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        sample_id, label, subjects, camera, setup, start, stop, fold, form = unit.detail
        read = _from_npy if unit.file.lower().endswith(".npy") else _from_csv
        bodies = read(archive.read(unit.file), get_layout(form.layout))
        if not bodies.size:
            raise BadFile("has no frames")
        end = bodies.shape[1] if stop is None else stop
        if not start < end <= bodies.shape[1]:
            raise BadFile(f"has {bodies.shape[1]} frames; {MANIFEST} wants those from {start} up to {end}")
        bodies = bodies[:, start:end]
        if np.isinf(bodies).any():
            raise BadFile("has infinite positions; leave unseen joints empty or NaN")
        if form.unit == "image":
            bodies = _key_points(bodies, form)
        placed = bodies @ _UP[form.up].T / _units_a_metre(form.unit)
        placed[np.isnan(placed).any(-1)] = np.nan
        placed[~np.nan_to_num(placed).any((-1, -2))] = 0
        yield Clip(
            sample_id=sample_id,
            label=label,
            subject=subjects[0],
            other_subjects=subjects[1:],
            camera=camera,
            setup=setup,
            fold=fold,
            n_frames=bodies.shape[1],
            bodies=tracks_of(placed),
            file=unit.file,
        )


def loose_unit(archive: Archive, layout: str | Layout | None) -> tuple[Callable[[str], Unit], str | Layout, LengthUnit]:
    """What makes the unit of a clip file that no manifest lists, its whole length; layout and unit of such files.

    Both, and the axis, are those of the source's ``dataset.toml``. Where it has none, positions are in the usual unit
    of ``layout``, y up. Raises :class:`UserError` where nobody says the layout.
    """
    if any(base_name(file) == FACTS for file in archive.names()):
        own = _facts(archive)
    elif layout is None:
        raise UserError(f"{archive.source}: nothing says its joint layout; name it with --layout, or in a {FACTS}")
    else:
        own = OwnFacts(title="loose files", layout=portable(layout))
    detail = (0, (0,), 0, 0, 0, None, 0, _form(own))
    chosen, unit = own.layout, _length_unit(own)
    return lambda file: Unit(file, (PurePosixPath(file).with_suffix("").as_posix(), *detail)), chosen, unit


Rows = list[tuple[int, dict[str, str]]]
"""Rows of the manifest with their line numbers; absent columns are empty."""


def _only(archive: Archive, name: str) -> str:
    found = [file for file in archive.names() if base_name(file) == name]
    if len(found) != 1:
        held = some_of(found) or f"no {name}{packed_inside(archive)}"
        raise UserError(f"{archive.source}: holds {held}; a data set of your own has one {FACTS} and one {MANIFEST}")
    return found[0]


def _text(archive: Archive, name: str) -> str:
    file = _only(archive, name)
    try:
        return text_bytes(archive.read(file)).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{archive.source}: {file} is not in UTF-8; save it as UTF-8") from error
    except BadFile as error:
        raise UserError(f"{archive.source}: {file} {error}") from error


def _facts(archive: Archive) -> OwnFacts:
    """The content of ``dataset.toml``. Raises :class:`UserError` with the entry that is wrong."""
    where = f"{archive.source}: {FACTS}"
    text = _text(archive, FACTS)
    try:
        content = tomllib.loads(text)
    # A number of thousands of digits is a ValueError, and no TOMLDecodeError.
    except ValueError as error:
        raise UserError(f"{where}: no TOML ({first_line(error)})") from error
    except RecursionError as error:
        raise UserError(f"{where}: is nested too deep") from error
    layout = _layout(content.get("layout"), content.get("unit"), where)
    try:
        own = OwnFacts.model_validate(content if layout is None else {**content, "layout": layout})
    except ValidationError as error:
        entry, message = first_fault(error)
        raise UserError(f"{where}: {entry or 'file'}: {message.splitlines()[0]}") from error
    if fault := _image_fault(own):
        raise UserError(f"{where}: {fault}")
    return own


def _layout(told: object, unit: object, where: str) -> str | Layout | None:
    """The layout that ``dataset.toml`` names or defines, as the card keeps it; None where it says nothing of it."""
    if told is None:
        return None
    if isinstance(told, str):
        try:
            return portable(told)
        except UserError as error:
            raise UserError(f"{where}: layout: {error}") from error
    if not isinstance(told, dict):
        raise UserError(f"{where}: layout: should be a name in quotes, or a table [layout]")
    try:
        table = LayoutTable.model_validate({"from_images": unit == "image", **told})
        if table.name in layout_names():
            raise ValueError(f"name: {table.name} is the name of a layout that is there; call this one otherwise")
        return table.layout()
    except ValidationError as error:
        entry, message = first_fault(error)
        raise UserError(f"{where}: layout.{entry}: {message.splitlines()[0]}") from error
    except ValueError as error:
        raise UserError(f"{where}: layout.{error}") from error


def _image_fault(own: OwnFacts) -> str | None:
    """What ``dataset.toml`` says of 2D key points that does not go together."""
    if _form(own).unit == "image":
        return f"up: is {own.up}; key points of images have no third axis, so give y or -y" if "z" in own.up else None
    for name in ("third", "least_confidence"):
        if name in own.model_fields_set:
            return f'{name}: is for key points of images; leave it out, or say unit = "image"'
    return None


class Form(NamedTuple):
    """What is to be known of a clip file to read its numbers."""

    layout: str | Layout
    up: str
    unit: str | float
    third: str | None
    least_confidence: float


def _form(own: OwnFacts) -> Form:
    usual = "image" if get_layout(own.layout).from_images else "metres"
    return Form(own.layout, own.up, own.unit or usual, own.third, own.least_confidence)


def _length_unit(own: OwnFacts) -> LengthUnit:
    """In which the clips are stored."""
    return "image" if _form(own).unit == "image" else "metres"


def _key_points(bodies: np.ndarray, form: Form) -> np.ndarray:
    """2D key points (M, T, V, 3) with z 0, and NaN where none was found: at (0, 0) or (-1, -1), or not confident.

    Raises :class:`BadFile` for third numbers of which ``dataset.toml`` does not say what they are.
    """
    x_and_y, third = bodies[..., :2], bodies[..., 2]
    found = ~(x_and_y == 0).all(-1) & ~(x_and_y == -1).all(-1)
    if form.third == "confidence":
        found &= third > form.least_confidence
    elif len(unexplained := np.argwhere(found & (np.nan_to_num(third) != 0))):
        body, frame, joint = unexplained[0]
        raise BadFile(
            f"has {third[body, frame, joint]:.3g} as the third number of {get_layout(form.layout).joints[joint]} in "
            f'frame {frame}, and a key point of an image has no depth: write 0; or say in {FACTS} third = "confidence" '
            'if it is that, or the unit, such as unit = "metres", if these are positions in space'
        )
    placed = np.concatenate([x_and_y, np.where(np.isnan(third), np.nan, 0)[..., None]], axis=-1)
    return np.where(found[..., None], placed, np.nan)


def _manifest(archive: Archive) -> Rows:
    """The rows of ``manifest.csv``. Raises :class:`UserError` with the row that is wrong."""
    where = f"{archive.source}: {MANIFEST}"
    reader = csv.reader(io.StringIO(_text(archive, MANIFEST), newline=""), strict=True)
    try:
        table = list(reader)
    except csv.Error as error:
        raise UserError(f"{where}, line {reader.line_num}: no CSV ({error})") from error
    header = [name.strip() for name in table[0]] if table else []
    known = (*REQUIRED, *NUMBERS, "fold")
    if missing := [name for name in REQUIRED if name not in header]:
        raise UserError(f"{where}: has no column {missing[0]}; it needs {', '.join(REQUIRED)}, with commas between")
    if strange := [name for name in header if name not in known or header.count(name) > 1]:
        raise UserError(f"{where}: {unknown('column', strange[0], list(known))} Each may stand once.")
    rows: Rows = []
    seen: dict[str, int] = {}
    for number, cells in enumerate(table[1:], 2):
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{where}, row {number}: has {counted(len(cells), 'cell')}; the first row has {len(header)}"
            )
        row = dict.fromkeys(known, "") | {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        _check_row(row, f"{where}, row {number}", seen)
        seen[row["sample_id"]] = number
        rows.append((number, row))
    if not rows:
        raise UserError(f"{where}: lists no clip")
    return rows


def _check_row(row: Mapping[str, str], where: str, seen: Mapping[str, int]) -> None:
    for name, cell in row.items():
        if len(cell) > MAX_CELL:
            raise UserError(f"{where}: {name} has {len(cell)} characters; {MAX_CELL} are the most")
    for name in REQUIRED:
        if not row[name] or not is_printable(row[name]):
            raise UserError(f"{where}: {name} is empty or has characters that cannot be printed")
    if row["sample_id"] in seen:
        raise UserError(f"{where}: sample_id {row['sample_id']} stands in row {seen[row['sample_id']]} already")
    if row["fold"] not in FOLDS and not _is_fold_number(row["fold"]):
        raise UserError(f"{where}: fold {row['fold']!r} is neither train nor test, nor the number of a fold, from 1 on")
    *_, start, stop = _numbers(row, where)
    if stop is not None and stop <= (start or 0):
        raise UserError(f"{where}: stop {stop} is not after start {start}")


def _numbers(row: Mapping[str, str], where: str) -> tuple[Any, ...]:
    """Subjects, a tuple, then camera, setup, start and stop."""
    people = row["subject"].split("+")
    if len(people) > 1 and not all(text.strip() for text in people):
        raise UserError(f"{where}: subject {row['subject']!r} has a + without a number on both its sides")
    subjects = tuple(_number(text, "subject", where) for text in people)
    if len(set(subjects)) < len(subjects):
        raise UserError(f"{where}: subject {row['subject']!r} names one person twice")
    others = [_number(row[name], name, where) if row[name] or name != "stop" else None for name in NUMBERS[1:]]
    return (subjects, *others)


def _number(text: str, name: str, where: str) -> int:
    """Of a cell; 0 where it is empty."""
    text = text.strip()
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        several = "; the numbers of several people have a + between them, as in 1+2" if name == "subject" else ""
        raise UserError(f"{where}: {name} {text!r} is no whole number{several}")
    return int(text or 0)


def _classes(archive: Archive, own: OwnFacts, rows: Rows) -> tuple[ClassText, ...]:
    if not own.classes:
        names = sorted_names({row["label"] for _, row in rows})
        classes = tuple(ClassText.model_validate({"name": name}) for name in names)
    else:
        classes = own.classes
    where = f"{archive.source}: {FACTS if own.classes else MANIFEST}"
    seen: dict[str, str] = {}
    for text in classes:
        # Most often one class that is written in two ways.
        if other := seen.get(without_case(text.name)):
            raise UserError(f"{where}: classes {other!r} and {text.name!r} have one name; give each its own")
        seen[without_case(text.name)] = text.name
        if not all(is_printable(words) for words in text.model_dump().values() if words):
            raise UserError(f"{where}: class {text.name!r} has a character that cannot be printed")
    return classes


def _unseen(archive: Archive, name: str, split: OwnSplit, names: list[str]) -> tuple[int, ...]:
    """The numbers of the unseen classes of a split. Raises :class:`UserError` when they or its name do not fit."""
    where = f"{archive.source}: {FACTS}: split {name}"
    places = [match_name(label, names) for label in split.unseen]
    for label, place in zip(split.unseen, places, strict=True):
        if place is None:
            raise UserError(f"{where}: {unknown('class', label, names)}")
    unseen = tuple(sorted({place for place in places if place is not None}))
    expected = f"{len(names) - len(unseen)}/{len(unseen)}"
    if len(names) - len(unseen) < 2:
        raise UserError(f"{where}: leaves {len(names) - len(unseen)} of {len(names)} classes seen; two must be seen")
    if not re.fullmatch(rf"{expected}(:[a-z0-9-]+)?", name):
        raise UserError(f"{where}: should be called {expected}, for its seen and unseen classes, or {expected}:a-name")
    return unseen


def _label(text: str, names: Sequence[str]) -> int | None:
    """The number of a class, from its name, or from its zero-based number where no class is called by one."""
    if (label := match_name(text, names)) is not None:
        return label
    is_number = text.isascii() and text.isdigit() and len(text) < 6
    if not is_number or any(name.isdigit() for name in names) or int(text) >= len(names):
        return None
    return int(text)


def _sides(archive: Archive, own: OwnFacts, rows: Rows) -> dict[str, Side]:
    """The sides of ``dataset.toml``, and that of the manifest's column ``fold`` where it has one."""
    source = "the owner's dataset.toml"
    sides = {name: Side(source=source, **side.model_dump()) for name, side in own.side.items()}
    for name, folds in own.folds.items():
        found = sorted({number for _, row in rows for number in _values(row, folds.column) if number})
        _add_folds(sides, name, folds.column, folds.parts or tuple((number,) for number in found), archive, source)
    if strange := [name for name in sides if not _SIDE_NAME.fullmatch(name)]:
        raise UserError(
            f"{archive.source}: {FACTS}: side {strange[0]!r} should be called by letters, digits, dots and dashes"
        )
    told = {row["fold"] for _, row in rows} - {""}
    numbers = sorted(map(int, filter(_is_fold_number, told)))
    if numbers and len(numbers) < len(told):
        raise UserError(f"{archive.source}: {MANIFEST}: column fold has both numbers and words; use one of them")
    if numbers:
        parts = tuple((number,) for number in numbers)
        _add_folds(sides, "fold", "fold", parts, archive, "the owner's manifest.csv")
    elif told:
        if OFFICIAL in sides:
            raise UserError(
                f"{archive.source}: the column fold of {MANIFEST} makes the side {OFFICIAL}; "
                f"call the one in {FACTS} something else"
            )
        sides[OFFICIAL] = folds_of_the_files("the owner's manifest.csv")
    if not sides:
        raise UserError(
            f"{archive.source}: says nothing of who trains and who tests; add [side.x-sub] or [folds.x-sub] to "
            f"{FACTS}, or a column fold with train and test, or with numbers, to {MANIFEST}"
        )
    for name, side in sides.items():
        if not any(any(_values(row, side.column)) for _, row in rows):
            raise UserError(
                f"{archive.source}: {MANIFEST}: has no number in column {side.column}, which side {name} goes by"
            )
        values = {_values(row, side.column) for _, row in rows}
        for part, wanted in (("train", side.train), ("test", side.test)):
            if not any(each <= set(wanted) for each in values):
                raise UserError(f"{archive.source}: side {name}: no clip of {MANIFEST} is on its {part} side")
    return sides


def _add_folds(
    sides: dict[str, Side],
    name: str,
    column: Literal["subject", "camera", "setup", "fold"],
    parts: tuple[tuple[int, ...], ...],
    archive: Archive,
    source: str,
) -> None:
    """Adds a side a part, ``name-1`` and so on. Raises :class:`UserError` for a single part, or a name twice."""
    if len(parts) < 2:
        raise UserError(
            f"{archive.source}: folds {name}: {MANIFEST} has {counted(len(parts), 'number')} in {column}; "
            "two are needed"
        )
    for number, part in enumerate(parts, 1):
        if f"{name}-{number}" in sides:
            raise UserError(f"{archive.source}: two sides are called {name}-{number}; rename one in {FACTS}")
        others = tuple(each for other in parts if other != part for each in other)
        sides[f"{name}-{number}"] = Side(column=column, train=others, test=part, source=source)


def _values(row: Mapping[str, str], column: str) -> frozenset[int]:
    """The number of a clip in a column; of all its subjects."""
    if column == "fold":
        return frozenset({_fold(row)})
    return frozenset(int(text or 0) for text in row[column].split("+"))


def _fold(row: Mapping[str, str]) -> int:
    return int(row["fold"]) if _is_fold_number(row["fold"]) else FOLDS[row["fold"]]


def _is_fold_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 4 and int(text) > 0


def _from_npy(content: bytes, layout: Layout) -> np.ndarray:
    """(M, T, V, 3) from an array (T, V, 3) or (M, T, V, 3)."""
    array = read_array(content)
    if array.ndim not in (3, 4) or array.shape[-2:] != (len(layout), 3):
        raise BadFile(f"has an array of shape {array.shape}; expected ([bodies,] frames, {len(layout)}, 3)")
    if array.dtype.kind != "f":
        raise BadFile(f"has numbers of kind {array.dtype}; expected floating-point numbers")
    return np.asarray(array if array.ndim == 4 else array[None], dtype=np.float64)


def _from_csv(content: bytes, layout: Layout) -> np.ndarray:
    """(1, T, V, 3) from a row a frame, x, y and z of every joint in the order of the layout; empty cells are unseen.

    A row of empty cells is a frame in which nothing was seen; a line without cells is nothing.
    """
    try:
        table = list(csv.reader(io.StringIO(text_bytes(content).decode(), newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise BadFile("is not in UTF-8") from error
    except csv.Error as error:
        raise BadFile(f"is no CSV ({error})") from error
    rows = [(number, row) for number, row in enumerate(table, 1) if row]
    # A first row of words, without any number, is a header.
    if rows and any(rows[0][1]) and not any(map(_is_number, rows[0][1])):
        rows = rows[1:]
    n_columns = len(layout) * 3
    for number, row in rows:
        if len(row) != n_columns:
            raise BadFile(
                f"has {counted(len(row), 'column')} in row {number}; expected {n_columns}, 3 for each of {len(layout)}"
            )
    positions = np.array([[_position(cell, number, at) for at, cell in enumerate(row, 1)] for number, row in rows])
    return positions.reshape(1, len(rows), len(layout), 3)


def _position(cell: str, row: int, column: int) -> float:
    try:
        return float(cell) if cell.strip() else np.nan
    except ValueError as error:
        raise BadFile(f"has {cell[:20]!r} in row {row}, column {column}, which is no number") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _units_a_metre(unit: str | float) -> float:
    return _PER_METRE[unit] if isinstance(unit, str) else 1 / unit
