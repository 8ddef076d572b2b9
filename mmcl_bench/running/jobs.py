"""A job: one task, one method, one seed, and what was overridden. Its hash names the folder of its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.core.settings import parse_setting
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method
from mmcl_bench.protocols.cards import Task
from mmcl_bench.results.store import LONGEST_LABEL
from mmcl_bench.running.identity import Identity


@dataclass(frozen=True)
class Job(Identity):
    """Everything that determines the result of a run."""

    longest_label: ClassVar[int] = LONGEST_LABEL  # less than there is room for, so that stored results are found

    task: Task
    method: str
    method_version: int
    preset: str
    settings: Mapping[str, Any]
    """The method's settings in full, as plain JSON values: its preset with overrides applied."""
    seed: int
    limit: int | None = None

    def canonical(self) -> dict[str, Any]:
        """The job as plain JSON values."""
        slots = METHODS.get(self.method).needed_text_slots(self.settings)
        return {
            "task": self.task.identity,
            "task_hash": self.task.hash,
            "method": self.method,
            "method_version": self.method_version,
            "preset": self.preset,
            "settings": dict(self.settings),
            "seed": self.seed,
            "limit": self.limit,
            # The task's hash holds the main text alone.
            **({"slot_texts": self.task.hash_of_texts(slots)} if slots else {}),
        }

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings that differ from the preset, and those that tables always show."""
        method = METHODS.get(self.method)
        return method.Settings.shown(self.settings, method.presets[self.preset].as_json())

    def derived_seed(self, purpose: str) -> int:
        """A seed below 2**63 that follows from the job and the purpose."""
        return derive_seed(self.hash, purpose)


def make_job(
    task: Task,
    method: type[Method],
    seed: int,
    preset: str = "quick",
    overrides: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Job:
    """A job with the method's preset and overrides merged. Raises :class:`UserError` for what does not fit."""
    if METHODS.get(method.name) is not method:
        raise UserError(f"{method.__name__} is not the method that is registered as {method.name!r}; give it that name")
    settings = settings_of(method, preset, overrides)
    if task.method_family not in method.families:
        raise UserError(
            f"method {method.name} works on other tasks than {task.method_family}"
            f"{' by class texts' if task.by_texts else ''}: {', '.join(sorted(method.families))}"
        )
    if seed < 0:
        raise UserError(f"seed {seed} is negative; seeds start at 0")
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: at least 1 clip a side is needed")
    return Job(task, method.name, method.version, preset, settings, seed, limit)


def settings_of(method: type[Method], preset: str, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The method's settings in full: a preset with overrides applied.

    Raises :class:`UserError` for what does not fit.
    """
    if preset not in method.presets:
        raise UserError(f"method {method.name}: {unknown('preset', preset, sorted(method.presets))}")
    fields = method.Settings.model_fields
    settings = method.presets[preset].as_json()
    for key, text in (overrides or {}).items():
        if key not in fields:
            raise UserError(f"method {method.name}: {unknown('setting', key, sorted(fields))}")
        settings[key] = parse_setting(text, fields[key])
    return method.check(settings).as_json()
