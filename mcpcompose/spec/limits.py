"""Every limit that has a key: what clients and servers may send, hold and take; `docs/limits.md` says what happens."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from mcpcompose.spec.base import Model
from mcpcompose.spec.values import Duration, Size

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Time = Annotated[Duration, Field(gt=0)]
Bytes = Annotated[Size, Field(ge=1)]

_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


class Limits(Model):
    """What the gateway accepts of clients, and of servers that say nothing of their own."""

    body: Bytes = 16 << 20
    """The largest request of a client."""
    result: Bytes = 64 << 20
    """The largest message of a server; a server's own `limits` may say another one."""
    head: Annotated[Size, Field(ge=1024)] = 64 << 10
    """The size of all headers of a request together."""
    headers: Count = 200
    """How many headers a request may have."""
    connections: Count = 2000
    """How many HTTP connections may be open; a tenth as many over `run --stdio`."""
    calls: Count = 2000
    """How many calls one client may have under way."""
    sessions: Count = 1000
    """How many sessions of the handshake revisions may be open; the longest idle one makes room."""
    streams: Count = 2000
    """How many streams and subscriptions may be open; three quarters of them by one client."""
    parked: Count = 100
    """How many calls of one client may wait for a person's answer to a server's question."""
    subscriptions: Count = 1000
    """How many resources and tasks one session or subscription may wait to hear of."""
    replay: Bytes = 64 << 20
    """How large what clients that lost their connection may come back for may be together; of one an eighth of it."""
    page: Count | None = None
    """How many entries one page of a list has; default: everything in one page."""


class GatewayTimeouts(Model):
    """How long clients may take."""

    receive: Time = 30.0
    """For the head of a request, and between two pieces of its body."""
    stalled: Time = 60.0
    """How long a client may not read its answer."""
    keep_alive: Time = 75.0
    """How long a connection may be idle."""
    session: Time = 3600.0
    """How long a session may be idle."""


class ServerLimits(Model):
    """What one server accepts, may send, and may hold."""

    body: Bytes | None = None
    """The largest request that is sent to it; default: as large as the gateway accepts one."""
    result: Bytes | None = None
    """Its largest message; default: `gateway.limits.result`."""
    calls: Count = 4096
    """How many calls it may have to answer."""
    conversations: Count = 1000
    """How many clients may have a conversation of their own with it."""
    waiting: Count = 1000
    """How many calls may wait while it starts."""
    backlog: Bytes = 64 << 20
    """How much it may leave unread of what was written to its standard input."""
    connections: Count = 4096
    """How many HTTP connections to it may be open."""
    questions: Count = 64
    """How many questions of it to the client of one call may be open."""
    notes: Count = 1024
    """How many notifications are kept for a client that does not read; later ones are dropped."""
    notes_size: Bytes = 1 << 20
    """How large those may be together."""
    items: Count = 10_000
    """How many tools, prompts, resources or templates it may list."""
    lists: Bytes = 8 << 20
    """How large one of its lists may be."""


class Timeouts(Model):
    """Time limits of one server."""

    connect: Duration = 10.0
    """Until a connection to an HTTP server stands."""
    start: Duration = 60.0
    """Until the server has answered its handshake."""
    call: Duration = 60.0
    """How long a call may be silent; progress starts it anew."""
    total: Duration = 1800.0
    """How long a call may take at all."""
    parked: Duration = 600.0
    """How long a person may take to answer a question of the server."""


def exceeded(what: str, most: int | str, key: str) -> str:
    """The sentence for a limit that was reached: what of it, how much there may be, and the key that raises it."""
    return f"{what}: at most {most} (`{key}`)"


def size(amount: int) -> str:
    """Bytes as people and the file write them."""
    for unit, name in _UNITS:
        if amount >= unit and amount % unit == 0:
            return f"{amount // unit} {name}"
    return f"{amount} bytes"
