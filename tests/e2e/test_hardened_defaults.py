"""With an engine, servers run in containers with the hardened defaults, read off with `inspect`."""

from __future__ import annotations

import pytest

from harness.containers import Containers, assert_hardened
from harness.workspace import Workspace, echo, program, text

pytestmark = pytest.mark.docker


async def test_containers_have_the_hardened_defaults(workspace: Workspace, containers: Containers) -> None:
    workspace.save(
        {"a": echo(secrets=["key"]), "web": program("web.py", transport={"http": {"port": 8000}})},
        secrets={"key": {"environment": "KEY"}},
    )
    workspace.environ["KEY"] = "value of the key"
    workspace.up()
    workspace.when_ready()

    for server in ("a", "web"):
        assert_hardened(containers.of(server))
    assert containers.of("a")["HostConfig"]["NetworkMode"] == "none"
    (network,) = containers.networks()
    details = containers.client.networks.get(network).attrs
    assert details["Internal"] is True
    assert int(details["IPAM"]["Config"][0]["Subnet"].rpartition("/")[2]) >= 24
    async with workspace.client() as client:
        assert text(await client.call_tool("a__read", {"text": "/run/secrets/key"})) == "value of the key"


@pytest.mark.parametrize(
    "keys",
    [
        {"volumes": ["/:/host"]},
        {"volumes": ["/etc:/host-etc:ro"]},
        {"volumes": ["/proc:/host-proc"]},
        {"volumes": ["/var/run/docker.sock:/docker.sock"]},
        {"volumes": ["./link:/link"]},
        {"volumes": ["~/.ssh:/keys"]},
        {"privileged": True},
        {"cap_add": ["NET_ADMIN"]},
        {"devices": ["/dev/kmsg"]},
        {"pid": "host"},
        {"network": "host"},
    ],
    ids=str,
)
def test_a_dangerous_setting_is_refused_before_any_engine_call(
    workspace: Workspace, containers: Containers, keys: dict[str, object]
) -> None:
    (workspace.directory / "link").symlink_to("/etc")
    host = workspace.environ.get("DOCKER_HOST", "")
    workspace.environ["DOCKER_HOST"] = "unix:///nowhere/at/all.sock"
    workspace.save({"a": {"image": "mcp-compose-test/base:1", **keys}})

    done = workspace.up(code=2)

    assert "unsafe" in done.stderr
    assert containers.all() == {}
    workspace.environ["DOCKER_HOST"] = host
