"""Losses of adaptation and generalisation: numbers of the authors' code, and hand calculations."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from mmcl_bench.nn.adaptation import adversarial, consistency, entropy, generalisation, moments
from vectors import Vectors, close

ADDED_TO_MMD = 2 / 11
"""What the released code adds to the discrepancy of twelve clips a side."""


@pytest.fixture(scope="module")
def all_vectors(parity_dir: Path) -> Vectors:
    return load_file(parity_dir / "adaptation_losses.safetensors")


@pytest.fixture
def given(all_vectors: Vectors, request: pytest.FixtureRequest) -> Vectors:
    """The vectors of the method that the test's name says."""
    prefix = request.node.originalname.removeprefix("test_").partition("_")[0] + "."
    found = {name.removeprefix(prefix): value.clone() for name, value in all_vectors.items() if name.startswith(prefix)}
    assert found
    for name, value in found.items():
        value.requires_grad_(name.startswith("input.") and value.is_floating_point())
    return found


def check(loss: Tensor, expected: Tensor, **gradients: tuple[Tensor, Tensor]) -> None:
    """Holds a loss to 1e-5, and the gradient of it by each tensor to 1e-4."""
    close(loss, expected, 1e-5)
    loss.backward()
    for tensor, gradient in gradients.values():
        assert tensor.grad is not None
        close(tensor.grad, gradient, 1e-4)


def discriminator(given: Vectors, prefix: str = "") -> adversarial.DomainDiscriminator:
    start = f"{prefix}weights."
    weights = {name.removeprefix(start).replace("6.0", "6"): v for name, v in given.items() if name.startswith(start)}
    made = adversarial.DomainDiscriminator(weights["0.weight"].shape[1], len(weights["0.bias"]))
    made.load_state_dict(weights)
    return made


@pytest.mark.parametrize("step", [0, 300, 1000, 5000])
def test_dann_is_that_of_the_release(given: Vectors, step: int) -> None:
    factor = adversarial.reversal_factor(step / 1000, slope=1)
    assert factor == pytest.approx(float(given[f"coefficient.grl.iter{step}"]), abs=1e-6)
    source, target, made = given["input.f_s"], given["input.f_t"], discriminator(given)
    loss = adversarial.domain_adversarial_loss(made, source, target, factor)
    gradients = {side: (given[f"input.{side}"], given[f"gradient.iter{step}.{side}"]) for side in ("f_s", "f_t")}
    if step == 300:
        for name, weight in made.named_parameters():
            released = name.replace("6", "6.0")
            if name not in ("0.bias", "3.bias"):  # a batch normalisation takes these away again
                gradients[name] = weight, given[f"gradient.iter300.weights.{released}"]
    check(loss, given[f"loss.iter{step}"], **gradients)


def test_dann_with_weights_is_that_of_the_release(given: Vectors) -> None:
    source, target = given["input.f_s"], given["input.f_t"]
    weights = given["input.w_s"].detach().squeeze(1), given["input.w_t"].detach().squeeze(1)
    factor = adversarial.reversal_factor(0.3, slope=1)
    loss = adversarial.domain_adversarial_loss(discriminator(given), source, target, factor, weights)
    check(
        loss,
        given["loss.iter300_weighted"],
        source=(source, given["gradient.iter300_weighted.f_s"]),
        target=(target, given["gradient.iter300_weighted.f_t"]),
    )


@pytest.mark.parametrize("by_entropy", [False, True])
@pytest.mark.parametrize("kind", ["linear", "randomized"])
def test_cdan_is_that_of_the_release(given: Vectors, kind: str, by_entropy: bool) -> None:
    source = given["input.f_s"], given["input.g_s"]
    target = given["input.f_t"], given["input.g_t"]
    product: object = adversarial.outer_product
    if kind == "randomized":
        product = adversarial.RandomisedProduct(1, 1)
        product.of_features = given["randomized.input.Rf"].detach()
        product.of_predictions = given["randomized.input.Rg"].detach()
    features = torch.cat([source[0], target[0]])
    predictions = torch.cat([source[1], target[1]]).softmax(1)
    close(product(features, predictions), given[f"{kind}.output.map"], 1e-5)  # type: ignore[operator]
    close(entropy.prediction_entropy(predictions.log()), given["output.entropy"], 1e-5)
    loss = adversarial.conditional_adversarial_loss(
        discriminator(given, f"{kind}."), product, source, target, adversarial.reversal_factor(0.7, 1), by_entropy
    )
    name = f"{kind}{'_entropy' if by_entropy else ''}"
    check(
        loss,
        given[f"loss.{name}"],
        source=(source[0], given[f"gradient.{name}.f_s"]),
        target=(target[0], given[f"gradient.{name}.f_t"]),
    )
    assert source[1].grad is None


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_dan_is_that_of_the_release_less_a_constant(given: Vectors, kind: str) -> None:
    source, target = given["input.z_s"], given["input.z_t"]
    assert given["coefficient.alpha"].tolist() == list(moments.BANDWIDTHS)
    loss = moments.mmd_loss(source, target, linear=kind == "linear") + ADDED_TO_MMD
    check(
        loss,
        given[f"loss.{kind}"],
        source=(source, given[f"gradient.{kind}.z_s"]),
        target=(target, given[f"gradient.{kind}.z_t"]),
    )


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_jan_is_that_of_the_release_less_a_constant(given: Vectors, kind: str) -> None:
    source, target = (given["input.z_s"], given["input.p_s"]), (given["input.z_t"], given["input.p_t"])
    loss = moments.joint_mmd_loss(source, target, linear=kind == "linear") + ADDED_TO_MMD
    names = {"z_s": source[0], "p_s": source[1], "z_t": target[0], "p_t": target[1]}
    gradients = {name: (tensor, given[f"gradient.{kind}.{name}"]) for name, tensor in names.items()}
    check(loss, given[f"loss.{kind}"], **gradients)


def test_mmd_of_unequal_sides_is_that_by_hand() -> None:
    x, y = [0.0, 2.0], [1.0, 2.0, 4.0]
    both = x + y
    mean = sum((a - b) ** 2 for a in both for b in both) / len(both) ** 2

    def kernel(a: float, b: float) -> float:
        return sum(math.exp(-((a - b) ** 2) / (2 * 2.0**power * mean)) for power in range(-3, 2))

    within = kernel(*x) + sum(kernel(a, b) for a in y for b in y if a != b) / 6
    expected = within - 2 * sum(kernel(a, b) for a in x for b in y) / 6
    found = moments.mmd_loss(torch.tensor(x).unsqueeze(1), torch.tensor(y).unsqueeze(1))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_linear_mmd_says_that_it_needs_as_many_clips() -> None:
    with pytest.raises(ValueError, match="as many target clips as source clips, not 2 and 3"):
        moments.mmd_loss(torch.zeros(3, 2), torch.zeros(2, 2), linear=True)


def test_coral_is_that_of_the_release(given: Vectors) -> None:
    source, target = given["input.f_s"], given["input.f_t"]
    check(
        moments.coral_loss(source, target),
        given["loss.total"],
        source=(source, given["gradient.f_s"]),
        target=(target, given["gradient.f_t"]),
    )


def test_bsp_is_that_of_the_release(given: Vectors) -> None:
    source, target = given["input.f_s"], given["input.f_t"]
    check(
        moments.largest_singular_values(source, target),
        given["loss.total"],
        source=(source, given["gradient.f_s"]),
        target=(target, given["gradient.f_t"]),
    )


def test_afn_is_that_of_the_release(given: Vectors) -> None:
    features = given["input.f"]
    check(moments.norm_growth_loss(features), given["loss.total"], features=(features, given["gradient.f"]))


def test_mcd_is_that_of_the_release(given: Vectors) -> None:
    one, other = given["input.logits1"], given["input.logits2"]
    check(
        consistency.classifier_discrepancy(one, other),
        given["loss.discrepancy"],
        one=(one, given["gradient.discrepancy.logits1"]),
        other=(other, given["gradient.discrepancy.logits2"]),
    )
    one.grad = None
    check(consistency.balance_loss(one), given["loss.entropy1"], one=(one, given["gradient.entropy1.logits1"]))


def test_mcc_is_that_of_the_release(given: Vectors) -> None:
    logits = given["input.logits"]
    assert float(given["coefficient.temperature"]) == 2.5
    check(consistency.class_confusion(logits), given["loss.total"], logits=(logits, given["gradient.logits"]))


def test_shot_is_that_of_the_release(given: Vectors) -> None:
    features = given["input.features"].detach()
    logits = F.linear(features, given["weights.classifier.weight"], given["weights.classifier.bias"]).requires_grad_()
    close(logits, given["output.logits"], 1e-5)
    close(entropy.prediction_entropy(logits).mean(), given["loss.mean_entropy"], 1e-5)
    close(entropy.batch_entropy(logits), given["loss.negative_diversity_term"], 1e-5)
    close(entropy.information_maximisation(logits), given["loss.information_maximisation"], 1e-5)
    for distance in ("cosine", "euclidean"):
        for least in (0, 6):
            found = entropy.centroid_labels(features, logits, distance == "cosine", least)
            expected = given[f"output.pseudo_label.{distance}.threshold{least}"]
            assert torch.equal(found, expected.long()), (distance, least)
    pseudo = entropy.centroid_labels(features, logits)
    total = entropy.information_maximisation(logits) + 0.3 * F.cross_entropy(logits, pseudo)
    check(total, given["loss.total"], logits=(logits, given["gradient.logits"]))


def test_tent_is_that_of_the_release(given: Vectors) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 12, (3, 1), padding=(1, 0)),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 6),
    )
    start = "weights."
    net.load_state_dict({name.removeprefix(start): value for name, value in given.items() if name.startswith(start)})
    x = given["input.x"].detach()
    learned = [parameter for norm in entropy.batch_norms(net.train()) for parameter in (norm.weight, norm.bias)]
    optimizer = torch.optim.Adam(learned, lr=float(given["coefficient.lr"]))
    for step in (1, 2):
        logits = net(x)
        close(logits, given[f"output.logits_step{step}"], 1e-4)
        close(entropy.prediction_entropy(logits), given[f"output.entropy_step{step}"], 1e-4)
        optimizer.zero_grad()
        entropy.prediction_entropy(logits).mean().backward()
        optimizer.step()
        for name in ("1.weight", "1.bias", "4.weight", "4.bias"):
            close(net.get_parameter(name), given[f"output.weights_after_step{step}.{name}"], 1e-4)


def test_batch_norms_are_those_of_vectors_and_of_maps() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.BatchNorm2d(3)), nn.Linear(1, 1))
    assert entropy.batch_norms(net) == [net[0], net[1][0]]


@pytest.mark.parametrize("as_released", [False, True])
def test_nrc_is_that_of_the_release(given: Vectors, as_released: bool) -> None:
    suffix = "" if as_released else "_intended"
    logits, places = given["input.logits"], given["input.index"]
    banks = given["input.feature_bank_before"].detach(), given["input.score_bank_before"].detach()
    k, kk = int(given["coefficient.K"]), int(given["coefficient.KK"])
    loss = entropy.neighbour_loss(logits, given["input.features"], places, *banks, k, kk, as_released)
    for bank, name in zip(banks, ("feature", "score"), strict=True):
        close(bank, given[f"output.{name}_bank_after"], 1e-5)
    # The release's divergence holds the negative entropies of the neighbours as well, which have no gradient.
    own = (banks[1] * banks[1].log()).sum(1)
    constant = (given[f"output.affinity{suffix}"] * own[given["output.neighbours"]]).sum(1).mean()
    constant = constant + 0.1 * own[given["output.expanded_neighbours"].flatten(1)].sum(1).mean()
    check(loss + constant, given[f"loss.total{suffix}"], logits=(logits, given[f"gradient.logits{suffix}"]))


class TestDomainBed:
    @pytest.fixture
    def given(self, all_vectors: Vectors) -> Vectors:
        start = "domainbed."
        return {name.removeprefix(start): value for name, value in all_vectors.items() if name.startswith(start)}

    @pytest.fixture
    def net(self, given: Vectors) -> nn.Linear:
        made = nn.Linear(24, 6)
        made.load_state_dict({part: given[f"weights.{part}"] for part in ("weight", "bias")})
        return made

    def logits(self, net: nn.Linear, given: Vectors) -> list[Tensor]:
        return [net(given[f"input.x{domain}"]) for domain in range(3)]

    def losses(self, net: nn.Linear, given: Vectors) -> Tensor:
        logits = self.logits(net, given)
        return torch.stack([F.cross_entropy(each, given[f"input.y{domain}"]) for domain, each in enumerate(logits)])

    @pytest.mark.parametrize(("count", "weight"), [(0, 1.0), (500, 100.0)])
    def test_irm(self, given: Vectors, net: nn.Linear, count: int, weight: float) -> None:
        each = [
            generalisation.invariance_penalty(logits, given[f"input.y{domain}"])
            for domain, logits in enumerate(self.logits(net, given))
        ]
        for domain, penalty in enumerate(each):
            close(penalty, given[f"output.irm.penalty{domain}"], 1e-5)
        loss = self.losses(net, given).mean() + weight * torch.stack(each).mean()
        gradients = {
            part: (net.get_parameter(part), given[f"gradient.irm.count{count}.{part}"]) for part in ("weight", "bias")
        }
        check(loss, given[f"loss.irm.count{count}.loss"], **gradients)

    @pytest.mark.parametrize(("count", "weight"), [(0, 1.0), (500, 10.0)])
    def test_vrex(self, given: Vectors, net: nn.Linear, count: int, weight: float) -> None:
        losses = self.losses(net, given)
        penalty = generalisation.risk_variance(losses)
        close(penalty, given[f"loss.vrex.count{count}.penalty"], 1e-5)
        gradients = {
            part: (net.get_parameter(part), given[f"gradient.vrex.count{count}.{part}"]) for part in ("weight", "bias")
        }
        check(losses.mean() + weight * penalty, given[f"loss.vrex.count{count}.loss"], **gradients)

    def test_group_dro(self, given: Vectors, net: nn.Linear) -> None:
        worst = generalisation.WorstDomain(3, float(given["coefficient.groupdro_eta"]))
        for step in (1, 2, 3):
            loss = worst(self.losses(net, given), torch.arange(3))
            close(loss, given[f"loss.groupdro.step{step}"], 1e-5)
            close(worst.weights, given[f"output.groupdro.q_step{step}"], 1e-5)
            after = {part: given[f"output.groupdro.weights_after_step{step}.{part}"] for part in ("weight", "bias")}
            net.load_state_dict(after)


@pytest.mark.parametrize("n_groups", [4, 10, 40])
def test_group_dro_s_loss_is_as_large_however_many_groups_are_in_no_batch(n_groups: int) -> None:
    worst = generalisation.WorstDomain(n_groups)
    assert worst(torch.ones(4), torch.arange(4)).item() == pytest.approx(1.0)


def test_a_confident_label_counts_only_above_the_threshold() -> None:
    weak = torch.tensor([[4.0, 0.0], [1.0, 0.0]], requires_grad=True)  # probabilities 0.982 and 0.731
    strong = torch.tensor([[0.0, 0.0], [9.0, 0.0]], requires_grad=True)
    loss = consistency.confident_label_loss(weak, strong)
    assert loss.item() == pytest.approx(math.log(2) / 2)
    loss.backward()
    assert weak.grad is None


def test_the_reversal_grows_from_none_to_almost_all() -> None:
    assert adversarial.reversal_factor(0) == 0
    assert adversarial.reversal_factor(1) == pytest.approx(math.tanh(5))


def test_the_distance_of_classes_is_that_of_their_means_and_covariances() -> None:
    source = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 1.0], [9.0, 9.0]])
    target = torch.tensor([[1.0, 3.0], [1.0, 5.0], [4.0, 1.0]])
    loss = moments.class_moments_loss(source, torch.tensor([0, 0, 1, 2]), target, torch.tensor([0, 0, 1]))
    # Class 0: means (1, 0) and (1, 4), variances (2, 0) and (0, 2). Class 1: one clip each. Class 2: none here.
    of_first = 16 / 2 + (4 + 4) / 4
    of_second = 9 / 2
    assert loss.item() == pytest.approx((of_first + of_second) / 2)
