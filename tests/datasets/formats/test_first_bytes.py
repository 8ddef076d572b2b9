"""A file is named by its first bytes, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcl_bench.datasets.formats.first_bytes import WEB_PAGE, kind_of, stand_in


@given(st.binary(max_size=2000))
def test_any_bytes_have_a_kind_or_none(beginning: bytes) -> None:
    found = stand_in(beginning)
    assert found is None or found == kind_of(beginning)


@pytest.mark.parametrize("comments", [b"", b"<!-- a -->", b"\n<!-- a -->\n <!-- b -->\n"])
def test_comments_before_a_web_page_are_passed_over(comments: bytes) -> None:
    assert stand_in(comments + b"<html>") is WEB_PAGE


def test_many_comments_take_no_time() -> None:
    # Told apart in every way that they could be, these would take longer than the world is old.
    assert kind_of(b"<!---->" * 140 + b"x") is None


@pytest.mark.parametrize(
    "content", [b"1 2 3\n", b".5 .5\n", b"<5 1 2\n", b"103\n1\n", b'{"skeletons": []}', b":VERSION 1.10\n"]
)
def test_the_text_of_clips_stands_in_for_nothing(content: bytes) -> None:
    assert stand_in(content) is None
