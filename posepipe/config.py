"""TOML files -> frozen dataclasses. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from posepipe.errors import InputError

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
    """A mapping -> the dataclass `kind`, checked; int is accepted for float."""
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key, value in data.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            raise InputError(
                f"{where}: unknown key '{key}'.",
                f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(fields)}.",
            )
        wanted = hints[key]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            data = {**data, key: float(value)}
        elif isinstance(wanted, type) and (
            not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))
        ):
            raise InputError(f"{where}: '{key}' must be a {wanted.__name__}, not {value!r}.")
    missing = [
        n
        for n, f in fields.items()
        if n not in data and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where}: missing {', '.join(missing)}.")
    return kind(**data)
