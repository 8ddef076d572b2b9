"""Settings as text say what they said."""

from __future__ import annotations

from typing import Any

import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.settings import parse_setting, setting_text


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("joint", ["bone"], ["joint"]),
        ("joint+bone", ["bone"], ["joint", "bone"]),
        ('["joint","bone"]', ["bone"], ["joint", "bone"]),
        ("3", 0.5, 3.0),
        ("adamw", "sgd", "adamw"),
        ("[90,100]", [1], [90, 100]),
        ("true", False, True),
    ],
)
def test_text_is_read_by_the_type_of_the_preset(text: str, default: Any, value: Any) -> None:
    assert parse_setting("m", "key", text, default) == value


@pytest.mark.parametrize(
    "value", ["adamw", "7", "true", "a+b", ["joint"], ["joint", "bone-motion"], ["a+b", "c"], ["7"], [1, 2], 0.1, True]
)
def test_what_is_written_reads_back(value: Any) -> None:
    assert parse_setting("m", "key", setting_text(value), value) == value


@pytest.mark.parametrize(("text", "default"), [("a+b", [1]), ("many", 3), ("1", ["joint"]), ("1.5", 2)])
def test_another_type_is_refused(text: str, default: Any) -> None:
    with pytest.raises(UserError, match=f"setting key={text.replace('+', '.')} should be {type(default).__name__}"):
        parse_setting("m", "key", text, default)
