"""
The operating system's keyring, asked in a process of its own (`keyring_child`) that is ended when it stands still.

Names that are asked for at the same time are asked for together.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcpcompose.secrets.base import MAX_BYTES, StoreUnusable
from mcpcompose.secrets.program import NotRunError, run

READ_LIMIT: Final = 20.0
"""How long reading may take, in seconds: a person may be asked to unlock it."""
WRITE_LIMIT: Final = 60.0
_TOGETHER: Final = 0.002
_MOST: Final = 64 * MAX_BYTES
_BUSES: Final = ("DBUS_SESSION_BUS_ADDRESS", "DBUS_STARTER_ADDRESS")


@dataclass(frozen=True, slots=True)
class NoKeyring:
    """There is none on this machine; *reason* for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """There is one, and it did not say whether it has the value."""

    backend: str
    reason: str
    is_locked: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What it has: the value, or None."""

    backend: str
    value: bytes | None


class SystemKeyring:
    """The keyring of the user whose environment *environ* is."""

    def __init__(
        self, environ: Mapping[str, str], *, read_limit: float = READ_LIMIT, write_limit: float = WRITE_LIMIT
    ) -> None:
        self._environ = environ
        self._read_limit, self._write_limit = read_limit, write_limit
        self._wanted: dict[str, list[str]] = {}
        self._asking: dict[str, asyncio.Task[dict[str, Any]]] = {}

    def __repr__(self) -> str:
        return "SystemKeyring()"

    async def get(self, name: str) -> Answer | Unanswered | NoKeyring:
        """The value of *name*."""
        said = await self._together("get", name)
        if (problem := _problem(said)) is not None:
            return problem
        text = said.get("values", {}).get(name)
        return Answer(str(said["backend"]), None if text is None else base64.b64decode(text))

    async def has(self, name: str) -> tuple[str, bool] | Unanswered | NoKeyring:
        """The keyring's name and whether it has *name*; the value does not leave it."""
        said = await self._together("has", name)
        problem = _problem(said)
        return (str(said["backend"]), name in said.get("has", ())) if problem is None else problem

    async def set(self, name: str, value: bytes) -> str | NoKeyring:
        """Keep *value*; the keyring's name. Raises `StoreUnusable`."""
        said = await self._ask({"do": "set", "name": name, "value": base64.b64encode(value).decode()})
        problem = _problem(said)
        if isinstance(problem, Unanswered):
            raise unusable(problem)
        return problem or str(said["backend"])

    async def remove(self, name: str) -> str | NoKeyring | None:
        """Forget *name*; the keyring's name if it was there. Raises `StoreUnusable`."""
        said = await self._ask({"do": "remove", "name": name})
        problem = _problem(said)
        if isinstance(problem, Unanswered):
            raise unusable(problem)
        return problem or (str(said["backend"]) if said.get("removed") else None)

    async def _together(self, do: str, name: str) -> dict[str, Any]:
        """What it says to *do* of all names that are asked for just now."""
        asking = self._asking.get(do)
        if asking is None or name not in self._wanted.setdefault(do, []):
            self._wanted.setdefault(do, []).append(name)
        if asking is None:
            asking = self._asking[do] = asyncio.create_task(self._ask_all(do))
        return await asyncio.shield(asking)

    async def _ask_all(self, do: str) -> dict[str, Any]:
        await asyncio.sleep(_TOGETHER)
        del self._asking[do]
        return await self._ask({"do": do, "names": self._wanted.pop(do)})

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if sys.platform.startswith("linux") and not self._has_bus():
            return {"error": "none", "detail": "no keyring service answers"}
        preferred = self._environ.get("PYTHON_KEYRING_BACKEND", "")
        argv = (sys.executable, "-P", "-m", "mcpcompose.secrets.keyring_child", preferred)
        limit = self._read_limit if request["do"] in {"get", "has"} else self._write_limit
        given = json.dumps(request).encode()
        try:
            ran = await run(argv, self._environ, Path("/"), time_limit=limit, most=_MOST, given=given)
            said: dict[str, Any] = json.loads(ran.output)
        except NotRunError as error:
            return {"error": "failed", "detail": str(error)}
        except ValueError:
            return {"error": "failed", "detail": "no answer that makes sense"}
        return said

    def _has_bus(self) -> bool:
        """Whether there is a session bus: without one no keyring service can be asked, and no process is started."""
        runtime = self._environ.get("XDG_RUNTIME_DIR")
        return any(map(self._environ.get, _BUSES)) or bool(runtime and (Path(runtime) / "bus").exists())


def unusable(problem: Unanswered) -> StoreUnusable:
    """*problem* as an error."""
    other = "`MCP_COMPOSE_KEYRING=file` uses an encrypted file instead"
    hint = "unlock it and try again" if problem.is_locked else other
    return StoreUnusable(f"the keyring ({problem.backend}) cannot be used: {problem.reason}", hint=hint)


def _problem(said: Mapping[str, Any]) -> Unanswered | NoKeyring | None:
    if "error" not in said:
        return None
    detail = str(said.get("detail", ""))
    if said["error"] == "none":
        return NoKeyring(detail)
    return Unanswered(str(said.get("backend", "of this system")), detail, said["error"] == "locked")
