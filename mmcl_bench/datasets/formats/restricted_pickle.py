"""Reading pickles of plain containers and numeric numpy arrays without trusting them.

A pickle is a program. The :class:`pickle.Unpickler` here finds nothing but stand-ins for numpy's constructors, which
check what they are called with. What the instructions themselves could claim of memory and time is found out by
looking through them before the first one is carried out.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, cast

import numpy as np

from mmcl_bench.datasets.formats.archive import BadFile

MAX_BYTES = 8 << 30
"""Of a pickle; all clips of NTU RGB+D 120 take about 3 GB."""
MAX_VALUES = 1 << 24
"""Instructions in a pickle, each of which makes one value at most; the largest published one has about 10 million."""
_MAX_KEY = 1000
_MAX_NAME = 200
_MAX_DIMENSIONS = 8
_DTYPE = re.compile(r"[<>=|]?(?:f[248]|[iu][1248]|b1)")
_PLAIN = frozenset(
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT "  # noqa: SIM905
    "BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)
"""The instructions of plain data and arrays, in protocols 0 to 5, as :mod:`pickletools` calls them."""
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_KEYS = {"SETITEM": slice(1, 2), "SETITEMS": slice(1, None, 2), "DICT": slice(0, None, 2)}
"""Which of the values that an instruction takes are keys."""
_TEXT, _OBJECT = pickletools.pyunicode, pickletools.anyobject


def load(file: IO[bytes], n_bytes: int) -> object:
    """The value in a pickle of ``n_bytes``: dict, list, tuple, str, int, float, bool, None, bytes, PickledArray.

    All keys are strings. It takes about as much memory as the file is large. Raises :class:`BadFile` for anything else
    that a pickle can hold or ask for, and for one that is damaged.
    """
    if n_bytes > MAX_BYTES:
        raise BadFile(f"is {n_bytes / 2**30:.1f} GiB large; more than {MAX_BYTES >> 30} GiB is refused")
    start = file.tell()
    try:
        _check_instructions(file, n_bytes)
        file.seek(start)
        return _Unpickler(file).load()
    except BadFile:
        raise
    except Exception as error:  # A damaged pickle can raise anything.
        raise BadFile("is damaged, or holds something else than plain data and arrays of numbers") from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> object:
        asked = f"{module_name}.{global_name}"
        # Numpy 2 calls its core otherwise.
        found = _STAND_INS.get(asked.replace("numpy._core.", "numpy.core."))
        if found is None:
            raise BadFile(
                f"asks for {asked[:_MAX_NAME]!r}, which plain data and arrays do not need; do not trust this file"
            )
        return found


class _Stateless:
    """Has no state that a pickle could set. Without this method, a pickle could set any attribute."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise BadFile("sets the state of something that has none; do not trust this file")


class _Constructor(_Stateless):
    """What a pickle may call."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> object:
        return self._make(*arguments)


class _Bytes(_Stateless):
    """Bytes that protocols 0 to 2 have as a text, one character a byte. They stay so, lest all are in memory twice."""

    __slots__ = ("text",)

    def __init__(self, text: Any, encoding: Any) -> None:
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise BadFile("is damaged: it has bytes of an unknown form")
        self.text = text


class _Dtype:
    """A dtype of numbers; its byte order arrives as its state."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, align: Any, copy: Any) -> None:
        if type(code) is not str or not _DTYPE.fullmatch(code):
            shown = code[:20] if type(code) is str else "of no name"
            raise BadFile(f"holds an array of dtype {shown!r}; only numbers are read")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Takes numpy's (version, byte order, subarray, names, fields, ...)."""
        if type(state) is not tuple or len(state) > 9 or any(part is not None for part in state[2:5]):
            raise BadFile("holds an array of a dtype with parts; only numbers are read")
        if (order := state[1]) not in ("<", ">", "=", "|"):
            raise BadFile("is damaged: it has a dtype without a byte order")
        self.dtype = self.dtype.newbyteorder(order)


class PickledArray:
    """A numeric array that stays as it was pickled until it is asked for; empty until its state arrives."""

    __slots__ = ("_axes", "_content", "_stored", "dtype")

    def __init__(self) -> None:
        self.dtype: np.dtype[Any] = np.dtype("i1")
        self._content: bytes | bytearray | str = b""
        self._stored: tuple[int, ...] = (0,)
        self._axes: tuple[int, ...] = (0,)

    def __setstate__(self, state: Any) -> None:
        """Takes numpy's (version, shape, dtype, whether in Fortran's order, content)."""
        _, shape, dtype, fortran, content = state
        self._fill(content, dtype, shape, "F" if fortran else "C")

    def _fill(self, content: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> PickledArray:
        """Takes what numpy's ``_frombuffer`` takes; ``axes`` are of the order K."""
        if type(content) not in (bytes, bytearray, _Bytes) or type(dtype) is not _Dtype:
            raise BadFile("holds an array of objects or of nothing; only numbers are read")
        if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS or not all(map(_is_size, shape)):
            raise BadFile("is damaged: it has an array of an impossible shape")
        self.dtype, self._content = dtype.dtype, content.text if type(content) is _Bytes else content
        if (claimed := math.prod(shape) * self.dtype.itemsize) != self.n_bytes:
            raise BadFile(f"has an array that claims {claimed:,} bytes and holds {self.n_bytes:,}")
        self._stored, self._axes = _arranged(shape, order, axes)
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._stored[axis] for axis in self._axes)

    @property
    def n_bytes(self) -> int:
        return len(self._content)

    def values(self) -> np.ndarray:
        """The array, read-only. Raises :class:`BadFile` when its content turns out to be damaged."""
        content = self._content
        try:
            flat = np.frombuffer(content.encode("latin-1") if isinstance(content, str) else content, self.dtype)
            values = flat.reshape(self._stored).transpose(self._axes)
        except ValueError as error:
            raise BadFile("is damaged: it has an array whose content is not one") from error
        values.flags.writeable = False
        return values


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 40


def _arranged(shape: tuple[int, ...], order: Any, axes: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape in C's order of what an array holds, and which of its axes comes where."""
    in_order = tuple(range(len(shape)))
    if order == "C":
        return shape, in_order
    if order == "F":
        return shape[::-1], in_order[::-1]
    if order != "K" or type(axes) is not tuple or len(axes) != len(shape):
        raise BadFile("is damaged: it has an array of an unknown order")
    return shape, tuple(in_order.index(axis) for axis in axes)


def _announced(kind: Any, shape: Any, code: Any) -> PickledArray:
    """An array whose content comes as its state."""
    if kind is not _STAND_INS["numpy.ndarray"]:
        raise BadFile("is damaged: it announces something that is no array")
    return PickledArray()


def _from_buffer(*described: Any) -> PickledArray:
    return PickledArray()._fill(*described)


def _number(dtype: Any, content: Any) -> object:
    return PickledArray()._fill(content, dtype, (), "C").values()[()].item()


_STAND_INS: Mapping[str, _Stateless] = {
    "numpy.ndarray": _Stateless(),
    "numpy.dtype": _Constructor(_Dtype),
    "numpy.core.multiarray._reconstruct": _Constructor(_announced),
    "numpy.core.multiarray.scalar": _Constructor(_number),
    "numpy.core.numeric._frombuffer": _Constructor(_from_buffer),
    "_codecs.encode": _Constructor(_Bytes),
    # Protocols 0 to 2 have no other way to say that there are no bytes.
    "__builtin__.bytes": _Constructor(lambda: b""),
}


# Looking through the instructions


class _Bounded:
    """The next ``n_bytes`` of a file. Nothing is allocated for bytes that are not there."""

    def __init__(self, file: IO[bytes], n_bytes: int) -> None:
        self._file, self._n_bytes, self._left = file, n_bytes, n_bytes

    def read(self, n: int) -> bytes:
        if n > self._left:
            raise BadFile("is cut short")
        self._left -= n
        return self._file.read(n)

    def readline(self) -> bytes:
        line = self._file.readline(self._left)
        self._left -= len(line)
        return line

    def tell(self) -> int:
        return self._n_bytes - self._left


def _instructions(file: IO[bytes], n_bytes: int) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int]]:
    """Each instruction with its argument, None for one without, and its place."""
    found = pickletools.genops(cast(Any, _Bounded(file, n_bytes)))
    return cast(Iterator[tuple[pickletools.OpcodeInfo, Any, int]], found)


def _check_instructions(file: IO[bytes], n_bytes: int) -> None:
    """Raises :class:`BadFile` for instructions that plain data do not need, and for those that claim too much."""
    kinds = _Kinds()
    previous = frame_end = 0
    for number, (opcode, argument, position) in enumerate(_instructions(file, n_bytes)):
        if number == MAX_VALUES:
            raise BadFile(f"holds more than {MAX_VALUES:,} values")
        if opcode.name not in _PLAIN:
            raise BadFile(
                f"holds the pickle instruction {opcode.name}, which no plain data need; do not trust this file"
            )
        if opcode.name == "PROTO" and argument > 5:
            raise BadFile(f"is a pickle of protocol {argument}; 0 to 5 can be read")
        # The unpickler skips what is left of a frame when an instruction goes beyond it, so it would see others.
        if previous < frame_end < position or (opcode.name == "FRAME" and position < frame_end):
            raise BadFile("is damaged: it has a frame that ends within an instruction")
        if opcode.name == "FRAME":
            frame_end = position + 9 + argument
        previous = position
        kinds.follow(opcode, argument)
    if frame_end > n_bytes:
        raise BadFile("is cut short")


class _Kinds:
    """Follows of what kind the values on the stack and in the memo are, in the words of :mod:`pickletools`."""

    def __init__(self) -> None:
        self.stack: list[pickletools.StackObject] = []
        self.marks: list[int] = []
        self.memo: list[pickletools.StackObject] = []

    def follow(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """What an instruction does. Raises :class:`BadFile` for keys and states that could be misused."""
        if opcode.name == "MARK":
            self.marks.append(len(self.stack))
        elif opcode.name in _PUTS:
            number = len(self.memo) if argument is None else argument
            if not 0 <= number <= len(self.memo):  # The unpickler makes room for all numbers up to this one.
                raise BadFile("is damaged: it remembers values out of order")
            self.memo[number : number + 1] = [self.stack[-1]]
        elif opcode.name in _GETS:
            self.stack.append(self.memo[argument])
        else:
            self._check(opcode.name, self._take(opcode.stack_before))
            is_long = argument is not None and opcode.stack_after == [_TEXT] and len(argument) > _MAX_KEY
            self.stack += [_OBJECT] if is_long else opcode.stack_after

    def _take(self, kinds: list[pickletools.StackObject]) -> list[pickletools.StackObject]:
        """Takes values from the stack: so many, or all above the last mark and so many below it."""
        start = len(self.stack) - len(kinds)
        if pickletools.markobject in kinds:
            start = self.marks.pop() - kinds.index(pickletools.markobject)
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _check(self, name: str, taken: list[pickletools.StackObject]) -> None:
        # Other keys can take for ever to hash or to compare.
        if name in _KEYS and any(kind is not _TEXT for kind in taken[_KEYS[name]]):
            raise BadFile("has a key that is no short text")
        if name == "BUILD" and taken[0] is not _OBJECT:
            raise BadFile("sets the state of something that has none; do not trust this file")
        if name == "STOP" and (self.stack or self.marks):
            raise BadFile("is damaged: it ends in the middle of a value")
