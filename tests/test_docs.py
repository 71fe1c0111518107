"""The documentation is run: every Python and shell block of README, CONTRIBUTING and docs, in a folder with a small
film of the rendered actor called my.mp4; and every `posepipe` command that is named anywhere in them is parsed.

What cannot run here says so: a whole block by an HTML comment above it, `<!-- not run: why -->`, a single command in
NEEDS below. `<!-- file: NAME -->` makes a block a file instead.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from posepipe.__main__ import EXAMPLES, VERBS, main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Commands that cannot run here, by how they begin: what they would need.
NEEDS = {
    "make ": "is what starts these tests",
    "pip install": "the network",
    "sudo ": "another root file system",
    "python demo/webcam.py": "a camera and a screen",
    "posepipe import-checkpoint --from drpose model.pth": "a file that the authors published",
    "posepipe build-engines --lifter drpose --checkpoint mine/drpose.safetensors": "the same",
    "posepipe run my.mp4 -o out --lifter mine/drpose.onnx": "the same",
}


@dataclass(frozen=True)
class Block:
    """A fenced block. remark: what the HTML comment above it says, "" without one."""

    page: Path
    line: int
    language: str
    text: str
    remark: str


def blocks_of(page: Path) -> Iterator[Block]:
    lines = page.read_text("utf-8").splitlines()
    start, remark = None, ""
    for number, line in enumerate(lines):
        if line.startswith("```"):
            if start is None:
                start = number
            else:
                language = lines[start].removeprefix("```").strip()
                yield Block(page, start + 1, language, "\n".join(lines[start + 1 : number]) + "\n", remark)
                start, remark = None, ""
        elif start is None:
            comment = re.fullmatch(r"<!--\s*((?:not run|file): .+?)\s*-->", line)
            remark = comment[1] if comment else ""
    assert start is None, f"{page.name}:{start}: the block does not end"


def commands(text: str) -> list[str]:
    """The commands of a shell block, without comments, `.venv/bin/` and what continues lines."""
    plain = re.sub(r"\s(#|→|->).*", "", text.replace("\\\n", " "), flags=0)
    kept = [" ".join(line.replace(".venv/bin/", "").split()) for line in plain.splitlines()]
    return [line for line in kept if line and not line.startswith("#")]


BLOCKS = {page: list(blocks_of(page)) for page in PAGES}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """my.mp4, videos/ with it, frames/ with its pictures, and the repository's folders that pages name."""
    import av

    from posepipe.pipeline.film import film
    from posepipe.pipeline.source.actor import ActorScene

    folder = tmp_path_factory.mktemp("docs")
    film((ActorScene(motion="wave", seconds=0.4, fps=20.0, width=240, height=240),), folder / "my.mp4")
    (folder / "videos").mkdir()
    os.link(folder / "my.mp4", folder / "videos" / "my.mp4")
    (folder / "frames").mkdir()
    with av.open(str(folder / "my.mp4")) as film_again:
        for number, frame in enumerate(film_again.decode(video=0)):
            frame.to_image().save(folder / "frames" / f"{number:03}.png")
    for name in ("tests", "configs", "benchmarks", "demo", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def done() -> set[str]:
    """The commands that have run: two pages may say the same one."""
    return set()


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCKS[p]], ids=lambda p: p.name)
def test_the_blocks_run(page: Path, workplace: Path, done: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if any("import torch" in block.text for block in BLOCKS[page]):
        pytest.importorskip("torch")
    monkeypatch.chdir(workplace)
    monkeypatch.syspath_prepend(str(workplace))
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    names: dict[str, object] = {"__name__": "page"}
    for block in BLOCKS[page]:
        place = f"{page.name}:{block.line}"
        if block.remark.startswith("not run: "):
            continue
        if block.remark.startswith("file: "):
            (workplace / block.remark.removeprefix("file: ")).write_text(block.text)
        elif block.language == "python":
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
        elif block.language == "sh":
            for command in commands(block.text):
                if command not in done and not any(command.startswith(start) for start in NEEDS):
                    done.add(command)
                    _run(command, place)


def _run(command: str, place: str) -> None:
    """In this process where it is one of ours: what posepipe imports takes longer than what it does here."""
    words = shlex.split(command)
    if words[0] == "posepipe":
        assert main(words[1:]) == 0, f"{place}: {command}"
        return
    ran = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, f"{place}: {command}\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_blocks_have_a_language(page: Path) -> None:
    assert {block.language for block in BLOCKS[page]} <= {"python", "sh"}


class _Parsed(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def check(command: str, whole: bool = True) -> None:
    """AssertionError unless the verb exists and takes this: a whole command is parsed, of a synopsis (with brackets,
    alternatives or dots) and of what is only mentioned the options."""
    words = command.split()
    verb = words[1]
    assert verb in VERBS, f"there is no verb {verb}: {command}"
    synopsis = not whole or bool(re.search(r"[\[\]|…]|\.\.\.", command))
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, argv: list[str] | None = None, *rest: object) -> None:
        if not synopsis:
            parse(parser, argv)
        raise _Parsed(parser)

    module = importlib.import_module(VERBS[verb][0])
    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            module.main(verb, shlex.split(command)[2:] if not synopsis else [])
        except _Parsed as parsed:
            known = set(_options(parsed.parser))
        except SystemExit:
            raise AssertionError(f"posepipe does not take this: {command}") from None
        else:
            raise AssertionError(f"{verb} parses nothing")
    asked = re.findall(r"(?<![\w-])--?[a-z][\w-]*", command.split(" ", 2)[2] if len(words) > 2 else "")
    assert set(asked) <= known, f"{verb} has no {sorted(set(asked) - known)}: {command}"


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from parser._option_string_actions
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _options(below)


def named_commands(page: Path) -> dict[str, bool]:
    """`posepipe ...` in blocks, in indented lines and in inline code -> whether it is a whole command, which in a
    sentence it need not be."""
    text = page.read_text("utf-8")
    shown = [block.text for block in BLOCKS[page] if block.language == "sh"]
    shown += [line.strip() for line in text.splitlines() if line.startswith("    ") and "`" not in line]
    prose = re.sub(r"(?s)```.*?```", "", text)
    said = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]
    found = {c: False for code in said for c in commands(code)} | {c: True for code in shown for c in commands(code)}
    return {c: whole for c, whole in found.items() if re.match(r"posepipe [a-z][a-z-]*( |$)", c)}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_that_is_named_exists(page: Path) -> None:
    for command, whole in named_commands(page).items():
        check(command, whole)


def test_pages_name_commands() -> None:
    """So that the test above is about something."""
    found = [(c.split()[1], whole) for page in PAGES for c, whole in named_commands(page).items()]
    assert len(found) > 60
    assert sum(whole for _, whole in found) > 20
    assert {verb for verb, _ in found} >= set(VERBS) - {"demo"}


@pytest.mark.parametrize(
    "command",
    [
        "posepipe rum my.mp4",
        "posepipe run my.mp4 --fow 70",
        "posepipe run my.mp4 --fov wide",
        "posepipe run my.mp4 -o",
        "posepipe export out/my.h5",
        "posepipe batch FOLDER [--resum] ...",
        "posepipe data build --from c3d-files x -o y",
        "posepipe data build --form bvh ...",
    ],
)
def test_a_command_that_is_wrong_is_noticed(command: str) -> None:
    with pytest.raises(AssertionError):
        check(command)


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_it_does_and_shows_examples(verb: str, capsys: pytest.CaptureFixture) -> None:
    for example in EXAMPLES[verb]:
        assert example.split()[1] == verb
        check(example)
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: posepipe {verb}")
    about = said.split("\n\n")[1]
    assert len(about.split()) >= 4
    assert about.rstrip().endswith(".")
    assert EXAMPLES[verb][0] in said


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"(?s)```.*?```", "", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def messages() -> list[str]:
    """Every text in the code, with … for what is filled in."""
    found = []
    for room in ("posepipe", "pipeline", "detectors", "lifters", "trt_build"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    found.append("".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values))
    return found


def test_quoted_messages_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    quoted = [" ".join(m.split()) for m in re.findall(r"\*\*`([^`]+)`\*\*", text)]
    assert len(quoted) > 25
    known = messages()
    assert [m for m in quoted if not any(m in text for text in known)] == []
