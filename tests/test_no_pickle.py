"""Nothing that we ship unpickles: a pickle runs what it names. Two places read other people's, through lists of what
may be named: posepipe/safe_npz.py, and torch's own weights_only for authors' files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "posepipe",
    "pipeline",
    "lifters",
    "detectors",
    "trt_build",
    "training",
    "configs",
    "demo",
    "benchmarks",
    "tools",
)
RESTRICTED = {"posepipe/safe_npz.py"}  # its Unpickler admits numpy's names alone: tests/posepipe/test_safe_npz.py
_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pickletools"}
_CALLS = {"read_pickle", "to_pickle", "loadmat"}  # of pandas and scipy


def trespasses(code: str, name: str = "x.py") -> list[str]:
    """What in a module's source unpickles, or may."""
    found = []
    for node in ast.walk(ast.parse(code)):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} | {getattr(node, "module", None) or ""}
            if {n.split(".")[0] for n in names} & _MODULES and name not in RESTRICTED:
                found.append(f"{where} imports {', '.join(sorted(names))}")
        if not isinstance(node, ast.Call):
            continue
        options = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
        called = ast.unparse(node.func)
        if options.get("allow_pickle", False) is not False:
            found.append(f"{where} allows pickles in {called}")
        if called.endswith("torch.load") and options.get("weights_only") is not True:
            found.append(f"{where} calls torch.load without weights_only")
        if called.rpartition(".")[2] in _CALLS or called in ("eval", "exec", "yaml.unsafe_load", "yaml.full_load"):
            found.append(f"{where} calls {called}")
        if called == "yaml.load" and len(node.args) < 2 and "Loader" not in options:
            found.append(f"{where} calls yaml.load without a loader")
    return found


def test_nothing_that_is_shipped_unpickles():
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(files) > 150
    found = []
    for path in files:
        found += trespasses(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib",
        "np.load(p, allow_pickle=True)",
        "np.load(p, allow_pickle=flag)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "pd.read_pickle(p)",
        "yaml.load(text)",
        "eval(text)",
    ],
)
def test_what_is_looked_for_is_found(code):
    assert trespasses(code)


def test_what_is_harmless_is_not():
    assert not trespasses("np.load(p)\nnp.load(p, allow_pickle=False)\ntorch.load(p, weights_only=True)\nload(p)")
