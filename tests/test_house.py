"""The house of docs/architecture.md: sizes, who may import whom, habits that are kept everywhere."""

from __future__ import annotations

import ast
import graphlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("features", "training", "decisioning", "serving", "cli", "benchmarks")
SOURCES = [*sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")), ROOT / "kairos.py"]

MOST_LINES, MEDIAN_LINES, MOST_LINES_OF_A_FUNCTION, MOST_ARGUMENTS = 400, 150, 40, 7
HEAVY = (
    "feast",
    "mlflow",
    "lightgbm",
    "shap",
    "woodelf",
    "fairlearn",
    "evidently",
    "optuna",
    "matplotlib",
    "pandas",
    "polars",
)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, ast.ClassDef | None]]:
    """Every function with the class it is a method of."""
    owners = {id(each): node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef) for each in node.body}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, owners.get(id(node))


def at(path: Path, node: ast.AST | None = None) -> str:
    """Where an offence is."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def called(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


# -- sizes -------------------------------------------------------------------------------------------------------------


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_too_long() -> None:
    assert [f"{at(path)} has {lines(path)} lines" for path in SOURCES if lines(path) > MOST_LINES] == []


def test_half_of_the_files_fit_on_a_few_screens() -> None:
    files = [path for path in SOURCES if path.name != "__init__.py"]
    assert len(files) > 20
    assert statistics.median(map(lines, files)) < MEDIAN_LINES


def test_functions_are_short() -> None:
    lengths = [
        (f"{at(path, function)} {function.name}", (function.end_lineno or 0) - function.lineno + 1)
        for path in SOURCES
        for function, _ in functions(path)
    ]
    assert len(lengths) > 100
    assert [each for each in lengths if each[1] > MOST_LINES_OF_A_FUNCTION] == []


def test_functions_take_few_arguments() -> None:
    """A command's parameters are its options, and an `@override` has the arguments of the interface it fills."""
    offences = []
    for path in SOURCES:
        for function, owner in functions(path):
            every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            mine = [each.arg for each in every if not (owner and each.arg in ("self", "cls"))]
            borrowed = any(called(each).endswith("override") for each in function.decorator_list)
            if len(mine) > MOST_ARGUMENTS and not borrowed:
                offences.append(f"{at(path, function)} {function.name}({', '.join(mine)})")
    assert offences == []


# -- who may import whom -----------------------------------------------------------------------------------------------


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def house_imports() -> dict[str, set[str]]:
    """Modules of the house that each imports, inside functions too."""
    modules = {module_name(path): path for path in SOURCES}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = set()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                found |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{at(path, node)}: import absolutely"
                inner = {f"{node.module}.{each.name}" for each in node.names}
                found |= inner if inner <= modules.keys() else {str(node.module), *(inner & modules.keys())}
        graph[name] = (found & modules.keys()) - {name}
    return graph


def test_no_import_goes_in_a_circle() -> None:
    assert sum(map(len, house_imports().values())) > 50
    graphlib.TopologicalSorter(house_imports()).prepare()  # CycleError names the circle


def test_the_contracts_of_who_may_import_whom_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kernel_imports_nobody_and_decisioning_of_features_the_kernel_alone() -> None:
    """The contracts list modules; this also holds for those of tomorrow."""
    offences = []
    for name, imported in house_imports().items():
        of_features = {each for each in imported if each.startswith("features")}
        foreign = {each for each in imported if each.split(".")[0] not in ("features", name.split(".")[0])}
        if name.startswith(("features.kernel", "decisioning")):
            offences += [(name, each) for each in of_features if not each.startswith("features.kernel")]
            offences += [(name, each) for each in foreign]
    assert offences == []


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_ours(package: str) -> None:
    """Another distribution installs a package `features`, too; asked where the working directory does not help."""
    script = f"import {package}; print({package}.__file__)"
    done = subprocess.run([sys.executable, "-c", script], cwd="/", capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(ROOT)


@pytest.mark.parametrize(("module", "never"), [("serving.app", HEAVY), ("decisioning.next_best", HEAVY)])
def test_what_a_worker_imports_is_light(module: str, never: tuple[str, ...]) -> None:
    script = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & set(never) - {"polars"} == set()


# -- habits ------------------------------------------------------------------------------------------------------------


def test_every_module_says_what_it_is() -> None:
    assert [at(path) for path in SOURCES if len(ast.get_docstring(tree(path)) or "") < 20] == []


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                yield path, node, called(node.func)


def test_time_comes_from_the_clock() -> None:
    banned = {f"{kind}.{name}" for kind in ("datetime", "date") for name in ("now", "utcnow", "today")}
    banned |= {"time.time", "time.time_ns"}
    clock = ROOT / "features" / "kernel" / "clock.py"
    found = [(at(path, node), name) for path, node, name in calls() if ".".join(name.split(".")[-2:]) in banned]
    assert any(place.startswith(str(clock.relative_to(ROOT))) for place, _ in found)  # the search finds what there is
    assert [each for each in found if not each[0].startswith(str(clock.relative_to(ROOT)))] == []


def test_every_draw_takes_a_generator() -> None:
    allowed = ("Generator", "default_rng", "SeedSequence", "PCG64")
    drawn = [(path, node, name) for path, node, name in calls() if name.startswith(("random.", "np.random."))]
    assert drawn
    assert [at(path, node) for path, node, name in drawn if not name.endswith(allowed)] == []


def catches_all(kind: ast.expr | None) -> bool:
    each = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(one is None or called(one) in ("Exception", "BaseException") for one in each)


def test_everything_is_caught_only_at_a_marked_edge() -> None:
    """Or passed on at once, after saying what was under way."""
    offences, edges = [], 0
    for path in SOURCES:
        source = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and catches_all(node.type):
                last = node.body[-1]
                mark = source[node.lineno - 1].partition("# noqa: BLE001")[2].strip()
                edges += bool(mark)
                if not mark and not (isinstance(last, ast.Raise) and last.exc is None):
                    offences.append(at(path, node))
    assert offences == []
    assert edges


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found


def test_a_function_imports_only_to_open_the_door_to_a_heavy_library() -> None:
    """The library itself, or a module of ours that cannot be imported without it."""
    heavy = {module_name(path) for path in SOURCES if is_heavy(imported(tree(path).body), set())}
    local = [(path, function, imported(ast.walk(function))) for path in SOURCES for function, _ in functions(path)]
    doors = [each for each in local if each[2]]
    assert len(doors) > 5
    assert [at(path, function) for path, function, names in doors if not is_heavy(names, heavy)] == []


def is_heavy(names: set[str], modules: set[str]) -> bool:
    light = ("pandas", "polars")  # imported at the top wherever they are needed: no reason to hide an import
    return any(name in modules or name.split(".")[0] in set(HEAVY) - set(light) for name in names)


def test_no_package_host_and_no_place_of_one_machine_is_named() -> None:
    files = [*SOURCES, *(ROOT / name for name in ("pyproject.toml", "constraints.txt", "Makefile", "README.md"))]
    banned = ("index-url", "/simple/", "/home/", "/root/", f"{ROOT}/")
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    assert [(at(path), each) for path, text in texts.items() for each in banned if each in text] == []


# -- the command -------------------------------------------------------------------------------------------------------


def test_help_is_quick_and_imports_none_of_the_heavy_libraries() -> None:
    script = f"""
import sys
sys.argv = ["kairos", "--help"]
import kairos
try:
    kairos.main()
except SystemExit as end:
    assert end.code == 0, end.code
heavy = sorted({{name.partition(".")[0] for name in sys.modules}} & {{*{HEAVY!r}, "numpy", "sqlalchemy", "fastapi"}})
assert not heavy, heavy
verbs = [name for name in sys.modules if name.startswith("cli.")]
assert not verbs, verbs
"""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - started < 5  # half a second on an idle machine; this one may be busy
