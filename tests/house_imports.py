"""The modules of a tree and the imports between them, read from the source alone."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("spikejax", "convert", "configs")

Graph = Mapping[str, set[str]]


@dataclass
class Module:
    """One file.

    Attributes:
        name: dotted.
        path: of the file.
        tree: its syntax.
        is_package: whether it is an `__init__.py`.
        names: {local name: dotted name that it stands for}, of imports and definitions.
    """

    name: str
    path: Path
    tree: ast.Module
    is_package: bool
    names: dict[str, str] = field(default_factory=dict)


class House:
    """The modules of a tree and the imports between them.

    Attributes:
        root: folder that the packages lie in.
        modules: {dotted name: module}.
        graph: {module: modules that it imports}.
    """

    def __init__(self, root: Path, packages: Iterable[str] = PACKAGES):
        self.root = root
        self.modules = {module.name: module for package in packages for module in _modules(root, package)}
        self.graph: dict[str, set[str]] = {name: set() for name in self.modules}
        for module in self.modules.values():
            self._resolve(module)

    def _resolve(self, module: Module) -> None:
        """Fills in the names and the imports of a module."""
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    module.names[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
                    self._add_import(module, alias.name)
            elif isinstance(node, ast.ImportFrom):
                base = _base_of(node, module)
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    module.names[alias.asname or alias.name] = full
                    self._add_import(module, full if full in self.modules else base)
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                module.names[node.name] = f"{module.name}.{node.name}"

    def _add_import(self, module: Module, name: str) -> None:
        if name in self.modules and name != module.name:
            self.graph[module.name].add(name)

    def definition(self, name: str) -> tuple[Module, ast.AST] | None:
        """The function or class of a dotted name, followed through modules that hand it on."""
        for _ in range(10):
            module_name, _, last = name.rpartition(".")
            if (module := self.modules.get(module_name)) is None:
                return None
            for node in module.tree.body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == last:
                    return module, node
            following = module.names.get(last)
            if following is None or following == name:
                return None
            name = following
        return None


def _modules(root: Path, package: str) -> Iterator[Module]:
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield Module(".".join(parts[:-1] if is_package else parts), path, ast.parse(path.read_text()), is_package)


def _base_of(node: ast.ImportFrom, module: Module) -> str:
    """The dotted name of what a `from ... import` imports from."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    parts = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*parts, *filter(None, [node.module])])


def cycles(graph: Graph) -> list[list[str]]:
    """The groups of nodes that reach each other."""
    reached = {node: _reachable(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in reached[node] if node in reached[other]))
        for node in graph
        if node in reached[node]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    todo = list(graph[start])
    while todo:
        node = todo.pop()
        if node not in reached:
            reached.add(node)
            todo += graph[node]
    return reached


def levels(graph: Graph) -> int:
    """Nodes on the longest chain of a graph whose cycles are drawn together."""
    group_of = {node: node for node in graph} | {node: group[0] for group in cycles(graph) for node in group}
    drawn: dict[str, set[str]] = defaultdict(set)
    for node, targets in graph.items():
        drawn[group_of[node]] |= {group_of[target] for target in targets} - {group_of[node]}
    depth: dict[str, int] = {}

    def depth_of(node: str) -> int:
        if node not in depth:
            depth[node] = 1 + max((depth_of(target) for target in drawn[node]), default=0)
        return depth[node]

    return max((depth_of(node) for node in list(drawn)), default=0)


def within(house: House, package: str) -> dict[str, set[str]]:
    """The imports between the modules below a package, its own `__init__` left out."""
    members = {name for name in house.modules if name.startswith(package + ".")}
    return {name: house.graph[name] & members for name in members}


def rooms(house: House, package: str) -> dict[str, set[str]]:
    """The imports between what lies directly in a package."""
    depth = package.count(".") + 2
    drawn: dict[str, set[str]] = defaultdict(set)
    for name, targets in within(house, package).items():
        room = ".".join(name.split(".")[:depth])
        drawn[room] |= {".".join(target.split(".")[:depth]) for target in targets} - {room}
    return drawn
