"""Says which modules import each other in a circle: python scripts/import_circles.py [package folder].

Every import counts, whether at the top of a module, inside a function or under TYPE_CHECKING: a circle that is
hidden in a function still means that neither module can be understood, moved or tested without the other. What
`kernels/core/dispatch.py` loads when it is first needed, `Operation(__package__, "name")`, counts as well.
Exits with 1 if there is a circle.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

Graph = dict[str, dict[str, int]]  # module -> imported module -> the line of the first such import


def modules_of(package: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    files = {}
    for file in sorted(package.rglob("*.py")):
        parts = (package.name, *file.relative_to(package).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


def import_graph(package: Path) -> Graph:
    """Which modules of the package each of them imports."""
    files = modules_of(package)
    graph: Graph = {}
    for name, file in files.items():
        home = name if file.name == "__init__.py" else name.rpartition(".")[0]
        found: dict[str, int] = {}
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
            for target in _targets(node, home, files):
                if target in files and target != name:
                    found[target] = min(found.get(target, node.lineno), node.lineno)
        graph[name] = found
    return graph


def _targets(node: ast.AST, home: str, files: Mapping[str, Path]) -> Iterator[str]:
    """The modules that one node of the syntax tree imports; `home` is the package that it stands in."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = home.split(".")[: len(home.split(".")) - node.level + 1]
            base = ".".join([*above, *([base] if base else [])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in files else base
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Operation":
        yield from _dispatched(node, home)


def _dispatched(call: ast.Call, home: str) -> Iterator[str]:
    if len(call.args) < 2 or not isinstance(call.args[1], ast.Constant):
        return
    family = call.args[0].value if isinstance(call.args[0], ast.Constant) else home
    backends = ast.literal_eval(call.args[2]) if len(call.args) > 2 else ("cpu",)
    for backend in backends:
        yield f"{family}._{backend}.{call.args[1].value}"


def circles(graph: Graph) -> list[list[str]]:
    """One shortest circle, its first module repeated at the end, for each group of modules that form circles."""
    found = []
    left = set(graph)
    while left:
        start = min(left)
        group = _reachable(graph, start) & _reachable(_reversed(graph), start)
        if group:  # the module can be reached from itself
            found.append(min((_shortest(graph, module) for module in sorted(group)), key=len))
        left -= group | {start}
    return found


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        module = ahead.pop()
        if module not in seen:
            seen.add(module)
            ahead += graph[module]
    return seen


def _reversed(graph: Graph) -> Graph:
    turned: Graph = {module: {} for module in graph}
    for module, imported in graph.items():
        for target, line in imported.items():
            turned[target][module] = line
    return turned


def _shortest(graph: Graph, start: str) -> list[str]:
    """The shortest way from a module back to itself, of which there is one."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for target in graph[way[-1]]:
            if target == start:
                return [*way, start]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    raise AssertionError(f"{start} is in no circle")


def main(package: Path) -> int:
    graph = import_graph(package)
    found = circles(graph)
    for circle in found:
        print("circle:")
        for module, target in pairwise(circle):
            print(f"  {module}, line {graph[module][target]}, imports {target}")
    print(f"{len(graph)} modules, {len(found)} groups of modules that import each other in circles")
    return 1 if found else 0


if __name__ == "__main__":
    root = Path(__file__).parent.parent
    sys.exit(main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else root / "megalabel"))
