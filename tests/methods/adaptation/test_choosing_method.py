"""The choice of a step by label-free scores of target clips, and where it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from methods.test_methods import problem, settings
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.evaluation.choosing import LABEL_FREE, ChosenBy, column_of, smoothed
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.problem import Context, FitReport

CHOOSING = [name for name in METHODS.names() if "choose_by" in METHODS.get(name).Settings.model_fields]
SCORES = set(map(column_of, LABEL_FREE))


def first_fit(name: str, folder: Path, shared: Path, **changes: object) -> FitReport:
    kind = METHODS.get(name)
    context = Context(seed=5, folder=folder, shared=shared, shared_seed=1)
    return kind(**settings(kind, **changes)).fit(problem("transfer", setting=kind.setting), context)


@pytest.mark.parametrize("name", CHOOSING)
def test_a_label_free_score_is_for_methods_that_are_granted_target_clips(name: str) -> None:
    kind = METHODS.get(name)
    assert kind().settings.as_json()["choose_by"] == "source"
    if kind.setting is Setting.UNLABELLED:
        assert kind(choose_by="snd").settings.as_json()["choose_by"] == "snd"
        return
    with pytest.raises(
        UserError, match=f"method {name}: setting choose_by=snd: .* of setting {kind.setting} sees none"
    ):
        kind(choose_by="snd")


def test_the_step_is_chosen_by_the_score_that_is_named(tmp_path: Path, shared: Path) -> None:
    choices: tuple[ChosenBy, ...] = ("source", "entropy", "mixval")
    reports = {by: first_fit("mcd", tmp_path / by, shared, choose_by=by) for by in choices}
    histories = [report.history for report in reports.values()]
    assert histories[0] == histories[1] == histories[2], "the training is the same"
    assert all(row.keys() >= SCORES | {"validation"} for row in histories[0])
    for by, report in reports.items():
        figures = smoothed(report.history, by)
        assert figures[report.chosen["step"]] == max(figures.values())
        assert report.snapshot == report.chosen["step"]


def test_a_method_without_target_clips_has_no_label_free_score(tmp_path: Path, shared: Path) -> None:
    assert not SCORES & first_fit("source-only", tmp_path, shared).history[0].keys()
