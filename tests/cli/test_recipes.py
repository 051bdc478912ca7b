"""Every recipe of the documentation stops what it says, and would not be stopped without its lines."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest

from harness.desk import Desk

PAGE = Path(__file__).parent.parent.parent / "docs" / "recipes.md"
RECIPES = {
    part.splitlines()[0]: re.findall(r"^```yaml\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    if "```yaml" in part
}


def failures(file: str, tests: str) -> int:
    with tempfile.TemporaryDirectory(prefix="mcd-", dir="/tmp", ignore_cleanup_errors=True) as base:
        desk = Desk(Path(base))
        desk.write(f"name: recipe\n{file}")
        desk.write(tests, "tests.yaml")
        done = desk.run("policy", "test", "tests.yaml", "--format", "json")
        assert done.returncode in {0, 1}, done.stderr
        return int(json.loads(done.stdout)["failed"])


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_recipe_decides_as_its_test_says_and_nothing_does_without_it(recipe: str) -> None:
    file, tests = RECIPES[recipe]
    assert failures(file, tests) == 0
    assert failures(file[: file.index("interceptors:")], tests) >= 1


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 7
