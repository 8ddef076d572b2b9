"""The loop repeats itself, goes on after a kill, and goes back to the epoch that was best."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mmcl_bench.methods.base import Context
from mmcl_bench.training import DivergedError, Losses, Schedule, Trainer

INPUTS = torch.linspace(-1, 1, 40).unsqueeze(1)
SCHEDULE = Schedule(epochs=6, batch_size=8, base_rate=0.05, warmup_epochs=1)


class Killed(BaseException):
    """Stands for a signal."""


def fresh_module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))


def step_of(module: nn.Module, kill_after: int | None = None) -> object:
    steps = iter(range(10**6))

    def step(batch: torch.Tensor, generator: torch.Generator) -> Losses:
        if next(steps) == kill_after:
            raise Killed
        x = INPUTS[batch] + 0.01 * torch.randn(len(batch), 1, generator=generator)
        return {"loss": ((module(x) - x**2) ** 2).mean()}

    return step


def train(folder: Path, kill_after: int | None = None, **changes: object) -> tuple[Trainer, dict[str, object]]:
    module = fresh_module()
    context = Context(seed=3, folder=folder, **changes)  # type: ignore[arg-type]
    trainer = Trainer(module, SCHEDULE, context)
    report = trainer.run(len(INPUTS), step_of(module, kill_after), None)  # type: ignore[arg-type]
    return trainer, {"state": module.state_dict(), "history": report.history, "chosen": report.chosen}


def assert_same(one: dict[str, object], other: dict[str, object]) -> None:
    assert one["history"] == other["history"]
    for name, value in one["state"].items():  # type: ignore[attr-defined]
        assert torch.equal(value, other["state"][name])  # type: ignore[index]


def test_two_equal_runs_give_equal_weights(tmp_path: Path) -> None:
    assert_same(train(tmp_path / "a")[1], train(tmp_path / "b")[1])


@pytest.mark.parametrize("kill_after", [0, 7, 13, 29])
def test_a_killed_run_ends_with_the_numbers_of_an_undisturbed_one(tmp_path: Path, kill_after: int) -> None:
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill_after=kill_after)
    assert_same(train(tmp_path / "killed")[1], train(tmp_path / "whole")[1])


def test_a_chosen_epoch_is_the_same_epoch_of_a_whole_run(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole")
    whole.restore(4)
    _, short = train(tmp_path / "short", chosen={"epoch": 2, "of": 3})
    assert len(short["history"]) == 4  # type: ignore[arg-type]
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, short["state"][name])  # type: ignore[index]


def test_the_best_validation_epoch_is_kept(tmp_path: Path) -> None:
    module = fresh_module()
    figures = iter([0.1, 0.5, 0.9, 0.9, 0.3, 0.2])
    trainer = Trainer(module, SCHEDULE, Context(seed=0, folder=tmp_path))
    report = trainer.run(len(INPUTS), step_of(module), lambda: next(figures))  # type: ignore[arg-type]
    # Means of three neighbours: .3, .5, .77, .7, .47, .25.
    assert report.chosen == {"epoch": 3, "of": 6}
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    trainer.restore(3)
    assert all(torch.equal(kept[name], value) for name, value in module.state_dict().items())


def test_a_loss_that_is_not_finite_stops_with_the_batch(tmp_path: Path) -> None:
    module = fresh_module()
    trainer = Trainer(module, SCHEDULE, Context(seed=0, folder=tmp_path))
    with pytest.raises(DivergedError, match="epoch 1, batch 0"):
        trainer.run(len(INPUTS), lambda batch, generator: {"loss": module(INPUTS[batch]).mean() * torch.nan}, None)


def test_a_small_set_gets_more_epochs() -> None:
    schedule = Schedule(epochs=25, batch_size=32, base_rate=0.1, min_steps=1000)
    assert schedule.for_clips(10_000).epochs == 25
    assert schedule.for_clips(320).epochs == 100


def test_rates_follow_the_paper_s_steps() -> None:
    paper = Schedule(epochs=110, batch_size=200, base_rate=0.1, warmup_epochs=5, decay="steps", steps=(90, 100))
    assert paper.rate(0) == pytest.approx(0.1 / 6)
    assert [paper.rate(epoch) for epoch in (5, 89.9, 90, 100)] == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_a_cosine_falls_to_zero() -> None:
    assert SCHEDULE.rate(SCHEDULE.epochs) == pytest.approx(0)
