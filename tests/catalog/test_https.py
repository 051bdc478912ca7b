"""Catalogs from a URL: asked for again only when they changed, and everything that a server may do wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.registry import self_signed
from mcpcompose.catalog.copies import Https, Supply
from mcpcompose.catalog.https import Egress, Fetched, Unchanged, allowed_private, fetch
from mcpcompose.errors import FetchFailed

CATALOG = b"servers:\n  echo: {image: acme/echo:1}\n"
Reply = Callable[[str, dict[str, str]], bytes]


@contextmanager
def serving(reply: Reply, tls: ssl.SSLContext | None = None, *, wait: threading.Event | None = None) -> Iterator[int]:
    """A server that answers the head of each request with the very bytes of *reply*, then closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        try:
            with tls.wrap_socket(connection, server_side=True) if tls else connection as stream:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (data := stream.recv(65536)):
                        return
                    head += data
                first, *lines = head.decode().split("\r\n")
                fields = {line.split(": ")[0].lower(): line.split(": ", 1)[1] for line in lines if ": " in line}
                stream.sendall(reply(first.split()[1], fields))
                if wait is not None:
                    wait.wait(30)
        except OSError:
            pass

    def loop() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def ok(body: bytes, *fields: str) -> bytes:
    head = "".join(f"{field}\r\n" for field in (*fields, f"Content-Length: {len(body)}"))
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def get(url: str, egress: Egress | None = None) -> bytes:
    found = asyncio.run(fetch(url, egress or Egress()))
    assert isinstance(found, Fetched)
    return found.data


def refused(url: str, match: str, egress: Egress | None = None) -> FetchFailed:
    with pytest.raises(FetchFailed, match=match) as caught:
        get(url, egress)
    return caught.value


def test_a_catalog_is_sent_again_only_when_it_changed(tmp_path: Path) -> None:
    asked: list[str | None] = []
    now = ['"1"']

    def reply(_path: str, fields: dict[str, str]) -> bytes:
        asked.append(fields.get("if-none-match"))
        if fields.get("if-none-match") == now[0]:
            return b"HTTP/1.1 304 Not Modified\r\n\r\n"
        return ok(CATALOG + now[0].encode(), f"ETag: {now[0]}")

    with serving(reply) as port:
        supply = Supply({"MCP_COMPOSE_HOME": str(tmp_path)}, tmp_path)
        location = Https(f"http://localhost:{port}/catalog.yaml")
        results = [asyncio.run(supply.fresh(location)) for _ in range(2)]
        now[0] = '"2"'
        results.append(asyncio.run(supply.fresh(location)))

    assert [changed for _, changed in results] == [True, False, True]
    assert [copy.data for copy, _ in results] == [CATALOG + b'"1"', CATALOG + b'"1"', CATALOG + b'"2"']
    assert asked == [None, '"1"', '"1"']


def test_an_unasked_for_not_modified_is_no_catalog() -> None:
    with serving(lambda *_: b"HTTP/1.1 304 Not Modified\r\n\r\n") as port:
        refused(f"http://127.0.0.1:{port}/", "answered 304")


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (ok(CATALOG)[:-5], "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nserv\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + CATALOG, "does not say where its answer ends"),
        (ok(CATALOG, "Content-Encoding: gzip"), "answered packed"),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\nserv", "answered 206"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", "larger than"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answered 500"),
        (b"no http at all\r\n\r\n", "broke off"),
        (b"", "broke off"),
    ],
)
def test_what_is_no_whole_catalog_is_refused_and_the_last_good_copy_stays(
    answer: bytes, match: str, tmp_path: Path
) -> None:
    answers = [ok(CATALOG), answer]
    with serving(lambda *_: answers.pop(0)) as port:
        supply = Supply({"MCP_COMPOSE_HOME": str(tmp_path)}, tmp_path)
        location = Https(f"http://127.0.0.1:{port}/")
        asyncio.run(supply.fresh(location))
        with pytest.raises(FetchFailed, match=match):
            asyncio.run(supply.fresh(location))

    kept = supply.copies.read(location)
    assert kept is not None
    assert kept.data == CATALOG


def test_what_is_judged_to_be_no_catalog_does_not_take_the_place_of_the_good_one(tmp_path: Path) -> None:
    answers = [ok(CATALOG), ok(b"<html>")]

    def judge(copy: object) -> None:
        if b"<html>" in getattr(copy, "data", b""):
            raise FetchFailed("not a catalog")

    with serving(lambda *_: answers.pop(0)) as port:
        supply = Supply({"MCP_COMPOSE_HOME": str(tmp_path)}, tmp_path)
        location = Https(f"http://127.0.0.1:{port}/")
        asyncio.run(supply.fresh(location, judge))
        with pytest.raises(FetchFailed, match="not a catalog"):
            asyncio.run(supply.fresh(location, judge))

    kept = supply.copies.read(location)
    assert kept is not None
    assert kept.data == CATALOG


def test_an_endless_answer_is_cut_off() -> None:
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + b"x" * 0x100000 + b"\r\n") * 20
    with serving(lambda *_: body) as port:
        refused(f"http://127.0.0.1:{port}/", "larger than 16384 KiB")


def test_a_server_that_does_not_go_on_is_given_up() -> None:
    end = threading.Event()
    with serving(lambda *_: ok(CATALOG)[:-5], wait=end) as port:
        refused(f"http://127.0.0.1:{port}/", "took longer than 0.5 s", Egress(seconds=0.5))
    end.set()


def test_redirects_are_followed_to_an_end() -> None:
    def reply(path: str, _fields: dict[str, str]) -> bytes:
        return {"/a": redirect("/b"), "/b": ok(CATALOG)}.get(path, redirect("/loop"))

    with serving(reply) as port:
        assert get(f"http://127.0.0.1:{port}/a") == CATALOG
        refused(f"http://127.0.0.1:{port}/loop", "leads on and on")


@pytest.mark.parametrize(
    ("to", "match"),
    [
        ("http://192.0.2.1/", "is not https"),
        ("https://10.0.0.1/", "an address of a private network"),
        ("https://169.254.169.254/latest/meta-data", "an address of a private network"),
        ("file:///etc/passwd", "is not an https URL"),
        ("https://user:pw@catalog.example/", "has credentials in it"),
    ],
)
def test_a_redirect_is_judged_like_the_first_address(to: str, match: str) -> None:
    with serving(lambda *_: redirect(to)) as port:
        error = refused(f"http://127.0.0.1:{port}/", match)
    assert "pw" not in error.message


def test_credentials_do_not_follow_a_redirect_to_another_host() -> None:
    heard: list[str | None] = []

    def second(_path: str, fields: dict[str, str]) -> bytes:
        heard.append(fields.get("authorization"))
        return ok(CATALOG)

    with serving(second) as other, serving(lambda *_: redirect(f"http://127.0.0.1:{other}/")) as port:
        answer = asyncio.run(
            Egress().ask("GET", f"http://127.0.0.1:{port}/", headers={"Authorization": "Bearer planted"})
        )

    assert answer.body == CATALOG
    assert heard == [None]


@pytest.mark.parametrize(
    "url",
    [
        "http://catalog.example/c.yaml",
        "ftp://catalog.example/c.yaml",
        "https://",
        "/etc/passwd",
        "https://user:planted@catalog.example/c.yaml",
    ],
)
def test_only_https_without_credentials_is_asked(url: str) -> None:
    error = refused(url, "is not|has credentials")
    assert "planted" not in error.message


@pytest.mark.parametrize(
    "host",
    ["10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[::ffff:10.0.0.1]",
     "[64:ff9b::a00:1]", "[2002:a00:1::]", "0.0.0.0", "[::]", "2130706433", "0x7f.1", "127.1", "224.0.0.1"],
)  # fmt: skip
def test_addresses_of_private_networks_are_refused_however_they_are_written(host: str) -> None:
    refused(f"https://{host}/catalog.yaml", "private network|cannot be found")


def test_a_person_may_name_private_hosts_and_a_file_may_not() -> None:
    private = allowed_private({"MCP_COMPOSE_PRIVATE_HOSTS": "10.255.255.1, other.example"})

    assert private("10.255.255.1:8443")
    assert private("other.example")
    assert not private("10.255.255.2")
    assert not private("other.example.evil.example")


def test_nobody_listening_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    refused(f"http://127.0.0.1:{port}/", "cannot be reached")


_ASK = """
import asyncio, sys
from mcpcompose.catalog.https import Egress, fetch
print(asyncio.run(fetch(sys.argv[1], Egress())).data.decode(), end="")
"""


def test_tls_is_checked_against_the_name_although_the_address_is_connected_to(tmp_path: Path) -> None:
    for name in ("localhost", "other.example"):
        (tmp_path / f"{name}.pem").write_bytes(self_signed(name))
    contexts = {}
    for name in ("localhost", "other.example"):
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(tmp_path / f"{name}.pem")
    outputs = {}
    for name, context in contexts.items():
        with serving(lambda *_: ok(CATALOG), context) as port:
            outputs[name] = subprocess.run(
                [sys.executable, "-c", _ASK, f"https://localhost:{port}/"],
                env={
                    "SSL_CERT_FILE": str(tmp_path / f"{name}.pem"),
                    "PYTHONPATH": str(Path(__file__).parent.parent.parent),
                },
                capture_output=True,
                check=False,
            )

    assert outputs["localhost"].stdout == CATALOG, outputs["localhost"].stderr
    assert outputs["other.example"].returncode != 0
    assert b"cannot be reached" in outputs["other.example"].stderr


def test_unchanged_is_told_apart_from_a_document() -> None:
    def reply(_path: str, fields: dict[str, str]) -> bytes:
        changed = "if-modified-since" not in fields
        return ok(CATALOG, "Last-Modified: Sun, 22 Nov 2026 10:00:00 GMT") if changed else b"HTTP/1.1 304 N\r\n\r\n"

    async def twice(url: str) -> tuple[object, object]:
        first = await fetch(url, Egress())
        assert isinstance(first, Fetched)
        return first, await fetch(url, Egress(), modified=first.modified)

    with serving(reply) as port:
        first, second = asyncio.run(twice(f"http://127.0.0.1:{port}/"))

    assert isinstance(first, Fetched)
    assert second == Unchanged()
