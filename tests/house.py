"""How the house is built, counted from its source alone: nothing of the tree that is counted is imported.

    python -m tests.house [--tree PATH] [--names]

Sizes: lines of Python of each room, two levels deep.

Levels: of each package how many modules it has, and on how many levels they lie: the number of modules on the longest
chain of imports between them (imports within functions count, those of a cycle are one level). A package's rooms are
the modules and packages directly in it; its floors are the levels of the rooms, its arrows the imports between rooms.

Words: a module is entered by a word where an argument, a variable, an attribute, a keyword or a key has that name.
Arrows are the imports between the modules that it enters.

Trips: see `tests.house_trip`.
"""

import argparse
import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.house_imports import PACKAGES, House, cycles, levels, rooms, within
from tests.house_trip import Trip

WORDS = {
    "config": {"config"},
    "spikes": {"spikes"},
    "blur": {"blur"},
    # What the network is given, under any name that it has or had.
    "blur or input": {"blur", "input", "input_clip"},
}
# The trip of `config` through training; the other words are kept in batches and iterators, which no call shows.
TRIPS = {"config": "spikejax.train.main"}


def count_lines(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text().splitlines())


def entered(house: House, words: set[str]) -> set[str]:
    """The modules of the library and of convert in which one of the words is a name or a key."""
    return {
        name
        for name, module in house.modules.items()
        if not name.startswith("configs") and any(_word_of(node) in words for node in ast.walk(module.tree))
    }


def _word_of(node: ast.AST) -> str | None:
    """The name that a node of the syntax uses, if it uses one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.arg | ast.keyword):
        return node.arg
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def public_names(house: House) -> dict[str, list[str]]:
    """{name: modules} of the public functions, classes and constants that several modules define."""
    defined: dict[str, list[str]] = defaultdict(list)
    for name, module in house.modules.items():
        for node in module.tree.body:
            for defined_name in _defined(node):
                if not defined_name.startswith("_"):
                    defined[defined_name].append(name)
    return {name: modules for name, modules in sorted(defined.items()) if len(modules) > 1}


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def file_names(house: House) -> dict[str, list[str]]:
    """{file name: modules} of the file names that several modules have, `__init__` left out."""
    files: dict[str, list[str]] = defaultdict(list)
    for name, module in house.modules.items():
        if not module.is_package:
            files[module.path.name].append(name)
    return {name: modules for name, modules in sorted(files.items()) if len(modules) > 1}


def size_lines(root: Path) -> Iterator[str]:
    """The tree, two levels deep: lines of Python and number of files."""
    tops = [*PACKAGES, "scripts", "tests"]
    for top in tops:
        files = sorted((root / top).rglob("*.py"))
        if not files:
            continue
        yield f"{top + '/':38}{sum(map(count_lines, files)):>7,} lines  {len(files):>3} files"
        inner: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for path in files:
            parts = path.relative_to(root / top).parts
            room = parts[0] + ("/" if len(parts) > 1 else "")
            inner[room] += count_lines(path)
            counts[room] += 1
        for room in sorted(inner, key=lambda room: (not room.endswith("/"), room)):
            if room != "__init__.py":
                files_in = f"  {counts[room]:>3} files" if room.endswith("/") else ""
                yield f"  {room:36}{inner[room]:>7,} lines{files_in}"


def level_lines(house: House) -> Iterator[str]:
    """The levels of each package, and the cycles."""
    yield f"{'package':30}{'modules':>9}{'levels':>8}{'rooms':>8}{'floors':>8}{'arrows':>8}"
    for name, module in house.modules.items():
        inside = within(house, name) if module.is_package else {}
        if len(inside) > 1:
            drawn = rooms(house, name)
            arrows = sum(map(len, drawn.values()))
            yield f"{name:30}{len(inside):>9}{levels(inside):>8}{len(drawn):>8}{levels(drawn):>8}{arrows:>8}"
    yield f"cycles: {'; '.join(', '.join(group) for group in cycles(house.graph)) or 'none'}"


def word_lines(house: House) -> Iterator[str]:
    """How far each word gets."""
    yield f"{'word':30}{'modules':>9}{'arrows':>8}"
    for title, words in WORDS.items():
        names = entered(house, words)
        yield f"{title:30}{len(names):>9}{sum(len(house.graph[name] & names) for name in names):>8}"
    yield ""
    yield f"{'trip':44}{'rooms':>8}{'stays':>8}{'returns':>9}"
    for word, start in TRIPS.items():
        trip = Trip(house, word, start)
        yield f"{word + ', from ' + start:44}{trip.rooms:>8}{trip.stays:>8}{trip.returns:>9}"


def name_lines(house: House) -> Iterator[str]:
    """What has one name in several places."""
    for title, names in (("public names", public_names(house)), ("file names", file_names(house))):
        yield f"{title} defined more than once: {len(names)}"
        yield from (f"  {name:30}{', '.join(modules)}" for name, modules in names.items())


def main() -> None:
    """Prints what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.house", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tree", type=Path, default=Path(__file__).parents[1], help="checkout to count (default: this)"
    )
    parser.add_argument("--names", action="store_true", help="list names and file names that are used more than once")
    options = parser.parse_args()
    house = House(options.tree)
    parts = [name_lines(house)] if options.names else [size_lines(options.tree), level_lines(house), word_lines(house)]
    print("\n\n".join("\n".join(part) for part in parts))


if __name__ == "__main__":
    main()
