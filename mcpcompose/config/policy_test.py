"""Read a file of `policy test`: requests, what a server would answer, and what interceptors must decide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from mcpcompose.config.document import parse, read
from mcpcompose.config.tree import Map, Node, Scalar, Seq, find, key_position, real_path, value_position
from mcpcompose.config.wording import closest, last_key, message
from mcpcompose.errors import FileProblems, Position, Problem
from mcpcompose.spec.base import Model
from mcpcompose.spec.written import OneOrMany, Text

TARGETS: Final = {"call": "tools/call", "prompt": "prompts/get", "read": "resources/read"}
"""What a step asks for, by its key, each as `SERVER/NAME`."""


class Step(Model):
    """One request, what the server would answer, and what must become of it."""

    call: Text | None = None
    """A tool, as `SERVER/TOOL` with the server's own name."""
    prompt: Text | None = None
    """A prompt, as `SERVER/PROMPT`."""
    read: Text | None = None
    """A resource, as `SERVER/URI`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the tool or prompt."""
    returns: Any = None
    """What the server would answer: a text, or a whole result."""
    fails: Text | None = None
    """The server would answer with this error."""
    answer: Literal["yes", "no"] = "no"
    """What the person would say when asked."""
    expect: Literal["allow", "deny", "ask"]
    """`allow`: the server got it and the client got the answer; `deny`: refused; `ask`: the person was asked."""
    by: Text | None = None
    """The interceptor that must have decided something, by name."""
    rule: Text | None = None
    """The rule it must have named."""
    message: Text | None = None
    """A part of what the client must be told."""
    sent: dict[str, Any] | None = None
    """The arguments that the server must have got."""
    absent: OneOrMany = ()
    """Texts that neither the server nor the client may get."""

    @model_validator(mode="after")
    def _is_one(self) -> Step:
        given = [getattr(self, key) for key in TARGETS if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError("say exactly one of `call`, `prompt` and `read`")
        if self.fails is not None and self.returns is not None:
            raise ValueError("say `returns` or `fails`; a server does one of them")
        server, slash, name = given[0].partition("/")
        if not (server and slash and name):
            raise ValueError("write `SERVER/NAME`")
        return self

    @property
    def target(self) -> tuple[str, str, str]:
        """Method, server, name."""
        key = next(key for key in TARGETS if getattr(self, key) is not None)
        server, _, name = getattr(self, key).partition("/")
        return TARGETS[key], server, name


class Case(Model):
    """Steps of one client in a session of its own."""

    name: Text
    """What it shows, as a sentence."""
    client: Text | None = None
    """A client of the file; default: one that the file does not name."""
    profile: Text | None = None
    """Its profile; default: the client's, or `default`."""
    token: bool = True
    """Whether the client has a token of its own; one without gets the strictest treatment."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """In order; what one reads counts for the next."""


def _named(tool: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(tool.get("name"), str):
        raise ValueError("a tool's definition has a `name`, the server's own")  # noqa: TRY004  what pydantic catches
    return tool


class PolicyTests(Model):
    """A whole file."""

    tools: dict[str, tuple[Annotated[dict[str, Any], AfterValidator(_named)], ...]] = Field(default_factory=dict)
    """Definitions of tools, by server, as servers give them: for rules that look at hints."""
    tests: tuple[Case, ...] = Field(min_length=1)
    """The tests."""


class PolicyFile:
    """What was read, and where each step stands."""

    def __init__(self, file: Path, tree: Node, tests: PolicyTests) -> None:
        self.file = file
        self.tests = tests
        self._tree = tree

    def position(self, *path: str | int) -> Position | None:
        """Where the value at *path* stands."""
        return value_position(self._tree, path)


def load_policy_tests(file: Path) -> PolicyFile:
    """Read *file*. Raises `FileProblems` with everything that is wrong."""
    tree, problems = parse(file, read(file))
    if problems:
        raise FileProblems(problems)
    if not isinstance(tree, Map):
        raise FileProblems((Problem("a file of `policy test` holds `tests`", Position(file, 1, 1)),))
    try:
        return PolicyFile(file, tree, PolicyTests.model_validate(_data(tree)))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        found = [_problem(detail, tree) for detail in details if not _is_echo(detail, tree)]
        raise FileProblems(tuple(dict.fromkeys(found))) from error


def _data(node: Node) -> Any:
    if isinstance(node, Map):
        return {key: _data(entry.node) for key, entry in node.entries.items()}
    return node.value if isinstance(node, Scalar) else [_data(item) for item in node.items]


def _is_echo(detail: Any, tree: Map) -> bool:
    """A list whose items are wrong is said to be empty, too."""
    node = find(tree, real_path(tree, detail["loc"]))
    return detail["type"] == "too_short" and isinstance(node, Seq) and bool(node.items)


def _problem(detail: Any, tree: Map) -> Problem:
    path = real_path(tree, detail["loc"])
    if detail["type"] == "extra_forbidden":
        key, known = str(path[-1]), (*Step.model_fields, *Case.model_fields, *PolicyTests.model_fields)
        close = closest(key, known)
        return Problem(
            f"unknown key `{key}`" + (f", did you mean `{close}`?" if close else ""), key_position(tree, path)
        )
    if detail["type"] == "missing":
        return Problem(f"`{detail['loc'][-1]}` is missing in `{last_key(path)}`", key_position(tree, path))
    text, hint = message(detail, path, find(tree, path))
    return Problem(text, value_position(tree, path), hint)
