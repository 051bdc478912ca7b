"""
What we put into a program's file: its entry, and for VS Code the question for the token that the entry refers to.

Pure. A part is one named value in one container; each is added, found again and taken away by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcpcompose.clients.choice import VARIABLE, Choice
from mcpcompose.clients.edit import put
from mcpcompose.clients.edit_types import Container
from mcpcompose.clients.entries import Stdio, entry, varied
from mcpcompose.clients.registry import Application, Scope, ScopeName, input_id

_INPUTS: Final = ("inputs",)


@dataclass(frozen=True, slots=True)
class Part:
    """The value *name* in the container at *path*."""

    path: tuple[str, ...]
    name: str
    value: Mapping[str, Any] = field(repr=False)
    container: Container = "map"
    identifier: str | None = None

    @property
    def is_question(self) -> bool:
        """Whether it only asks for the token."""
        return self.path == _INPUTS


def parts(
    application: Application, scope: Scope, name: str, choice: Choice, *, there: Mapping[str, Any], project: str
) -> tuple[Part, ...]:
    """
    What belongs into the file that says *there* now, for the project in the folder *project*.

    Raises `UsageError` for an entry that the program cannot have.
    """
    value = entry(application, name, choice.connection)
    key = _in_project(scope.key, project)
    if _is_varied(application, there) and application.variant is not None:
        key, value = application.variant.key, varied(application, value)
    return _parts(application, key, name, choice, value)


def snippet(application: Application, name: str, choice: Choice, project: str, scope: ScopeName) -> str:
    """What a person pastes, in the program's own format."""
    if application.code:
        return _code(application, name, choice)
    value = entry(application, name, choice.connection)
    match application.paste:
        case "entry":
            return _json(value)
        case "list":
            return _json([value]) if application.format == "json" else _item(value)
        case "document":
            pass
    text, place = "", application.scopes.get(scope)
    path = place.key if place is not None else application.key
    root = place.root if place is not None else {}
    made = _parts(application, _in_project(path, project), name, choice, value)
    for part in made:
        text = put(
            application.format, text, part.path, part.name, part.value,
            container=part.container, identifier=part.identifier, root=root,
        )  # fmt: skip
    return text


def _parts(
    application: Application, key: tuple[str, ...], name: str, choice: Choice, value: Mapping[str, Any]
) -> tuple[Part, ...]:
    ours = Part(key, name, value, application.container, application.list_of)
    if not application.inputs or choice.variable is None:
        return (ours,)
    return (ours, _question(input_id(choice.variable)))


def _in_project(key: tuple[str, ...], project: str) -> tuple[str, ...]:
    return tuple(step.replace("{project}", project) for step in key)


def _question(name: str) -> Part:
    value = {
        "type": "promptString",
        "id": name,
        "description": "What `mcp-compose client config --token` prints",
        "password": True,
    }
    return Part(_INPUTS, name, value, "array", "id")


def _is_varied(application: Application, there: Mapping[str, Any]) -> bool:
    """Whether the file has the program's other shape; a server that happens to have that name is none."""
    if application.variant is None:
        return False
    here: Any = there
    for step in application.variant.when:
        here = here.get(step) if isinstance(here, Mapping) else None
    return isinstance(here, Mapping) and all(isinstance(one, Mapping) for one in here.values())


def _code(application: Application, name: str, choice: Choice) -> str:
    connection = choice.connection
    text = application.code[connection.kind].replace("@name", name).replace("@variable", choice.variable or VARIABLE)
    if isinstance(connection, Stdio):
        return text.replace("@command", connection.command).replace("@args", _json(list(connection.args), indent=None))
    return text.replace("@url", connection.url)


def _json(value: Any, indent: int | None = 2) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)


def _item(value: Mapping[str, Any]) -> str:
    """One item of a YAML list: as JSON in flow style, which YAML reads."""
    return f"- {_json(value, indent=None)}"
