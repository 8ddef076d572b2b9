"""Settings as text are read by the type of their field, and read back as they were written."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from mmcl_bench.core.settings import each_of, parse_setting, setting_text


class Every(BaseModel):
    streams: Annotated[tuple[Literal["joint", "bone", "bone-motion"], ...], Field(min_length=1)] = ("joint",)
    names: tuple[str, ...] = ()
    rate: float = 0.1
    norm: float | None = None
    epochs: int = Field(default=5, ge=1)
    steps: tuple[int, ...] = ()
    optimizer: Literal["sgd", "adamw"] = "sgd"
    encoder: str = "minilm"
    fam: bool = True


def read(key: str, text: str) -> Any:
    return getattr(Every.model_validate({key: parse_setting(text, Every.model_fields[key])}), key)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("streams", "joint", ("joint",)),
        ("streams", "joint+bone", ("joint", "bone")),
        ("streams", '["joint","bone"]', ("joint", "bone")),
        ("rate", "3", 3.0),
        ("rate", '"3"', 3.0),
        ("rate", "6e-3", 0.006),
        ("norm", "null", None),
        ("norm", "1", 1.0),
        ("optimizer", "adamw", "adamw"),
        ("steps", "[90,100]", (90, 100)),
        ("fam", "true", True),
        ("encoder", "7", "7"),
        ("encoder", "true", "true"),
    ],
)
def test_text_is_read_by_the_type_of_the_field(key: str, text: str, value: Any) -> None:
    assert read(key, text) == value
    assert type(read(key, text)) is type(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("encoder", text) for text in ("adamw", "7", "true", "a+b", "a,b", "a[b=1,c=2]")),
        *(("names", names) for names in (("joint",), ("a+b", "c"), ("7",))),
        ("streams", ("joint", "bone-motion")),
        ("steps", (1, 2)),
        ("rate", 0.1),
        ("fam", False),
    ],
)
def test_what_is_written_reads_back(key: str, value: Any) -> None:
    text = setting_text(list(value) if isinstance(value, tuple) else value)
    assert read(key, text) == value
    assert each_of(text, "--set") == [text]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("none,root+facing,none", ["none", "root+facing"]),
        ("0.1,1", ["0.1", "1"]),
        ("[90,100]", ["[90,100]"]),
        ('{"a":1,"b":2}', ['{"a":1,"b":2}']),
        ("minilm,smollm2[layer=20,pooling=last]", ["minilm", "smollm2[layer=20,pooling=last]"]),
        ("", [""]),
    ],
)
def test_commas_outside_brackets_part_values(text: str, values: list[str]) -> None:
    assert each_of(text, "--set") == values


@pytest.mark.parametrize(
    ("key", "text"),
    [("steps", "a+b"), ("epochs", "many"), ("epochs", "0"), ("epochs", "1.5"), ("streams", "1"), ("optimizer", "sdg")],
)
def test_another_type_is_refused_by_the_model(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=key):
        read(key, text)
