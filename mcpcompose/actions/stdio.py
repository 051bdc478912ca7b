"""What `run --stdio` does: connect a client's pipes to the project's gateway, which is started when none runs."""

from __future__ import annotations

import asyncio

from mcpcompose.actions.locate import Place
from mcpcompose.gateway.shim import shim


def run(place: Place, client: str | None, profile: str | None) -> int:
    """Serve one client until either side ends; returns the exit code."""
    try:
        return _connect(place, client, profile)
    except (FileNotFoundError, ConnectionRefusedError):
        from mcpcompose.actions.up import Wish, hand_over

        hand_over(place, Wish(), lambda _event: None)
        return _connect(place, client, profile)


def _connect(place: Place, client: str | None, profile: str | None) -> int:
    return asyncio.run(shim(place.paths.stdio_socket, _hello(place, client, profile)))


def _hello(place: Place, client: str | None, profile: str | None) -> dict[str, str]:
    """Who it is: a client by its token, or (the socket is this user's alone) a profile by its name."""
    if client is None:
        return {"profile": profile or "default"}
    from mcpcompose.actions.clients import token_file
    from mcpcompose.auth.tokens import Tokens

    tokens = Tokens(token_file(place.paths))
    tokens.bind({client: profile or "default"})
    return {"token": tokens.token(client)}
