"""Reading pickles of plain containers and numeric numpy arrays without trusting them.

A pickle is a program. The interpreter of the standard library can be told which functions a pickle may call, but not
how much memory it may claim for bytes, memo entries or nested keys that are not there. So this is another interpreter,
of the few instructions that containers and arrays need. It looks nothing up and calls nothing: the names of numpy's
constructors stand for steps of its own, every other name is refused, and what it allocates is bounded by the bytes
that it has read.

The instructions are those of protocols 2 to 5, as ``pickletools`` describes them.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import IO, Any

import numpy as np

from mmcl_bench.datasets.formats.archive import BadFile

MAX_STEPS = 1 << 26
"""Instructions in a pickle; the largest published one has about 10 million."""
MAX_VALUES = 1 << 24
"""Values that a pickle makes, marks or remembers; the largest published one has about 6 million."""
_MAX_NAME = 200
_MAX_DIMENSIONS = 8
_DTYPE = re.compile(r"[<>=|]?(?:f[248]|[iu][1248]|b1)")


class _Name(Enum):
    """What a pickle may ask for. Each is a step of this interpreter, not a function that is called."""

    RECONSTRUCT = "numpy.core.multiarray._reconstruct"
    SCALAR = "numpy.core.multiarray.scalar"
    FROM_BUFFER = "numpy.core.numeric._frombuffer"
    ARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    ENCODE = "_codecs.encode"


_NAMES: Mapping[tuple[str, str], _Name] = {
    ("numpy.core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _Name.SCALAR,
    ("numpy._core.multiarray", "scalar"): _Name.SCALAR,
    ("numpy.core.numeric", "_frombuffer"): _Name.FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _Name.FROM_BUFFER,
    ("numpy", "ndarray"): _Name.ARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
    ("_codecs", "encode"): _Name.ENCODE,
}


@dataclass(frozen=True)
class PickledArray:
    """A numeric array that stays as it was pickled until it is asked for."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    _order: str
    _content: bytes | str

    @property
    def n_bytes(self) -> int:
        return len(self._content)

    def values(self) -> np.ndarray:
        """The array, read-only."""
        content = self._content.encode("latin-1") if isinstance(self._content, str) else self._content
        values = np.frombuffer(content, self.dtype).reshape(self.shape, order="F" if self._order == "F" else "C")
        values.flags.writeable = False
        return values


@dataclass
class _Dtype:
    """A dtype; its byte order arrives after it was made."""

    dtype: np.dtype[Any]


@dataclass
class _Array:
    """An array that was announced; its content arrives after it was remembered."""

    array: PickledArray | None = None


@dataclass(frozen=True)
class _Bytes:
    """Bytes that protocol 2 has as a text, one character a byte. They stay so, lest all are in memory twice."""

    text: str


def load(file: IO[bytes], n_bytes: int) -> object:
    """The value in a pickle of ``n_bytes``: dict, list, tuple, str, int, float, bool, None, bytes, PickledArray.

    All keys are strings. It takes about as much memory as the file is large. Raises :class:`BadFile` for anything else
    that a pickle can hold or ask for, and for one that is damaged.
    """
    return _Machine(file, n_bytes).run()


@dataclass
class _Machine:
    file: IO[bytes]
    left: int
    """Bytes that are still there."""
    stack: list[Any] = field(default_factory=list)
    """What stands above the last mark."""
    below: list[list[Any]] = field(default_factory=list)
    """The stacks below each mark."""
    memo: dict[int, Any] = field(default_factory=dict)
    n_values: int = 0

    def run(self) -> object:
        instructions = {code: getattr(self, name) for code, name in _INSTRUCTIONS.items()}
        for _ in range(MAX_STEPS):
            code = self.take(1)
            if code == b".":
                return self.result()
            step = instructions.get(code)
            if step is None:
                raise BadFile(
                    f"holds the pickle instruction {code!r}, which no plain data need; do not trust this file"
                )
            step()
            if self.n_values > MAX_VALUES:
                raise BadFile(f"holds more than {MAX_VALUES:,} values")
        raise BadFile(f"holds more than {MAX_STEPS:,} pickle instructions")

    def result(self) -> object:
        if len(self.stack) != 1 or self.below:
            raise _damaged("ends in the middle of a value")
        return self.stack[0]

    # Bytes

    def take(self, n: int) -> bytes:
        """The next ``n`` bytes; nothing is allocated for bytes that are not there."""
        if n > self.left:
            raise BadFile("is cut short")
        taken = self.file.read(n)
        if len(taken) != n:
            raise BadFile("is cut short")
        self.left -= n
        return taken

    def take_number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def take_line(self) -> str:
        line = self.file.readline(min(_MAX_NAME, self.left))
        self.left -= len(line)
        if not line.endswith(b"\n"):
            raise _damaged("has a name without an end")
        return _text(line[:-1])

    # The stack

    def push(self, value: object) -> None:
        self.n_values += 1
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise _damaged("takes a value that is not there")
        return self.stack.pop()

    def pop_above_mark(self) -> list[Any]:
        if not self.below:
            raise _damaged("takes values that are not there")
        above, self.stack = self.stack, self.below.pop()
        return above

    def top(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise _damaged(f"has no {kind.__name__} where one should be")
        return self.stack[-1]

    # Instructions without an effect of their own

    def protocol(self) -> None:
        number = self.take_number("B")
        if not 2 <= number <= 5:
            raise BadFile(f"is a pickle of protocol {number}; 2 to 5 can be read")

    def frame(self) -> None:
        self.take_number("<Q")

    def mark(self) -> None:
        self.n_values += 1
        self.below.append(self.stack)
        self.stack = []

    # Plain values

    def none(self) -> None:
        self.push(None)

    def true(self) -> None:
        self.push(True)

    def false(self) -> None:
        self.push(False)

    def int1(self) -> None:
        self.push(self.take_number("B"))

    def int2(self) -> None:
        self.push(self.take_number("<H"))

    def int4(self) -> None:
        self.push(self.take_number("<i"))

    def long1(self) -> None:
        self.push(int.from_bytes(self.take(self.take_number("B")), "little", signed=True))

    def float8(self) -> None:
        self.push(self.take_number(">d"))

    def text1(self) -> None:
        self.push(_text(self.take(self.take_number("B"))))

    def text4(self) -> None:
        self.push(_text(self.take(self.take_number("<I"))))

    def text8(self) -> None:
        self.push(_text(self.take(self.take_number("<Q"))))

    def bytes1(self) -> None:
        self.push(self.take(self.take_number("B")))

    def bytes4(self) -> None:
        self.push(self.take(self.take_number("<I")))

    def bytes8(self) -> None:
        self.push(self.take(self.take_number("<Q")))

    # Containers

    def empty_list(self) -> None:
        self.push([])

    def empty_dict(self) -> None:
        self.push({})

    def empty_tuple(self) -> None:
        self.push(())

    def tuple_(self) -> None:
        self.push(tuple(self.pop_above_mark()))

    def tuple1(self) -> None:
        self.push((self.pop(),))

    def tuple2(self) -> None:
        second, first = self.pop(), self.pop()
        self.push((first, second))

    def tuple3(self) -> None:
        third, second, first = self.pop(), self.pop(), self.pop()
        self.push((first, second, third))

    def append(self) -> None:
        value = self.pop()
        self.top(list).append(value)

    def appends(self) -> None:
        values = self.pop_above_mark()
        self.top(list).extend(values)

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.store([key], [value])

    def set_items(self) -> None:
        items = self.pop_above_mark()
        if len(items) % 2:
            raise _damaged("has a key without a value")
        self.store(items[::2], items[1::2])

    def store(self, keys: list[Any], values: list[Any]) -> None:
        # A key of nested tuples can take for ever to be hashed.
        if not all(type(key) is str for key in keys):
            raise BadFile("has a key that is no text")
        self.top(dict).update(zip(keys, values, strict=True))

    # The memo

    def put1(self) -> None:
        self.remember(self.take_number("B"))

    def put4(self) -> None:
        self.remember(self.take_number("<I"))

    def memoize(self) -> None:
        self.remember(len(self.memo))

    def remember(self, key: int) -> None:
        if not self.stack:
            raise _damaged("remembers a value that is not there")
        self.n_values += 1
        self.memo[key] = self.stack[-1]

    def get1(self) -> None:
        self.recall(self.take_number("B"))

    def get4(self) -> None:
        self.recall(self.take_number("<I"))

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise _damaged("recalls a value that it never had")
        value = self.memo[key]
        self.push(value.array if isinstance(value, _Array) and value.array else value)

    # Names and what stands for their calls

    def name(self) -> None:
        module, name = self.take_line(), self.take_line()
        self.push(_known(module, name))

    def name_from_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(module) is not str or type(name) is not str:
            raise _damaged("has a name that is no text")
        self.push(_known(module, name))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if type(function) is not _Name or function not in _CALLS or type(arguments) is not tuple:
            raise BadFile("calls something that is no function; do not trust this file")
        self.push(_CALLS[function](arguments))

    def build(self) -> None:
        state = self.pop()
        made = self.pop()
        if type(made) is _Dtype:
            made.dtype = _ordered(made.dtype, state)
            self.stack.append(made)
        elif type(made) is _Array and made.array is None:
            made.array = _filled(state)
            self.stack.append(made.array)
        else:
            raise BadFile("sets the state of something that has none; do not trust this file")


_INSTRUCTIONS: Mapping[bytes, str] = {
    b"\x80": "protocol",
    b"\x95": "frame",
    b"(": "mark",
    b"N": "none",
    b"\x88": "true",
    b"\x89": "false",
    b"K": "int1",
    b"M": "int2",
    b"J": "int4",
    b"\x8a": "long1",
    b"G": "float8",
    b"\x8c": "text1",
    b"X": "text4",
    b"\x8d": "text8",
    b"C": "bytes1",
    b"B": "bytes4",
    b"\x8e": "bytes8",
    b"\x96": "bytes8",
    b"]": "empty_list",
    b"}": "empty_dict",
    b")": "empty_tuple",
    b"t": "tuple_",
    b"\x85": "tuple1",
    b"\x86": "tuple2",
    b"\x87": "tuple3",
    b"a": "append",
    b"e": "appends",
    b"s": "set_item",
    b"u": "set_items",
    b"q": "put1",
    b"r": "put4",
    b"\x94": "memoize",
    b"h": "get1",
    b"j": "get4",
    b"c": "name",
    b"\x93": "name_from_stack",
    b"R": "call",
    b"b": "build",
}


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged("has a text that is not UTF-8") from error


def _known(module: str, name: str) -> _Name:
    known = _NAMES.get((module, name))
    if known is None:
        asked = f"{module}.{name}"[:_MAX_NAME]
        raise BadFile(f"asks for {asked!r}, which plain data and arrays do not need; do not trust this file")
    return known


def _announced(arguments: tuple[Any, ...]) -> _Array:
    if len(arguments) != 3 or arguments[0] is not _Name.ARRAY:
        raise _damaged("announces something that is no array")
    return _Array()


def _dtype(arguments: tuple[Any, ...]) -> _Dtype:
    code = arguments[0] if arguments else None
    if type(code) is not str or not _DTYPE.fullmatch(code):
        shown = code[:20] if isinstance(code, str) else "of no name"
        raise BadFile(f"holds an array of dtype {shown!r}; only numbers are read")
    return _Dtype(np.dtype(code))


def _ordered(dtype: np.dtype[Any], state: Any) -> np.dtype[Any]:
    """The dtype in the byte order of its state: (version, order, subarray, names, fields, ...)."""
    if type(state) is not tuple or not 5 <= len(state) <= 9 or any(part is not None for part in state[2:5]):
        raise BadFile("holds an array of a dtype with parts; only numbers are read")
    order = state[1]
    if type(order) is not str or order not in ("<", ">", "=", "|"):
        raise _damaged("has a dtype without a byte order")
    return np.dtype(order + dtype.str[1:])


def _filled(state: Any) -> PickledArray:
    """The array of a state (version, shape, dtype, whether in Fortran's order, content)."""
    if type(state) is not tuple or len(state) != 5 or type(state[3]) is not bool:
        raise _damaged("has an array of an unknown form")
    _, shape, dtype, fortran, content = state
    return _array(dtype, shape, "F" if fortran else "C", content)


def _from_buffer(arguments: tuple[Any, ...]) -> PickledArray:
    if len(arguments) != 4 or arguments[3] not in ("C", "F"):
        raise _damaged("has an array of an unknown form")
    content, dtype, shape, order = arguments
    return _array(dtype, shape, order, content)


def _scalar(arguments: tuple[Any, ...]) -> object:
    if len(arguments) != 2:
        raise _damaged("has a number of an unknown form")
    return _array(arguments[0], (), "C", arguments[1]).values()[()].item()


def _encoded(arguments: tuple[Any, ...]) -> _Bytes:
    """Protocol 2 has no bytes: they are a text to encode as Latin-1."""
    if len(arguments) != 2 or type(arguments[0]) is not str or arguments[1] not in ("latin1", "latin-1"):
        raise _damaged("has bytes of an unknown form")
    return _Bytes(arguments[0])


def _array(dtype: Any, shape: Any, order: str, content: Any) -> PickledArray:
    if type(dtype) is not _Dtype:
        raise _damaged("has an array without a dtype")
    if type(content) is _Bytes:
        content = _one_character_a_byte(content.text)
    elif type(content) is not bytes:
        raise BadFile("holds an array of objects or of nothing; only numbers are read")
    if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
        raise _damaged("has an array without a shape")
    if not all(type(size) is int and 0 <= size < 1 << 40 for size in shape):
        raise _damaged("has an array with a side of impossible length")
    claimed = math.prod(shape) * dtype.dtype.itemsize
    if claimed != len(content):
        raise BadFile(f"has an array that claims {claimed:,} bytes and holds {len(content):,}")
    return PickledArray(dtype.dtype, shape, order, content)


def _one_character_a_byte(text: str) -> str:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise _damaged("has bytes above 255") from error
    return text


def _damaged(how: str) -> BadFile:
    return BadFile(f"is damaged: it {how}")


_CALLS: Mapping[_Name, Callable[[tuple[Any, ...]], object]] = {
    _Name.RECONSTRUCT: _announced,
    _Name.SCALAR: _scalar,
    _Name.FROM_BUFFER: _from_buffer,
    _Name.DTYPE: _dtype,
    _Name.ENCODE: _encoded,
}
