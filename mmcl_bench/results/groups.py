"""Groups of jobs that differ only in their seed: the rows of a table."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mmcl_bench.core.grants import RGB_AT_TEST, Setting
from mmcl_bench.core.settings import setting_text
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.results.records import MethodRecord, Result, TaskRecord
from mmcl_bench.results.store import FUSION, FUSION_OPTIONS, Stored

_KEPT_BYTES = 2**20
"""Size limit for keeping score sheets in memory after reading: enough for many small jobs, not for a large one."""
UNSEEN_ALONE = "unseen_classes_alone"
"""Setting of a result whose scores, from elsewhere, are of the clips and columns of the unseen classes alone."""
INDUCTIVE, UNSEEN_TEXTS = str(Setting.INDUCTIVE), "unseen texts"
SETTINGS = (
    *(INDUCTIVE, UNSEEN_TEXTS),
    *(str(setting) for setting in Setting if setting is not Setting.INDUCTIVE),
    RGB_AT_TEST,
)
"""What tables tell apart: the settings of methods; of inductive ones, those that read texts of unseen classes while
they learned; and those that score with more than the skeleton."""
FAMILIES = ("supervised", "zero-shot", "transfer")


@dataclass(frozen=True)
class Group:
    """Finished jobs of one task on the same data, one method and its settings, one limit; by rising seed."""

    jobs: tuple[Stored, ...]

    @property
    def first(self) -> Result:
        return self.jobs[0].result

    @property
    def task(self) -> TaskRecord:
        return self.first.task

    @property
    def method(self) -> MethodRecord:
        return self.first.method

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(job.result.seed for job in self.jobs)

    @property
    def started(self) -> str:
        """When its last job ran, as a text that sorts by time."""
        return max(job.result.provenance.started for job in self.jobs)

    @property
    def setting(self) -> str:
        """One of :data:`SETTINGS`; only rows of one setting are ranked together."""
        if self.method.scores_with:
            return RGB_AT_TEST
        if self.method.setting is Setting.INDUCTIVE and self.method.uses_unseen_texts:
            return UNSEEN_TEXTS
        return str(self.method.setting)

    @property
    def flags(self) -> str:
        """In words, what a reader should know of how it learned: ``frozen extractor``, ``end to end``, and what it
        read of unseen classes."""
        method = self.method
        features = {True: "frozen extractor", False: "end to end", None: ""}[method.frozen]
        read = "texts of unseen classes in training" if method.uses_unseen_texts else ""
        granted = "" if method.setting is Setting.INDUCTIVE else str(method.setting)
        scored = RGB_AT_TEST if method.scores_with else ""
        return ", ".join(filter(None, [features, read, granted, scored]))

    @property
    def incomplete(self) -> str:
        """What of its data sets is not all of the published set, ``nw-ucla: 1,187 of 1,484 published clips``; mostly
        empty. Figures on a part of a set are not ranked with those on the whole."""
        return self.task.incomplete_data

    @property
    def foreign(self) -> bool:
        """Whether the scores are foreign: read from a file."""
        return bool(self.first.notes.get("foreign"))

    @cached_property
    def task_key(self) -> str:
        """sha256 of the task and the content of its data: figures with different keys are not comparable."""
        return _task_key(self.first)

    @cached_property
    def key(self) -> str:
        """sha256 of all that the jobs share."""
        return _group_key(self.first)

    @property
    def settings(self) -> str:
        """The settings that differ from the preset, as ``key=value, key=value``; for a fusion, first its members."""
        return ", ".join([*(f"{name}={value}" for name, value in self._fusion_options().items()), *self.assignments()])

    @property
    def label(self) -> str:
        """The method, with what distinguishes it from the others in a figure."""
        return self._label(self.setting if self.setting != INDUCTIVE else "")

    @property
    def label_in_setting(self) -> str:
        """The label for a place whose heading tells the setting."""
        return self._label("")

    def _label(self, setting: str) -> str:
        if self.method.name == FUSION:
            name, settings = self._fusion_label()
        else:
            name, settings = self.method.name, self.settings
        beside = ", ".join(filter(None, [settings, setting]))
        return f"{name} ({self.method.preset}{', ' + beside if beside else ''})"

    @property
    def remarks(self) -> list[str]:
        """What a reader of its figures must know, one sentence each."""
        found: dict[str, list[int]] = defaultdict(list)
        for job in self.jobs:
            for text in _remarks(job.result):
                found[text].append(job.result.seed)
        return [
            text if len(seeds) == len(self.jobs) else f"seed {', '.join(map(str, seeds))}: {text}"
            for text, seeds in found.items()
        ]

    @property
    def command(self) -> str:
        """The shell command that makes these jobs; seeds start at 0."""
        return self.command_of(max(self.seeds) + 1)

    def command_of(self, n_seeds: int) -> str:
        """The shell command that makes jobs of so many seeds."""
        if self.foreign:
            return " && ".join(shlex.join(["mmcl-bench", *group._score_verb()]) for group in self._scored_together())
        words = ["mmcl-bench", *self._verb(), "--preset", self.method.preset, "--seeds", str(n_seeds)]
        words += [word for assignment in self.assignments() for word in ("--set", assignment)]
        if self.first.limit is not None:
            words += ["--limit", str(self.first.limit)]
        return shlex.join(words)

    def of_seeds(self, seeds: Collection[int]) -> Group:
        """The group without the jobs of other seeds; itself where there is none."""
        own = tuple(job for job in self.jobs if job.result.seed in seeds)
        return self if len(own) == len(self.jobs) else Group(own)

    def runs(self) -> list[Scored]:
        """The score sheet of each seed; small ones are read once."""
        n_scores = sum(job.result.n_test * len(job.result.classes) for job in self.jobs)
        is_kept = 4 * n_scores <= _KEPT_BYTES or "_kept_runs" in vars(self)
        return self._kept_runs if is_kept else [job.scored() for job in self.jobs]

    @contextmanager
    def runs_in_memory(self) -> Iterator[None]:
        """Inside, large score sheets are read once too."""
        was_kept = "_kept_runs" in vars(self)
        _ = self._kept_runs
        try:
            yield
        finally:
            if not was_kept:
                del vars(self)["_kept_runs"]

    @cached_property
    def _kept_runs(self) -> list[Scored]:
        return [job.scored() for job in self.jobs]

    def generator(self, purpose: str) -> np.random.Generator:
        """A generator seeded by the group and the purpose, so that a report is reproducible."""
        return np.random.default_rng(list(hashlib.sha256(f"{self.key}:{purpose}".encode()).digest()))

    def _fusion_label(self) -> tuple[str, str]:
        """What it is a fusion of, with spaces where a narrow column may break; and how."""
        own = self.method.overrides
        members = own.get("members") or f"{own['method']} {own['streams']}"
        scale = [] if own["scale"] == "logits" else [str(own["scale"])]
        how = ", ".join([f"weights {own['weights']}", *scale, *self.assignments()])
        return f"fusion of {members.replace(',', ', ')}", how

    def _fusion_options(self) -> dict[str, str]:
        """The options of ``mmcl-bench fuse`` that made a fusion; none of a method."""
        if self.method.name != FUSION:
            return {}
        return {name: self.method.overrides[name] for name in FUSION_OPTIONS if name in self.method.overrides}

    def _scored_together(self) -> list[Group]:
        """Of foreign scores, the jobs that one command stores: all, where their seeds count on and one calibration was
        given; else each alone."""
        count_on = self.seeds == tuple(range(self.seeds[0], self.seeds[0] + len(self.jobs)))
        return (
            [self]
            if count_on and len({_given_calibration(job) for job in self.jobs}) == 1
            else [Group((job,)) for job in self.jobs]
        )

    def _score_verb(self) -> list[str]:
        files = list(dict.fromkeys(str(job.result.notes.get("file", "FILE")) for job in self.jobs))
        seed = ["--seed", str(self.seeds[0])] if self.seeds[0] else []
        granted = [] if self.method.setting is Setting.INDUCTIVE else ["--setting", str(self.method.setting)]
        given = _given_calibration(self.jobs[0])
        calibration = [] if given is None else ["--calibration", repr(given)]
        if self.jobs[0].result.notes.get("calibration") == "validation":
            calibration = [word for _ in files for word in ("--validation", "VALIDATION-FILE")]
        named = ["--task", self.task.identity, "--name", self.method.name]
        return ["score", *files, *named, *seed, *granted, *calibration, "--store"]

    def _verb(self) -> list[str]:
        """The verb, and what it takes beside settings."""
        if self.method.name != FUSION:
            return ["run", self.task.identity, "--method", self.method.name]
        options = (word for name, value in self._fusion_options().items() for word in (f"--{name}", value))
        return ["fuse", self.task.identity, *options]

    def assignments(self) -> list[str]:
        """The settings that are not the preset's, as ``--set`` reads them; of a fusion, those of all its members."""
        options = self._fusion_options()
        shown = sorted((name, value) for name, value in self.method.overrides.items() if name not in options)
        return [f"{name}={setting_text(value)}" for name, value in shown]


def _given_calibration(job: Stored) -> float | None:
    """Of foreign scores, the calibration that came with them; None where none did."""
    return job.result.selection.calibration if job.result.notes.get("calibration") == "given" else None


def group_jobs(stored: Iterable[Stored]) -> list[Group]:
    """Groups by family, task and method. A job that is given twice counts once, and so do all seeds of a deterministic
    method."""
    jobs: dict[str, Stored] = {}
    for job in stored:
        jobs.setdefault(job.result.job_hash + _task_key(job.result), job)
    members: dict[str, list[Stored]] = defaultdict(list)
    for job in jobs.values():
        members[_group_key(job.result)].append(job)
    groups = [Group(_counted(of_group)) for of_group in members.values()]
    return sorted(groups, key=_place)


def _counted(jobs: Sequence[Stored]) -> tuple[Stored, ...]:
    """By rising seed; the first alone where the method is deterministic."""
    by_seed = tuple(sorted(jobs, key=lambda job: job.result.seed))
    return by_seed[:1] if by_seed[0].result.method.deterministic else by_seed


def paired_groups(a: Group, b: Group) -> tuple[Group, Group] | None:
    """Two groups whose jobs pair, of the seeds that both have; the only job of a deterministic method pairs with every
    seed of the other. None where they share no seed."""
    if a.method.deterministic:
        return Group(a.jobs * len(b.jobs)), b
    if b.method.deterministic:
        return a, Group(b.jobs * len(a.jobs))
    common = set(a.seeds) & set(b.seeds)
    return (a.of_seeds(common), b.of_seeds(common)) if common else None


def unlimited(stored: Iterable[Stored]) -> list[Stored]:
    """The jobs on all clips. Smoke runs, which ``--limit`` makes, are never ranked."""
    return [job for job in stored if job.result.limit is None]


def newest(stored: Iterable[Stored]) -> list[Stored]:
    """The jobs of the newest version of their task and method: figures of two versions never share a table.

    A version is the newest of all these jobs, on whatever task. A fusion is as old as its members, and a method that
    adapts a base is as old as that."""
    jobs = list(stored)
    latest: dict[tuple[str, ...], int] = defaultdict(int)
    for job in jobs:
        for key, version in _versions(job.result):
            latest[key] = max(latest[key], version)
    return [job for job in jobs if all(version == latest[key] for key, version in _versions(job.result))]


def _versions(result: Result) -> Iterator[tuple[tuple[str, ...], int]]:
    """The versions of what a job is of, by name; scores from elsewhere may have the name of a method of ours."""
    method = result.method
    yield ("task", unversioned(result.task.identity)), result.task.version
    yield ("foreign" if result.notes.get("foreign") else "method", method.name), method.version
    if base := method.settings.get("base_method"):
        yield ("method", base["name"]), base["version"]
    for member in method.settings.get("members", ()) if method.name == FUSION else ():
        yield ("method", member["method"]), member["version"]


def metric_names(groups: Iterable[Group]) -> list[str]:
    """The metrics of any of the groups: registered ones first, in table order."""
    reported = {name for group in groups for name in group.task.metrics}
    known = [name for name in METRICS if name in reported]
    return known + sorted(reported.difference(known))


def metric_title(name: str) -> str:
    """A metric's head in a table; its name where the plugin that defines it is not here."""
    return METRICS.get(name).title if name in METRICS else name


def wiped_out(
    figures: Mapping[str, float | None],
    n_classes: int,
    calibration: float,
    promised: Mapping[str, float | None],
) -> str:
    """Says so where hardly a clip of the seen, or of the unseen, classes is right though clips of the others are.

    That is where S or U is 0, or below chance and less than a quarter of the other. ``promised`` are the metrics on
    validation, empty where there was none. Empty where neither side is wiped out, or the figures are unknown.
    """
    for names in _SIDES:
        seen, unseen = (figures.get(name) for name in names[:2])
        if seen is None or unseen is None:
            continue
        what, lost, other = ("seen", seen, unseen) if seen < unseen else ("unseen", unseen, seen)
        if lost < other / 4 and lost < 1 / n_classes:
            how = "wiped out" if lost == 0 else "all but wiped out"
            cause = f"by calibration {calibration:.4g}" if calibration else "without a calibration"
            before = (
                f"validation had promised {_percents(names, promised)}" if promised else "no validation warned of it"
            )
            return f"the {what} classes are {how} {cause}: {_percents(names, figures)}; {before}"
    return ""


def _percents(names: Iterable[str], figures: Mapping[str, float | None]) -> str:
    known = [(metric_title(name), value) for name in names if (value := figures.get(name)) is not None]
    return ", ".join(f"{title} {100 * value:.1f}" for title, value in known)


_SIDES = (("gzsl_seen", "gzsl_unseen", "gzsl_h"), ("gzsl_macro_seen", "gzsl_macro_unseen", "gzsl_macro_h"))


def _remarks(result: Result) -> Iterator[str]:
    figures = {name: figure.value for name, figure in result.metrics.items()}
    selection = result.selection
    if text := wiped_out(figures, len(result.classes), selection.calibration, selection.validation):
        yield text
    if result.method.settings.get(UNSEEN_ALONE):
        yield "scores of the unseen classes alone, so S, U and H are unknown"


def _place(group: Group) -> tuple[int, str, str, str, str, str, str, str]:
    family = group.task.family
    order = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
    method = group.method
    return (
        *(order, family, group.task.identity, group.incomplete, group.task_key),
        *(method.name, method.preset, group.key),
    )


def _task_key(result: Result) -> str:
    return _digest(result.task.identity, result.task.hash, result.provenance.data_fingerprints)


def _group_key(result: Result) -> str:
    method = result.method
    # The task's hash has the main text of each class alone.
    texts = [result.job["slot_texts"]] if "slot_texts" in result.job else []
    made = method.name, method.version, method.preset, method.settings, result.limit
    return _digest(_task_key(result), *made, *texts)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def unversioned(identity: str) -> str:
    """A task's identity without its version."""
    return re.sub(r"@\d+", "", identity, count=1)


def matches(identity: str, pattern: str) -> bool:
    """Whether a task's identity, with or without version and parameters, or its family, matches a shell glob.

    Square brackets are literal, because identities contain them.
    """
    plain = unversioned(identity)
    names = (identity, plain, identity.partition("[")[0], plain.partition("[")[0], identity.partition("/")[0])
    return any(fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")) for name in names)
