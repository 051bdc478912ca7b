"""
How a command speaks to the running gateway: HTTP on its unix socket, one JSON object per line for long actions.

Standard library only, so that a command that finds a gateway needs nothing else.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import mcpcompose.errors as known
from mcpcompose.errors import ApprovalNeeded, FileProblems, GatewayNotRunning, McpComposeError, Position, Problem

Event = Mapping[str, Any]


class AdminClient:
    """One gateway's admin API. Every method raises `GatewayNotRunning` when nobody answers there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def answers(self) -> bool:
        """Whether a gateway listens there."""
        try:
            self._connect().close()
        except GatewayNotRunning:
            return False
        return True

    def status(self) -> dict[str, Any]:
        """Everything `ps` shows."""
        found: dict[str, Any] = self._once("GET", "/status")
        return found

    def apply(self, request: Event) -> Iterator[Event]:
        """Hand over a file; yields progress. An empty request applies the last one again."""
        return self._stream("/apply", request)

    def wake(self) -> None:
        """Let it look at its files again, without waiting for what comes of it."""
        for _ in self._stream("/apply", {"wake": True}):
            pass

    def down(self, *, volumes: bool) -> Iterator[Event]:
        """Take everything down and end the gateway."""
        return self._stream("/down", {"volumes": volumes})

    def per_server(self, verb: str, servers: Sequence[str]) -> Iterator[Event]:
        """`start`, `stop` or `restart` servers, none named means all."""
        return self._stream(f"/{verb}", {"servers": list(servers)})

    def tools(self, profile: str | None) -> list[dict[str, Any]]:
        """The exposed tools of a profile."""
        found: list[dict[str, Any]] = self._once(
            "GET", "/tools" + (f"?{urlencode({'profile': profile})}" if profile else "")
        )
        return found

    def offers(self) -> dict[str, Any]:
        """What a lock holds of what the servers offer, by server."""
        found: dict[str, Any] = self._once("GET", "/offers")
        return found

    def withheld(self) -> list[dict[str, Any]]:
        """What of the servers' definitions waits for a person's acceptance, where there is no lock."""
        found: list[dict[str, Any]] = self._once("GET", "/withheld")
        return found

    def accept(self, hashes: Sequence[str]) -> list[dict[str, Any]]:
        """Accept exactly these of them."""
        found: list[dict[str, Any]] = self._once("POST", "/accept", {"hashes": list(hashes)})
        return found

    def call(self, request: Event) -> dict[str, Any]:
        """One call through the gateway's pipeline."""
        found: dict[str, Any] = self._once("POST", "/call", request)
        return found

    def sessions(self) -> list[dict[str, Any]]:
        """The governed sessions."""
        found: list[dict[str, Any]] = self._once("GET", "/sessions")
        return found

    def reset_session(self, client: str) -> bool:
        """End the governed session of *client*; False when it has none."""
        return bool(self._once("POST", "/sessions/reset", {"client": client})["ended"])

    def token(self, client: str, *, rotate: bool) -> dict[str, Any]:
        """A client's token, made on first use, or another one."""
        found: dict[str, Any] = self._once("POST", "/token", {"client": client, "rotate": rotate})
        return found

    def _once(self, method: str, path: str, body: Event | None = None) -> Any:
        connection = self._connect()
        try:
            answer = json.loads(_send(connection, method, path, body).read())
        except (http.client.HTTPException, ConnectionError, ValueError) as error:
            raise _gone(error) from error
        finally:
            connection.close()
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict) and "exit_code" in answer["error"]:
            raise error_from_wire(answer["error"])
        return answer

    def _stream(self, path: str, body: Event) -> Iterator[Event]:
        connection = self._connect()
        try:
            response = _send(connection, "POST", path, body)
            while line := response.readline():
                event = json.loads(line)
                if isinstance(event.get("error"), dict):
                    raise error_from_wire(event["error"])
                yield event
        except (http.client.HTTPException, ConnectionError, ValueError) as error:
            raise _gone(error) from error
        finally:
            connection.close()

    def _connect(self) -> _UnixConnection:
        connection = _UnixConnection(self._path)
        try:
            connection.connect()
        except OSError as error:
            raise GatewayNotRunning(
                "no gateway of this project runs", hint="start it with `mcp-compose up -d`"
            ) from error
        return connection


class _UnixConnection(http.client.HTTPConnection):
    """HTTP on a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("mcp-compose")
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


def error_from_wire(wire: Mapping[str, Any]) -> McpComposeError:
    """The error that the gateway wrote as JSON, so that it looks like one of the command's own."""
    kind = getattr(known, str(wire.get("type")), McpComposeError)
    if not (isinstance(kind, type) and issubclass(kind, McpComposeError)):
        kind = McpComposeError
    if issubclass(kind, FileProblems):
        return FileProblems(tuple(_problem(problem) for problem in wire.get("problems", ())))
    message, hint = str(wire.get("message")), wire.get("hint")
    if issubclass(kind, ApprovalNeeded):
        return ApprovalNeeded(message, hint=hint, hashes=tuple(wire.get("hashes", ())))
    return kind(message, hint=hint)


def _problem(wire: Mapping[str, Any]) -> Problem:
    position = None
    if text := wire.get("position"):
        file, line, column = str(text).rsplit(":", 2)
        position = Position(Path(file), int(line), int(column))
    return Problem(str(wire["message"]), position, wire.get("hint"))


def _send(
    connection: http.client.HTTPConnection, method: str, path: str, body: Event | None
) -> http.client.HTTPResponse:
    content = None if body is None else json.dumps(body).encode("utf-8", "surrogateescape")
    connection.request(method, path, content, {"Content-Type": "application/json"})
    return connection.getresponse()


def _gone(error: Exception) -> GatewayNotRunning:
    return GatewayNotRunning(
        f"the gateway ended while it was asked ({type(error).__name__})", hint="see `mcp-compose logs gateway`"
    )
