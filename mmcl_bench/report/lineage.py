"""Where the figures of a table row come from, in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from mmcl_bench.core.text import counted
from mmcl_bench.evaluation.choosing import LABEL_FREE, TITLES
from mmcl_bench.report.tables import count_text
from mmcl_bench.results.groups import Group
from mmcl_bench.results.records import Result

_HASH_LENGTH = 12
_COST, _MEMBERS, _WEIGHTS = "cost", "members", "weights"
"""Notes with facts of their own; ``members`` is a setting of fusions as well."""


def origin_of(group: Group) -> list[tuple[str, str]]:
    """(name, value) pairs: how to make the figures again, how choices were made, and on what they ran.

    What differs between seeds is given by seed; what is not known is left out.
    """
    facts = [*_what(group), *_choices(group), *_environment(group)]
    return [(name, value) for name, value in facts if value]


def _what(group: Group) -> list[tuple[str, str]]:
    task, method = group.task, group.method
    return [
        ("Command", group.command),
        ("Task", f"{task.identity}, hash {task.hash[:_HASH_LENGTH]}"),
        ("Parameters", _pairs(task.parameters)),
        ("Method", f"{method.name}, version {method.version}, {group.setting}: {method.summary}"),
        ("Preset", method.preset),
        ("Settings", _pairs({name: value for name, value in method.settings.items() if name != _MEMBERS})),
        ("Seeds", ", ".join(map(str, group.seeds))),
        ("Incomplete data", group.incomplete),
        ("Clips", _by_seed(group, lambda result: f"{result.n_train} train, {result.n_test} test")),
    ]


def _choices(group: Group) -> list[tuple[str, str]]:
    return [
        ("Selection", _by_seed(group, _rule)),
        ("Chosen", _by_seed(group, lambda result: _chosen(result.selection.chosen))),
        ("Calibration", _by_seed(group, _calibration)),
        ("On validation", _by_seed(group, lambda result: _percents(result.selection.validation))),
        ("Oracle", _by_seed(group, _oracle)),
        ("Members", _by_seed(group, _members)),
        ("Notes", _by_seed(group, _notes)),
    ]


def _environment(group: Group) -> list[tuple[str, str]]:
    return [
        ("Data fingerprint", _pairs(group.first.provenance.data_fingerprints)),
        ("Frozen weights", _by_seed(group, lambda result: _pairs(result.provenance.weight_hashes))),
        ("Commit", _by_seed(group, _commit)),
        ("mmcl-bench", _by_seed(group, lambda result: result.provenance.mmcl_bench)),
        ("Packages", _by_seed(group, _packages)),
        ("Device", _by_seed(group, _device)),
        ("Network", _by_seed(group, _network)),
        ("Took", _by_seed(group, _took)),
        ("Started", _by_seed(group, lambda result: result.provenance.started)),
        ("Jobs", ", ".join(job.result.job_hash[:_HASH_LENGTH] for job in group.jobs)),
    ]


def _by_seed(group: Group, fact: Callable[[Result], str]) -> str:
    """A fact once where all seeds share it, else seed by seed."""
    facts = {job.result.seed: fact(job.result) for job in group.jobs}
    if len(set(facts.values())) == 1:
        return next(iter(facts.values()))
    return "\n".join(f"seed {seed}: {text or 'none'}" for seed, text in facts.items())


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_text(value)}" for name, value in sorted(values.items()))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _percents(values: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {100 * value:.1f} %" for name, value in values.items() if value is not None)


def _rule(result: Result) -> str:
    selection, by = result.selection, result.method.settings.get("choose_by")
    if selection.rule != "validation":
        return selection.rule
    if by in LABEL_FREE:
        return f"{TITLES[by]}, a label-free score of unlabelled target training clips"
    return f"validation, on {selection.n_validation} held-out training-side clips"


def _chosen(chosen: Mapping[str, Any]) -> str:
    if chosen.keys() == {"epoch", "of"}:
        return f"epoch {chosen['epoch']} of {chosen['of']}"
    return _pairs(chosen)


def _calibration(result: Result) -> str:
    return "" if all(result.seen) else f"{result.selection.calibration:.4g}"


def _oracle(result: Result) -> str:
    if (oracle := result.oracle) is None:
        return ""
    tried, best = len(oracle.epochs_tried), result.best_on_test
    if best is not None and best > oracle.value:
        return (
            f"{oracle.metric} {100 * best:.1f} % after the chosen step, above all {tried} that were tried: never ranked"
        )
    return (
        f"{oracle.metric} {100 * oracle.value:.1f} % after epoch {oracle.epoch}, best on test of {tried}: never ranked"
    )


def _commit(result: Result) -> str:
    provenance = result.provenance
    if provenance.commit is None:
        return "not known: run from an installed package"
    return provenance.commit + (", with uncommitted changes" if provenance.dirty else "")


def _packages(result: Result) -> str:
    listed = ", ".join(f"{name} {version}" for name, version in sorted(result.provenance.packages.items()))
    return f"Python {result.provenance.python}, {listed}"


def _device(result: Result) -> str:
    provenance = result.provenance
    return f"{provenance.device}, {counted(provenance.threads, 'thread')}, {provenance.platform}"


def _members(result: Result) -> str:
    """The jobs that a fusion is made of, with their weights."""
    members, weights = result.notes.get(_MEMBERS, ()), result.notes.get(_WEIGHTS, ())
    return ", ".join(
        f"{member['job'][:_HASH_LENGTH]} {100 * weight:.1f} %" for member, weight in zip(members, weights, strict=True)
    )


def _notes(result: Result) -> str:
    return _pairs({name: value for name, value in result.notes.items() if name not in (_COST, _MEMBERS, _WEIGHTS)})


def _network(result: Result) -> str:
    cost = result.notes.get(_COST) or {}
    return ", ".join(
        f"{count_text(cost[name])} {unit}"
        for name, unit in (("parameters", "parameters"), ("flops", "FLOPs a clip"))
        if name in cost
    )


def _took(result: Result) -> str:
    provenance = result.provenance
    return f"{provenance.wall_seconds:.1f} s, {provenance.peak_memory_bytes / 2**20:.0f} MiB at most"
