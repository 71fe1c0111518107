"""Configuration files: what is wrong is named, with the nearest known key."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from posepipe.config import from_mapping, overridden, read_toml
from posepipe.errors import InputError, UsageError


@dataclass(frozen=True)
class Recipe:
    steps: int
    rate: float = 1e-3
    name: str = "x"
    mirror: bool = True
    out: float | None = None
    tags: tuple[str, ...] = field(default_factory=tuple)
    loss: Literal["mse", "mpjpe"] = "mse"
    range: tuple[float, float] = (0.0, 1.0)
    folder: str | None = None


def load(path: Path, kind: type) -> object:
    return from_mapping(read_toml(path), kind, str(path))


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_arrive_with_defaults_and_whole_numbers_serve_as_floats(tmp_path):
    recipe = load(write(tmp_path, 'steps = 5\nrate = 1\nname = "läufer"\nmirror = false'), Recipe)
    assert recipe == Recipe(5, 1.0, "läufer", False)
    assert isinstance(recipe.rate, float)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("steps = 5\nstep = 6", "unknown key 'step'. Did you mean 'steps'?"),
        ("steps = 5\nzzz = 6", "Known: steps, rate"),
        ("rate = 0.5", "missing steps"),
        ("steps = 5.5", "'steps' must be a int, not 5.5"),
        ("steps = true", "'steps' must be a int"),
        ("steps = false", "'steps' must be a int"),
        ("steps = 5\nrate = true", "'rate' must be a float"),
        ("steps = 5\nname = 3", "'name' must be a str"),
        ("steps = 5\nmirror = 1", "'mirror' must be a bool"),
        ("steps = 5\nout = 'x'", "'out' must be a float"),
        ("steps = 5\ntags = 'x'", "'tags' must be a list"),
        ("steps = 5\ntags = [1]", "'tags' must be a str, not 1"),
        ("steps = 5\nrange = [1]", "'range' must be a list of 2"),
        ("steps = 5\nloss = 'l1'", "'loss' must be one of 'mse', 'mpjpe', not 'l1'"),
        ("steps = ", "not valid TOML"),
        ("steps = 5\nsteps = 6", "not valid TOML"),
    ],
)
def test_mistakes_are_one_error_that_names_file_and_key(tmp_path, text, says):
    with pytest.raises(InputError, match=r"recipe\.toml") as caught:
        load(write(tmp_path, text), Recipe)
    assert says in str(caught.value)


def test_a_missing_file_and_one_that_is_not_text(tmp_path):
    with pytest.raises(InputError, match=r"gone\.toml"):
        load(tmp_path / "gone.toml", Recipe)
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"recipe\.toml"):
        load(path, Recipe)


def test_the_mapping_given_is_not_changed():
    given = {"steps": 1, "rate": 2}
    from_mapping(given, Recipe, "test")
    assert given == {"steps": 1, "rate": 2}
    assert isinstance(given["rate"], int)


def test_lists_become_tuples_and_none_stays_the_default():
    recipe = from_mapping({"steps": 1, "range": [1, 2.5], "tags": ["a"], "out": 3, "loss": "mpjpe"}, Recipe, "test")
    assert recipe == Recipe(1, out=3.0, tags=("a",), loss="mpjpe", range=(1.0, 2.5))
    assert all(isinstance(value, float) for value in (*recipe.range, recipe.out))


def test_assignments_of_a_command_line_lie_over_the_file():
    given = ["steps=7", "rate = 1e-4", "name=3", "mirror=False", "tags=['a', 'b']", "folder=runs/1", "range=[1, 2]"]
    recipe = from_mapping(overridden({"steps": 1, "out": 2.0}, given, Recipe), Recipe, "test")
    assert recipe == Recipe(7, 1e-4, "3", False, 2.0, ("a", "b"), "mse", (1.0, 2.0), "runs/1")
    with pytest.raises(UsageError, match=r"unknown key 'stepz'\. Did you mean 'steps'"):
        overridden({}, ["stepz=1"], Recipe)
    with pytest.raises(UsageError, match="not key=value"):
        overridden({}, ["steps"], Recipe)
    with pytest.raises(InputError, match="'steps' must be a int, not 'many'"):
        from_mapping(overridden({}, ["steps=many"], Recipe), Recipe, "test")


def test_every_shipped_configuration_fits_its_recipe():
    pytest.importorskip("torch")
    from posepipe.training.recipes import read_config

    root = Path(__file__).parents[2]
    files = sorted((root / "configs" / "train").glob("*.toml"))
    assert files
    for path in files:
        command = f"# posepipe train {path.relative_to(root)}"
        assert path.read_text(encoding="utf-8").splitlines()[0] == command, "the first line is the command that runs it"
        read_config(path)
