"""
The practical limit: the least that a gateway in Python can do between HTTP and a container's standard streams.

It parses each message once, rewrites the id, and holds the attach socket; nothing else: no sessions, no token, no
routing, no limits, no errors. It is the reference of `dataplane.py` and does not change.

    python benchmarks/forwarder.py CONTAINER PORT
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import docker
import msgspec
import uvicorn
import uvloop

_STDOUT = 1


class _Sent(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"")
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _Answered(msgspec.Struct):
    id: int
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


_sent = msgspec.json.Decoder(_Sent).decode
_answered = msgspec.json.Decoder(_Answered).decode


class Attached(asyncio.Protocol):
    """The attach socket: frames of an eight-byte head and a piece of a stream."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[_Answered]] = {}
        self._number = 0
        self._frames = bytearray()
        self._line: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def request(self, method: str, params: bytes) -> asyncio.Future[_Answered]:
        """Send a request under an id of our own."""
        self._number += 1
        future = self.waiting[self._number] = asyncio.get_running_loop().create_future()
        line = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}\n'
        self._transport.write(line % (self._number, method.encode(), params))
        return future

    def data_received(self, data: bytes) -> None:
        frames = self._frames
        frames += data
        while len(frames) >= 8 and len(frames) >= (end := 8 + int.from_bytes(frames[4:8])):
            if frames[0] == _STDOUT:
                first, *others = bytes(frames[8:end]).split(b"\n")
                self._line.append(first)
                for part in others:
                    answer = _answered(b"".join(self._line))
                    self._line = [part]
                    self.waiting.pop(answer.id).set_result(answer)
            del frames[:end]


def application(server: Attached) -> Any:
    """The ASGI application."""

    async def forward(_scope: dict[str, Any], receive: Any, send: Any) -> None:
        event = await receive()
        body = event["body"]
        while event["more_body"]:
            event = await receive()
            body += event["body"]
        sent = _sent(body)
        status, content = 202, b""
        if sent.id:
            got = await server.request(sent.method, sent.params)
            kind, value = (b"result", got.result) if got.result else (b"error", got.error)
            status, content = 200, b'{"jsonrpc":"2.0","id":%b,"%b":%b}' % (sent.id, kind, value)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return forward


async def main(container: str, port: int) -> None:
    """Attach to a running container, and serve until a signal."""
    held = docker.from_env().api.attach_socket(container, params={"stdin": 1, "stdout": 1, "stream": 1})
    raw = held._sock
    raw.settimeout(0)
    _, server = await asyncio.get_running_loop().create_connection(Attached, sock=raw)
    quiet = uvicorn.Config(application(server), port=port, lifespan="off", log_level="warning", access_log=False)
    await uvicorn.Server(quiet).serve()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
