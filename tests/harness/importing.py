"""A person's machine for imports: a home, a project folder, and a keyring that is an encrypted file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from mcpcompose.actions.import_ import Imported, Wish, import_servers
from mcpcompose.actions.options import Options
from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.secrets.base import Absent
from mcpcompose.secrets.providers import Surroundings, provider


class Machine:
    """Everything below one folder."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.home = base / "home"
        self.project = base / "project"
        for folder in (self.home, self.project):
            folder.mkdir()
        self.environ = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "MCP_COMPOSE_HOME": str(base / "state"),
            "MCP_COMPOSE_KEYRING": "file",
        }

    @property
    def file(self) -> Path:
        """The compose file."""
        return self.project / "mcp-compose.yaml"

    @property
    def options(self) -> Options:
        """What a command without global options gets."""
        return Options(directory=self.project, home=self.home, environ=self.environ)

    def imported(self, source: Any, **wish: Any) -> Imported:
        """Import *source*: a value as an mcp.json, or the name or path of a source."""
        if isinstance(source, dict):
            (self.base / "mcp.json").write_text(json.dumps(source))
            source = str(self.base / "mcp.json")
        return import_servers(self.options, Wish(str(source), **wish))

    def loaded(self, **changes: Any) -> Loaded:
        """The file, loaded as `up` does."""
        request = Request((self.file,), self.project, self.environ, self.home, **changes)
        return load(request)

    def servers(self) -> dict[str, dict[str, Any]]:
        """The servers as they stand in the file, which has to load."""
        from mcpcompose.actions.import_text import plain, tree_of

        self.loaded()
        servers: dict[str, dict[str, Any]] = plain(tree_of(self.file, self.file.read_text())).get("servers") or {}
        return servers

    def kept(self) -> dict[str, str]:
        """The values that can be had of the file's secrets."""
        loaded = self.loaded()
        where = Surroundings(loaded.variables, self.environ, self.home, self.project)

        async def read() -> dict[str, str]:
            found: dict[str, str] = {}
            for name, sources in loaded.project.secrets.items():
                value = await provider(sources[0], where).read()
                if not isinstance(value, Absent):
                    found[name] = value.decode()
            return found

        return asyncio.run(read())

    def everything_readable(self) -> str:
        """Every file below the machine but the source itself, as text."""
        files = [file for file in self.base.rglob("*") if file.is_file() and file.name != "mcp.json"]
        return "\n".join(file.read_bytes().decode("utf-8", "replace") for file in files)
