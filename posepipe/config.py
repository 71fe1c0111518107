"""TOML files -> frozen dataclasses. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from posepipe.errors import InputError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; InputError when it is missing or not TOML."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read the configuration {path} ({error.strerror}).", "See `configs/`.") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid TOML ({error}).") from None


def from_mapping(data: dict[str, Any], kind: type[T], where: str) -> T:
    """A mapping -> the dataclass `kind`, checked; int is accepted for float, a list for a tuple, and only the listed
    values for a Literal."""
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        if key not in fields:
            raise InputError(f"{where}: unknown key '{key}'.", _nearest(key, fields))
        values[key] = _checked(value, hints[key], f"{where}: '{key}'")
    missing = [
        n
        for n, f in fields.items()
        if n not in data and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where}: missing {', '.join(missing)}.")
    return kind(**values)


def overridden(data: dict[str, Any], assignments: Sequence[str], kind: type) -> dict[str, Any]:
    """data with `key=value` texts from a command line laid over it. A value is read as TOML where the field is not
    text; from_mapping then checks it. Raises UsageError for a text without `=` or an unknown key."""
    hints = get_type_hints(kind)
    result = dict(data)
    for text in assignments:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            raise UsageError(f"--set {text} is not key=value.")
        if key not in hints:
            raise UsageError(f"--set {text}: unknown key '{key}'.", _nearest(key, hints))
        result[key] = value if _takes_text(hints[key]) else _toml_value(value)
    return result


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except ValueError:
        return {"True": True, "False": False}.get(text.strip(), text)


def _nearest(key: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(key, names, 1)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(names)}."


def _takes_text(wanted: Any) -> bool:
    """Text, text or nothing, or one of some texts: needs no quotes on a command line."""
    return wanted is str or (
        get_origin(wanted) is not tuple and any(p is str or isinstance(p, str) for p in get_args(wanted))
    )


def _checked(value: Any, wanted: Any, where: str) -> Any:
    origin, parts = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        if value not in parts:
            raise InputError(f"{where} must be one of {', '.join(map(repr, parts))}, not {value!r}.")
        return value
    if origin in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        return _checked(value, next(part for part in parts if part is not NoneType), where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{where} must be a list, not {value!r}.")
        if parts[-1] is not ... and len(value) != len(parts):
            raise InputError(f"{where} must be a list of {len(parts)}, not {value!r}.")
        kinds = [parts[0]] * len(value) if parts[-1] is ... else parts
        return tuple(_checked(item, kind, where) for item, kind in zip(value, kinds, strict=True))
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(wanted, type) and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
        raise InputError(f"{where} must be a {wanted.__name__}, not {value!r}.")
    return value
