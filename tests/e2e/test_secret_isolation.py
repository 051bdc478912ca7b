"""
Five servers, each with secrets of its own, each looking from inside its container for the others'.

The diagonal is the control: a server finds its own, so its search works.
"""

from __future__ import annotations

import json
import socket
import uuid
from typing import Any

import pytest

from harness.containers import Containers
from harness.workspace import Workspace, program, text

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

SERVERS: dict[str, dict[str, Any]] = {
    "envy": {"secrets": [{"source": "envy", "env": "TOKEN"}]},
    "filed": {"secrets": ["filed"], "volumes": ["filed:/data"]},
    "web": {
        "transport": {"http": {"port": 8000}},
        "secrets": ["web", {"source": "webenv", "env": "TOKEN"}],
        "environment": {"PROBE_HTTP": "1"},
    },
    "open": {"network": "open", "secrets": [{"source": "open", "target": "renamed"}], "volumes": ["other:/data"]},
    "template": {
        "transport": {"http": {"port": 8000}},
        "environment": {"PROBE_HTTP": "1", "TOKEN": "Bearer ${secret:template}"},
    },
}
OWN = {"envy": {"envy"}, "filed": {"filed"}, "web": {"web", "webenv"}, "open": {"open"}, "template": {"template"}}
MORE = ("nobody", "host", "header")
"""Secrets that no container gets: one that no server lists, a host process's, a remote server's."""


@pytest.fixture
def values() -> dict[str, str]:
    return {name: f"planted-{name}-{uuid.uuid4().hex}" for own in (*OWN.values(), MORE) for name in own}


async def test_no_server_gets_to_another_ones_secrets_from_inside_its_container(
    workspace: Workspace, containers: Containers, values: dict[str, str]
) -> None:
    for name, value in values.items():
        workspace.environ[f"PLANTED_{name.upper()}"] = value
    host = {"process": ["python3", "-u", "programs/echo.py"], "secrets": [{"source": "host", "env": "TOKEN"}]}
    remote = {"url": "http://127.0.0.1:9/mcp", "headers": {"X-Key": "${secret:header}"}}
    workspace.save(
        {
            **{name: program("probe.py", timeouts={"call": "150s"}, **keys) for name, keys in SERVERS.items()},
            "host": host,
            "remote": remote,
        },
        secrets={name: {"environment": f"PLANTED_{name.upper()}"} for name in values},
    )
    workspace.run("trust", "--all")
    workspace.up(code=None)
    workspace.when_ready(*SERVERS, "host", bound=120)
    targets = addresses(workspace, containers)

    seen: dict[str, dict[str, Any]] = {}
    async with workspace.client() as client:
        for server in SERVERS:
            found = await client.call_tool(f"{server}__probe", {"targets": targets}, read_timeout_seconds=120)
            seen[server] = json.loads(text(found))

    by_value = {value: name for name, value in values.items()}
    for server, found in seen.items():
        reached = {
            by_value[value] for place in ("environment", "files", "processes", "mounts") for value in found[place]
        }
        assert reached == OWN[server], f"{server} got to {reached}"
        # Nobody answers but itself: not the engine, not the gateway, no neighbour.
        said = json.dumps(found["network"]) + json.dumps(found["sockets"])
        assert {name for value, name in by_value.items() if value in said} <= OWN[server], server
        assert found["sockets"] == {}, server
        strangers = {target for target in found["network"] if target not in own_addresses(containers, server)}
        assert strangers == set(), f"{server} was answered by {strangers}"
        assert found["pids"] <= 4, f"{server} sees processes that are not its own"
    assert own_answers(seen) == {"web", "template"}, "the search of the network works"

    for server, path in ((name, path) for name in SERVERS for path in workspace.home.glob(f"state/*/logs/{name}.log*")):
        written = path.read_text(errors="replace")
        assert [name for value, name in by_value.items() if value in written] == [], f"log of {server}"


def own_answers(seen: dict[str, dict[str, Any]]) -> set[str]:
    """The servers that found themselves when they asked every address."""
    return {server for server, found in seen.items() if found["network"]}


def addresses(workspace: Workspace, containers: Containers) -> list[str]:
    """Where every server, the gateway, the engine and this machine could be reached."""
    hosts = {"127.0.0.1", "host.docker.internal", "172.17.0.1", *socket.gethostbyname_ex(socket.gethostname())[2]}
    ports = {workspace.status()["endpoint"].rsplit(":", 1)[1].split("/")[0], "2375", "2376", "8000"}
    found = {f"{host}:{port}" for host in hosts for port in ports}
    for name, container in containers.all().items():
        for network in container["NetworkSettings"]["Networks"].values():
            found |= {f"{network['Gateway']}:{port}" for port in ports if network.get("Gateway")}
            found |= {f"{network['IPAddress']}:8000" for _ in (1,) if network.get("IPAddress")}
        found |= {f"{name}:8000", f"{name.removeprefix(workspace.name + '-').removesuffix('-1')}:8000"}
    return sorted(found)


def own_addresses(containers: Containers, server: str) -> set[str]:
    """Where *server* reaches itself."""
    container = containers.of(server)
    networks = container["NetworkSettings"]["Networks"].values()
    names = {f"{containers.project}-{server}-1", server, "127.0.0.1", container["Config"]["Hostname"]}
    return {f"{host}:8000" for host in names | {network["IPAddress"] for network in networks}}
