from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcpcompose.errors import FileProblems, McpComposeError, Position, Problem
from mcpcompose.gateway.admin import serve_admin


class Recorded:
    """A `Control` that says what it was asked."""

    async def status(self) -> Mapping[str, Any]:
        return {"servers": []}

    async def apply(self, request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        yield {"asked": dict(request)}
        if request.get("bad"):
            raise FileProblems((Problem("wrong", Position(Path("f"), 1, 2), "mend it"),))

    async def down(self, request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        yield {"down": dict(request)}

    async def start(self, servers: Sequence[str]) -> AsyncIterator[Mapping[str, Any]]:
        yield {"start": list(servers)}

    async def stop(self, servers: Sequence[str]) -> AsyncIterator[Mapping[str, Any]]:
        yield {"stop": list(servers)}

    async def restart(self, servers: Sequence[str]) -> AsyncIterator[Mapping[str, Any]]:
        yield {"restart": list(servers)}

    async def logs(self, servers: Sequence[str], *, follow: bool, tail: int | None) -> AsyncIterator[Mapping[str, Any]]:
        yield {"servers": list(servers), "follow": follow, "tail": tail}

    async def tools(self, profile: str | None) -> Sequence[Mapping[str, Any]]:
        return [{"profile": profile}]

    async def call(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if request.get("tool") == "bad":
            raise McpComposeError("there is no tool `bad`", hint="see `tools ls`")
        return {"result": dict(request)}

    async def token(self, client: str, *, rotate: bool) -> Mapping[str, Any]:
        return {"client": client, "rotate": rotate}


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    path = tmp_path / "admin.sock"
    path.touch()  # left over from a gateway that was killed
    listening = await serve_admin(Recorded(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    try:
        transport = httpx2.AsyncHTTPTransport(uds=str(path))
        async with httpx2.AsyncClient(transport=transport, base_url="http://admin") as client:
            yield client
    finally:
        await listening.stop(1)


async def test_what_is_asked_reaches_the_actions(admin: httpx2.AsyncClient) -> None:
    assert (await admin.get("/status")).json() == {"servers": []}
    assert (await admin.post("/apply", json={"files": ["x"]})).json() == {"asked": {"files": ["x"]}}
    assert (await admin.post("/down", json={"volumes": True})).json() == {"down": {"volumes": True}}
    assert (await admin.post("/restart", json={"servers": ["a"]})).json() == {"restart": ["a"]}
    assert (await admin.post("/stop")).json() == {"stop": []}
    logs = await admin.get("/logs", params={"server": ["a", "b"], "follow": "true", "tail": "5"})
    assert logs.json() == {"servers": ["a", "b"], "follow": True, "tail": 5}
    assert (await admin.get("/tools", params={"profile": "p"})).json() == [{"profile": "p"}]
    assert (await admin.post("/token", json={"client": "c", "rotate": True})).json() == {"client": "c", "rotate": True}


async def test_errors_come_with_their_hint_and_exit_code(admin: httpx2.AsyncClient) -> None:
    refused = await admin.post("/call", json={"tool": "bad"})
    broken = await admin.post("/apply", json={"bad": True})
    malformed = await admin.post("/call", content=b"[]")

    assert refused.status_code == 400
    assert refused.json()["error"]["hint"] == "see `tools ls`"
    lines = [json.loads(line) for line in broken.text.splitlines()]
    assert lines[-1]["error"]["exit_code"] == 2
    assert lines[-1]["error"]["problems"] == [{"message": "wrong", "hint": "mend it", "position": "f:1:2"}]
    assert malformed.status_code == 400


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
async def test_a_process_of_another_user_gets_nothing() -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    path = folder / "admin.sock"
    listening = await serve_admin(Recorded(), path)
    folder.chmod(0o711)
    path.chmod(0o666)  # even with its mode lost
    ask = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
    ask += "s.sendall(b'GET /status HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'); print(s.recv(9))"
    try:
        answers = []
        for user in (0, 65534):
            process = await asyncio.create_subprocess_exec(
                "/usr/bin/python3", "-c", ask, str(path), user=user, stdout=-1, stderr=asyncio.subprocess.DEVNULL
            )
            answers.append((await process.communicate())[0])
    finally:
        await listening.stop(1)
        shutil.rmtree(folder)

    assert answers[0].strip() == b"b'HTTP/1.1 '"
    assert answers[1].strip() in {b"", b"b''"}
