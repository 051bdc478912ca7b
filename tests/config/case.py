"""
A loader case: one file with the input above a line of `=`, and the expected result or problems below it.

Above: `mcp-compose.yaml`, then other files, each after a line `>>> path`. `>>> request` is special: its lines
are `files: a b`, `engine: x`, `profile: x`, `env-file: x`, `project-name: x` or `env KEY=value`.
Below: `ok` and the printed project as JSON, or one line per problem with its hint indented below it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.config.tree import Map, Node, Seq
from mcpcompose.errors import FileProblems, UsageError

CASES = Path(__file__).parent / "cases"
LINE = "=" * 40


@dataclass
class Case:
    files: dict[str, str]
    expected: str

    def write(self, directory: Path) -> None:
        for name, text in self.files.items():
            if name != "request":
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, newline="")

    def options(self) -> list[str]:
        """The request as the command line is told it."""
        words: list[str] = []
        for line in self.files.get("request", "").splitlines():
            key, _, value = line.partition(": ")
            if not line.startswith("env "):
                option = "--file" if key == "files" else f"--{key}"
                words += [word for one in value.split() for word in (option, one)]
        return words

    def request(self, directory: Path) -> Request:
        options: dict[str, str] = {}
        environ: dict[str, str] = {}
        for line in self.files.get("request", "").splitlines():
            if line.startswith("env "):
                key, _, value = line.removeprefix("env ").partition("=")
                environ[key] = value
            else:
                key, _, value = line.partition(": ")
                options[key] = value
        return Request(
            files=tuple(directory / name for name in options.get("files", "mcp-compose.yaml").split()),
            directory=directory,
            environ=environ,
            home=directory / "home",
            project_name=options.get("project-name"),
            env_files=tuple(Path(name) for name in options.get("env-file", "").split()),
            engine=options.get("engine"),
            profile=options.get("profile"),
        )


def names() -> list[str]:
    return sorted(path.stem for path in CASES.glob("*.case"))


def read(name: str) -> Case:
    above, _, below = (CASES / f"{name}.case").read_bytes().decode().partition(f"{LINE}\n")
    files = {}
    for part in re.split(r"^>>> ", f">>> mcp-compose.yaml\n{above}", flags=re.MULTILINE)[1:]:
        path, _, text = part.partition("\n")
        files[path] = text
    return Case(files, below)


def outcome(request: Request, directory: Path) -> str:
    """What loading does, as the lower half of a case says it."""
    try:
        loaded = load(request)
    except FileProblems as error:
        assert error.exit_code == 2  # noqa: PT017  both outcomes are fine, this one with a rule
        text = "\n".join(_problem_lines(error, directory)) + "\n"
    except UsageError as error:
        assert error.exit_code == 2  # noqa: PT017  both outcomes are fine, this one with a rule
        text = f"usage: {error}\n    hint: {error.hint}\n"
    else:
        text = printed(loaded)
    return text.replace(str(directory), "DIR")


def bad() -> list[str]:
    """The cases that do not load."""
    return [name for name in names() if not read(name).expected.startswith("ok")]


def plain(node: Node) -> object:
    """A parsed document as plain data, as a validator wants it."""
    match node:
        case Map(entries):
            return {key: plain(entry.node) for key, entry in entries.items()}
        case Seq(items):
            return [plain(item) for item in items]
        case _:
            return node.value


def printed(loaded: Loaded) -> str:
    return "ok\n" + json.dumps(loaded.printable(), indent=1, ensure_ascii=False) + "\n"


def _problem_lines(error: FileProblems, directory: Path) -> Iterator[str]:
    for problem in error.problems:
        assert problem.position is not None, problem
        yield f"{str(problem.position).removeprefix(f'{directory}/')} {problem.message}"
        if problem.hint:
            yield f"    hint: {problem.hint}"
