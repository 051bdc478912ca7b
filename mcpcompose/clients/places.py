"""
Where the files of applications are on one machine, for one person and project.

Folders come in as arguments, so that a test can look at another system's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mcpcompose.clients.registry import Application, Scope, System
from mcpcompose.errors import UsageError

_FOLDER: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Machine:
    """A person's machine, and the project that is looked at there (None: none is)."""

    home: Path
    environ: Mapping[str, str] = field(repr=False)
    project: Path | None = None
    system: System = "darwin" if sys.platform == "darwin" else "linux"

    def path(self, text: str) -> Path | None:
        """The path that *text* of the data stands for; None when a folder in it does not exist on this system."""
        folders = self._folders()
        missing = [name for name in _FOLDER.findall(text) if not folders.get(name)]
        if missing:
            return None
        return Path(_FOLDER.sub(lambda match: str(folders[match.group(1)]), text))

    def _folders(self) -> dict[str, str]:
        """Folders by their names, and the variables that move files, as far as they are absolute paths."""
        home, environ = str(self.home), self.environ
        found = {name: value for name, value in environ.items() if value.startswith("/") or value[1:3] in {":/", ":\\"}}
        found |= {
            "home": home,
            "xdg_config": found.get("XDG_CONFIG_HOME", f"{home}/.config"),
            "xdg_data": found.get("XDG_DATA_HOME", f"{home}/.local/share"),
            "project": str(self.project or ""),
        }
        if self.system == "linux":
            found["vscode_user"] = f"{found['xdg_config']}/Code/User"
        elif self.system == "darwin":
            found["appsupport"] = f"{home}/Library/Application Support"
            found["vscode_user"] = f"{found['appsupport']}/Code/User"
        else:
            found["appdata"] = found.get("APPDATA", f"{home}/AppData/Roaming")
            found["localappdata"] = found.get("LOCALAPPDATA", f"{home}/AppData/Local")
            found["vscode_user"] = f"{found['appdata']}/Code/User"
        return found


def candidates(scope: Scope, machine: Machine) -> tuple[Path, ...]:
    """The files that the program may read for *scope*, the strongest first; those with a `*` as far as they exist."""
    moved = [machine.path(path) for variable, path in scope.moved_by.items() if machine.environ.get(variable)]
    if found := [path for path in moved if path is not None]:
        return (found[0],)
    return tuple(one for text in scope.paths.get(machine.system, ()) for one in _matches(text, machine))


def file_of(application: Application, scope: Scope, machine: Machine) -> Path:
    """
    The file to write: the first that exists, else the one to make.

    Raises `UsageError` when the program is not for this system, or makes the file itself.
    """
    found = candidates(scope, machine)
    for path in found:
        if path.exists() or path.is_symlink():
            return path
    made = _to_make(scope, machine, found)
    if made is None:
        raise UsageError(
            f"{application.name} has no {scope.name} file on this system", hint="name the file with `--into FILE`"
        )
    if not scope.makes:
        raise UsageError(
            f"`{made}` is not there, and {application.name} does not start with our part of it alone",
            hint="make it as its documentation says, then connect again",
        )
    return made


def old_files(scope: Scope, machine: Machine) -> tuple[Path, ...]:
    """Where older versions of the program kept the file."""
    return tuple(path for text in scope.old if (path := machine.path(text)) is not None and path.exists())


def _to_make(scope: Scope, machine: Machine, found: tuple[Path, ...]) -> Path | None:
    moved = any(machine.environ.get(variable) for variable in scope.moved_by)
    if not moved and scope.create is not None:
        return machine.path(scope.create)
    return found[0] if found else None


def _matches(text: str, machine: Machine) -> Iterator[Path]:
    path = machine.path(text)
    if path is None:
        return
    if "*" not in text:
        yield path
        return
    top = Path(path.anchor)
    yield from sorted(top.glob(str(path.relative_to(top))))
