"""A value's way through a tree of source, as a reader of it goes.

It starts at a function and follows the value through calls, in the order of the source. A value is carried by an
argument or attribute of the word's name, by what is reached through it (`config.training`, `config["model"]`,
`config.to_dict()`), by a variable or attribute that it is assigned to, and by an object that was made with it. A call
that is given the value enters the function that the name stands for: through imports, `self`, or a method's name that
one class alone has. Each function is entered once for each set of arguments that carry. The trip notes the module at
each such call, and the module that it returns to if the value is passed on there once more. A stay is an unbroken run
of one module, a room a module, a return a stay in a room already left.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.house_imports import House, Module


@dataclass(frozen=True)
class Scope:
    """A function that is being read.

    Attributes:
        module: that it is in.
        owner: class that it is in, None outside of one.
        node: its syntax.
    """

    module: Module
    owner: ast.ClassDef | None
    node: ast.FunctionDef


class Trip:
    """A word's way through a house; see the module's docstring.

    Attributes:
        modules: at each step.
    """

    def __init__(self, house: House, word: str, start: str):
        """Goes the whole way.

        Args:
            house: in which.
            word: the variable's name.
            start: the function that it begins in, MODULE.FUNCTION.
        """
        self.modules: list[str] = []
        self._house, self._word = house, word
        self._seen: set[tuple[ast.AST, frozenset[str]]] = set()
        self._attributes: dict[ast.ClassDef, set[str]] = defaultdict(set)
        self._methods: dict[str, list[Scope]] = defaultdict(list)
        for own in house.modules.values():
            for owner in own.tree.body:
                for node in owner.body if isinstance(owner, ast.ClassDef) else ():
                    if isinstance(node, ast.FunctionDef) and isinstance(owner, ast.ClassDef):
                        self._methods[node.name].append(Scope(own, owner, node))
        definition = house.definition(start)
        if definition is None or not isinstance(definition[1], ast.FunctionDef):
            raise SystemExit(f"expected a function {start}, found none: {house.root}")
        arguments = {argument.arg for argument in definition[1].args.args}
        self._enter(Scope(definition[0], None, definition[1]), {word} & arguments)

    @property
    def stays(self) -> int:
        """Unbroken runs of one module."""
        return sum(1 for index, name in enumerate(self.modules) if index == 0 or self.modules[index - 1] != name)

    @property
    def rooms(self) -> int:
        """Modules."""
        return len(set(self.modules))

    @property
    def returns(self) -> int:
        """Stays in a room that was left before."""
        return self.stays - self.rooms

    def _enter(self, scope: Scope, carried: set[str]) -> None:
        """Reads a function whose parameters `carried` have the value."""
        key = (scope.node, frozenset(carried))
        self.modules.append(scope.module.name)
        if key in self._seen:
            return
        self._seen.add(key)
        carried = set(carried)
        for node in _in_order(scope.node):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                if self._carries(node.value, scope, carried) or self._makes_holder(node.value, scope, carried):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    self._assign(targets, scope, carried)
            elif isinstance(node, ast.Call):
                self._call(node, scope, carried)

    def _assign(self, targets: Iterable[ast.expr], scope: Scope, carried: set[str]) -> None:
        for target in targets:
            if isinstance(target, ast.Name):
                carried.add(target.id)
            elif isinstance(target, ast.Attribute) and scope.owner is not None:
                self._attributes[scope.owner].add(target.attr)

    def _carries(self, value: ast.expr, scope: Scope, carried: set[str]) -> bool:
        """Whether an expression is the value, or what is reached through it."""
        if isinstance(value, ast.Name):
            return value.id in carried or value.id == self._word
        if isinstance(value, ast.Attribute):
            own = scope.owner is not None and value.attr in self._attributes[scope.owner]
            of_self = own and isinstance(value.value, ast.Name) and value.value.id == "self"
            return value.attr == self._word or of_self or self._carries(value.value, scope, carried)
        if isinstance(value, ast.Subscript | ast.Starred):
            return self._carries(value.value, scope, carried)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and not value.args:
            return value.func.attr in ("to_dict", "copy") and self._carries(value.func.value, scope, carried)
        if isinstance(value, ast.Tuple | ast.List):
            return any(self._carries(entry, scope, carried) for entry in value.elts)
        return self._makes_holder(value, scope, carried)

    def _makes_holder(self, value: ast.expr, scope: Scope, carried: set[str]) -> bool:
        """Whether an expression makes an object with the value."""
        if not isinstance(value, ast.Call):
            return False
        target = self._target(value.func, scope)
        if target is None or not isinstance(target[1], ast.ClassDef):
            return False
        arguments = [*value.args, *(keyword.value for keyword in value.keywords)]
        return any(self._carries(argument, scope, carried) for argument in arguments)

    def _target(self, function: ast.expr, scope: Scope) -> tuple[Module, ast.AST] | None:
        """The function or class that an expression names."""
        parts: list[str] = []
        while isinstance(function, ast.Attribute):
            parts.insert(0, function.attr)
            function = function.value
        if not isinstance(function, ast.Name):
            return None
        start = scope.module.names.get(function.id, "")
        return self._house.definition(".".join([start, *parts])) if start else None

    def _call(self, call: ast.Call, scope: Scope, carried: set[str]) -> None:
        """Enters what a call calls, if it is given the value."""
        positional, function = list(call.args), call.func
        if isinstance(function, ast.Name | ast.Attribute) and ast.unparse(function).endswith("partial") and positional:
            function, *positional = positional
        given_at = {index for index, value in enumerate(positional) if self._carries(value, scope, carried)}
        given_as = {str(entry.arg) for entry in call.keywords if self._carries(entry.value, scope, carried)}
        holder = isinstance(function, ast.Attribute) and self._carries(function.value, scope, carried)
        if not (given_at or given_as or holder):
            return
        target = self._target(function, scope)
        if target is not None and isinstance(target[1], ast.ClassDef) and not _methods_of(target[1], "__init__"):
            # A dataclass, whose fields have the names of its arguments.
            self._attributes[target[1]] |= given_as
            self.modules += [scope.module.name, target[0].name]
            return
        callee = self._callee(function, target, scope)
        if callee is None:
            return
        own = [argument.arg for argument in (*callee.node.args.posonlyargs, *callee.node.args.args)]
        own = own[1:] if callee.owner is not None and own[:1] in (["self"], ["cls"]) else own
        keyword_only = {argument.arg for argument in callee.node.args.kwonlyargs}
        self.modules.append(scope.module.name)
        self._enter(callee, {own[index] for index in given_at if index < len(own)} | (given_as & {*own, *keyword_only}))

    def _callee(self, function: ast.expr, target: tuple[Module, ast.AST] | None, scope: Scope) -> Scope | None:
        """The function that a call runs, None if the source does not tell."""
        if target is not None and isinstance(target[1], ast.ClassDef):
            return Scope(target[0], target[1], _methods_of(target[1], "__init__")[0])
        if target is not None and isinstance(target[1], ast.FunctionDef):
            return Scope(target[0], None, target[1])
        if not isinstance(function, ast.Attribute):
            return None
        methods = self._methods[function.attr]
        if isinstance(function.value, ast.Name) and function.value.id == "self":
            methods = [method for method in methods if method.owner is scope.owner]
        return methods[0] if len(methods) == 1 else None


def _methods_of(owner: ast.ClassDef, name: str) -> list[ast.FunctionDef]:
    return [node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name]


def _in_order(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function in the order in which they are run, as far as the source tells: inner ones first."""
    for child in ast.iter_child_nodes(function):
        yield from _in_order(child)
        yield child
