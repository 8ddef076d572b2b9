"""What an image classifier sees, as an answer."""

from __future__ import annotations

import numpy as np
from matplotlib import cbook
from PIL import Image

from mmcl_bench.encoders.image_labels import NAMED, ImageLabels


def portrait(width: int, height: int) -> Image.Image:
    """Of Grace Hopper, which matplotlib carries and TensorFlow's tutorials label 'military uniform'."""
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        return Image.open(file).convert("RGB").resize((width, height))


def test_an_answer_names_what_is_seen_the_likeliest_first() -> None:
    model = ImageLabels()
    (alone,) = model.ask([portrait(224, 264)], "What does the picture show?")
    names = alone.text.split(", ")
    assert names[0] == "military uniform"
    assert len(names) == NAMED
    assert alone.pooled.shape == (1000,)
    assert alone.pooled.argmax() == 652
    np.testing.assert_allclose(alone.pooled.sum(), 1, rtol=1e-5)
    assert alone.tokens.shape == (0, 1000)
    _, beside = model.ask([portrait(128, 160), portrait(224, 264)], "Whatever?")
    assert beside.text == alone.text
    np.testing.assert_allclose(beside.pooled, alone.pooled, atol=1e-4)
