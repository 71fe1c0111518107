"""One script per published system. A recipe is a module with a dataclass `Config` and `train(config, session)`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from posepipe.config import from_mapping, overridden, read_toml
from posepipe.errors import InputError, MissingDependencyError

RECIPES = {
    "martinez": "posepipe.training.recipes.martinez",
    "mdn": "posepipe.training.recipes.mdn",
    "wsgan": "posepipe.training.recipes.wsgan",
    "htnet": "posepipe.training.recipes.htnet",
    "dcgct": "posepipe.training.recipes.dcgct",
    "drpose": "posepipe.training.recipes.drpose",
    "prpose": "posepipe.training.recipes.prpose",
}


def recipe(name: object, where: str) -> Any:
    """The module of a recipe. Raises InputError for an unknown one, MissingDependencyError without torch."""
    if name not in RECIPES:
        raise InputError(f"{where}: unknown recipe {name!r}.", f"Known: {', '.join(RECIPES)}.")
    module = RECIPES[str(name)]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise InputError(f"{where}: there is no recipe for '{name}' in this version.") from None
        raise MissingDependencyError(
            f"Training needs {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None


def read_config(path: Path, assignments: list[str] | None = None) -> tuple[Any, Any]:
    """A recipe's TOML file, with `key=value` overrides -> (module, its Config). Raises InputError that names the file,
    and the nearest known key for an unknown one."""
    data = read_toml(path)
    module = recipe(data.get("recipe"), str(path))
    data = overridden(data, assignments or [], module.Config)
    return module, from_mapping(data, module.Config, str(path))
