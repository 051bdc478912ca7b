"""What the orchestrator tells whoever serves clients; the gateway's side implements it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from mcpcompose.engine.base import Endpoint
from mcpcompose.engine.check import Health
from mcpcompose.spec.project import Project

Expand = Callable[[str, str], Awaitable[str]]
"""Whose text it is, and the text with references; returns it with their values. Raises `McpComposeError`."""


class Serving(Protocol):
    """The serving side of a project."""

    def resolving(self, expand: Expand) -> None:
        """How texts of interceptors get their values, for what is declared next."""

    def declare(self, project: Project, fingerprints: Mapping[str, str], written: Mapping[str, str]) -> None:
        """
        Serve *project* from now on: what is cached of each server's lists at once, calls as soon as it is attached.

        *fingerprints* are the launch identities by server (see `mcpcompose.spec.fingerprint`), *written* those as far
        as the file tells them, the same whatever an image's tag stands for. Servers that are no longer declared are
        detached after their calls in flight.
        """

    def starting(self, server: str) -> None:
        """Its instance is being made."""

    async def attach(self, server: str, endpoint: Endpoint) -> None:
        """Its instance runs and is reached here; returns at once, the handshake follows by itself."""

    async def detach(self, server: str) -> None:
        """Its instance is about to go: let calls in flight end (bounded), then let go of it."""

    def health(self, server: str, health: Health, complaint: str) -> None:
        """What the check of its instance says, told again and again; *complaint* is what a failing one printed."""

    def failed(self, server: str, reason: str) -> None:
        """Its instance cannot be had, and why."""

    def stopped(self, server: str) -> None:
        """Its instance was stopped on purpose."""
