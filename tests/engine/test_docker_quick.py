"""What is said straight into the engine's socket means what the library means by it, and fails as the library fails."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.engine.docker_client import DockerClient
from mcpcompose.engine.docker_host import Address, wants_headers
from mcpcompose.engine.docker_quick import QuickApi
from mcpcompose.errors import (
    EngineError,
    EngineUnreachable,
    ImageMissing,
    InstanceMissing,
    McpComposeError,
    NameTaken,
)

VERSION = {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10"}
Answer = Callable[[str, str], bytes]


class FakeEngine:
    """A socket that answers as *answers* says; what is asked for is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, str, str]] = []
        self.answers: dict[str, bytes] = {"/version": reply(200, VERSION)}
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection:
                head = read(connection)
                if head.startswith("END"):
                    return
                if not head:
                    continue
                method, target, _ = head.split(" ", 2)
                self.asked.append((method, target, head))
                bare = target.removeprefix("/v1.41").partition("?")[0]
                connection.sendall(self.answers.get(bare, reply(404, {"message": "page not found"})))

    def end(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
            last.sendall(b"END\r\n\r\n")
        self._thread.join(5)
        self._listening.close()


def read(connection: socket.socket) -> str:
    """One request's head; a body of known length is read and dropped."""
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < lengths[0]:
        body += connection.recv(65536)
    return head.decode()


def reply(status: int, body: Any, *, raw: bytes | None = None, length: int | None = None) -> bytes:
    content = json.dumps(body).encode() if raw is None else raw
    said = len(content) if length is None else length
    head = f"HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\ncontent-length: {said}\r\n\r\n"
    return head.encode() + content


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    made = FakeEngine(tmp_path / "e.sock")
    yield made
    made.end()


def address(fake: FakeEngine) -> Address:
    return Address(f"unix://{fake.path}")


async def asked(client: DockerClient, work: Callable[[Any], Any]) -> Any:
    try:
        return await client.call("do `it`", work)
    finally:
        await client.close()


REFUSALS = [
    (404, "No such container: a", InstanceMissing),
    (404, "no such image: a:1", ImageMissing),
    (404, "pull access denied, repository does not exist", ImageMissing),
    (409, 'The container name "/a" is already in use', NameTaken),
    (409, "a network of another kind of trouble", EngineError),
    (500, "out of cheese", EngineError),
]


@pytest.mark.parametrize(("status", "message", "kind"), REFUSALS)
@pytest.mark.parametrize("quick", [True, False])
async def test_a_refusal_is_the_same_error_whichever_way_it_was_asked(
    fake: FakeEngine, status: int, message: str, kind: type[McpComposeError], quick: bool
) -> None:
    fake.answers["/containers/a/json"] = reply(status, {"message": message})

    with pytest.raises(McpComposeError) as raised:
        await asked(DockerClient(address(fake), quick=quick), lambda api: api.inspect_container("a"))

    assert type(raised.value) is kind
    assert raised.value.message == f"cannot do `it`: {message}"


BROKEN = {
    "cut off": reply(200, {}, length=500),
    "nothing": b"",
    "no http": b"I am a teapot\r\n\r\n",
    "half a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n[",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_an_engine_that_goes_away_while_it_answers_is_unreachable_and_leaves_no_socket(
    fake: FakeEngine, answer: bytes
) -> None:
    fake.answers["/containers/json"] = answer

    with pytest.raises(EngineUnreachable):
        await asked(DockerClient(address(fake)), lambda api: api.containers(all=True))

    gc.collect()  # an open socket would be a warning, which fails


@pytest.mark.parametrize("answer", [reply(200, None, raw=b"{"), reply(200, None, raw=b"\xff\xfe")])
async def test_an_answer_that_is_no_json_is_an_error_of_ours(fake: FakeEngine, answer: bytes) -> None:
    fake.answers["/networks"] = answer

    with pytest.raises(EngineError):
        await asked(DockerClient(address(fake)), lambda api: api.networks())


async def test_an_answer_in_chunks_is_put_together(fake: FakeEngine) -> None:
    fake.answers["/volumes"] = (
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"Vol\r\n7\r\numes":n\r\n4\r\null}\r\n0\r\n\r\n'
    )

    assert await asked(DockerClient(address(fake)), lambda api: api.volumes()) == {"Volumes": None}


async def test_an_engine_that_says_nothing_is_given_up_after_one_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpcompose.engine.docker_client.TIMEOUT", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "e.sock"))
        silent.listen()
        client = DockerClient(Address(f"unix://{tmp_path / 'e.sock'}"))

        with pytest.raises(EngineUnreachable, match="timed out"):
            await asked(client, lambda api: api.version())

        assert knocks(silent) == 2, "one to see whether it is there, one to ask"


async def test_letting_go_of_a_silent_engine_does_not_wait_for_everybody_who_wanted_to_ask_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpcompose.engine.docker_client.TIMEOUT", 0.3)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "e.sock"))
        silent.listen()
        client = DockerClient(Address(f"unix://{tmp_path / 'e.sock'}"))
        calls = [asyncio.create_task(client.call("ask", lambda api: api.version())) for _ in range(8)]

        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await client.close()
        ends = await asyncio.gather(*calls, return_exceptions=True)

        assert all(isinstance(end, McpComposeError) for end in ends)
        assert knocks(silent) <= 6


def knocks(listening: socket.socket) -> int:
    """How often somebody has connected."""
    listening.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            count += 1
    return count


@pytest.mark.parametrize("version", [{"ApiVersion": "1.12"}, {"ApiVersion": "new"}, {}, []])
async def test_an_api_that_is_not_known_is_left_to_the_library_which_refuses_it(
    fake: FakeEngine, version: object
) -> None:
    fake.answers["/version"] = reply(200, version)

    with pytest.raises(McpComposeError):
        await asked(DockerClient(address(fake)), lambda api: api.containers())


async def test_what_a_call_asks_for_is_what_the_library_asks_for(fake: FakeEngine) -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda api: api.containers(all=True),
        lambda api: api.networks(),
        lambda api: api.networks(names=["^a b$"]),
        lambda api: api.volumes(),
        lambda api: api.inspect_container("a"),
        lambda api: api.inspect_image("registry:5000/team/a@sha256:0"),
        lambda api: api.start("a"),
        lambda api: api.remove_container("a", v=True, force=True),
        lambda api: api.remove_network("a"),
        lambda api: api.create_container_from_config({"Image": "x"}, name="a b", platform=None),
    ]
    for path in ("containers/a/start", "containers/a", "networks/a"):
        fake.answers[f"/{path}"] = b"HTTP/1.1 204 No Content\r\n\r\n"
    for path in ("containers/json", "networks", "volumes", "containers/a/json", "containers/create"):
        fake.answers[f"/{path}"] = reply(200, {})
    fake.answers["/images/registry:5000/team/a@sha256:0/json"] = reply(200, {})
    fake.answers["/images/registry:5000/team/a%40sha256:0/json"] = reply(200, {})
    heard: list[list[tuple[str, str]]] = []
    for quick in (True, False):
        client = DockerClient(address(fake), quick=quick)
        fake.asked.clear()
        for call in calls:
            await client.call("ask", call)
        await client.close()
        heard.append([(method, target) for method, target, _ in fake.asked if target != "/version"])

    quickly, by_library = heard
    assert [(method, bare(target)) for method, target in quickly] == [(m, bare(t)) for m, t in by_library]


def bare(target: str) -> str:
    """A target without what is only said by default."""
    path, _, query = target.partition("?")
    defaults = {"filters=%7B%7D", "limit=-1", "size=0", "trunc_cmd=0", "link=False", "link=0"}
    said = sorted(part.replace("=True", "=1") for part in query.split("&") if part and part not in defaults)
    return f"{path}?{'&'.join(said)}"


async def test_the_library_is_only_loaded_for_what_is_not_said_quickly(fake: FakeEngine) -> None:
    fake.answers["/volumes/a"] = reply(200, {"Name": "a"})
    client = DockerClient(address(fake))

    api = await client.call("look", lambda api: api)
    assert isinstance(api, QuickApi)
    assert client._library is None
    assert await asked(client, lambda api: api.inspect_volume("a")) == {"Name": "a"}
    assert client._library is not None


async def test_headers_that_the_docker_configuration_asks_for_are_sent(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.json").write_text('{"HttpHeaders": {"X-Team": "seven"}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    environ = {"DOCKER_CONFIG": str(folder)}
    fake.answers["/containers/json"] = reply(200, [])

    await asked(DockerClient(address(fake), quick=not wants_headers(environ, tmp_path)), lambda api: api.containers())

    assert not wants_headers({}, tmp_path)
    assert any("X-Team: seven" in head for _, target, head in fake.asked if "containers" in target)
