"""The program between a server and the outside: which names it reads, answers and lets through."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpcompose.engine.leg import Leg, default_gateway
from mcpcompose.engine.leg_names import Allowed, Unsaid, answer, http_host, server_name

ALLOWED = Allowed(["api.allowed.test:443", "db.allowed.test:5432", "*.wild.test:443", "*.wild.test:8080"])
HERE = "10.0.0.14"


def hello(name: str | None) -> bytes:
    """What the TLS library here says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def renamed(said: bytes, old: bytes, new: bytes) -> bytes:
    """The same message with another server name of the same length."""
    assert len(old) == len(new)
    assert said.count(old) == 1
    return said.replace(old, new)


def in_records_of(size: int, said: bytes) -> bytes:
    """The same message, cut into records of *size* bytes."""
    body = said[5:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(said[:3] + struct.pack("!H", len(part)) + part for part in parts)


def query(name: bytes, kind: int = 1, family: int = 1) -> bytes:
    """A DNS query; labels are parted by dots."""
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b".") if label)
    return b"\x12\x34\x01\x00" + struct.pack("!HHHH", 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, family)


def ask(question: bytes) -> tuple[int, bytes | None, list[str]]:
    """The answer's code and address, and what was said about it."""
    said: list[str] = []
    found = answer(question, ALLOWED, HERE, lambda name, _why: said.append(name))
    assert found is not None
    assert found[:2] == question[:2]
    has_address = struct.unpack_from("!H", found, 6)[0] == 1
    return found[3] & 0x0F, found[-4:] if has_address else None, said


# --- the list


@pytest.mark.parametrize(
    "name",
    [
        "8.8.8.8\0.wild.test",
        "evil.test\0.wild.test",
        "8.8.8.8 .wild.test",
        "evil.test/.wild.test",
        "evil.test:1.wild.test",
        "a..wild.test",
        ".wild.test",
        "-a.wild.test",
        "é.wild.test",
        "\ufffd.wild.test",
        "a\n.wild.test",
        "%2e.wild.test",
        "[::1].wild.test",
        f"{'a' * 64}.wild.test",
        f"{'a.' * 125}wild.test",
        "wild.test",
        "evilwild.test",
        "a.wild.test.evil.test",
        "a.wild.test.",
        "",
        "api.allowed.test\0",
        "\0api.allowed.test",
    ],
)
def test_a_wildcard_covers_nothing_but_host_names_below_its_domain(name: str) -> None:
    assert ALLOWED.host(443, name) is None
    assert not ALLOWED.names(name)


@pytest.mark.parametrize(
    "name", ["a.wild.test", "a.b.wild.test", "_x.wild.test", "xn--caf-dma.wild.test", "1.wild.test"]
)
def test_a_wildcard_covers_host_names_below_its_domain(name: str) -> None:
    assert ALLOWED.host(443, name) == (name, False)


def test_a_name_is_allowed_at_its_own_port_only() -> None:
    assert ALLOWED.host(443, "api.allowed.test") == ("api.allowed.test", True)
    assert ALLOWED.host(5432, "api.allowed.test") is None
    assert ALLOWED.host(5432, "a.wild.test") is None
    assert ALLOWED.host(80, "api.allowed.test") is None


def test_bytes_that_name_nobody_go_on_only_where_nobody_else_could_be_meant() -> None:
    assert ALLOWED.only(5432) == "db.allowed.test"
    assert ALLOWED.only(443) is None
    assert Allowed(["a.test:1", "b.test:1"]).only(1) is None
    assert Allowed(["*.a.test:1"]).only(1) is None


# --- DNS


@pytest.mark.parametrize("name", [b"api.allowed.test", b"API.Allowed.TEST", b"db.allowed.test", b"x.wild.test"])
def test_the_address_of_every_allowed_name_is_the_way_out(name: bytes) -> None:
    assert ask(query(name)) == (0, ipaddress.ip_address(HERE).packed, [])


@pytest.mark.parametrize(
    "name",
    [
        b"c2VjcmV0.evil.test",
        b"metadata.google.internal",
        b"wild.test",
        b"localhost",
        b"",
        b"a\0.wild.test",
        b"\xff.wild.test",
    ],
)
@pytest.mark.parametrize("kind", [1, 28, 16, 65, 255])
def test_other_names_do_not_exist_and_are_said(name: bytes, kind: int) -> None:
    code, address, said = ask(query(name, kind))
    assert (code, address) == (3, None)
    assert len(said) == 1


@pytest.mark.parametrize("kind", [28, 16, 65, 12, 255])
def test_an_allowed_name_has_nothing_but_an_ipv4_address(kind: int) -> None:
    assert ask(query(b"api.allowed.test", kind)) == (0, None, [])


@given(st.binary(max_size=600))
def test_no_bytes_get_an_address_other_than_the_way_out(data: bytes) -> None:
    try:
        found = answer(data, ALLOWED, HERE, lambda _name, _why: None)
    except (IndexError, struct.error):
        return  # the caller drops it
    assert found is None or struct.unpack_from("!H", found, 6)[0] == 0 or found[-4:] == bytes([10, 0, 0, 14])


# --- TLS


def test_the_server_name_of_a_real_client_is_read_whatever_its_records() -> None:
    said = hello("api.allowed.test")
    assert server_name(said) == "api.allowed.test"
    assert server_name(said + b"\x14\x03\x03") == "api.allowed.test"
    for size in (1, 7, 100):
        assert server_name(in_records_of(size, said)) == "api.allowed.test"


def test_a_part_of_a_hello_is_waited_for_and_never_read_as_a_whole() -> None:
    for said in (hello("api.allowed.test"), in_records_of(50, hello("api.allowed.test"))):
        for end in range(1, len(said)):
            with pytest.raises(Unsaid):
                server_name(said[:end])


def test_a_hello_without_a_name_has_none() -> None:
    assert server_name(hello(None)) is None


def test_a_name_with_a_nul_in_it_is_not_cut_there() -> None:
    said = renamed(hello("8.8.8.8a.wild.test"), b"8.8.8.8a.wild.test", b"8.8.8.8\0.wild.test")
    assert server_name(said) == "8.8.8.8\0.wild.test"
    assert ALLOWED.host(443, "8.8.8.8\0.wild.test") is None


@given(st.binary(min_size=1, max_size=400), st.integers(0, 600), st.booleans())
def test_a_broken_hello_is_refused_or_waited_for(noise: bytes, at: int, is_whole: bool) -> None:
    said = b"\x16\x03\x01" + struct.pack("!H", len(noise)) + noise
    if not is_whole:
        good = hello("api.allowed.test")
        said = good[:at] + noise + good[at + len(noise) :]
    with contextlib.suppress(Unsaid, ValueError):
        server_name(said)


# --- HTTP


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n",
        b"POST /x HTTP/1.0\r\nA: b\r\nhOsT:  WEB.test:8080 \r\n\r\nbody\r\nHost: evil.test",
        b"GET http://web.test/x HTTP/1.1\r\nHost: web.test\r\n\r\n",
        b"GET http://user:pw@web.test:80/x HTTP/1.1\r\nHost: web.test\r\n\r\n",
    ],
)
def test_the_host_of_a_request_is_read(said: bytes) -> None:
    assert http_host(said) == "web.test"


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web.test\r\nHost: evil.test\r\n\r\n",
        b"GET http://evil.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n",
        b"GET http://web.test@evil.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web.test\r\n .evil.test\r\n\r\n",
    ],
)
def test_a_request_for_no_host_or_several_is_refused(said: bytes) -> None:
    with pytest.raises(ValueError, match="host"):
        http_host(said)


@pytest.mark.parametrize(
    "said",
    [b"\0\1hello", b"get / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"PING\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
)
def test_what_is_not_http_1_names_nobody(said: bytes) -> None:
    assert http_host(said) is None


def test_another_protocol_that_begins_with_a_word_is_not_waited_for() -> None:
    assert http_host(b"NICK somebody\r\n") is None
    assert http_host(b"LOGIN a b\n") is None


def test_a_part_of_a_request_is_waited_for() -> None:
    said = b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n"
    for end in range(1, len(said)):
        with pytest.raises(Unsaid):
            http_host(said[:end])


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_of_requests_fall_over(noise: bytes) -> None:
    for said in (noise, b"GET " + noise, b"GET / HTTP/1.1\r\nHost: " + noise + b"\r\n\r\n"):
        try:
            http_host(said)
        except (Unsaid, ValueError):
            continue


# --- addresses


def leg() -> Leg:
    settings = {"allow": ["a.test:443"], "inside": HERE, "subnet": "10.0.0.0/28", "port": None}
    return Leg(settings, "10.0.1.2", "10.0.1.1")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
@pytest.mark.parametrize("is_exact", [True, False])
def test_no_name_leads_to_this_machine_or_to_cloud_metadata(address: str, is_exact: bool) -> None:
    assert not leg()._is_outside(address, is_exact=is_exact)


@pytest.mark.parametrize("address", ["10.0.0.2", "10.0.0.14", "10.0.1.1", "10.0.1.2"])
def test_no_name_leads_back_or_to_the_bridge(address: str) -> None:
    assert not leg()._is_outside(address, is_exact=True)


def test_private_networks_are_reached_by_names_a_person_wrote_and_not_by_those_of_a_wildcard() -> None:
    for address in ("10.1.2.3", "192.168.1.1", "172.16.0.1", "198.18.0.1"):
        assert leg()._is_outside(address, is_exact=True)
        assert not leg()._is_outside(address, is_exact=False)
    assert leg()._is_outside("1.1.1.1", is_exact=False)


def test_the_default_gateway_is_read_from_the_table_of_routes() -> None:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    inner = "eth1\t4021D50A\t00000000\t0001\t0\t0\t0\tF0FFFFFF\t0\t0\t0\n"
    assert default_gateway(head + inner) is None
    assert (
        default_gateway(f"{head}eth0\t00000000\t3121D50A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n{inner}") == "10.213.33.49"
    )
