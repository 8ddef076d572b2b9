"""The restricted reader of pickles agrees with the standard library on plain data, and does nothing else."""

from __future__ import annotations

import builtins
import collections
import io
import os
import pickle
import struct
import sys
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.datasets.formats.restricted_pickle import MAX_BYTES, MAX_VALUES, PickledArray, load

PROTOCOLS = (0, 1, 2, 3, 4, 5)


def loaded(content: bytes) -> Any:
    return load(io.BytesIO(content), len(content))


def refusal(content: bytes) -> str:
    with pytest.raises(BadFile) as caught:
        loaded(content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(inner, max_size=5).map(tuple),
    max_leaves=20,
)


@given(value=plain, protocol=st.sampled_from(PROTOCOLS))
@settings(max_examples=60, database=None)
def test_plain_data_are_as_the_standard_library_reads_them(value: object, protocol: int) -> None:
    content = pickle.dumps(value, protocol)
    assert loaded(content) == pickle.loads(content)  # noqa: S301 - made above


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "u1", "<i8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numeric_arrays_are_as_they_were_pickled(protocol: int, dtype: str, order: str) -> None:
    values = np.random.default_rng(0).normal(scale=9, size=(2, 3, 4)).astype(dtype, order=order)  # type: ignore[call-overload]
    array = loaded(pickle.dumps({"keypoint": values}, protocol))["keypoint"]
    assert isinstance(array, PickledArray)
    assert (array.shape, array.dtype) == (values.shape, values.dtype)
    np.testing.assert_array_equal(array.values(), values)
    assert not array.values().flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 0, 3), "f2"), np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2), np.arange(9)[::2], np.array(7.0)],
    ids=["empty", "other order of axes", "every second", "no axis"],
)
def test_arrays_of_unusual_form_are_as_they_were_pickled(protocol: int, values: np.ndarray) -> None:
    array = loaded(pickle.dumps([values], protocol))[0]
    assert (array.shape, array.dtype, array.n_bytes) == (values.shape, values.dtype, values.nbytes)
    np.testing.assert_array_equal(array.values(), values)


@pytest.mark.parametrize("protocol", PROTOCOLS[2:])
def test_arrays_take_about_as_much_memory_as_the_file(protocol: int) -> None:
    content = pickle.dumps([np.full((1000, 500), number, "f4") for number in range(4)], protocol)
    tracemalloc.start()
    loaded(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The content of one array is there twice while the instructions are looked through.
    assert peak < 1.5 * len(content)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_array_in_two_places_is_read_twice(protocol: int) -> None:
    values = np.arange(6.0).reshape(2, 3)
    first, second = loaded(pickle.dumps([values, values], protocol))
    np.testing.assert_array_equal(first.values(), values)
    np.testing.assert_array_equal(second.values(), values)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numbers_of_numpy_become_plain_ones(protocol: int) -> None:
    numbers = [np.int64(7), np.float32(0.5), np.bool_(True)]
    found = loaded(pickle.dumps(numbers, protocol))
    assert found == [7, 0.5, True]
    assert [type(number) for number in found] == [int, float, bool]


@pytest.mark.parametrize(("old", "new"), [(b"numpy.core", b"numpy._core"), (b"numpy._core", b"numpy.core")])
def test_both_names_of_numpys_core_are_known(old: bytes, new: bytes) -> None:
    content = pickle.dumps([np.arange(3.0), np.int64(4)], 2).replace(old, new)
    array, number = loaded(content)
    np.testing.assert_array_equal(array.values(), [0, 1, 2])
    assert number == 4


# Attacks


class Asks:
    """Is pickled as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


class Stateful:
    pass


def test_a_pickle_that_would_run_a_command_does_not(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for protocol in PROTOCOLS:
        content = pickle.dumps({"annotations": Asks(os.system, f"touch {mark}")}, protocol)
        assert "asks for 'posix.system'" in refusal(content)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        Asks(eval, "1 + 1"),
        Asks(exec, "pass"),
        Asks(getattr, "", "join"),
        Asks(getattr, Asks(__import__, "os"), "system"),
        Asks(np.load, "x.npy", None, True),
        Asks(np.ndarray, (3,)),
        Asks(np.frombuffer, b"1234"),
        Asks(partial, print, 1),
        Asks(bytearray, 1 << 40),
        Asks(open, "/etc/passwd"),
        Stateful(),
        Fraction(1, 2),
        collections.OrderedDict(a=1),
        collections.defaultdict(list),
        {1, 2},
        frozenset("ab"),
        1 + 2j,
        builtins.print,
        np.array([object()], dtype=object),
        np.array([b"abc"]),
        np.array(["abc"]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.array([1 + 2j]),
        {1: 2},
        {(1, 2): 3},
    ],
    ids=lambda value: type(value).__name__,
)
def test_everything_else_is_refused(value: object, protocol: int) -> None:
    refusal(pickle.dumps(value, protocol, fix_imports=False))


def test_other_protocols_are_refused() -> None:
    assert "protocol 6" in refusal(b"\x80\x06N.")
    assert "instruction STRING" in refusal(b"(lp0\nS'as Python 2 wrote texts'\np1\na.")


def asked(module: str, name: str) -> bytes:
    return b"\x80\x02c" + f"{module}\n{name}\n".encode()


@pytest.mark.parametrize("module", ["antigravity", "os", "numpy.lib.npyio", "mmcl_bench.core.paths", ".."])
def test_no_name_is_ever_looked_up(module: str) -> None:
    before = set(sys.modules)
    assert f"asks for '{module}.x'" in refusal(asked(module, "x") + b")R.")
    assert set(sys.modules) == before


def state_of(array: bytes, shape: bytes, content: bytes) -> bytes:
    """An array whose state is (1, shape, dtype f4, False, content), in protocol 3."""
    dtype = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"
    dtype += b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return b"\x80\x03" + array + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb."


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
EIGHT = b"C\x0812345678"


def test_the_hand_made_array_is_an_array_to_the_standard_library_too() -> None:
    content = state_of(ARRAY, b"K\x02\x85", EIGHT)
    np.testing.assert_array_equal(loaded(content).values(), pickle.loads(content))  # noqa: S301 - made above


@pytest.mark.parametrize(
    "content",
    [
        state_of(ARRAY, b"J\xff\xff\xff\xff\x85", EIGHT),
        state_of(ARRAY, b"K\x03\x85", EIGHT),
        state_of(ARRAY, b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40\x85", EIGHT),
        state_of(ARRAY, b"(" + b"\x8a\x05\x00\x00\x00\x00\x01" * 30 + b"t", EIGHT),
        state_of(ARRAY, b"(" + b"K\x01" * 40 + b"t", b"C\x041234"),
        state_of(ARRAY, b"\x88\x85", b"C\x041234"),
        state_of(ARRAY, b"X\x01\x00\x00\x002\x85", EIGHT),
        state_of(ARRAY, b"K\x02", EIGHT),
        state_of(ARRAY, b"K\x02\x85", b"]"),
        state_of(ARRAY, b"K\x02\x85", b"X\x08\x00\x00\x0012345678"),
        state_of(b"}", b"K\x02\x85", EIGHT),
        state_of(b"]", b"K\x02\x85", EIGHT),
        state_of(b"cnumpy\nndarray\n", b"K\x02\x85", EIGHT),
        state_of(ARRAY.replace(b"cnumpy\nndarray\n", b"N"), b"K\x02\x85", EIGHT),
    ],
    ids=[
        "negative shape",
        "too little content",
        "endless side",
        "endless product",
        "forty sides",
        "shape of a truth",
        "shape of a text",
        "shape that is no tuple",
        "content of a list",
        "content of a text",
        "state of a dict",
        "state of a list",
        "state of a name",
        "array of nothing",
    ],
)
def test_arrays_that_are_none_are_refused(content: bytes) -> None:
    refusal(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x80\x02",
        b".",
        b"\x80\x02.",
        b"\x80\x02]](.",
        b"\x80\x02K\x01K\x02.",
        b"\x80\x02e.",
        b"\x80\x02u.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02h\x07.",
        b"\x80\x02q\x00.",
        b"\x80\x02NNR.",
        b"\x80\x02NNb.",
        b"\x80\x02NNa.",
        b"\x80\x02K\x01\x93.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02(i os\nsystem\n.",
        b"\x80\x02Pid\n.",
        b"\x80\x02\x97.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
        b"\x80\x02c" + b"x" * 5000,
        asked("", "x") + b")R.",
        asked("numpy", "dtype") + b")R.",
        asked("numpy", "ndarray") + b")R.",
        asked("__builtin__", "bytes") + b"J\xff\xff\xff\x7f\x85R.",
        asked("_codecs", "encode") + b"X\x01\x00\x00\x00aX\x06\x00\x00\x00base64\x86R.",
        asked("_codecs", "encode") + b"X\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1\x86R)R.",
        asked("numpy.core.multiarray", "scalar") + b"NN\x86R.",
    ],
    ids=repr,
)
def test_fragments_are_refused(content: bytes) -> None:
    refusal(content)


@pytest.mark.parametrize(
    "made",
    [
        *(asked(*name)[2:] for name in (("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"))),
        asked("_codecs", "encode")[2:] + b"X\x01\x00\x00\x00aX\x06\x00\x00\x00latin1\x86R",
        asked("__builtin__", "bytes")[2:] + b")R",
        ARRAY,
    ],
    ids=["array", "dtype", "encode", "encoded", "bytes", "empty array"],
)
@pytest.mark.parametrize("state", [{"a": 1}, (None, {"shape": 1}), (None, {"text": 1, "_make": 1, "__call__": 1})])
def test_no_attribute_can_be_set(made: bytes, state: object) -> None:
    refusal(b"\x80\x02" + made + pickle.dumps(state, 2)[2:-1] + b"b.")


def framed(size: int, content: bytes) -> bytes:
    return b"\x80\x04\x95" + struct.pack("<Q", size) + content


def test_a_frame_that_ends_within_an_instruction_is_refused() -> None:
    # Of such a text, the unpickler forgets what stands in the frame; so it reads on where no instruction begins.
    content = framed(7, b"X\x05\x00\x00\x00ab") + b"cde..."
    assert pickle.load(io.BytesIO(content)) == "cde.."  # noqa: S301 - made above
    assert "frame" in refusal(content)
    assert "frame" in refusal(framed(30, framed(2, b"N")[2:] + b"." * 30))
    assert "cut short" in refusal(framed(3, b"N."))
    assert loaded(framed(2, b"N.")) is None


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x",
        b"\x80\x04\x8d" + struct.pack("<Q", (1 << 63) + 5) + b"x",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 36),
        b"\x80\x02X" + struct.pack("<I", 0xFFFFFFFF) + b"x",
        b"\x80\x03B" + struct.pack("<I", 0xFFFFFFFF) + b"x",
        b"\x80\x02Nr" + struct.pack("<I", 0xFFFFFFFF),
        b"\x80\x02(" * 1000,
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 60),
    ],
    ids=["bytes8", "text8", "bytearray8", "text4", "bytes4", "memo", "marks", "frame"],
)
def test_what_is_claimed_but_not_there_takes_no_memory(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "pickle").write_bytes(content)
    tracemalloc.start()
    refusal(content)
    with (tmp_path / "pickle").open("rb") as file, pytest.raises(BadFile):
        load(file, len(content))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_deep_nesting_neither_overflows_nor_hangs() -> None:
    depth = 100_000
    lists = loaded(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")
    tuples = loaded(b"\x80\x02)" + b"\x85" * depth + b".")
    assert isinstance(lists, list)
    assert isinstance(tuples, tuple)
    while lists:
        lists = lists[0]
    while tuples:
        tuples = tuples[0]


def test_a_key_that_takes_for_ever_to_hash_is_refused() -> None:
    doubled = b")" + b"q\x00h\x00\x86" * 60
    assert "key" in refusal(b"\x80\x02}" + doubled + b"Ns.")
    assert "key" in refusal(b"\x80\x02}(" + doubled + b"Nu.")
    assert "key" in refusal(b"(" + doubled + b"Nd.")


def test_a_key_that_takes_long_to_compare_is_refused() -> None:
    assert loaded(pickle.dumps({"a" * 1000: 1})) == {"a" * 1000: 1}
    assert "key" in refusal(pickle.dumps({"a" * 1001: 1}))


def test_a_file_larger_than_any_set_is_refused_unread() -> None:
    with pytest.raises(BadFile, match=r"8\.0 GiB large; more than 8 GiB is refused"):
        load(io.BytesIO(), MAX_BYTES + 1)


def test_more_values_than_any_set_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_VALUES < 1 << 25
    monkeypatch.setattr("mmcl_bench.datasets.formats.restricted_pickle.MAX_VALUES", 1000)
    assert "more than 1,000 values" in refusal(b"\x80\x02(" + b"N" * 1001 + b"t.")
    assert "more than 1,000 values" in refusal(b"\x80\x02N" + b"q\x00" * 1001 + b".")


HONEST = pickle.dumps(
    {
        "split": {"xsub_train": ["a"], "xsub_val": ["b"]},
        "annotations": [
            {"frame_dir": name, "label": np.int64(3), "keypoint": np.ones((1, 2, 5, 3), np.float16)} for name in "ab"
        ],
    },
    2,
)


@given(
    protocol=st.sampled_from((0, 2, 4, 5)),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.none() | st.integers(0, 1 << 16),
    inserted=st.binary(max_size=12),
)
@settings(max_examples=400, database=None)
def test_a_damaged_pickle_is_plain_data_or_refused(
    protocol: int, changes: list[tuple[int, int]], cut: int | None, inserted: bytes
) -> None:
    content = bytearray(HONEST if protocol == 2 else pickle.dumps([np.ones((2, 3)), {"a": 1}], protocol))
    for where, value in changes:
        content[where % len(content)] = value
    at = changes[0][0] % len(content)
    content[at:at] = inserted
    _require_plain_or_refused(bytes(content[:cut]))


@given(content=st.binary(max_size=200))
@settings(max_examples=300, database=None)
def test_noise_is_plain_data_or_refused(content: bytes) -> None:
    _require_plain_or_refused(b"\x80\x04" + content)


def _require_plain_or_refused(content: bytes) -> None:
    line = ""
    try:
        _require_plain(loaded(content))
    except BadFile as error:
        line = str(error)
    assert "\n" not in line


def _require_plain(value: object) -> None:
    """Fails for anything that a reader of annotations could not look at without harm."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        assert type(value).__module__ in ("builtins", "mmcl_bench.datasets.formats.restricted_pickle")
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, PickledArray):
            assert value.values().dtype.kind in "fiub"
