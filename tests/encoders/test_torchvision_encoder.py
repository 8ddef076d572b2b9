"""Image classifiers of torchvision as encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.v2
from PIL import Image
from safetensors.torch import save_file

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders import image_encoder


def strip(width: int = 320, height: int = 96, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(tmp_path: Path, name: str, **settings: Any) -> tuple[Any, Path]:
    """A model with random weights, and the file of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None, **settings).eval()
    path = tmp_path / f"{name}.pth"
    torch.save(model.state_dict(), path)
    return model, path


@pytest.mark.parametrize(("name", "head"), [("resnet18", "fc"), ("mobilenet_v3_small", "classifier.3")])
def test_features_are_what_the_last_layer_of_torchvision_s_own_network_gets(
    tmp_path: Path, name: str, head: str
) -> None:
    model, path = saved(tmp_path, name)
    seen: list[torch.Tensor] = []
    model.get_submodule(head).register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    preset = torchvision.transforms.v2.Compose(
        [
            torchvision.transforms.v2.ToImage(),
            torchvision.transforms.v2.ToDtype(torch.float32, scale=True),
            torchvision.transforms.v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    with torch.no_grad():
        model(preset(strip())[None])
    features = image_encoder(f"torchvision:{name}:{path}").encode([strip()])
    np.testing.assert_allclose(features, seen[0].numpy(), atol=2e-5, rtol=1e-4)


def test_weights_of_other_classes_serve_as_well(tmp_path: Path) -> None:
    _, path = saved(tmp_path, "resnet18", num_classes=60)
    assert image_encoder(f"torchvision:resnet18:{path}").encode([strip(), strip(100, 100)]).shape == (2, 512)


def test_the_networks_of_the_paper_have_their_sizes(tmp_path: Path) -> None:
    _, inception = saved(tmp_path, "inception_v3", init_weights=False)
    _, resnet = saved(tmp_path, "resnet34")
    assert image_encoder(f"torchvision:inception_v3:{inception}").encode([strip()]).shape == (1, 2048)
    assert image_encoder(f"torchvision:resnet34:{resnet}").encode([strip()]).shape == (1, 512)


def test_files_of_densenet_with_the_names_of_old_are_read(tmp_path: Path) -> None:
    model, path = saved(tmp_path, "densenet121")
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in model.state_dict().items()
    }
    assert set(old) != set(model.state_dict())
    spelled = tmp_path / "old.safetensors"
    save_file(old, spelled)
    new, other = (image_encoder(f"torchvision:densenet121:{file}").encode([strip()]) for file in (path, spelled))
    np.testing.assert_array_equal(new, other)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torchvision:resnet3", "Did you mean"),
        ("torchvision", "needs a model"),
        ("torchvision:squeezenet1_1:{path}", "has no linear classifier"),
        ("torchvision:resnet34:{path}", "these are not weights of torchvision's resnet34"),
        ("torchvision:resnet34:/no/such/file", "no weights file"),
    ],
)
def test_a_wrong_spec_is_one_line(spec: str, message: str, tmp_path: Path) -> None:
    _, path = saved(tmp_path, "mobilenet_v3_small")
    with pytest.raises(UserError, match=message) as caught:
        image_encoder(spec.format(path=path)).encode([strip()])
    assert "\n" not in str(caught.value)


def test_weights_are_found_where_torch_keeps_its_own_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"nothing is downloaded; get resnet18-f37072fd\.pth"):
        _ = image_encoder("torchvision:resnet18").weight_hash
    _, path = saved(tmp_path, "resnet18")
    (tmp_path / "checkpoints").mkdir()
    path.rename(tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    assert image_encoder("torchvision:resnet18").encode([strip()]).shape == (1, 512)
