"""What commands do on the engine themselves when no gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from mcpcompose.actions.context import make_engine, orchestrator_place
from mcpcompose.actions.locate import Place
from mcpcompose.engine.base import Endpoint, Engine
from mcpcompose.engine.check import Health
from mcpcompose.log import ServerLogs, setup
from mcpcompose.orchestrator.round import Place as OrchestratorPlace
from mcpcompose.orchestrator.serving import Expand
from mcpcompose.redact import Redactor
from mcpcompose.spec.project import Project

Result = TypeVar("Result")


def run(action: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run one action on a loop of its own."""
    return asyncio.run(action())


@asynccontextmanager
async def engine_of(place: Place, kind: str) -> AsyncIterator[Engine]:
    """The engine of *kind*, let go of afterwards."""
    logs = ServerLogs(place.paths.make().logs, Redactor(), project=place.name)
    engine = make_engine(kind, place.paths, logs, place.options.environ)
    try:
        yield engine
    finally:
        await engine.close()
        logs.close()


def place_of(place: Place) -> OrchestratorPlace:
    """Where the project runs; problems go to stderr, not into the gateway's log."""
    redactor = Redactor()
    setup(None, redactor)
    return orchestrator_place(place, redactor)


class Nobody:
    """Serves nobody (`orchestrator.serving.Serving`)."""

    def resolving(self, expand: Expand) -> None:
        """Nobody is told."""

    def declare(self, project: Project, fingerprints: Mapping[str, str], written: Mapping[str, str]) -> None:
        """Nobody is told."""

    def starting(self, server: str) -> None:
        """Nobody is told."""

    async def attach(self, server: str, endpoint: Endpoint) -> None:
        """Nobody is told."""

    async def detach(self, server: str) -> None:
        """Nobody is told."""

    def health(self, server: str, health: Health, complaint: str) -> None:
        """Nobody is told."""

    def failed(self, server: str, reason: str) -> None:
        """Nobody is told."""

    def stopped(self, server: str) -> None:
        """Nobody is told."""
