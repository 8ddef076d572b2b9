"""Person detectors: built by the tests with weights of their own, so that what they find is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from mmcl_bench.core.errors import UserError
from mmcl_bench.video.detectors import person_detector, surest
from videos import walk

MODEL = "ssdlite320_mobilenet_v3_large"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of detectors that take everything for a person, or for a bicycle."""
    folder = tmp_path_factory.mktemp("detectors")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.get_model(MODEL, weights=None, weights_backbone=None, num_classes=91)
    found = {}
    for label, name in ((1, "person"), (2, "bicycle")):
        state = model.state_dict()
        for key, value in state.items():
            if key.startswith("head.classification_head") and key.endswith(".bias") and not value.numel() % 91:
                biased = value.reshape(-1, 91).clone()
                biased[:] = 0
                biased[:, label] = 8
                state[key] = biased.reshape(-1)
        found[name] = folder / f"{name}.pth"
        torch.save(state, found[name])
    return found


def test_people_are_found_and_other_things_are_not(weights: dict[str, Path]) -> None:
    frames = walk(2)
    people = person_detector(f"torchvision:{MODEL}:{weights['person']}").detect(frames)
    assert [len(boxes) for boxes in people] == [2, 2]
    assert people[0].shape == (2, 4)
    assert (people[0][:, :2] >= 0).all()
    assert (people[0][:, 2:] <= [96, 64]).all()
    bicycles = person_detector(f"torchvision:{MODEL}:{weights['bicycle']}").detect(frames)
    assert [len(boxes) for boxes in bicycles] == [0, 0]


def test_only_the_two_surest_people_count() -> None:
    boxes = np.arange(16.0).reshape(4, 4)
    assert surest(boxes, np.array([0.6, 0.9, 0.2, 0.7])).tolist() == [boxes[1].tolist(), boxes[3].tolist()]
    assert surest(boxes, np.full(4, 0.4)).shape == (0, 4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timn:x", "Known: hf, torchvision"),
        ("torchvision:fasterrcnn_resnet50", "Did you mean"),
        ("torchvision:resnet34", "has no model 'resnet34'"),
        (f"torchvision:{MODEL}:/no/such/file", "no weights file"),
        ("hf:some-owner/some-detector", "nothing is downloaded"),
    ],
)
def test_a_wrong_spec_is_one_line(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        person_detector(spec).detect(walk(1))
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(weights: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="these are not weights of torchvision's"):
        person_detector(f"torchvision:fasterrcnn_mobilenet_v3_large_320_fpn:{weights['person']}").detect(walk(1))


def test_nothing_is_fetched_where_torch_keeps_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match="nothing is downloaded; get ssdlite320"):
        _ = person_detector(f"torchvision:{MODEL}").weight_hash


def test_a_detector_of_transformers_finds_people(tmp_path: Path) -> None:
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[64, 96],
        patch_size=16,
        num_detection_tokens=4,
        id2label={0: "person", 1: "bicycle"},
        label2id={"person": 0, "bicycle": 1},
    )
    for name, bias in (("person", [9.0, 0.0, 0.0]), ("bicycle", [0.0, 9.0, 0.0])):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = YolosForObjectDetection(config)
        with torch.no_grad():
            model.class_labels_classifier.layers[-1].bias[:] = torch.tensor(bias)
        model.save_pretrained(tmp_path / name)
        YolosImageProcessor(size={"height": 64, "width": 96}).save_pretrained(tmp_path / name)
    found = person_detector(f"hf:{tmp_path / 'person'}").detect(walk(2))
    assert [boxes.shape for boxes in found] == [(2, 4), (2, 4)]
    assert [len(boxes) for boxes in person_detector(f"hf:{tmp_path / 'bicycle'}").detect(walk(2))] == [0, 0]
