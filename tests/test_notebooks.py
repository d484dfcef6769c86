"""The notebooks: stored without outputs, made of public names alone, and running from a clean checkout."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PACKAGES = ("features", "training", "decisioning", "serving", "cli")
LEAST_FIGURES = 2

REAL = FOLDER.parent.parent / "shared" / "data" / "bank_marketing" / "bank-full.csv"
ON_REAL_DATA = {"02_train_a_problem": REAL}
"""By notebook, the file it reads, which is not ours to ship."""

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def parameter(path: Path) -> Any:
    """A notebook to run; one that reads real data only where they are."""
    if path.stem not in ON_REAL_DATA:
        return pytest.param(path, id=path.stem)
    needed = ON_REAL_DATA[path.stem]
    absent = pytest.mark.skipif(not needed.exists(), reason=f"{needed} is not there")
    return pytest.param(path, marks=[pytest.mark.real_data, absent], id=path.stem)


runnable_notebook = pytest.mark.parametrize("path", [parameter(each) for each in NOTEBOOKS])


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code(path: Path) -> Iterator[tuple[str, ast.Module]]:
    """Each code cell's id and syntax tree."""
    for cell in read(path).cells:
        if cell.cell_type == "code":
            yield cell.id, ast.parse(cell.source)


def ours(name: str | None) -> bool:
    return (name or "").partition(".")[0] in PACKAGES


def test_there_is_one_for_each_job() -> None:
    jobs = ["01_events_to_features", "02_train_a_problem", "03_explain_and_watch", "04_decide_and_learn"]
    assert [path.stem for path in NOTEBOOKS] == jobs


@every_notebook
def test_it_is_valid_and_stored_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []


@every_notebook
def test_it_teaches(path: Path) -> None:
    """Words come before code, and are about as many as there are steps."""
    kinds = [cell.cell_type for cell in read(path).cells]
    assert kinds[0] == "markdown"
    assert kinds.count("markdown") >= kinds.count("code") / 2


@every_notebook
def test_it_defines_nothing(path: Path) -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert [
        (cell, node.lineno) for cell, tree in code(path) for node in ast.walk(tree) if isinstance(node, kinds)
    ] == []


@every_notebook
def test_it_uses_public_names_only(path: Path) -> None:
    """What it imports from the project, and what it takes from a module it imported, stands in `__all__`."""
    modules: dict[str, ModuleType] = {}
    checked, offences = 0, []
    for cell, tree in code(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                offences += [(cell, each.name) for each in node.names if ours(each.name)]  # import names, not packages
            elif isinstance(node, ast.ImportFrom) and ours(node.module):
                for each in node.names:
                    found = imported(str(node.module), each.name)
                    checked += 1
                    if isinstance(found, ModuleType):
                        modules[each.asname or each.name] = found
                    elif not found:
                        offences.append((cell, f"{node.module}.{each.name}"))
    for cell, tree in code(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                module = modules.get(node.value.id) if isinstance(node.value, ast.Name) else None
                hidden = module is not None and node.attr not in module.__all__
                if hidden or node.attr.startswith("_"):
                    offences.append((cell, ast.unparse(node)))
    assert checked > 5
    assert offences == []


def imported(module: str, name: str) -> ModuleType | bool:
    """The module `module.name`, or whether `name` is public in `module`."""
    parent = importlib.import_module(module)
    if name in getattr(parent, "__all__", ()):
        return True
    child = getattr(parent, name, None) or importlib.import_module(f"{module}.{name}")
    return child if isinstance(child, ModuleType) and not name.startswith("_") else False


LAST = """
import sys, psutil
print(sys.prefix, Path(home).exists(), [each.name() for each in psutil.Process().children(recursive=True)], sep="|")
"""
"""Run behind the notebook's own cells: in which environment it ran, and what it left behind."""


@runnable_notebook
def test_it_runs_and_shows_figures(path: Path, tmp_path: Path) -> None:
    """In a kernel of this Python, in its own folder, with nothing set and nothing started before."""
    notebook = read(path)
    notebook.cells.append(nbformat.v4.new_code_cell(LAST))
    unset = ("KAIROS_", "MLFLOW_", "MPLBACKEND", "PYTHONWARNINGS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute(env=environment | {"IPYTHONDIR": str(tmp_path)})

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(figures) >= LEAST_FIGURES
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    prefix, home_is_left, children = outputs[-1].text.strip().split("|")
    assert Path(prefix) == Path(sys.prefix)
    assert (home_is_left, children) == ("False", "[]")
