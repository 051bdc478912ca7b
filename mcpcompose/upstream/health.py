"""What the health check of a server says, and what follows: not ready before it passed, ended when it fails."""

from __future__ import annotations

from mcpcompose.engine.check import Health
from mcpcompose.spec.server import Server


class Checks:
    """Of one server; *last* is None when it has no check."""

    def __init__(self) -> None:
        self.last: Health | None = None

    def begin(self, spec: Server) -> None:
        """An instance of *spec* was started."""
        has_one = spec.healthcheck is not None and spec.healthcheck.command is not None
        self.last = "starting" if has_one else None

    def says(self, health: Health) -> bool:
        """Whether *health* is news of a server that has a check."""
        is_news = self.last is not None and self.last != health
        if is_news:
            self.last = health
        return is_news

    @property
    def is_well(self) -> bool:
        """It passed its check, or has none."""
        return self.last in {None, "healthy"}


def reason(complaint: str) -> str:
    """Why a server ended whose check failed."""
    return f"is unhealthy: {complaint}" if complaint else "is unhealthy: its health check fails"
