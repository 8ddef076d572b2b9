"""Prediction of classes for unlabelled clips, by the models of finished jobs."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.special import softmax

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import DamagedError, read_text
from mmcl_bench.core.text import is_printable
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.sources import Source
from mmcl_bench.datasets.store import Clip
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared.saved import saved_layout
from mmcl_bench.protocols.problem import ClipView, mapped_to_layout
from mmcl_bench.results.groups import matches
from mmcl_bench.results.store import FUSION, RESULT, Stored, stored_results
from mmcl_bench.skeleton.layouts import Layout

_CLIPS_AT_ONCE = 256
_NAMED = 6
"""Jobs that a message lists at most."""


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of a clip, in falling order."""

    sample: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class TrainedModel:
    """The model of a finished job and its candidate classes."""

    stored: Stored
    method: Method
    layout: str | Layout
    """The joint layout that it scores, or its name."""
    classes: tuple[str, ...]
    seen: np.ndarray
    """bool (K,)"""

    @classmethod
    def of(cls, stored: Stored, device: str = "cpu") -> TrainedModel:
        """Raises :class:`UserError` when the job has no model, or one that this version cannot use."""
        result = stored.result
        if result.method.name == FUSION:
            raise UserError(f"{stored.folder}: fuses the scores of other jobs; predict with one of these")
        if not stored.model_files:
            raise UserError(
                f"{stored.folder}: keeps no model; where its method can keep one, run the job again with --fresh"
            )
        try:
            stored.check(stored.model_files)
        except DamagedError as error:
            raise UserError(f"{stored.folder}: {error}; run the job again with --fresh") from error
        try:
            method = METHODS.get(result.method.name)(**result.method.settings)
            method.load(stored.folder, device)
        # Raised for a model of another version of the network, or one edited by hand.
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{stored.folder}: its model does not fit {result.method.name} as it is here; run the job again with "
                "--fresh"
            ) from error
        return cls(stored, method, saved_layout(stored.folder), result.classes, np.array(result.seen, dtype=bool))

    @property
    def usual_reader(self) -> str | None:
        """The reader of the data that it was trained on; None for own and generated data."""
        (trained_on, *_) = self.stored.result.task.datasets
        return trained_on if trained_on in READERS and not READERS.get(trained_on).embedded else None

    def with_texts(self, texts: Mapping[str, str], data_root: Path) -> TrainedModel:
        """The model with all its classes replaced by those of ``texts``, descriptions by class name.

        Raises :class:`UserError` when the model does not use class texts, or when the text encoder of its task has
        other weights than in training.
        """
        from mmcl_bench.encoders import centres
        from mmcl_bench.encoders.cache import cached_text

        if len(texts) < 2:
            raise UserError("class texts name the classes to choose from; give two or more")
        record = self.stored.result
        encoder = record.task.parameters.get("text")
        if encoder is None:
            raise UserError(
                f"{record.task.identity}: its classes are known by training clips, not by texts; leave the texts out, "
                "or choose a zero-shot job"
            )
        # What an encoder subtracts from all vectors is the mean of the texts that were learned.
        learned = self._learned_texts(data_root) if centres(encoder) else []
        seen = np.arange(len(learned) + len(texts)) < len(learned) if learned else None
        embeddings, weight_hash = cached_text(encoder, [*learned, *texts.values()], data_root / "cache", seen=seen)
        embeddings = embeddings[len(learned) :]
        if record.provenance.weight_hashes.get(encoder, weight_hash) != weight_hash:
            raise UserError(f"text encoder {encoder}: its weights are not those that {self.stored.folder} learned with")
        self.method.replace_classes(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
        return replace(self, classes=tuple(texts), seen=np.zeros(len(texts), dtype=bool))

    def _learned_texts(self, data_root: Path) -> list[str]:
        """Those of the classes that the job trained on: in a transfer by texts, the sources' classes, which come before
        the candidates, and else the seen ones.

        Raises :class:`UserError` where the task is not here as it was.
        """
        from mmcl_bench.protocols.catalogue import load_task

        record = self.stored.result.task
        task = load_task(record.identity, data_root)
        if task.hash != record.hash:
            raise UserError(f"{record.identity}: is not the task that {self.stored.folder} learned; run the job again")
        texts = list(task.class_texts())
        if task.by_texts:
            return texts[: len(texts) - len(self.seen)]
        return [text for text, is_seen in zip(texts, self.seen, strict=True) if is_seen]

    def probabilities(self, clips: ClipView, calibrated: bool = False) -> np.ndarray:
        """float64 (N, K): softmax of the scores; ``calibrated`` subtracts the job's calibration from seen classes."""
        # In a transfer by texts, those of the sources' classes come first.
        scores = self.method.score(clips)[:, -len(self.classes) :].astype(np.float64)
        if calibrated:
            scores -= self.stored.result.selection.calibration * self.seen
        shares: np.ndarray = softmax(scores, axis=1)
        return shares


def predict(
    model: TrainedModel,
    source: Source,
    on_bad: Callable[[str, str], None],
    top: int = 5,
    calibrated: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Prediction]:
    """The ``top`` classes of every usable clip of a source, in its order; ``on_bad`` is called with the others.

    Joints are mapped to the model's layout.
    """
    usable = _clips(source, on_bad, advance)
    while clips := list(islice(usable, _CLIPS_AT_ONCE)):
        view = ClipView([clip.bodies for clip in clips], [clip.n_frames for clip in clips], source.layout)
        shares = model.probabilities(mapped_to_layout(view, model.layout), calibrated)
        best = np.argsort(-shares, axis=1, kind="stable")[:, :top]
        for clip, columns, row in zip(clips, best, shares, strict=True):
            yield Prediction(clip.sample_id, tuple(model.classes[c] for c in columns), tuple(map(float, row[columns])))


def _clips(source: Source, on_bad: Callable[[str, str], None], advance: Callable[[int, int], None]) -> Iterator[Clip]:
    for done, unit in enumerate(source.units, 1):
        yield from source.clips(unit, on_bad)
        advance(done, len(source.units))


def find_job(root: Path, wanted: str, method: str | None = None, seed: int | None = None) -> Stored:
    """The one finished job that ``wanted`` names: its folder, the start of its hash, or its task.

    A task is matched by :func:`~mmcl_bench.results.groups.matches`. ``method`` and ``seed`` select among its
    jobs. Raises :class:`UserError` when there is none or more than one.
    """
    if (Path(wanted) / RESULT).is_file():
        stored = Stored.read(Path(wanted))
        if stored is None:
            raise UserError(f"{wanted}: its result is damaged or of another version; run the job again")
        return stored
    found = _by_hash(root, wanted) or [job for job in stored_results(root) if matches(job.result.task.identity, wanted)]
    if not found:
        raise UserError(
            f"{root / 'jobs'}: no finished job is {wanted!r}; give a job's folder, the start of its hash, or its task"
        )
    chosen = [
        stored for stored in found if method in (None, stored.result.method.name) and seed in (None, stored.result.seed)
    ]
    if len(chosen) == 1:
        return chosen[0]
    told = "; ".join(_description(stored) for stored in (chosen or found)[:_NAMED])
    if not chosen:
        raise UserError(f"no finished job of {wanted!r} has that --method and --seed; there are {told}")
    more = f"; and {len(chosen) - _NAMED} more" if len(chosen) > _NAMED else ""
    raise UserError(f"{len(chosen)} jobs are {wanted!r}; give --method, --seed or the hash of one: {told}{more}")


def _by_hash(root: Path, wanted: str) -> list[Stored]:
    if not re.fullmatch("[0-9a-f]{4,64}", wanted):
        return []
    return list(stored_results(root, hash_start=wanted))


def _description(stored: Stored) -> str:
    result = stored.result
    return f"{result.job_hash[:12]} ({result.task.identity}, {result.method.name}, seed {result.seed})"


def read_texts(path: Path) -> dict[str, str]:
    """Class texts by name: a TOML file of ``"name" = "text"``, or a CSV file with the columns name and text.

    Raises :class:`UserError` with what is wrong.
    """
    try:
        content = read_text(path)
        return _of_csv(path, content) if path.suffix.lower() == ".csv" else _of_toml(path, content)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file of class texts") from error
    # Beside what is no TOML and no UTF-8, a number of thousands of digits is a ValueError.
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"{path}: not a readable file of class texts ({error})") from error


def _of_toml(path: Path, content: str) -> dict[str, str]:
    texts = tomllib.loads(content)
    for name, text in texts.items():
        _require_words(path, name, text)
    return texts


def _of_csv(path: Path, content: str) -> dict[str, str]:
    rows = csv.DictReader(content.splitlines(), strict=True)
    if not {"name", "text"} <= set(rows.fieldnames or ()):
        raise UserError(f"{path}: its first row should name the columns name and text")
    texts: dict[str, str] = {}
    for row in rows:
        _require_words(path, row["name"], row["text"])
        if row["name"] in texts:
            raise UserError(f"{path}: class {row['name']!r} is there twice")
        texts[row["name"]] = row["text"]
    return texts


def _require_words(path: Path, name: object, text: object) -> None:
    for what in (name, text):
        if not (isinstance(what, str) and what.strip() and is_printable(what)):
            raise UserError(f"{path}: class {name!r} should have a name and a text, both printable words")
