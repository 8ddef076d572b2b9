"""Names: whole numbers in the order of their value, and which of the known names one means. Text in the encodings of
editors and shells, told by the mark at its beginning."""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcl_bench.core.files import read_text
from mmcl_bench.core.text import as_utf8, joined_datasets, match_name, match_names, sorted_names, with_folds_together

CIRCLES = ("वृत्त", "वृत्ति", "वृत्तों")
"""Hindi words that differ in vowel signs alone."""


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0", "1", "10", "11", "2"], ["0", "1", "2", "10", "11"]),
        (["10", "9", "-1", "+2"], ["-1", "+2", "9", "10"]),
        (["2.0", "10.0", "1.0"], ["1.0", "2.0", "10.0"]),
        (["010", "9", "10"], ["9", "010", "10"]),
        (["walk", "2", "10", "run"], ["2", "10", "run", "walk"]),
        (["a10", "a9", "1.5", "12"], ["12", "1.5", "a10", "a9"]),
        (["१०", "९"], ["९", "१०"]),
        (["²", "3"], ["3", "²"]),
    ],
)
def test_whole_numbers_are_sorted_by_value(names: list[str], expected: list[str]) -> None:
    assert sorted_names(names) == expected


@given(st.lists(st.integers(-(10**30), 10**30), unique=True))
def test_numbers_of_any_size_are_sorted_by_value(numbers: list[int]) -> None:
    assert sorted_names(map(str, numbers)) == [str(number) for number in sorted(numbers)]


@pytest.mark.parametrize(
    "names",
    [
        ("turn +90", "turn -90"),
        ("C", "C++", "C#"),
        ("a b", "ab", "a_b", "A B"),
        CIRCLES,
        ("\u00e9", "e\u0301", "e"),
        ("👍", "👍🏽", "👎"),
        ("<", ">", "<=", "…"),
    ],
)
def test_equal_names_are_matched_whatever_they_look_like(names: tuple[str, ...]) -> None:
    assert match_names(names[::-1], names) == list(range(len(names)))[::-1]


@given(st.lists(st.text(min_size=1), unique=True, min_size=1))
def test_any_distinct_names_match_themselves(names: list[str]) -> None:
    assert match_names(names, names) == list(range(len(names)))


@given(st.lists(st.text(alphabet="aA_- b+", min_size=1, max_size=3), unique=True), st.text("aA_- b+", max_size=3))
def test_a_name_that_is_known_means_nothing_else(known: list[str], name: str) -> None:
    found = match_name(name, known)
    if name in known:
        assert found == known.index(name)


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("Sit-Down", ("sit down", "stand up"), 0),
        ("SitDown", ("sit down", "stand up"), 0),
        ("stand_up", ("sit down", "stand up"), 1),
        ("ｗａｌｋ", ("walk", "run"), 0),
        ("STRASSE", ("straße", "platz"), 0),
        (unicodedata.normalize("NFD", "marché"), ("marche", "marché"), 1),
        (unicodedata.normalize("NFD", "각"), ("각", "가"), 0),
        ("c++", ("C", "C++", "C#"), 1),
        ("c+", ("C", "C++", "C#"), None),
        ("turn 90", ("turn +90", "turn -90"), None),
        ("वृत", CIRCLES, None),
        ("", ("walk",), None),
        ("!", ("?", "walk"), None),
        ("jump", ("walk", "run"), None),
    ],
)
def test_a_name_is_matched_loosely_only_where_one_is_meant(
    name: str, known: tuple[str, ...], expected: int | None
) -> None:
    assert match_name(name, known) == expected


def test_two_names_never_mean_the_same() -> None:
    assert match_names(("walk", "Walk"), ("walk", "run")) == [0, None]
    assert match_names(("Walk", "WALK"), ("walk", "run")) == [None, None]
    assert match_names(("walk", "walk"), ("walk", "run")) == [None, None]


TEXTS = st.text(st.characters(exclude_categories=("Cs",))).filter(lambda text: not text.startswith(("\ufeff", "\0")))
# The mark of UTF-16 and a NUL are the mark of UTF-32.


@given(text=TEXTS, encoding=st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]))
def test_text_with_a_mark_is_the_text(text: str, encoding: str) -> None:
    assert as_utf8(text.encode(encoding)) == text.encode()


@given(text=TEXTS)
def test_the_other_byte_order_is_read_too(text: str) -> None:
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


def test_the_last_data_set_is_the_one_that_is_tested() -> None:
    assert joined_datasets(["nw-ucla"]) == "nw-ucla"
    assert joined_datasets(["hdm05", "nw-ucla", "utd-mhad"]) == "hdm05 + nw-ucla to utd-mhad"


def test_folds_that_follow_each_other_are_one_name() -> None:
    names = ["8/2", *(f"22/5:fold-{number}" for number in (1, 2, 3, 11, 9, 10, 20))]
    assert with_folds_together(names) == ["8/2", "22/5:fold-1 to fold-3", "22/5:fold-9 to fold-11", "22/5:fold-20"]
