"""Finds every use of TensorRT's interface in our source, and holds it to a dump of that interface.

Types are inferred: `trt` is the module wherever it stands, `trt.X(...)` is an X, what a method gives back is in its
signature, and parameters, attributes and variables are what they are annotated with (`trt.X`). A TensorRT object must
not get to where nobody knows what it is: it may only be passed to TensorRT, to a parameter annotated `trt.X`, or to a
builtin that takes its bytes; that, too, is checked, so that no call escapes.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ALIASES = {"IParserError": "ParserError"}
HARMLESS = {"bytes", "len", "tuple", "list", "int", "str", "range", "bool", "memoryview", "type", "append"}


@dataclass(frozen=True)
class Type:
    """kind: `module`, `class`, `object` (an instance of cls) or `method` (`name` of cls)."""

    kind: str
    cls: str = ""
    name: str = ""


@dataclass
class Found:
    """problems: one line each. used: (class, member) pairs and names of the module ("", name)."""

    problems: list[str] = field(default_factory=list)
    used: set[tuple[str, str]] = field(default_factory=set)


def check(sources: dict[str, str], api: dict[str, Any]) -> Found:
    """sources: file name -> text."""
    found = Found()
    trees = {name: ast.parse(text) for name, text in sources.items()}
    functions = {
        node.name: node
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name != "__init__"
    }
    for name, tree in trees.items():
        attributes = _annotated_attributes(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    if cls := _annotation(base):
                        _overrides(node, cls, api, found, name)
        scope = _Scope(name, api, functions, attributes, found)
        for node in tree.body:
            scope.visit(node)
    return found


def sources_that_use_tensorrt(folder: Path) -> dict[str, str]:
    texts = {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.py"))}
    return {name: text for name, text in texts.items() if re.search(r"\btrt\.|\bimport tensorrt\b", text)}


def _annotation(node: ast.expr | None) -> str:
    """`trt.X` or `trt.X | None` -> X."""
    text = ast.unparse(node).strip("'\"") if node is not None else ""
    match = re.fullmatch(r"trt\.([\w.]+)( \| None)?", text)
    return match.group(1) if match else ""


def _annotated_attributes(tree: ast.Module) -> dict[str, str]:
    """Names that any class of the file annotates as TensorRT objects; one name means one thing in a file."""
    return {
        item.target.id: cls
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and (cls := _annotation(item.annotation))
    }


def _overrides(node: ast.ClassDef, cls: str, api: dict[str, Any], found: Found, where: str) -> None:
    """Methods of a subclass are called by TensorRT: they must be what it calls, with as many arguments."""
    found.used.add(("", cls))
    members = api["classes"].get(cls, {})
    for item in node.body:
        if not isinstance(item, ast.FunctionDef) or item.name == "__init__":
            continue
        if item.name not in members:
            found.problems.append(f"{where}:{item.lineno}: {cls} has no method {item.name} to override")
            continue
        found.used.add((cls, item.name))
        names = [p for p, _ in _parameters(members[item.name]["signatures"][0])]
        if [a.arg for a in item.args.args][1:] != names:
            found.problems.append(f"{where}:{item.lineno}: {cls}.{item.name} is called with {names}")


def _parameters(signature: str) -> list[tuple[str, bool]]:
    """(name, whether it may be left out) of every parameter but self."""
    inner = signature[signature.index("(") + 1 : signature.rindex(") -> ")]
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(inner + ","):
        depth += (letter in "[(<{") - (letter in "])>}")
        if letter == "," and depth == 0:
            parts.append(inner[start:place].strip())
            start = place + 1
    return [(p.split(":")[0].strip(), "=" in p) for p in parts if p and not p.startswith("self")]


def _result(signatures: list[str], api: dict[str, Any]) -> Type | None:
    for signature in signatures:
        name = signature.rsplit(" -> ", 1)[-1].strip()
        name = ALIASES.get(name, name)
        if name in api["classes"]:
            return Type("object", name)
    return None


class _Scope(ast.NodeVisitor):
    def __init__(
        self,
        where: str,
        api: dict[str, Any],
        functions: dict[str, ast.FunctionDef],
        attributes: dict[str, str],
        found: Found,
        known: dict[str, Type] | None = None,
    ) -> None:
        self.where, self.api, self.functions, self.attributes, self.found = where, api, functions, attributes, found
        self.known = {"trt": Type("module"), **(known or {})}

    def problem(self, node: Any, text: str) -> None:
        self.found.problems.append(f"{self.where}:{node.lineno}: {text}")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        inner = _Scope(self.where, self.api, self.functions, self.attributes, self.found, self.known)
        for argument in (*node.args.args, *node.args.kwonlyargs):
            inner.known.pop(argument.arg, None) if argument.arg != "trt" else None
            if cls := _annotation(argument.annotation):
                inner.known[argument.arg] = Type("object", cls)
                if cls not in self.api["classes"]:
                    self.problem(node, f"trt.{cls} is not in the dump")
        inner.returns = _annotation(node.returns)
        for statement in node.body:
            inner.visit(statement)

    returns = ""

    def visit_Return(self, node: ast.Return) -> None:
        kind = self.type_of(node.value)
        if kind and kind.kind == "object" and kind.cls != "ILogger.Severity" and not self.returns:
            self.problem(node, f"an {kind.cls} is returned by a function that does not say so")

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for left, right in pairs:
                self._bind(left, self.type_of(right), node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        kind = self.type_of(node.value)
        cls = _annotation(node.annotation)
        self._bind(node.target, Type("object", cls) if cls else kind, node)

    def _bind(self, target: ast.expr, kind: Type | None, node: ast.stmt) -> None:
        if isinstance(target, ast.Name):
            if kind is not None:
                self.known[target.id] = kind
            elif target.id != "trt":
                self.known.pop(target.id, None)
        elif isinstance(target, ast.Attribute):
            owner = self.type_of(target.value)
            if owner is not None and owner.kind == "object":
                if self._member(owner.cls, target.attr, node).get("kind", "settable") != "settable":
                    self.problem(node, f"{owner.cls}.{target.attr} cannot be set")
            elif kind is not None and kind.kind == "object" and target.attr not in self.attributes:
                self.problem(node, f"an {kind.cls} is kept in .{target.attr}, which no class annotates")

    def visit_For(self, node: ast.For) -> None:
        self.type_of(node.iter)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.expr):
            self.type_of(node)
        else:
            super().generic_visit(node)

    def type_of(self, node: ast.expr | None) -> Type | None:
        """The type of an expression where it concerns TensorRT; looks into everything within it."""
        if node is None:
            return None
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Lambda):
            return self.type_of(node.body)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)):
            for part in node.generators:
                self.type_of(part.iter)
                for condition in part.ifs:
                    self.type_of(condition)
            for part in ("elt", "key", "value"):
                self.type_of(getattr(node, part, None))
            return None
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.type_of(child)
            elif not isinstance(child, (ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)):
                self.visit(child)
        return None

    def _attribute(self, node: ast.Attribute) -> Type | None:
        owner = self.type_of(node.value)
        if owner is None:
            if node.attr == "trt":
                return Type("module")
            cls = self.attributes.get(node.attr)
            return Type("object", cls) if cls else None
        if owner.kind == "module":
            if node.attr in self.api["classes"]:
                self.found.used.add(("", node.attr))
                return Type("class", node.attr)
            if node.attr != "__version__" and node.attr not in self.api["names"]:
                self.problem(node, f"there is no trt.{node.attr}")
            elif node.attr[0].isupper() or node.attr[0] == "I":
                self.problem(node, f"trt.{node.attr} is not in the dump: add it to tools/tensorrt_api.py")
            self.found.used.add(("", node.attr))
            return None
        if owner.kind == "class" and f"{owner.cls}.{node.attr}" in self.api["classes"]:
            return Type("class", f"{owner.cls}.{node.attr}")
        member = self._member(owner.cls, node.attr, node)
        if member.get("kind") == "method":
            return Type("method", owner.cls, node.attr)
        return None if member.get("kind") == "value" else _result(member.get("signatures", []), self.api)

    def _member(self, cls: str, name: str, node: Any) -> dict[str, Any]:
        members = self.api["classes"].get(cls, {})
        self.found.used.add((cls, name))
        if name not in members:
            self.problem(node, f"{cls} has no {name}")
            return {}
        return dict(members[name])

    def _call(self, node: ast.Call) -> Type | None:
        called = self.type_of(node.func)
        given = [self.type_of(argument) for argument in node.args]
        named = {keyword.arg: self.type_of(keyword.value) for keyword in node.keywords}
        if called is None:
            self._passed_on(node, given, named)
            function = self.functions.get(_name_of(node.func))
            cls = _annotation(function.returns) if function is not None else ""
            return Type("object", cls) if cls else None
        name = "__init__" if called.kind == "class" else called.name
        signatures = self._member(called.cls, name, node).get("signatures", [])
        explicit_self = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Attribute)
        unbound = explicit_self and name == "__init__" and called.kind == "method"
        count = len(node.args) - int(unbound)
        if signatures and not any(_fits(s, count, set(named)) for s in signatures):
            self.problem(node, f"{called.cls}.{name} does not take {count} arguments and {sorted(map(str, named))}")
        return Type("object", called.cls) if called.kind == "class" else _result(signatures, self.api)

    def _passed_on(self, node: ast.Call, given: list[Type | None], named: dict[str | None, Type | None]) -> None:
        name = _name_of(node.func)
        function = self.functions.get(name)
        for place, kind in [*enumerate(given), *named.items()]:
            if kind is None or kind.kind != "object" or name in HARMLESS:
                continue
            if function is None and name[:1].isupper():
                continue  # a class of ours: its fields are annotated, or reading them is not understood
            arguments = [*function.args.args, *function.args.kwonlyargs] if function is not None else []
            names = {a.arg: a for a in arguments if a.arg != "self"}
            target = (
                names.get(place) if isinstance(place, str) else (list(names.values()) + [None] * 99)[int(place or 0)]
            )
            if target is None or not _annotation(target.annotation):
                self.problem(node, f"an {kind.cls} is passed to {name}, which does not say so")


def _name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _fits(signature: str, count: int, named: set[str | None]) -> bool:
    parameters = _parameters(signature)
    names = [name for name, _ in parameters]
    if count > len(names) or not named <= set(names[count:]):
        return False
    return all(optional or name in named for name, optional in parameters[count:])
