"""Laws of the source that no linter knows: few broad `except`, small modules, short functions, plain names."""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import quantiles

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "mcpcompose"
MODULES = sorted(PACKAGE.rglob("*.py"))
BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in MODULES}


def test_except_exception_is_in_four_places_at_most() -> None:
    broad = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_again(node)
    ]

    assert len(broad) <= 4, broad


def _is_broad(caught: ast.expr | None) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    broad = {"Exception", "BaseException"}
    return any(name is None or (isinstance(name, ast.Name) and name.id in broad) for name in names)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    """It only tidies up: what was caught goes on."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_no_module_is_over_400_lines() -> None:
    long = {str(p.relative_to(PACKAGE)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 400}

    assert long == {}


def test_functions_are_short_and_few_are_long() -> None:
    lengths = sorted(
        node.end_lineno - node.lineno + 1
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno
    )

    assert quantiles(lengths, n=10)[-1] <= 30
    assert sum(length > 50 for length in lengths) <= 0.025 * len(lengths)


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in MODULES if path.stem in BANNED or path.parent.name in BANNED] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_with_code_says_its_job(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert not tree.body or ast.get_docstring(tree)
