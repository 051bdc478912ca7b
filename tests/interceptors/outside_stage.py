"""What the tests of outside interceptors stand on: exchanges, and interceptors made as the gateway makes them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcpcompose.gateway.chain import Link, Raised
from mcpcompose.interceptors.base import Around, Decision, Exchange, Interceptor
from mcpcompose.interceptors.pinned_files import contents, words_of
from mcpcompose.interceptors.registry import make
from mcpcompose.interceptors.sessions import GovernedSession
from mcpcompose.redact import Redactor
from mcpcompose.spec.interceptor import Interceptor as Spec
from mcpcompose.spec.project import Gateway, Profile, Project, Provenance, Runners

ALLOW = """'{"decision": "allow"}'"""
PLAIN = b'{"content":[{"type":"text","text":"plain"}]}'


def exchange(method: str = "tools/call", *, session: GovernedSession | None = None, **fields: Any) -> Exchange:
    """One call of the tool `create` of the server `github`; *fields* in place of its own."""
    params = fields.pop("params", {"name": "create", "arguments": {"title": "x"}})
    made = Exchange(
        "r1", method, "github", params.get("name"), "gh__create", params, "cursor", "developer",
        session or GovernedSession("cursor", 0.0), {"name": "create", "inputSchema": {"type": "object"}},
    )  # fmt: skip
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def around(directory: Path, *specs: Spec, values: Mapping[str, str] | None = None, **fields: Any) -> Around:
    """What is around interceptors of a project in *directory*, whose scripts are approved as they are now."""
    programs: dict[str, str] = {}
    for spec in specs:
        programs |= contents(spec, directory, words_of(spec))
    project = Project(
        name="team", directory=directory, engine=fields.pop("engine", "docker"), servers={}, secrets={},
        profiles={"default": Profile(servers=())}, clients={}, gateway=Gateway(), runners=Runners(),
        provenance=Provenance(programs=programs), interceptors=specs,
    )  # fmt: skip

    async def expand(_owner: str, text: str) -> str:
        for name, value in (values or {}).items():
            text = text.replace(f"${{{name}}}", value)
        return text

    return Around(
        project=project, directory=directory, redactor=Redactor(), environ={"PATH": os.environ["PATH"]},
        expand=expand, **fields,
    )  # fmt: skip


@asynccontextmanager
async def made(directory: Path, *, more: Mapping[str, Any] | None = None, **keys: Any) -> AsyncIterator[Interceptor]:
    """The interceptor of the file's *keys*, closed afterwards."""
    spec = Spec.model_validate(keys)
    one = make(spec, around(directory, spec, **(more or {})))
    try:
        yield one
    finally:
        await one.close()


async def asked(one: Interceptor, what: Exchange, phase: str = "before", limit: float = 5.0) -> Decision | None:
    """What *one* decides about *what*, waited for as the pipeline does."""
    link = Link(Spec.model_validate({"use": "annotate", "timeout": limit}), "x", one)
    answer = link.ask(what, before=phase == "before")
    if isinstance(answer, Raised):
        raise answer.error
    return await link.wait(answer) if asyncio.iscoroutine(answer) else answer  # type: ignore[return-value]


def python(code: str) -> list[str]:
    """A command that runs *code* with the question as `q`; `say` writes a JSON answer."""
    ground = "import json, os, sys, time; q = json.loads(sys.stdin.readline()); say = lambda a: print(json.dumps(a));"
    return [sys.executable, "-I", "-c", f"{ground}\n{code}"]


def lines(code: str) -> list[str]:
    """A command for `keep: true` that runs *code* for each question `q`; `say` answers with its id."""
    body = "\n".join(f"    {line}" for line in code.splitlines())
    ground = (
        "import json, os, sys, time\n"
        "def say(a, **more): print(json.dumps({'id': q['id'], **a, **more}), flush=True)\n"
        "for line in sys.stdin:\n    q = json.loads(line)\n"
    )
    return [sys.executable, "-I", "-c", ground + body]


def marked_processes(directory: Path) -> list[int]:
    """The processes that interceptors of *directory* started and that still run."""
    from mcpcompose.interceptors.host_process import mark_of

    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark_of(directory).encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
