"""
Which applications a person has, told by what they leave: a command, a file of theirs, an installed app, a folder.

A folder alone may be what an uninstalled program left, so it is the weakest evidence, and says so.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcpcompose.clients.places import Machine, candidates
from mcpcompose.clients.registry import Application, applications

What = Literal["command", "file", "app", "folder"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a program is thought to be there."""

    what: What
    where: Path

    def __str__(self) -> str:
        return f"{self.what} {self.where}"


def evidence(application: Application, machine: Machine) -> Evidence | None:
    """The strongest evidence for *application*; None when there is none."""
    for command in application.commands:
        if found := shutil.which(command, path=machine.environ.get("PATH", "")):
            return Evidence("command", Path(found))
    own = [scope for scope in application.scopes.values() if scope.name != "project"]
    for scope in own or application.scopes.values():  # a project's files tell what others use who have the project
        if file := next((path for path in candidates(scope, machine) if _is(path, "file")), None):
            return Evidence("file", file)
    traces = [path for text in application.traces if (path := machine.path(text)) is not None]
    if app := next((path for path in traces if path.suffix == ".app" and _is(path, "folder")), None):
        return Evidence("app", app)
    return next((Evidence("folder", path) for path in traces if _is(path, "folder")), None)


def detected(machine: Machine) -> dict[str, Evidence]:
    """Every application that is there, by its id."""
    found = ((name, evidence(application, machine)) for name, application in applications().items())
    return {name: one for name, one in found if one is not None}


def _is(path: Path, what: Literal["file", "folder"]) -> bool:
    try:
        return path.is_file() if what == "file" else path.is_dir()
    except OSError:  # a folder that this user may not look into
        return False
