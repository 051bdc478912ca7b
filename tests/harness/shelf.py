"""A project with catalogs in a folder of its own, loaded without the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.errors import FileProblems
from mcpcompose.spec.server import Server


@dataclass
class Shelf:
    folder: Path

    def write(self, **files: str) -> Shelf:
        """Files by name; `__` stands for a dot."""
        for name, text in files.items():
            path = self.folder / name.replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def load(self, text: str, *, engine: str | None = None, fetch: bool = False, **environ: str) -> Loaded:
        (self.folder / "mcp-compose.yaml").write_text(text)
        return load(
            Request(
                files=(),
                directory=self.folder,
                environ={"MCP_COMPOSE_HOME": str(self.folder / "home"), **environ},
                home=self.folder,
                engine=engine,
                fetch=fetch,
            )
        )

    def server(self, text: str, name: str = "a", **environ: str) -> Server:
        return self.load(text, **environ).project.servers[name]

    def problems(self, text: str, *, engine: str | None = None, fetch: bool = False, **environ: str) -> list[str]:
        """`file:line:column message | hint`, the folder left out."""
        try:
            self.load(text, engine=engine, fetch=fetch, **environ)
        except FileProblems as error:
            return [
                f"{one.position} {one.message}{f' | {one.hint}' if one.hint else ''}".replace(f"{self.folder}/", "")
                for one in error.problems
            ]
        return []
