"""
The few calls of which starting servers consists, said straight into the engine's own socket.

The library takes longer to load than everything else of a start together, and each of its calls costs several times
what this one does, on the cores that the engine starts containers with. It is loaded for everything else.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from docker import APIClient

_OLDEST: Final = (1, 24)
"""The oldest API that the library speaks, too."""
_FAILED: Final = 400
_NOT_FOUND: Final = 404


def agreed_version(path: Path, timeout: float) -> str | None:
    """
    The version of the API behind the socket *path*; None where the library has to find out what is wrong.

    Raises `OSError` when nobody answers.
    """
    try:
        status, _, body = _asked(path, timeout, "GET", "/version")
        version = str(json.loads(body)["ApiVersion"]) if status < _FAILED else ""
        major, _, minor = version.partition(".")
        return version if (int(major), int(minor)) >= _OLDEST else None
    except (http.client.HTTPException, ValueError, LookupError, TypeError):
        return None


class QuickApi:
    """
    As much of the library's `APIClient` as is worth it, by the same names; the rest is asked of *library*.

    Safe in several threads: each call has a connection of its own. Raises what the library raises.
    """

    def __init__(self, path: Path, version: str, timeout: float, library: Callable[[], APIClient]) -> None:
        self.api_version = version
        self._path, self._wait, self._library = path, timeout, library

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library(), name)

    def version(self) -> Any:
        """What the engine says of itself."""
        return self._call("GET", "/version")

    def containers(self, *, all: bool = False) -> Any:  # noqa: A002  the library's name
        """All containers, or those that run."""
        return self._call("GET", f"/containers/json?all={int(all)}")

    def networks(self, names: Sequence[str] | None = None) -> Any:
        """All networks, or those whose names fit."""
        return self._call("GET", "/networks" + (f"?{_filters(name=list(names))}" if names else ""))

    def volumes(self) -> Any:
        """All volumes, below `Volumes`."""
        return self._call("GET", "/volumes")

    def inspect_container(self, container: str) -> Any:
        """Everything about one container."""
        return self._call("GET", f"/containers/{_quoted(container)}/json")

    def inspect_image(self, image: str) -> Any:
        """Everything about one image."""
        return self._call("GET", f"/images/{_quoted(image)}/json")

    def create_container_from_config(
        self, config: Mapping[str, Any], name: str | None = None, platform: str | None = None
    ) -> Any:
        """Make a container."""
        if platform or not name:  # the library knows which engines can do that
            return self._library().create_container_from_config(config, name=name, platform=platform)
        return self._call("POST", f"/containers/create?{urlencode({'name': name})}", config)

    def start(self, container: str) -> None:
        """Start a container."""
        self._call("POST", f"/containers/{_quoted(container)}/start")

    def remove_container(self, container: str, *, v: bool = False, force: bool = False) -> None:
        """Remove a container; with *v* its nameless volumes, with *force* even while it runs."""
        self._call("DELETE", f"/containers/{_quoted(container)}?v={int(v)}&force={int(force)}")

    def create_network(
        self,
        name: str,
        *,
        driver: str,
        ipam: Mapping[str, Any],
        check_duplicate: bool,
        internal: bool,
        labels: Mapping[str, str],
        enable_ipv6: bool,
        options: Mapping[str, str] | None = None,
    ) -> Any:
        """Make a network."""
        body = {
            "Name": name, "Driver": driver, "IPAM": ipam, "CheckDuplicate": check_duplicate, "Internal": internal,
            "Labels": labels, "EnableIPv6": enable_ipv6, "Options": options or {},
        }  # fmt: skip
        return self._call("POST", "/networks/create", body)

    def remove_network(self, network: str) -> None:
        """Remove a network."""
        self._call("DELETE", f"/networks/{_quoted(network)}")

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        path = f"/v{self.api_version}{path}"
        status, reason, answer = _asked(self._path, self._wait, method, path, body)
        if status >= _FAILED:
            raise _refusal(status, reason, path, answer)
        return json.loads(answer) if answer.strip() else None


class _Connection(http.client.HTTPConnection):
    """One connection to the socket *path*."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Over the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _asked(
    path: Path, timeout: float, method: str, target: str, body: Mapping[str, Any] | None = None
) -> tuple[int, str, bytes]:
    """One request, and the answer's status, its reason and its body."""
    connection = _Connection(path, timeout)
    headers = {"Connection": "close", **({"Content-Type": "application/json"} if body is not None else {})}
    try:
        connection.request(method, target, None if body is None else json.dumps(body).encode(), headers)
        with connection.getresponse() as response:
            return response.status, response.reason, response.read()
    finally:
        connection.close()


def _refusal(status: int, reason: str, path: str, answer: bytes) -> Exception:
    """What the library raises for such an answer."""
    from docker.errors import APIError, ImageNotFound, NotFound  # noqa: PLC0415  only when something is refused

    text = answer.decode(errors="replace").strip()
    try:
        said = str(json.loads(text)["message"])
    except (ValueError, LookupError, TypeError):
        said = text
    kind: type[APIError] = APIError
    if status == _NOT_FOUND:
        missing = ("no such image", "not found: does not exist or no pull access", "repository does not exist")
        kind = ImageNotFound if any(part in said.lower() for part in missing) else NotFound
    response: Any = SimpleNamespace(status_code=status, reason=reason, url=path)
    refusal: Exception = kind(said, response=response, explanation=said)
    return refusal


def _quoted(name: str) -> str:
    return quote(name, safe="/:")


def _filters(**filters: list[str]) -> str:
    return urlencode({"filters": json.dumps(filters)})
