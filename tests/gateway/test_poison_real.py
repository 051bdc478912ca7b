"""False alarms on definitions of servers from the package index, which nobody here wrote."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.gateway.poison import examine_one, level_of

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

DEVELOPMENT: dict[str, list[str]] = {
    "@modelcontextprotocol/server-filesystem@2026.8.31": ["/tmp"],
    "@modelcontextprotocol/server-github@2025.4.8": [],
    "@notionhq/notion-mcp-server@2.5.2": [],
    "@playwright/mcp@0.0.83": [],
    "@cyanheads/git-mcp-server@2.15.3": [],
    "chrome-devtools-mcp@1.11.0": [],
    "@wonderwhy-er/desktop-commander@0.2.52": [],
    "firecrawl-mcp@3.26.0": [],
    "mcp-server-kubernetes@4.1.7": [],
    "@hubspot/mcp-server@0.4.0": [],
    "@floriscornel/teams-mcp@0.3.2": [],
    "@coo-quack/calc-mcp@2.1.1": [],
    "@iterable/mcp@1.9.0": [],
    "@discourse/mcp@0.3.1": [],
    "mongodb-mcp-server@3.0.4": ["--connectionString", "mongodb://127.0.0.1:9/x"],
    "@baruchiro/paperless-mcp@2.2.1": ["--baseUrl", "http://127.0.0.1:9", "--token", "x"],
}
HELD_OUT: dict[str, list[str]] = {
    "@didit-protocol/mcp-server@4.0.0": [],
    "@executeautomation/playwright-mcp-server@1.0.12": [],
    "@hypothesi/tauri-mcp-server@0.13.0": [],
    "@coding-solo/godot-mcp@0.1.1": [],
    "@modelcontextprotocol/server-everything@2026.8.31": [],
    "@danielsogl/lighthouse-mcp@2.0.1": [],
    "@cyanheads/pubmed-mcp-server@2.7.4": [],
    "n8n-mcp@2.87.0": [],
    "@drawio/mcp@1.6.1": [],
    "@allpepper/memory-bank-mcp@0.2.2": [],
}
"""Looked at only after the rules were done."""
AT_ONCE = 4
"""Servers that are asked at a time: some want a real account, and are waited for in vain."""
PRETENDED = {
    "GITHUB_PERSONAL_ACCESS_TOKEN": "x", "NOTION_TOKEN": "x", "FIRECRAWL_API_KEY": "x", "ITERABLE_API_KEY": "x",
    "PRIVATE_APP_ACCESS_TOKEN": "pat-na1-aaaa", "PAPERLESS_URL": "http://127.0.0.1:9", "PAPERLESS_API_KEY": "x",
}  # fmt: skip


def install(folder: Path, packages: Iterable[str]) -> None:
    """Install them without running anything of theirs."""
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)]
    subprocess.run(["npm", "install", *options, *packages], capture_output=True, check=True, timeout=900)


def command_of(folder: Path, package: str) -> list[str]:
    """How an installed package is run."""
    name = package[0] + package[1:].partition("@")[0]
    manifest = folder / "node_modules" / name / "package.json"
    program = json.loads(manifest.read_text())["bin"]
    path = program if isinstance(program, str) else next(iter(program.values()))
    return [os.environ["MCP_COMPOSE_TEST_NODE"], str((manifest.parent / path).resolve())]


async def offered(command: list[str], home: Path) -> list[dict[str, Any]]:
    """The tools of a server on its standard streams; none when it does not serve without a real account."""
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), **PRETENDED}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=environ, cwd=home, limit=16 << 20,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    said = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    asks = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": said},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}},
    ]
    try:
        async with asyncio.timeout(40):
            process.stdin.write((json.dumps(asks[0]) + "\n").encode())
            while line := await process.stdout.readline():
                message = json.loads(line) if line.startswith(b"{") else {}
                if message.get("id") == 1:
                    process.stdin.write("".join(json.dumps(ask) + "\n" for ask in asks[1:]).encode())
                elif message.get("id") == 2:
                    tools: list[dict[str, Any]] = message.get("result", {}).get("tools", [])
                    return tools
            return []
    except (TimeoutError, ConnectionError):
        return []
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize(("packages", "least"), [(DEVELOPMENT, 250), (HELD_OUT, 100)], ids=["development", "held-out"])
async def test_at_most_two_of_a_hundred_definitions_of_real_servers_are_a_false_alarm(
    tmp_path: Path, packages: dict[str, list[str]], least: int
) -> None:
    await asyncio.to_thread(install, tmp_path, packages)
    few = asyncio.Semaphore(AT_ONCE)

    async def asked(package: str, arguments: list[str]) -> list[dict[str, Any]]:
        async with few:
            return await offered([*command_of(tmp_path, package), *arguments], tmp_path)

    lists = await asyncio.gather(*(asked(*one) for one in packages.items()))
    tools = [tool for one in lists for tool in one]

    levels = [level_of(examine_one("tool", one["name"], one)) for one in tools]
    flagged = [one["name"] for one, level in zip(tools, levels, strict=True) if level in {"medium", "high"}]
    print(f"{len(tools)} definitions, {len(flagged)} false alarms: {flagged}")

    assert len(tools) >= least
    assert len(flagged) <= 0.02 * len(tools), flagged
    assert levels.count("high") == 0
