"""The loop repeats itself, goes on after a kill, and goes back to the epoch that was best."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mmcl_bench.core.errors import UserError
from mmcl_bench.protocols.problem import Context
from mmcl_bench.training.loop import DivergedError, Losses, Schedule, Trainer

INPUTS = torch.linspace(-1, 1, 40).unsqueeze(1)
SCHEDULE = Schedule(epochs=6, batch_size=8, base_rate=0.05, warmup_epochs=1)


class Killed(BaseException):
    """Stands for a signal."""


def fresh_module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))


def step_of(module: nn.Module, kill_after: int | None = None) -> object:
    steps = iter(range(10**6))

    def step(trained: nn.Module, batch: torch.Tensor, generator: torch.Generator) -> Losses:
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


def test_a_moving_average_of_the_weights_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    after_steps: list[torch.Tensor] = []
    validated: list[torch.Tensor] = []

    def run(folder: Path, average: float, kill_after: int | None = None) -> torch.Tensor:
        module, weights = fresh_module(), lambda: torch.cat([each.detach().flatten() for each in module.parameters()])
        loss, schedule = step_of(module, kill_after), replace(SCHEDULE, average=average)

        def step(*args: object) -> Losses:
            after_steps.append(weights())
            return loss(*args)  # type: ignore[operator,no-any-return]

        def validate() -> float:
            validated.append(weights())
            return float(len(validated))  # the last is the best

        Trainer(module, schedule, Context(seed=3, folder=folder)).run(len(INPUTS), step, validate)
        return weights()

    last = run(tmp_path / "plain", 0.0)
    expected = after_steps[1]
    for n_averaged, later in enumerate([*after_steps[2:], last], 1):
        decay = min(0.8, (1 + n_averaged) / (10 + n_averaged))
        expected = decay * expected + (1 - decay) * later
    averaged = run(tmp_path / "averaged", 0.8)
    torch.testing.assert_close(averaged, expected)
    assert not torch.allclose(averaged, last)
    assert torch.equal(validated[-1], averaged)
    with pytest.raises(Killed):
        run(tmp_path / "killed", 0.8, kill_after=13)
    assert torch.equal(run(tmp_path / "killed", 0.8), averaged)


def test_a_chosen_epoch_is_the_same_epoch_of_a_whole_run(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole")
    whole.restore(4)
    _, short = train(tmp_path / "short", chosen={"epoch": 2, "of": 3})
    assert len(short["history"]) == 4  # type: ignore[arg-type]
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, short["state"][name])  # type: ignore[index]


@pytest.mark.parametrize("told_after", [0, 2, 4, 6])
@pytest.mark.parametrize("kill_after", [None, 13, 21])
def test_a_run_that_is_told_its_last_epoch_late_is_that_of_the_epoch(
    tmp_path: Path, told_after: int, kill_after: int | None
) -> None:
    chosen, asked = {"epoch": 2, "of": 3}, iter(range(100))

    def choice() -> dict[str, int] | None:
        return chosen if next(asked) >= told_after else None

    with contextlib.suppress(Killed):
        train(tmp_path / "late", kill_after, choice=choice)
    trainer, late = train(tmp_path / "late", chosen=chosen)
    sooner, short = train(tmp_path / "short", chosen=chosen)
    assert_same(late, short)
    assert late["chosen"] == short["chosen"]
    assert trainer.snapshots() == sooner.snapshots()


def test_epochs_that_a_run_would_not_have_kept_are_dropped(tmp_path: Path) -> None:
    def run(folder: Path, **changes: object) -> Trainer:
        module = fresh_module()
        context = Context(seed=3, folder=folder, **changes)  # type: ignore[arg-type]
        trainer = Trainer(module, replace(SCHEDULE, epochs=70), context)
        trainer.run(len(INPUTS), step_of(module), None)  # type: ignore[arg-type]
        return trainer

    assert run(tmp_path / "a", choice=lambda: None).snapshots() == list(range(1, 71))
    assert run(tmp_path / "a", chosen={"epoch": 5, "of": 70}).snapshots() == [3, 5]


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


def test_a_run_that_stops_before_its_first_kept_epoch_keeps_the_last(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, epochs=200, patience=2)  # of 200 epochs every seventh is kept

    def run(figures: list[float]) -> tuple[Trainer, dict[str, object]]:
        module, left = fresh_module(), iter(figures)
        trainer = Trainer(module, schedule, Context(seed=0, folder=tmp_path))
        return trainer, trainer.run(len(INPUTS), step_of(module), lambda: next(left)).chosen  # type: ignore[arg-type]

    trainer, chosen = run([0.5, 0.4, 0.3])
    assert chosen == {"epoch": 3, "of": 200}
    assert trainer.snapshots() == [3]
    again, chosen = run([])
    assert chosen == {"epoch": 3, "of": 200}
    for name, value in trainer.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name])


def test_a_loss_that_is_not_finite_stops_with_the_batch(tmp_path: Path) -> None:
    module = fresh_module()
    trainer = Trainer(module, SCHEDULE, Context(seed=0, folder=tmp_path))
    with pytest.raises(DivergedError, match="epoch 1, batch 0"):
        trainer.run(
            len(INPUTS), lambda trained, batch, generator: {"loss": trained(INPUTS[batch]).mean() * torch.nan}, None
        )


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


def noiseless(module: nn.Module, batch: torch.Tensor, generator: torch.Generator) -> Losses:
    return {"loss": ((module(INPUTS[batch]) - INPUTS[batch] ** 2) ** 2).mean()}


def plain_module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))


def trained(folder: Path, **changes: object) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    module = plain_module()
    schedule = replace(SCHEDULE, **changes)  # type: ignore[arg-type]
    report = Trainer(module, schedule, Context(seed=3, folder=folder)).run(len(INPUTS), noiseless, None)
    return module.state_dict(), report.history


def test_a_batch_in_parts_gives_the_steps_of_the_whole_batch(tmp_path: Path) -> None:
    whole, _ = trained(tmp_path / "whole")
    parts, _ = trained(tmp_path / "parts", accumulate=3)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-6, rtol=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_two_processes_give_the_steps_of_one(tmp_path: Path) -> None:
    alone, history = trained(tmp_path / "alone")
    shared, reported = trained(tmp_path / "shared", processes=2)
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, atol=1e-6, rtol=1e-5)
    assert [row["epoch"] for row in reported] == [row["epoch"] for row in history]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_mistake_in_one_of_two_processes_is_one_line(tmp_path: Path) -> None:
    def diverging(module: nn.Module, batch: torch.Tensor, generator: torch.Generator) -> Losses:
        return {"loss": module(INPUTS[batch]).mean() * torch.nan}

    trainer = Trainer(plain_module(), replace(SCHEDULE, processes=2), Context(seed=3, folder=tmp_path))
    with pytest.raises(UserError, match=r"training diverged in epoch 1, batch 0: loss nan; try a lower base_rate"):
        trainer.run(len(INPUTS), diverging, None)


def test_more_processes_than_gpus_are_refused(tmp_path: Path) -> None:
    context = Context(seed=3, folder=tmp_path, device="cuda")
    count = torch.cuda.device_count() + 2
    with pytest.raises(UserError, match=f"{count} processes need {count} GPUs"):
        Trainer(plain_module(), replace(SCHEDULE, processes=count), context).run(len(INPUTS), noiseless, None)


def test_a_clipped_gradient_is_no_longer_than_it_may_be(tmp_path: Path) -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 100.0)
    schedule = Schedule(epochs=1, batch_size=40, base_rate=1.0, momentum=0.0, weight_decay=0.0, clip_norm=0.5)
    schedule = replace(schedule, optimizer="adamw")
    # The step of AdamW does not show the gradient's length, so the gradient itself is looked at.
    Trainer(module, schedule, Context(seed=0, folder=tmp_path)).run(len(INPUTS), noiseless, None)
    assert module.weight.grad is not None
    assert module.weight.grad.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_it_stops_early_where_validation_stalls(tmp_path: Path) -> None:
    figures = iter([0.5, 0.9, 0.8, 0.7, 0.6, 0.5])
    schedule = replace(SCHEDULE, patience=2)
    report = Trainer(plain_module(), schedule, Context(seed=0, folder=tmp_path)).run(
        len(INPUTS), noiseless, lambda: next(figures)
    )
    assert len(report.history) == 4
    assert report.chosen["of"] == 6


def test_products_in_bfloat16_train_close_to_float32(tmp_path: Path) -> None:
    _, exact = trained(tmp_path / "fp32")
    _, coarse = trained(tmp_path / "bf16", precision="bf16")
    assert coarse[-1]["loss"] == pytest.approx(exact[-1]["loss"], rel=0.05)
    assert coarse[-1]["loss"] != exact[-1]["loss"]


def test_scalars_go_to_tensorboard_on_request(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    context = Context(seed=0, folder=tmp_path / "work", scalars=tmp_path / "scalars")
    report = Trainer(plain_module(), SCHEDULE, context).run(len(INPUTS), noiseless, None)
    events = EventAccumulator(str(tmp_path / "scalars")).Reload()
    written = [(event.step, event.value) for event in events.Scalars("loss")]
    assert [step for step, _ in written] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in written] == pytest.approx([row["loss"] for row in report.history])
