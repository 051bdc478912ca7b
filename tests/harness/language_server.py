"""The YAML language server that editors use, spoken to as an editor does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parent.parent.parent / "schemas" / "mcp-compose.schema.json"


def program() -> list[str]:
    """How it is started; `scripts/clients` brings it."""
    node = os.environ.get("MCP_COMPOSE_TEST_NODE", "node")
    return [node, os.environ["MCP_COMPOSE_TEST_YAML_LANGUAGE_SERVER"], "--stdio"]


class Editor:
    """One open file after another, with our schema."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._found: dict[str, asyncio.Future[list[dict[str, Any]]]] = {}
        self._count = 0
        self._settings = {
            "yaml": {
                "schemas": {SCHEMA.as_uri(): ["*.yaml"]},
                "validate": True,
                "customTags": ["!reset scalar", "!override sequence", "!override mapping"],
                "completion": True,
                "hover": True,
                "schemaStore": {"enable": False},
            }
        }

    async def open(self, text: str, uri: str = "") -> tuple[str, list[str]]:
        """Open a file with *text*; its name, and what the server says is wrong with it."""
        self._count += 1
        uri = uri or f"file:///project-{self._count}/mcp-compose.yaml"
        self._found[uri] = asyncio.get_running_loop().create_future()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        problems = await asyncio.wait_for(self._found[uri], 30)
        return uri, [f"{one['range']['start']['line'] + 1}: {one['message']}" for one in problems]

    async def complete(self, text: str) -> dict[str, str]:
        """What is offered where *text* has a `|`, each with its documentation."""
        uri, position = await self._at_bar(text)
        answer = await self._ask("textDocument/completion", {"textDocument": {"uri": uri}, "position": position})
        items = answer["items"] if isinstance(answer, dict) else answer or []
        return {item["label"]: _plain(item.get("documentation")) for item in items}

    async def hover(self, text: str) -> str:
        """What is said about the place where *text* has a `|`."""
        uri, position = await self._at_bar(text)
        answer = await self._ask("textDocument/hover", {"textDocument": {"uri": uri}, "position": position})
        return _plain(answer["contents"]) if answer else ""

    async def _at_bar(self, text: str) -> tuple[str, dict[str, int]]:
        before, _, after = text.partition("|")
        lines = before.split("\n")
        uri, _ = await self.open(before + after)
        return uri, {"line": len(lines) - 1, "character": len(lines[-1])}

    async def _ask(self, method: str, params: dict[str, Any]) -> Any:
        self._count += 1
        number = self._count
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._send({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(self._answers[number], 30)

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    async def greet(self) -> None:
        """Shake hands."""
        capabilities = {
            "workspace": {"configuration": True},
            "textDocument": {"hover": {"contentFormat": ["markdown"]}, "completion": {}},
        }
        await self._ask("initialize", {"processId": None, "rootUri": None, "capabilities": capabilities})
        self._send({"method": "initialized", "params": {}})
        self._send({"method": "workspace/didChangeConfiguration", "params": {"settings": self._settings}})

    async def read(self) -> None:
        """Take what it says, until it ends."""
        assert self._process.stdout is not None
        while True:
            head = await self._process.stdout.readuntil(b"\r\n\r\n")
            length = int(head.split(b"Content-Length:")[1].split(b"\r\n")[0])
            self._take(json.loads(await self._process.stdout.readexactly(length)))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message and "method" in message:
            result: Any = None
            if message["method"] == "workspace/configuration":
                result = [self._settings.get(item.get("section")) for item in message["params"]["items"]]
            self._send({"id": message["id"], "result": result})
        elif "id" in message:
            future = self._answers.pop(message["id"])
            if "error" in message:
                future.set_exception(AssertionError(str(message["error"])))
            else:
                future.set_result(message["result"])
        elif message.get("method") == "textDocument/publishDiagnostics":
            future = self._found.get(message["params"]["uri"])
            if future is not None and not future.done():
                future.set_result(message["params"]["diagnostics"])


@contextlib.asynccontextmanager
async def editor() -> AsyncIterator[Editor]:
    """An editor with the language server."""
    process = await asyncio.create_subprocess_exec(
        *program(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    made = Editor(process)
    reading = asyncio.create_task(made.read())
    try:
        await made.greet()
        yield made
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError):
            await reading
        process.kill()
        await process.wait()


def _plain(said: Any) -> str:
    return str(said.get("value", "")) if isinstance(said, dict) else str(said or "")
