"""The content of ``result.json``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmcl_bench.core.grants import Setting
from mmcl_bench.core.text import fold_number

SCHEMA = 1
_FORMERLY_DETERMINISTIC = ("devise-joints", "logistic")
TOLD_LATER = frozenset({"uses_unseen_texts", "frozen", "deterministic", "scores_with"})
"""Fields of a :class:`MethodRecord` that results of former versions lack: they tell no two methods apart."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Figure(_Record):
    """One metric with its bootstrap interval over test samples. None: undefined on this test."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    level: float


class TaskRecord(_Record):
    identity: str
    hash: str
    family: str
    name: str
    version: int
    title: str
    datasets: tuple[str, ...]
    split: str | None
    parameters: dict[str, str]
    metrics: tuple[str, ...]
    main_metric: str
    synthetic: bool
    """True when any of its data is synthetic."""
    incomplete: dict[str, str] = {}
    """Data sets of which the copy lacks published clips, with how many it has; empty in results of a version that did
    not tell."""
    citation: str

    @property
    def is_class_fold(self) -> bool:
        """Whether its split is one of several that divide the classes, ``22/5:fold-3``."""
        return self.family == "zero-shot" and fold_number(self.split) > 0

    @property
    def on_test_side(self) -> bool:
        """Whether it tests what published figures are of, and no part of the training side."""
        return self.parameters.get("tested", "test-side") == "test-side"

    @property
    def incomplete_data(self) -> str:
        """``nw-ucla: 1,187 of 1,484 published clips``; empty where all data sets are whole, as far as that is known."""
        return "; ".join(f"{name}: {copy}" for name, copy in sorted(self.incomplete.items()))


class MethodRecord(_Record):
    name: str
    version: int
    summary: str
    preset: str
    settings: dict[str, Any]
    overrides: dict[str, Any]
    """The settings that differ from the preset."""
    setting: Setting
    uses_unseen_texts: bool | None = None
    """Whether it read texts of unseen classes while it learned; None where that is not known, as in results of a
    version that did not tell."""
    frozen: bool | None = None
    """True: it learned on features of a frozen skeleton network. False: it trained the network, end to end. None: it
    has none, or that is not known."""
    deterministic: bool = False
    """Whether every seed gives the same scores, so that one of its jobs says all."""
    scores_with: tuple[str, ...] = ()
    """Modalities besides the skeleton that it scored with."""

    @property
    def transductive(self) -> bool:
        """Whether it read unlabelled test clips."""
        return self.setting is Setting.TRANSDUCTIVE

    @model_validator(mode="before")
    @classmethod
    def _of_a_former_version(cls, record: Any) -> Any:
        """Former versions told ``transductive`` alone, and not which of their methods were deterministic."""
        if not isinstance(record, dict):
            return record
        record = {"deterministic": record.get("name") in _FORMERLY_DETERMINISTIC, **record}
        if "transductive" in record:
            record["setting"] = Setting.TRANSDUCTIVE if record.pop("transductive") else Setting.INDUCTIVE
        return record


class Selection(_Record):
    """How epoch, hyper-parameters and calibration were chosen."""

    rule: str
    """``validation``: on training-side clips, in a first fit. ``fixed``: by the preset, nothing was chosen.
    ``unknown``: the scores were made elsewhere."""
    chosen: dict[str, Any]
    calibration: float
    validation: dict[str, float | None]
    """Metrics of the first fit on validation."""
    n_validation: int


class Oracle(_Record):
    """The best test figure over some of the kept epochs of the final fit; never ranked."""

    metric: str
    value: float
    epoch: int
    epochs_tried: tuple[int, ...]
    figures: tuple[float | None, ...] = ()
    """That of each epoch tried, None where it is undefined; empty in results of a version that did not keep them."""


class Provenance(_Record):
    mmcl_bench: str
    commit: str | None
    dirty: bool | None
    python: str
    platform: str
    packages: dict[str, str]
    device: str
    device_type: str | None = None
    """``cpu``, ``cuda``, ...; None in results of a version that did not record it."""
    threads: int
    data_fingerprints: dict[str, str]
    weight_hashes: dict[str, str]
    started: str
    """UTC, ISO 8601: of the run that finished the job, as are commit and packages."""
    wall_seconds: float
    """Of all the runs that it took."""
    starts: int = 1
    """Runs that it took: one more than it was stopped."""
    fit_seconds: float | None = None
    """Of the method's own fits, without the extractor that methods share; None where it was stopped and resumed, and
    where that is not known."""
    score_seconds: float | None = None
    """Of scoring the test clips once."""
    peak_memory_bytes: int
    """Of the process, including other jobs that it ran before."""


class Result(_Record):
    """The content of ``result.json``."""

    schema_version: int = Field(default=SCHEMA)
    job: dict[str, Any]
    job_hash: str
    task: TaskRecord
    method: MethodRecord
    seed: int
    limit: int | None
    classes: tuple[str, ...]
    seen: tuple[bool, ...]
    n_train: int
    n_test: int
    selection: Selection
    metrics: dict[str, Figure]
    per_class: dict[str, float | None]
    """Accuracy by class among all candidate classes, calibrated; None for a class without test clips."""
    oracle: Oracle | None
    history: dict[str, list[dict[str, float]]]
    """Training curves by phase: ``selection`` and ``final``; a figure that was not a number is absent."""
    notes: dict[str, Any]
    """Facts of the method's fit, such as which losses were on."""
    provenance: Provenance
    files: dict[str, str]
    """sha256 of the other files."""
    seal: str | None = None
    """sha256 of ``result.json`` with zeros in this place; None in results of a version that wrote none."""

    @property
    def best_on_test(self) -> float | None:
        """The main metric by the oracle, or the honest figure where that is higher: the oracle tries some of the epochs
        alone, and the chosen one need not be among them. None where there is no oracle."""
        if self.oracle is None or self.oracle.metric != self.task.main_metric:
            return None
        honest = self.metrics[self.oracle.metric].value
        return self.oracle.value if honest is None else max(self.oracle.value, honest)
