"""The baseline of the regression gate: the accepted figures, how sure each is, and the command that makes it again.

``baseline.json`` holds the figures of each seed for every task, method, preset and settings, and which test samples
each seed had right, packed to bits, so that a later run can be compared sample by sample without the score files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_text
from mmcl_bench.core.records import first_fault
from mmcl_bench.evaluation.metrics import METRICS, ShareRight
from mmcl_bench.results.groups import Group, group_jobs, matches, unlimited, unversioned
from mmcl_bench.results.store import SCORES, Stored

SCHEMA = 1
EMBEDDED_AT_MOST = 2**16
"""Test samples up to which the right ones are kept: 8 KiB a seed, before they are packed."""
FEWEST_SEEDS = 2


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SeedFigures(_Record):
    """What one seed gave."""

    seed: int
    job: str
    """sha256 of the job."""
    scores: str
    """sha256 of its score matrix: an equal one is the same run to the last bit."""
    figures: dict[str, float | None]
    """By metric, in the task's order."""
    right: str | None
    """Which of the samples that the main metric counts were right: packed bits, deflated, in base64. None where the
    metric is no share of samples, or counts more than :data:`EMBEDDED_AT_MOST`."""


class Environment(_Record):
    """What jobs ran with."""

    mmcl_bench: str
    commit: str | None
    dirty: bool | None
    python: str
    platform: str
    device: str
    packages: dict[str, str]


class Drop(_Record):
    """A fall that somebody accepted."""

    before: float
    after: float
    reason: str


class Reruns(_Record):
    """How far the same seeds move when they run elsewhere: on another machine, with other threads or packages."""

    pairs: int = Field(ge=1)
    deviation: float
    """Root of the mean squared difference of the main metric between a seed's run and its rerun."""
    flip_deviation: float | None
    """What that would be if samples changed sides independently of one another."""
    environments: tuple[Environment, ...]


class Row(_Record):
    """One task, method, preset and settings."""

    task: str
    """Identity."""
    task_version: int
    task_hash: str
    family: str
    synthetic: bool
    incomplete: str = ""
    """What of its data sets is not all of the published set."""
    method: str
    method_version: int
    preset: str
    settings: dict[str, Any]
    overrides: dict[str, Any]
    """The settings that differ from the preset."""
    label: str
    """Method, preset and overrides in words."""
    command: str
    """Makes the jobs of these seeds."""
    metric: str
    """The task's main metric: the one that is guarded."""
    n: int
    """Test samples that it counts."""
    figures: dict[str, float | None]
    """Means over seeds."""
    deviation: float
    """Standard deviation of the main metric over seeds."""
    flip_deviation: float | None
    """What that would be if samples changed sides independently of one another; None where ``right`` is."""
    repeatable: bool
    """Whether all seeds gave the same scores to the last bit, as methods without chance do."""
    samples: str
    """sha256 of the counted samples' ids and classes, in order."""
    data_fingerprints: dict[str, str]
    weight_hashes: dict[str, str]
    environments: tuple[Environment, ...] = Field(min_length=1)
    """Different ones once."""
    seeds: tuple[SeedFigures, ...] = Field(min_length=1)
    reruns: Reruns | None = None
    """None where nobody has measured them."""
    drops: tuple[Drop, ...] = ()
    """Falls that were accepted, the latest last."""

    @property
    def key(self) -> str:
        """What stays the same from version to version."""
        return key_of(self.task, self.label, self.incomplete)

    @property
    def name(self) -> str:
        return f"{self.task} {self.label}{f' on {self.incomplete}' if self.incomplete else ''}"

    @property
    def figure(self) -> float:
        """The main metric, mean over seeds."""
        return defined(self.figures[self.metric], self.name)

    @property
    def by_seed(self) -> np.ndarray:
        """float64 (S,), the main metric of each seed."""
        return np.array([defined(seed.figures[self.metric], self.name) for seed in self.seeds])

    def right(self) -> np.ndarray | None:
        """bool (S, n), the samples that each seed had right; None where they are not kept."""
        texts = [seed.right for seed in self.seeds if seed.right is not None]
        return np.stack([unpacked(text, self.n) for text in texts]) if len(texts) == len(self.seeds) else None


class Baseline(_Record):
    """The content of ``baseline.json``."""

    schema_version: int = Field(default=SCHEMA)
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Raises :class:`UserError` for a file that is missing, damaged, or of another schema."""
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise UserError(f"{path}: no baseline; make one with mmcl-bench baseline accept") from error
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: not a readable baseline ({error}); restore it from git") from error
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA:
            raise UserError(
                f"{path}: schema version {version}, this mmcl-bench reads {SCHEMA}; make it anew with baseline accept"
            )
        try:
            baseline = cls.model_validate(content)
            for row in baseline.rows:
                row.by_seed, row.right()
        except ValidationError as error:
            where, message = first_fault(error)
            raise UserError(f"{path}: {where}: {message}; restore it from git") from error
        except (ValueError, KeyError, zlib.error) as error:
            raise UserError(f"{path}: {error}; restore it from git") from error
        return baseline

    def write(self, path: Path) -> None:
        """The same content gives the same bytes."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(path, text)


def rows_of(
    stored: Sequence[Stored],
    pattern: str = "*",
    allow_dirty: bool = False,
    on_refused: Callable[[str], None] = lambda why: None,
) -> list[Row]:
    """A row for all finished jobs that differ in their seed alone, of the newest version each; smoke runs are left out.

    No row is made, and ``on_refused`` is told why, where jobs ran from a changed checkout (unless ``allow_dirty``),
    where one row is there on different data, or has fewer than two seeds. Raises :class:`UserError` where nothing is
    left.
    """
    wanted = [job for job in stored if matches(job.result.task.identity, pattern)]
    whole = unlimited(wanted)
    if not whole:
        raise UserError(_nothing(len(stored), len(wanted), pattern))
    by_key: dict[str, list[Group]] = defaultdict(list)
    for group in group_jobs(whole):
        by_key[key_of(group.task.identity, group.label, group.incomplete)].append(group)
    rows: list[Row] = []
    refused: list[UserError] = []
    for groups in by_key.values():
        try:
            rows.append(row_of(_sound(_newest(groups), allow_dirty)))
        except UserError as error:
            refused.append(error)
    if not rows:
        raise refused[0]
    for why in refused:
        on_refused(str(why))
    return sorted(rows, key=lambda row: (row.task, row.label))


def row_of(group: Group) -> Row:
    """The row of finished jobs."""
    task, method, first = group.task, group.method, group.first
    kept = _right_by_seed(group)
    seeds = tuple(
        SeedFigures(
            seed=job.result.seed,
            job=job.result.job_hash,
            scores=job.result.files[SCORES],
            figures={name: job.result.metrics[name].value for name in task.metrics},
            right=None if kept is None else packed(kept[place]),
        )
        for place, job in enumerate(group.jobs)
    )
    main = np.array([defined(seed.figures[task.main_metric], task.identity) for seed in seeds])
    return Row(
        task=task.identity,
        task_version=task.version,
        task_hash=task.hash,
        family=task.family,
        synthetic=task.synthetic,
        incomplete=group.incomplete,
        method=method.name,
        method_version=method.version,
        preset=method.preset,
        settings=dict(method.settings),
        overrides=dict(method.overrides),
        label=group.label,
        command=group.command,
        metric=task.main_metric,
        n=first.metrics[task.main_metric].n,
        figures={name: _mean(seed.figures[name] for seed in seeds) for name in task.metrics},
        deviation=float(main.std(ddof=1)) if len(main) > 1 else 0.0,
        flip_deviation=None if kept is None else flip_deviation(kept),
        repeatable=method.deterministic or (len(seeds) > 1 and len({seed.scores for seed in seeds}) == 1),
        samples=_counted_samples(group.jobs[0]),
        data_fingerprints=dict(sorted(first.provenance.data_fingerprints.items())),
        weight_hashes=dict(sorted(first.provenance.weight_hashes.items())),
        environments=_environments(group),
        seeds=seeds,
    )


def with_reruns(row: Row, rerun: Row) -> Row:
    """The row with what the same seeds, run elsewhere, say of its noise; as it was where they share none.

    Raises :class:`UserError` where the two are not of the same task, method and samples.
    """
    if not made_alike(row, rerun) or row.samples != rerun.samples:
        raise UserError(
            f"{row.name}: the reruns are of another version of the task or the method, of other settings or samples; "
            "run them again"
        )
    again = {seed.seed: place for place, seed in enumerate(rerun.seeds)}
    pairs = [(place, again[seed.seed]) for place, seed in enumerate(row.seeds) if seed.seed in again]
    if not pairs:
        return row
    first, second = (list(places) for places in zip(*pairs, strict=True))
    differences = rerun.by_seed[second] - row.by_seed[first]
    before, after = row.right(), rerun.right()
    flips = None if before is None or after is None else float((before[first] != after[second]).sum(axis=1).mean())
    measured = Reruns(
        pairs=len(pairs),
        deviation=math.sqrt(float((differences**2).mean())),
        flip_deviation=None if flips is None else math.sqrt(flips) / row.n,
        environments=rerun.environments,
    )
    return row.model_copy(update={"reruns": measured})


def made_alike(row: Row, other: Row) -> bool:
    """Whether two rows are of one task and one method with the same settings, so that noise alone parts their seeds."""
    facts = [(each.task_hash, each.method_version, each.settings) for each in (row, other)]
    return facts[0] == facts[1]


def key_of(task: str, label: str, incomplete: str = "") -> str:
    """The :attr:`Row.key` of finished jobs: figures on a part of a set are never held to those on the whole."""
    return " ".join(filter(None, [unversioned(task), label, incomplete and f"on {incomplete}"]))


def flip_deviation(right: np.ndarray) -> float:
    """Standard deviation over seeds of the share of right samples, bool (S, n), if each sample changed sides on its
    own: the root of the summed variances of the samples, over n. 0 for one seed."""
    n_seeds, n = right.shape
    return math.sqrt(float(right.var(axis=0, ddof=1).sum())) / n if n_seeds > 1 else 0.0


def packed(right: np.ndarray) -> str:
    """bool (n,) as text."""
    return base64.b64encode(zlib.compress(np.packbits(right).tobytes(), 9)).decode("ascii")


def unpacked(text: str, n: int) -> np.ndarray:
    """bool (n,) from :func:`packed`. Raises :class:`ValueError` for text that is not that of n samples."""
    size = -(-n // 8)
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(base64.b64decode(text, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(f"bits of {n} samples that do not unpack") from error
    if len(data) != size:
        raise ValueError(f"bits of another number of samples than {n}")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=n).astype(bool)


def _newest(groups: Sequence[Group]) -> Group:
    """The group of the highest task and method version. Raises :class:`UserError` where two are left."""
    newest = max((group.task.version, group.method.version) for group in groups)
    left = [group for group in groups if (group.task.version, group.method.version) == newest]
    if len(left) > 1:
        folders = " and ".join(str(group.jobs[0].folder) for group in left[:2])
        raise UserError(
            f"{left[0].task.identity} {left[0].label} is there twice, on other data, texts or settings: {folders}; "
            "remove the one that is out of date"
        )
    return left[0]


def _sound(group: Group, allow_dirty: bool) -> Group:
    """The group, if a baseline can be made of it. Raises :class:`UserError` where it cannot."""
    name = f"{group.task.identity} {group.label}"
    by_seed: dict[int, Path] = {}
    for job in group.jobs:
        if job.result.provenance.dirty and not allow_dirty:
            raise UserError(
                f"{job.folder}: ran from a checkout with uncommitted changes; commit and run it again, or --allow-dirty"
            )
        if job.result.seed in by_seed:
            raise UserError(
                f"{name}: seed {job.result.seed} is there twice, in {by_seed[job.result.seed]} and {job.folder}; "
                "remove one"
            )
        by_seed[job.result.seed] = job.folder
    if len(group.jobs) < FEWEST_SEEDS and not group.method.deterministic:
        raise UserError(
            f"{name}: one seed says nothing of the spread over seeds; run two or more, better five: "
            f"{group.command_of(5)}"
        )
    return group


def _nothing(n_stored: int, n_wanted: int, pattern: str) -> str:
    if n_wanted:
        return f"the {n_wanted} jobs of {pattern} are all smoke runs (--limit); run it without"
    return f"none of the {n_stored} stored jobs is of a task like {pattern}; see mmcl-bench list tasks"


def _counted_samples(job: Stored) -> str:
    """sha256 of ids and classes of the samples that the main metric counts."""
    counted = METRICS.get(job.result.task.main_metric).counted(job.scored())
    samples = job.samples[counted]
    pairs = zip(samples["sample_id"], samples["column"], strict=True)
    text = json.dumps([[str(sample_id), job.result.classes[column]] for sample_id, column in pairs])
    return hashlib.sha256(text.encode()).hexdigest()


def _right_by_seed(group: Group) -> np.ndarray | None:
    """bool (S, n), whether the main metric has each counted sample right; None where that is not kept."""
    metric = METRICS.get(group.task.main_metric)
    if not isinstance(metric, ShareRight) or group.first.metrics[metric.name].n > EMBEDDED_AT_MOST:
        return None
    return np.stack([metric.right(sheet)[metric.counted(sheet)] for sheet in group.runs()])


def _environments(group: Group) -> tuple[Environment, ...]:
    found: dict[str, Environment] = {}
    for job in group.jobs:
        facts = job.result.provenance.model_dump(include={*Environment.model_fields})
        environment = Environment(**{**facts, "packages": dict(sorted(facts["packages"].items()))})
        found.setdefault(environment.model_dump_json(), environment)
    return tuple(found[text] for text in sorted(found))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def defined(figure: float | None, name: str) -> float:
    if figure is None:
        raise UserError(f"{name}: the main metric has no value on this test, so there is nothing to guard")
    return figure
