"""InfoCPL against numbers of its authors' code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mmcl_bench.methods.zero_shot.infocpl import InfoCPLHead, InfoCPLSettings, drawn_negatives, of_ranks

TOP_K = "coefficient.top_k"


@pytest.fixture
def given(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "zoo_infocpl.safetensors")


def head(given: dict[str, Tensor], as_released: bool = True) -> InfoCPLHead:
    # More descriptions than a class has here, so that the settings would refuse the numbers.
    hidden = tuple(len(given[f"weights.global_D.0.{layer}.bias"]) for layer in ("l0", "l1"))
    settings = InfoCPLSettings().model_copy(
        update={"top_k": tuple(given[TOP_K].tolist()), "hidden": hidden, "as_released": as_released}
    )
    made = InfoCPLHead(settings, (), given["input.skeleton"].shape[1], given["input.texts_unit"].shape[2])
    made.load_state_dict(
        {own_name(name.removeprefix("weights.")): value for name, value in given.items() if "weights." in name}
    )
    return made


def own_name(name: str) -> str:
    return name.replace("global_D", "discriminators").replace("proj.", "projections.")


def seen(given: dict[str, Tensor]) -> Tensor:
    return given["input.texts_unit"][: given["output.softplus_scores_0_normal"].shape[1]]


@pytest.mark.parametrize(("way", "sign"), [("normal", 1.0), ("reversed", -1.0)])
def test_losses_are_those_of_the_release(way: str, sign: float, given: dict[str, Tensor]) -> None:
    made, labels = head(given), given["input.labels"]
    heads = range(len(given[TOP_K]))
    negatives = [given[f"input.negative_clip_{at}_{way}"] for at in heads]
    losses = made.losses_of(given["input.skeleton"], seen(given), labels, negatives, sign)
    for at in heads:
        torch.testing.assert_close(
            made.projected(at, given["input.skeleton"]), given[f"output.projected_{at}"], rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(losses[f"head {at + 1}"], given[f"loss.head_{at}_{way}"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses["loss"], given[f"loss.total_{way}"], rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_the_release(given: dict[str, Tensor]) -> None:
    made = head(given)
    negatives = [given[f"input.negative_clip_{at}_normal"] for at in range(len(given[TOP_K]))]
    losses = made.losses_of(given["input.skeleton"], seen(given), given["input.labels"], negatives, 1.0)
    losses["loss"].backward()
    for name in (name.removeprefix("grad.") for name in given if name.startswith("grad.")):
        # The terms of the last bias's gradient nearly cancel.
        tolerance = 1e-3 if name.endswith("l2.bias") else 1e-4
        torch.testing.assert_close(
            made.get_parameter(own_name(name)).grad, given[f"grad.{name}"], rtol=tolerance, atol=1e-7
        )


@pytest.mark.parametrize("way", ["normal", "reversed"])
def test_negatives_are_those_of_the_release_for_its_ranks(way: str, given: dict[str, Tensor]) -> None:
    for at in range(len(given[TOP_K])):
        ranks = given[f"input.negative_order_{at}_{way}"][: int(given["coefficient.negatives"])]
        found = of_ranks(given["input.labels"], ranks)
        torch.testing.assert_close(found.sort(1).values, given[f"input.negative_clip_{at}_{way}"].sort(1).values)


def test_negatives_are_of_other_classes_and_as_many_as_every_clip_has() -> None:
    labels = torch.tensor([0, 0, 1, 0, 2])
    found = drawn_negatives(labels, 8, torch.Generator().manual_seed(0))
    assert found.shape == (5, 2)
    assert (labels[found] != labels[:, None]).all()
    assert all(len(set(row)) == 2 for row in found.tolist())
    assert drawn_negatives(torch.zeros(3, dtype=torch.int64), 8, torch.Generator()).shape == (3, 0)


def test_scores_are_those_of_the_release_or_what_training_compares(given: dict[str, Tensor]) -> None:
    unseen = given["input.texts_unit"][-given["output.class_scores"].shape[1] :]
    made = head(given)
    made.slots = tuple(map(str, range(unseen.shape[1])))
    texts = dict(zip(made.slots, unseen.unbind(1), strict=True))
    scores = made.scores(given["input.test_skeleton"], None, texts)
    torch.testing.assert_close(scores, given["output.class_scores"], rtol=1e-5, atol=1e-5)

    honest = head(given, as_released=False)
    honest.slots = made.slots
    texts = dict(zip(made.slots, seen(given).unbind(1), strict=True))
    by_head = [given[f"output.softplus_scores_{at}_normal"] for at in range(len(given[TOP_K]))]
    torch.testing.assert_close(honest.scores(given["input.skeleton"], None, texts), sum(by_head), rtol=1e-5, atol=1e-5)
    one = [F.softplus(honest.logits(at, given["input.skeleton"], seen(given))) for at in range(len(by_head))]
    torch.testing.assert_close(torch.stack(one), torch.stack(by_head), rtol=1e-5, atol=1e-5)
