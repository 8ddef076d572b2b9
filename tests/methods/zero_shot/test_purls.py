"""PURLS against numbers of its authors' code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mmcl_bench.methods.zero_shot.purls import PURLS, PURLSHead, PURLSSettings, tokens_of

RELEASED = {
    "attention.linear_q": "query",
    "attention.linear_k": "key",
    **{f"skel_encoder.{theirs}": f"encoder.{own}" for theirs, own in {0: 0, 2: 2, 5: 4, 7: 6}.items()},
    "tmps": "factors",
}


@pytest.fixture
def given(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "zoo_purls.safetensors")


def head(given: dict[str, Tensor]) -> PURLSHead:
    heads, keys = int(given["coefficient.heads"]), len(given["weights.attention.linear_q.weight"])
    hidden = len(given["weights.skel_encoder.2.bias"])
    settings = PURLSSettings(heads=heads, key_width=keys // heads, hidden=hidden)
    made = PURLSHead(settings, PURLS.text_slots, given["input.tokens"].shape[-1], given["input.texts_raw"].shape[-1])
    made.load_state_dict(
        {
            own + name.removeprefix(f"weights.{theirs}"): value
            for theirs, own in RELEASED.items()
            for name, value in given.items()
            if name.startswith(f"weights.{theirs}")
        }
    )
    return made.eval()


def maps(given: dict[str, Tensor]) -> Tensor:
    return given["input.tokens"].permute(0, 3, 1, 2)


def texts(given: dict[str, Tensor], side: str) -> Tensor:
    return F.normalize(given["input.texts_raw"], dim=2)[given[f"input.{side}_classes"]]


@pytest.mark.parametrize("side", ["seen", "unseen"])
def test_attention_and_losses_are_those_of_the_release(side: str, given: dict[str, Tensor]) -> None:
    made, own = head(given), texts(given, side)[given[f"input.{side}.labels"]]
    tokens = tokens_of(maps(given))
    torch.testing.assert_close(made.attended(tokens, own), given[f"output.{side}.attended"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made.embedded(tokens, own), given[f"output.{side}.embedding"], rtol=1e-5, atol=1e-5)
    losses = made.losses_of(tokens, own)
    for slot, name in enumerate(PURLS.text_slots):
        torch.testing.assert_close(losses[name], given[f"loss.{side}.slot{slot}"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses["loss"], given[f"loss.{side}.total"], rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_the_release(given: dict[str, Tensor]) -> None:
    made = head(given)
    made.losses_of(tokens_of(maps(given)), texts(given, "seen")[given["input.seen.labels"]])["loss"].backward()
    for theirs in ("attention.linear_q.weight", "attention.linear_k.weight", "tmps"):
        own = next(made.get_parameter(theirs.replace(name, own)) for name, own in RELEASED.items() if name in theirs)
        torch.testing.assert_close(own.grad, given[f"gradient.seen.{theirs}"], rtol=1e-4, atol=1e-5)


def test_a_clip_is_queried_and_scored_with_every_candidate_class(given: dict[str, Tensor]) -> None:
    own = texts(given, "unseen")
    by_slot = dict(zip(PURLS.text_slots, own.unbind(1), strict=True))
    scores = head(given).scores(torch.zeros(6, 0), maps(given), by_slot)
    torch.testing.assert_close(scores, given["output.candidates.own_slot_scores"][:, :, -1], rtol=1e-5, atol=1e-5)
    with_one_query = given["output.candidates.global_scores"]
    torch.testing.assert_close(scores, with_one_query.diagonal(dim1=1, dim2=2), rtol=1e-5, atol=1e-5)


def test_the_release_s_figures_follow_from_a_query_with_the_true_class(given: dict[str, Tensor]) -> None:
    own, labels = texts(given, "unseen"), given["input.unseen.labels"]
    embedded = head(given).embedded(tokens_of(maps(given)), own[labels])
    predicted = (embedded[:, -1] @ own[:, -1].T).argmax(1)
    torch.testing.assert_close(predicted, given["output.unseen.predictions_true_label_query"])
