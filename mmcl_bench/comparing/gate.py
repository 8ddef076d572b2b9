"""Whether figures have fallen below the baseline by more than chance explains.

The same code on the same machine gives the same scores. Another machine, or other package versions, round otherwise,
and training turns that into what another seed would have given. So a figure may differ by seed noise, and no more.
``docs/gate.md`` says why the rule is this one, and how often it was right.
"""

from __future__ import annotations

import enum
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np

from mmcl_bench.comparing.baseline import Baseline, Drop, Row, key_of, made_alike, row_of
from mmcl_bench.core.errors import UserError
from mmcl_bench.results.groups import Group, group_jobs, unlimited
from mmcl_bench.results.store import Stored

FALSE_ALARMS = 0.01
"""Chance that a check without a change fails, over all its rows together."""
STEPS = 2
"""Samples that may be lost without an alarm, however sure a figure is."""
BORROWED_AT_MOST = 8.0
"""Degrees of freedom that a row takes from others: it knows its own noise best once it has as many runs."""
Basis = Literal["exact", "reruns", "seeds"]
"""What the noise is: none but rounding in a method without chance; that of the same seed run elsewhere; that of other
seeds."""
LEAST: Mapping[Basis, float] = MappingProxyType({"exact": 0.0025, "reruns": 0.01, "seeds": 0.01})
"""Share of the samples that may be lost likewise, where that is more. In methods without chance, another processor's
rounding was seen to flip one of some thousand. In trained ones, it moves most seeds by hardly anything and a few by
several times as much, which no quantile of few reruns foresees."""


class Verdict(enum.StrEnum):
    SAME = "same"
    """The same scores to the last bit."""
    HELD = "held"
    FELL = "fell"
    ROSE = "rose"
    BROKE = "broke"
    """A job of it ended with an error."""
    REFUSED = "refused"
    MISSING = "missing"


FAILING = (Verdict.FELL, Verdict.BROKE)


@dataclass(frozen=True)
class Noise:
    """How far a figure moves without a change."""

    deviation: float
    """Standard deviation: of one seed from the next, or of a rerun from the same seed's first run."""
    freedom: float
    """Degrees of freedom behind it."""


@dataclass(frozen=True)
class RowNoise:
    """Both kinds of noise of a row."""

    seeds: Noise
    reruns: Noise | None
    """None where nobody has measured it."""


@dataclass(frozen=True)
class Judgement:
    """A row of the baseline, and what has become of it."""

    row: Row
    verdict: Verdict
    reason: str = ""
    """Why it broke, or is refused or missing."""
    now: Row | None = None
    basis: Basis = "seeds"
    difference: float = math.nan
    """Main metric now, less that of the baseline: seed by seed where the basis is ``reruns``, else of the means."""
    tolerance: float = math.nan
    p_value: float = math.nan
    """One-sided, that chance alone makes it fall as far, for this row alone; nan where no chance is in it."""
    lost: float = math.nan
    """Samples that were right and are wrong, mean over seeds that both have; nan where they are not kept."""
    gained: float = math.nan
    notes: tuple[str, ...] = ()

    @property
    def before(self) -> float:
        """The main metric of the baseline: of the seeds that were run, where they are compared seed by seed."""
        return self.row.figure if self.now is None or math.isnan(self.difference) else self.now.figure - self.difference


def noises(rows: Sequence[Row]) -> dict[str, RowNoise]:
    """The noise of each row by its key, from its own runs and from like rows.

    Few runs say little of a deviation. What they do say well is how many samples change sides from run to run, so each
    row's variance is put as a multiple of what independent changes would give. That multiple, the overdispersion, is
    averaged over the other rows of its family on data of its kind (real or synthetic), and taken as a second
    measurement of the row's variance, as in a moderated t statistic (Smyth, Statistical Applications in Genetics and
    Molecular Biology 3, 2004).
    """
    alike: dict[tuple[str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        alike[row.family, row.synthetic].append(row)

    def noise_of(row: Row) -> RowNoise:
        others = [other for other in alike[row.family, row.synthetic] if other.key != row.key and not other.repeatable]
        reruns = _of_reruns(row)
        return RowNoise(
            _moderated(_of_seeds(row), [_of_seeds(other) for other in others]),
            None if reruns is None else _moderated(reruns, [each for other in others if (each := _of_reruns(other))]),
        )

    return {row.key: noise_of(row) for row in rows}


def tolerance(error: float, freedom: float, n: int, level: float, basis: Basis) -> float:
    """How far a figure of n samples may fall whose standard error without a change is ``error``: chance alone goes
    further with a probability of ``level``. Never less than :data:`STEPS` samples and a share of :data:`LEAST`."""
    from scipy import stats

    if freedom == 0:
        return math.inf
    least = max(STEPS / n, LEAST[basis])
    return least if error == 0 else max(least, float(stats.t.isf(level, freedom)) * error)


def standard_error(row: Row, noise: RowNoise, basis: Basis, n_now: int) -> tuple[float, float]:
    """Of the difference to ``n_now`` seeds without a change, and its degrees of freedom."""
    if basis == "exact":
        return 0.0, math.inf
    if basis == "reruns" and noise.reruns is not None:
        return noise.reruns.deviation / math.sqrt(n_now), noise.reruns.freedom
    return noise.seeds.deviation * math.sqrt(1 / len(row.seeds) + 1 / n_now), noise.seeds.freedom


def basis_of(row: Row, seeds: Collection[int], only_seeds: bool = False) -> Basis:
    """Which noise a run of these seeds is judged by."""
    if row.repeatable:
        return "exact"
    known = {seed.seed for seed in row.seeds}
    return "reruns" if row.reruns is not None and not only_seeds and known.issuperset(seeds) else "seeds"


def judge(
    rows: Sequence[Row],
    now: Mapping[str, Row],
    absent: Mapping[str, str] = MappingProxyType({}),
    refused: Mapping[str, str] = MappingProxyType({}),
    broken: Mapping[str, str] = MappingProxyType({}),
    false_alarms: float = FALSE_ALARMS,
    only_seeds: bool = False,
    known: Sequence[Row] | None = None,
) -> list[Judgement]:
    """Judges each row of a baseline by what there is of it now, by key; ``absent`` says why one is missing,
    ``refused`` why one was not run, ``broken`` with which error a job of one ended.

    ``false_alarms`` bounds the chance that any row falls without a change: each row with chance in it has an equal
    share of it (Bonferroni). Holm's procedure finds a first fall exactly where this does, so as a gate they are one.
    ``only_seeds`` judges by the spread over seeds even where the noise of reruns was measured. ``known`` are the rows
    that noise is taken from, by default all of ``rows``. Rises are judged likewise.
    """
    unlike = {row.key: reason for row in rows if row.key in now and (reason := _unlike(row, now[row.key]))}
    refused = {**refused, **unlike}
    judged = [row for row in rows if row.key in now and row.key not in {*refused, *broken}]
    level = false_alarms / max(1, sum(not row.repeatable for row in judged))
    noise_of = noises(rows if known is None else known)

    def judgement(row: Row) -> Judgement:
        if row.key in broken:
            return Judgement(row, Verdict.BROKE, broken[row.key])
        if row.key in refused:
            return Judgement(row, Verdict.REFUSED, refused[row.key], now.get(row.key))
        if row.key not in now:
            return Judgement(row, Verdict.MISSING, absent.get(row.key, "no finished job"))
        return _compared(row, now[row.key], noise_of[row.key], level, only_seeds)

    return [judgement(row) for row in rows]


def current_rows(rows: Sequence[Row], stored: Sequence[Stored]) -> dict[str, Row]:
    """What finished jobs say of the rows of a baseline, by key; smoke runs do not count.

    Where several versions of a task, a method or the data are there, the baseline's is taken, else the newest; of
    jobs that differ in what their preset meant, those with the baseline's values, else those that ran last. Jobs on
    an incomplete copy of the data count as other data.
    """
    found: dict[str, list[Group]] = defaultdict(list)
    for group in group_jobs(unlimited(stored)):
        found[key_of(group.task.identity, group.label)].append(group)

    def fit(row: Row, group: Group) -> tuple[bool, bool, int, int, bool, str]:
        same = group.task.hash == row.task_hash and group.first.provenance.data_fingerprints == row.data_fingerprints
        versions = group.task.version, group.method.version
        return same, group.incomplete == row.incomplete, *versions, group.method.settings == row.settings, group.started

    return {
        row.key: row_of(max(groups, key=partial(fit, row)))
        for row in rows
        if (groups := found.get(key_of(row.task, row.label)))
    }


def _compared(row: Row, now: Row, noise: RowNoise, level: float, only_seeds: bool) -> Judgement:
    from scipy import stats

    basis = basis_of(row, [seed.seed for seed in now.seeds], only_seeds)
    error, freedom = standard_error(row, noise, basis, len(now.seeds))
    allowed = tolerance(error, freedom, row.n, level, basis)
    notes = _notes(row, now)
    if same_scores(row, now):
        return Judgement(row, Verdict.SAME, "", now, basis, 0.0, allowed, math.nan, 0.0, 0.0, notes)
    difference = _by_seed(row, now) if basis == "reruns" else now.figure - row.figure
    p_value = float(stats.t.cdf(difference / error, freedom)) if error > 0 and freedom > 0 else math.nan
    # A difference that equals the tolerance but for rounding is within it.
    beyond = abs(difference) > allowed + 1e-9
    verdict = Verdict.HELD if not beyond else Verdict.FELL if difference < 0 else Verdict.ROSE
    return Judgement(row, verdict, "", now, basis, difference, allowed, p_value, *_changed(row, now), notes)


def same_scores(row: Row, now: Row) -> bool:
    """Whether every seed of now has the scores of the baseline's, to the last bit, and its figure: what makes a figure
    of scores may have changed as well."""
    before = {seed.seed: (seed.scores, _rounded(seed.figures[row.metric])) for seed in row.seeds}
    return all(before.get(seed.seed) == (seed.scores, _rounded(seed.figures[row.metric])) for seed in now.seeds)


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 9)


def accepted(before: Baseline, rows: Sequence[Row], reason: str | None = None) -> Baseline:
    """The baseline with rows put in the place of their former selves, and the others as they were.

    A row without measured reruns keeps those of its former self, if that was of the same task and the same version of
    the method. A fall that a check would fail on, were other random numbers drawn, is written down with its reason.
    Raises :class:`UserError` for one without.
    """
    former = {row.key: row for row in before.rows}
    again = [former[row.key] for row in rows if row.key in former]
    judgements = judge(again, {row.key: row for row in rows}, only_seeds=True, known=before.rows)
    fallen = [judgement for judgement in judgements if judgement.verdict is Verdict.FELL]
    if fallen and reason is None:
        first = fallen[0]
        others = f" (and {len(fallen) - 1} more)" if len(fallen) > 1 else ""
        raise UserError(
            f"{first.row.name}{others}: {first.row.metric} {100 * first.row.figure:.1f} % would fall by "
            f"{-100 * first.difference:.1f} points, more than chance explains; mend it, or --allow-drop REASON"
        )
    drops = {
        fall.row.key: Drop(before=fall.row.figure, after=fall.row.figure + fall.difference, reason=str(reason))
        for fall in fallen
    }
    new = {row.key: _with_history(row, former.get(row.key), drops.get(row.key)) for row in rows}
    kept = {**former, **new}
    return Baseline(rows=tuple(sorted(kept.values(), key=lambda row: (row.task, row.label))))


def _with_history(row: Row, former: Row | None, drop: Drop | None) -> Row:
    """The row with the falls that were accepted before, and now, and with the reruns that were measured before."""
    if former is None:
        return row
    drops = (*former.drops, *([drop] if drop is not None else []))
    same = made_alike(row, former)
    keeps_reruns = row.reruns is None and same
    return row.model_copy(update={"drops": drops, "reruns": former.reruns if keeps_reruns else row.reruns})


def environment_changes(row: Row, now: Row) -> list[str]:
    """What the machine and packages of now differ in, as ``torch 2.4.0 -> 2.5.0``."""
    before, after = row.environments[0], now.environments[0]
    facts = [
        (name.replace("_", "-"), getattr(before, name), getattr(after, name))
        for name in ("mmcl_bench", "python", "platform", "device")
    ]
    packages = sorted({*before.packages, *after.packages})
    facts += [(name, before.packages.get(name, "none"), after.packages.get(name, "none")) for name in packages]
    return [f"{name} {old} -> {new}" for name, old, new in facts if old != new]


def _by_seed(row: Row, now: Row) -> float:
    """Mean over the seeds of now of how far each is ahead of the baseline's."""
    before = {seed.seed: seed.figures[row.metric] or 0.0 for seed in row.seeds}
    return float(np.mean([(seed.figures[row.metric] or 0.0) - before[seed.seed] for seed in now.seeds]))


@dataclass(frozen=True)
class _Measured:
    """The noise that the runs of one row show."""

    deviation: float
    flips: float | None
    """What the deviation would be if samples changed sides independently; None where that is not known."""
    freedom: int


def _of_seeds(row: Row) -> _Measured:
    return _Measured(row.deviation, row.flip_deviation, len(row.seeds) - 1)


def _of_reruns(row: Row) -> _Measured | None:
    return None if row.reruns is None else _Measured(row.reruns.deviation, row.reruns.flip_deviation, row.reruns.pairs)


def _moderated(own: _Measured, others: Sequence[_Measured]) -> Noise:
    known = [((each.deviation / each.flips) ** 2, each.freedom) for each in others if each.flips and each.freedom > 0]
    if own.flips is None or not known:
        return Noise(own.deviation, own.freedom)
    ratios, freedoms = zip(*known, strict=True)
    overdispersion = float(np.average(ratios, weights=freedoms))
    borrowed = min(BORROWED_AT_MOST, float(sum(freedoms)))
    freedom = own.freedom + borrowed
    variance = (own.freedom * own.deviation**2 + borrowed * overdispersion * own.flips**2) / freedom
    return Noise(math.sqrt(variance), freedom)


def _changed(row: Row, now: Row) -> tuple[float, float]:
    """Samples lost and gained, mean over the seeds that both have."""
    before, after = row.right(), now.right()
    places = {seed.seed: place for place, seed in enumerate(row.seeds)}
    pairs = [(places[seed.seed], place) for place, seed in enumerate(now.seeds) if seed.seed in places]
    if before is None or after is None or not pairs:
        return math.nan, math.nan
    lost = [int((before[old] & ~after[new]).sum()) for old, new in pairs]
    gained = [int((after[new] & ~before[old]).sum()) for old, new in pairs]
    return float(np.mean(lost)), float(np.mean(gained))


def _unlike(row: Row, now: Row) -> str:
    """Why two rows do not compare; empty where they do."""
    reason = unlike_task(row, now.task_version, now.task_hash, now.data_fingerprints)
    if not reason and (row.metric, row.samples) != (now.metric, now.samples):
        return "the main metric counts other test samples, or in another order"
    return reason


def unlike_task(row: Row, version: int, task_hash: str, fingerprints: Mapping[str, str]) -> str:
    if row.task_version != version:
        return f"the task is at version {version}, the baseline at {row.task_version}"
    if row.task_hash != task_hash:
        return f"the task's hash is {task_hash[:12]}, the baseline's {row.task_hash[:12]}"
    for name, fingerprint in row.data_fingerprints.items():
        if fingerprints.get(name) != fingerprint:
            have = fingerprints.get(name, "none")
            return f"the data of {name} have the fingerprint {have[:12]}, the baseline's {fingerprint[:12]}"
    return ""


def _notes(row: Row, now: Row) -> tuple[str, ...]:
    notes = []
    if row.method_version != now.method_version:
        notes.append(f"method version {row.method_version} -> {now.method_version}")
    if row.settings != now.settings:
        changed = sorted(
            name for name in {*row.settings, *now.settings} if row.settings.get(name) != now.settings.get(name)
        )
        notes.append(f"the preset is another: {', '.join(changed)}")
    if row.weight_hashes != now.weight_hashes:
        notes.append("frozen encoders have other weights")
    return tuple(notes)
