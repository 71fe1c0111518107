"""npz files with pickled arrays, read without running what a pickle asks for.

`np.load(allow_pickle=True)` calls whatever a file names. Here every name that numpy's own arrays need is answered by a
small class of ours that checks what it is given (shape, type, size of the data) and builds the array itself; lists,
tuples, dicts, text and numbers need no names. Any other name is refused before anything is called.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from posepipe.errors import InputError

_PLAIN_TYPE = re.compile(r"[<>=|]?(?:[biufc]\d{1,2}|[SU]\d{1,6}|\?|O8?)")


def _flat(data: bytes | bytearray, kind: np.dtype) -> np.ndarray:
    """numpy.frombuffer, which makes texts of numbers that are no characters; Python breaks over those later."""
    if kind.kind == "U" and data:
        codes = np.frombuffer(data, np.dtype(f"{kind.byteorder}u4"))
        if codes.max() > sys.maxunicode:
            raise ValueError(f"the character number {codes.max()}")
    return np.frombuffer(data, kind)


class _Stand:
    """A stand-in for something of numpy's. Its state is set by pickle once, through __setstate__ only."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise ValueError("unexpected state")


class _NdArray(_Stand):
    """numpy.ndarray as a name: it is handed to _Array and never called."""

    __slots__ = ()

    def __init__(self) -> None:
        raise ValueError("an array without _reconstruct")


class _DType(_Stand):
    """numpy.dtype(code, align, copy), then (version, byte order, ...)."""

    __slots__ = ("value",)

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _PLAIN_TYPE.fullmatch(code):
            raise ValueError(f"the array type {code!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
            raise ValueError("an array type of another kind")
        if any(part is not None for part in state[2:5]):
            raise ValueError("an array of records")
        self.value = self.value.newbyteorder(state[1])


class _Array(_Stand):
    """numpy's _reconstruct(ndarray, (0,), b"b"), then (version, shape, type, column-major, data)."""

    __slots__ = ("items", "shape", "value")

    def __init__(self, kind: object, *_: object) -> None:
        if kind is not _NdArray:
            raise ValueError("an array of another class")
        self.value: np.ndarray | None = None
        self.items: list[Any] | None = None
        self.shape: tuple[int, ...] = ()

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns_first, data = state
        if not isinstance(kind, _DType) or not all(isinstance(n, int) and n >= 0 for n in shape) or len(shape) > 8:
            raise ValueError("an array without type or shape")
        self.shape, count = tuple(shape), math.prod(shape)
        if kind.value.hasobject:
            if not isinstance(data, list) or len(data) != count or columns_first:
                raise ValueError("an array of objects of another size")
            self.items = data
        else:
            if isinstance(data, str):  # Python 2's bytes
                data = data.encode("latin1")
            if not isinstance(data, bytes) or len(data) != count * kind.value.itemsize:
                raise ValueError("an array of another size")
            if count > len(data):  # texts of length 0, which cost numpy memory all the same
                raise ValueError("an array of nothing")
            flat = _flat(data, kind.value) if kind.value.itemsize else np.zeros(count, kind.value)
            self.value = flat.reshape(shape, order="F" if columns_first else "C")


class _Scalar(_Stand):
    """numpy's scalar(type, bytes)."""

    __slots__ = ("value",)

    def __init__(self, kind: object, data: object = None) -> None:
        if isinstance(data, str):
            data = data.encode("latin1")
        if not isinstance(kind, _DType) or kind.value.hasobject or not isinstance(data, bytes):
            raise ValueError("a number of another kind")
        if len(data) != kind.value.itemsize:
            raise ValueError("a number of another size")
        self.value = _flat(data, kind.value)[0]


class _Latin1(bytes):
    """_codecs.encode(text, "latin1"): how old pickles write bytes."""

    __slots__ = ()

    def __new__(cls, text: object, encoding: object) -> _Latin1:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("text in another encoding")
        return super().__new__(cls, text.encode("latin1"))


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_ADMITTED: dict[tuple[str, str], type] = {
    **{(module, "_reconstruct"): _Array for module in _NUMPY},
    **{(module, "scalar"): _Scalar for module in _NUMPY},
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Latin1,
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (dict, list, tuple, str, int, float, bool)
    },
}


class _Refused(Exception):
    pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _Refused(f"{module}.{name}")
        return _ADMITTED[module, name]


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """Stand-ins -> arrays and numbers, through containers; shared parts stay shared (a small file cannot grow)."""
    if id(value) in seen:
        return seen[id(value)]
    result = value
    if isinstance(value, _Array) and value.items is not None:
        result = np.empty(len(value.items), object)
        for i, item in enumerate(value.items):
            result[i] = _plain(item, seen)
        result = result.reshape(value.shape)
    elif isinstance(value, (_Array, _Scalar, _DType)):
        result = value.value
    elif isinstance(value, (list, tuple)):
        result = [_plain(item, seen) for item in value]
        result = tuple(result) if isinstance(value, tuple) else result
    elif isinstance(value, dict):
        result = {_plain(key, seen): _plain(item, seen) for key, item in value.items()}
    elif isinstance(value, (type, _Stand)):
        raise ValueError("a name where a value should be")
    seen[id(value)] = result
    return result


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(name) as file:
        shape, columns_first, kind = _header(file)
        if not kind.hasobject:
            return _numbers(file, archive.getinfo(name).file_size, shape, columns_first, kind)
        data = file.read()
    # pickle makes room for as many remembered things as a damaged number says.
    for opcode, number, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(str(number)) > len(data):
            raise ValueError(f"thing number {number} of {len(data)} bytes")
    loaded = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    value = _plain(loaded, {id(None): None})
    return value.item() if isinstance(value, np.ndarray) and value.shape == () else value


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"npy version {version}")


def _numbers(
    file: IO[bytes], member_bytes: int, shape: tuple[int, ...], columns_first: bool, kind: np.dtype
) -> np.ndarray:
    """numpy would make room for whatever shape the header names; here the data has to be there first."""
    # Numbers without bytes (texts of length 0) cost numpy memory all the same.
    count: int = math.prod(shape)
    if any(extent < 0 for extent in shape) or (count > 0 and not kind.itemsize):
        raise ValueError(f"an array of shape {shape} and type {kind}")
    needed = count * kind.itemsize
    if needed > member_bytes:
        raise ValueError(f"{needed} bytes in a member of {member_bytes}")
    data = file.read(needed)
    if len(data) != needed:
        raise ValueError("the data ends too early")
    flat = _flat(bytearray(data), kind) if needed else np.zeros(0, kind)
    return flat.reshape(shape, order="F" if columns_first else "C")


def read_npz(path: Path, hint: str) -> dict[str, Any]:
    """The arrays of an npz by name; an array of shape () that holds one object is that object.

    hint: what the file should be, for the error. Raises InputError when it is missing, damaged, no npz, or its pickle
    names anything but numpy arrays, numbers and plain containers; nothing that it names is called then."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _member(archive, name) for name in archive.namelist()}
    except _Refused as error:
        raise InputError(
            f"{path} asks for '{error}', which is neither a numpy array nor a plain container, so it was not loaded.",
            "Do not open this file elsewhere unless you trust its maker.",
        ) from None
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.", hint) from None
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        IndexError,
        KeyError,
        MemoryError,
        NotImplementedError,
        OverflowError,
        RecursionError,
        RuntimeError,  # an encrypted member
        SyntaxError,
        tokenize.TokenError,  # of numpy, about a header
        TypeError,
        ValueError,
    ) as error:
        raise InputError(f"Cannot read {path} ({error}).", hint) from None


def read_arrays(path: Path, hint: str) -> dict[str, np.ndarray]:
    """As read_npz, for files of plain arrays: one with a member that is anything else is refused."""
    members = read_npz(path, hint)
    for name, value in members.items():
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise InputError(f"'{name}' in {path} is not an array of numbers or texts.", hint)
    return members
