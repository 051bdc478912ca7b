"""Where a server may go: `host:port` and `*.domain:port`, and what is wrong with what people write instead."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, StringConstraints

_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})"
_HOST: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_URL: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[^/@]*@)?(?P<host>[^/:?#]*)(?::(?P<port>[0-9]+))?.*", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_PORTS: Final = {"http": "80", "ws": "80", "ssh": "22"}
_LARGEST: Final = 65535
_DNS: Final = "53"


def as_destination(value: Any) -> Any:
    """In lower case, as names mean the same. Raises `ValueError` with what to write instead."""
    if not isinstance(value, str):
        return value
    host, colon, port = value.partition(":")
    wrong = _of_the_form(value) or _of_the_host(host) or _of_the_port(value, port if colon else None)
    if wrong is not None:
        raise ValueError(wrong)
    return value.lower()


Destination = Annotated[
    str,
    StringConstraints(pattern=rf"^(\*\.)?{_LABEL}(\.{_LABEL})*:[1-9][0-9]{{0,4}}$", max_length=260),
    BeforeValidator(as_destination),
]
"""`host:port` or `*.domain:port`; names, no addresses."""


def _of_the_form(text: str) -> str | None:
    url = _URL.fullmatch(text)
    if url is not None:
        port = url["port"] or _PORTS.get(url["scheme"].lower(), "443")
        return f"`{text}` is a URL; write its host and port, `{url['host']}:{port}`"
    if _is_address(text):
        return f"`{text}` is an address; write the name of the host, it is looked up outside of the server"
    if "/" in text:
        return f"`{text}` has a path; a destination is `host:port`, whatever is asked for there"
    return None


def _of_the_host(host: str) -> str | None:
    if not host:
        return "the host is missing; write host and port, as in `api.github.com:443`"
    if host == "*":
        return "`*` would be everything, which is `network: open`; a wildcard is written `*.example.com:443`"
    plain = host.removeprefix("*.")
    if "*" in plain:
        return f"`{host}`: a wildcard stands at the beginning, in front of a whole domain, as in `*.example.com:443`"
    if not plain.isascii():
        return f"`{host}` has to be written as DNS has it" + _in_ascii(host)
    if _HOST.fullmatch(plain) is None:
        return f"`{host}` is no name of a host; write it as in `api.github.com:443`"
    return None


def _of_the_port(text: str, port: str | None) -> str | None:
    if port is None:
        return f"`{text}` has no port; write `{text}:443`, or whichever port it is"
    if re.fullmatch("[1-9][0-9]{0,4}", port) is None or int(port) > _LARGEST:
        return f"`{port}` is no port; it is one number from 1 to {_LARGEST}, with an entry for each port"
    if port == _DNS:
        return f"`{text}`: names are looked up for the server, it has no DNS of its own; leave the entry out"
    return None


def _is_address(text: str) -> bool:
    """Whether *text* means an address in one of the ways that programs take them, with or without port and mask."""
    host = text.partition("/")[0]
    if host.startswith("[") or host.count(":") > 1:
        return True
    return _NUMBER.fullmatch(host.partition(":")[0].rpartition(".")[2]) is not None


def _in_ascii(host: str) -> str:
    try:
        return f": `{host.encode('idna').decode('ascii')}`"
    except UnicodeError:
        return ""
