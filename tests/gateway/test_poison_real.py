"""False alarms on definitions of servers from the package index, which nobody here wrote."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.gateway.poison import examine_one, level_of

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

DEVELOPMENT: dict[str, list[str]] = {
    "@modelcontextprotocol/server-filesystem@2026.8.31": ["/tmp"],  # noqa: S108  a folder that is there
    "@modelcontextprotocol/server-github@2025.4.8": [],
    "@notionhq/notion-mcp-server": [],
    "@playwright/mcp": [],
    "@cyanheads/git-mcp-server": [],
    "chrome-devtools-mcp": [],
    "@wonderwhy-er/desktop-commander": [],
    "firecrawl-mcp": [],
    "mcp-server-kubernetes": [],
    "@hubspot/mcp-server": [],
    "@floriscornel/teams-mcp": [],
    "@coo-quack/calc-mcp": [],
    "@iterable/mcp": [],
    "@discourse/mcp": [],
    "mongodb-mcp-server": ["--connectionString", "mongodb://127.0.0.1:9/x"],
    "@baruchiro/paperless-mcp": ["--baseUrl", "http://127.0.0.1:9", "--token", "x"],
}
HELD_OUT: dict[str, list[str]] = {
    "@didit-protocol/mcp-server": [],
    "@executeautomation/playwright-mcp-server": [],
    "@hypothesi/tauri-mcp-server": [],
    "@coding-solo/godot-mcp": [],
    "@modelcontextprotocol/server-everything": [],
    "@danielsogl/lighthouse-mcp": [],
    "@cyanheads/pubmed-mcp-server": [],
    "n8n-mcp": [],
    "@drawio/mcp": [],
    "@allpepper/memory-bank-mcp": [],
}
"""Looked at only after the rules were done."""
PRETENDED = {
    "GITHUB_PERSONAL_ACCESS_TOKEN": "x", "NOTION_TOKEN": "x", "FIRECRAWL_API_KEY": "x", "ITERABLE_API_KEY": "x",
    "PRIVATE_APP_ACCESS_TOKEN": "pat-na1-aaaa", "PAPERLESS_URL": "http://127.0.0.1:9", "PAPERLESS_API_KEY": "x",
}  # fmt: skip


def installed(folder: Path, package: str) -> list[str] | None:
    """The command of a package, installed without running anything of it; None when it cannot be had."""
    done = subprocess.run(
        ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), package],
        capture_output=True, check=False, timeout=240,
    )  # fmt: skip
    name = package[0] + package[1:].partition("@")[0]
    manifest = folder / "node_modules" / name / "package.json"
    if done.returncode != 0 or not manifest.exists():
        return None
    program = json.loads(manifest.read_text())["bin"]
    path = program if isinstance(program, str) else next(iter(program.values()))
    return ["node", str((manifest.parent / path).resolve())]


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
    tools: list[dict[str, Any]] = []
    for package, arguments in packages.items():
        command = await asyncio.to_thread(installed, tmp_path, package)
        tools += await offered([*command, *arguments], tmp_path) if command is not None else []

    levels = [level_of(examine_one("tool", one["name"], one)) for one in tools]
    flagged = [one["name"] for one, level in zip(tools, levels, strict=True) if level in {"medium", "high"}]
    print(f"{len(tools)} definitions, {len(flagged)} false alarms: {flagged}")

    assert len(tools) >= least
    assert len(flagged) <= 0.02 * len(tools), flagged
    assert levels.count("high") == 0
