"""Text in the encodings of editors and shells, told by the mark at its beginning."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcl_bench.core.files import read_text
from mmcl_bench.core.text import as_utf8

TEXTS = st.text(st.characters(exclude_categories=("Cs",))).filter(lambda text: not text.startswith("\ufeff"))


@given(text=TEXTS, encoding=st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]))
def test_text_with_a_mark_is_the_text(text: str, encoding: str) -> None:
    assert as_utf8(text.encode(encoding)) == text.encode()


@given(text=TEXTS)
def test_the_other_byte_order_is_read_too(text: str) -> None:
    # Where a text in UTF-16 begins with a NUL, its mark and that NUL are the mark of UTF-32.
    assert as_utf8(codecs.BOM_UTF16_BE + text.encode("utf-16-be")) == text.encode()
    assert as_utf8(codecs.BOM_UTF32_BE + text.encode("utf-32-be")) == text.encode()


MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


@given(content=st.binary().filter(lambda content: not content.startswith(MARKS)))
def test_bytes_without_a_mark_stay_as_they_are(content: bytes) -> None:
    assert as_utf8(content) == content


@pytest.mark.parametrize("content", [b"\xff\xfea", b"\xff\xfe\0\xd8", b"\xff\xfe\0\0abc", b"caf\xe9"])
def test_what_is_no_text_of_its_encoding_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "names.txt")
