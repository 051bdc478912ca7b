"""The way out of a network with an allow list, part by part: broken, half made, somebody else's, crashed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import docker
import pytest

from harness.containers import BASE_IMAGE as BASE
from harness.containers import names_on_the_engine
from mcpcompose.engine.base import Egress, Http, NetworkSpec
from mcpcompose.engine.docker_legs import LEG_LABEL, leg_name, outer_name
from mcpcompose.errors import EngineError, NameTaken
from mcpcompose.spec.identity import Owner

if TYPE_CHECKING:
    from conftest import Bench

pytestmark = pytest.mark.docker
STRANGER = Owner("somebody-else", "0" * 16)


class Seen:
    """What the engine has of one network's way out, seen with its own client."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.client = docker.from_env(timeout=60)

    @property
    def leg(self) -> dict[str, Any]:
        return self.client.api.inspect_container(leg_name(self.network))

    def address(self, network: str) -> str:
        return self.leg["NetworkSettings"]["Networks"][network]["IPAddress"]

    def left(self) -> set[str]:
        return {name for name in names_on_the_engine(self.client) if name.startswith(self.network)}

    def crash(self) -> None:
        """End its process as a lack of memory does, which is no wish of anybody."""
        os.kill(self.leg["State"]["Pid"], signal.SIGKILL)

    async def until(self, true: Callable[[], bool], what: str) -> None:
        for _ in range(150):
            if true():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"not in time: {what}")


@pytest.fixture
def seen(docker_bench: Bench) -> Any:
    made = Seen(f"{docker_bench.project}-a")
    yield made
    for container in made.client.containers.list(all=True, ignore_removed=True):
        if container.name.startswith(made.network):
            container.remove(force=True)
    for network in made.client.networks.list():
        if network.name.startswith(made.network):
            network.remove()
    made.client.close()


def network_of(bench: Bench, *allow: str, owner: Owner | None = None, port: int | None = None) -> NetworkSpec:
    labels = tuple((owner or bench.owner).labels("a").items())
    return NetworkSpec(f"{bench.project}-a", "a", labels, egress=Egress(allow or ("api.test:443",), BASE, port))


async def test_both_networks_and_the_container_are_made_once_and_removed_together(
    docker_bench: Bench, seen: Seen
) -> None:
    engine, spec = docker_bench.engine(), network_of(docker_bench)
    await engine.create_network(spec)
    first = seen.leg["Id"]
    await engine.create_network(spec)

    state = await engine.observe(docker_bench.owner, frozenset({spec.name}), frozenset())
    assert state.networks == (spec.name,)
    assert state.instances == ()
    assert state.foreign == ()
    assert seen.leg["Id"] == first
    assert seen.left() == {spec.name, leg_name(spec.name), outer_name(spec.name)}

    await engine.remove_network(spec.name)
    assert seen.left() == set()


async def test_the_container_has_no_right_that_it_does_not_need(docker_bench: Bench, seen: Seen) -> None:
    await docker_bench.engine().create_network(network_of(docker_bench))
    leg = seen.leg
    host = leg["HostConfig"]
    assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], None, False)
    assert host["ReadonlyRootfs"]
    assert "no-new-privileges" in "".join(host["SecurityOpt"])
    assert not leg["Mounts"]
    assert not host["PortBindings"]
    assert leg["Config"]["User"] == "65534:65534"
    assert host["Sysctls"]["net.ipv4.ip_forward"] == "0"


async def test_another_list_makes_another_container(docker_bench: Bench, seen: Seen) -> None:
    engine = docker_bench.engine()
    await engine.create_network(network_of(docker_bench, "one.test:443"))
    await engine.create_network(network_of(docker_bench, "two.test:443"))
    assert json.loads(seen.leg["Config"]["Entrypoint"][-1])["allow"] == ["two.test:443"]


@pytest.mark.parametrize("part", ["container", "outer network", "connection"])
async def test_what_is_missing_after_a_crash_is_seen_and_made_again(docker_bench: Bench, seen: Seen, part: str) -> None:
    engine, spec = docker_bench.engine(), network_of(docker_bench)
    await engine.create_network(spec)
    if part == "connection":
        seen.client.networks.get(spec.name).disconnect(leg_name(spec.name), force=True)
    else:
        seen.client.containers.get(leg_name(spec.name)).remove(force=True)
    if part == "outer network":
        seen.client.networks.get(outer_name(spec.name)).remove()

    state = await engine.observe(docker_bench.owner, frozenset({spec.name}), frozenset())
    assert state.networks == ()
    await engine.create_network(spec)
    assert (await engine.observe(docker_bench.owner, frozenset({spec.name}), frozenset())).networks == (spec.name,)
    assert seen.leg["State"]["Running"]
    assert seen.address(spec.name)


async def test_a_container_that_stands_in_a_network_of_before_is_replaced(docker_bench: Bench, seen: Seen) -> None:
    engine, spec = docker_bench.engine(), network_of(docker_bench)
    await engine.create_network(spec)
    seen.client.networks.get(spec.name).disconnect(leg_name(spec.name), force=True)
    seen.client.networks.get(spec.name).remove()

    await docker_bench.engine().create_network(spec)  # one that does not know the subnet of before

    now = seen.client.networks.get(spec.name)
    assert seen.leg["NetworkSettings"]["Networks"][spec.name]["NetworkID"] == now.id
    assert seen.address(spec.name)


async def test_half_of_it_is_removed_like_the_whole(docker_bench: Bench, seen: Seen) -> None:
    engine, spec = docker_bench.engine(), network_of(docker_bench)
    await engine.create_network(spec)
    seen.client.containers.get(leg_name(spec.name)).remove(force=True)

    state = await engine.observe(docker_bench.owner, frozenset(), frozenset())
    assert state.networks == (spec.name,)
    await engine.remove_network(spec.name)
    assert seen.left() == set()


async def test_a_network_that_has_this_machine_in_it_gets_no_way_out(docker_bench: Bench, seen: Seen) -> None:
    engine, spec = docker_bench.engine(), network_of(docker_bench)
    await engine.create_network(replace(spec, egress=None))

    with pytest.raises(EngineError, match="is another kind of network"):
        await engine.create_network(spec)

    assert seen.left() == {spec.name}


async def test_the_way_out_of_another_owner_is_left_alone(docker_bench: Bench, seen: Seen) -> None:
    engine, other = docker_bench.engine(), docker_bench.engine()
    theirs = network_of(docker_bench, owner=STRANGER)
    await other.create_network(theirs)
    before = seen.leg["Id"]

    with pytest.raises(NameTaken):
        await engine.create_network(network_of(docker_bench, "evil.test:443"))
    await engine.observe(docker_bench.owner, frozenset(), frozenset())
    with pytest.raises(NameTaken):
        await engine.remove_network(theirs.name)

    assert seen.leg["Id"] == before
    assert seen.leg["State"]["Running"]


async def test_a_container_of_another_owner_with_its_name_is_left_alone(docker_bench: Bench, seen: Seen) -> None:
    spec = network_of(docker_bench)
    labels = {**STRANGER.labels("a"), LEG_LABEL: "x"}
    theirs = seen.client.containers.create(BASE, ["true"], name=leg_name(spec.name), labels=labels)

    with pytest.raises(NameTaken):
        await docker_bench.engine().create_network(spec)

    assert seen.client.containers.get(leg_name(spec.name)).id == theirs.id


async def test_one_that_crashes_comes_back_at_the_same_addresses(docker_bench: Bench, seen: Seen) -> None:
    spec = network_of(docker_bench)
    await docker_bench.engine().create_network(spec)
    inside, outside = seen.address(spec.name), seen.address(outer_name(spec.name))

    seen.crash()
    await seen.until(lambda: seen.leg["RestartCount"] > 0 and seen.leg["State"]["Running"], "it runs again")

    await seen.until(lambda: seen.address(spec.name) == inside, "the inner address")
    await seen.until(lambda: seen.address(outer_name(spec.name)) == outside, "the outer address")


async def test_an_image_without_python_is_named_at_once_and_nothing_is_left_running(
    docker_bench: Bench, seen: Seen
) -> None:
    spec = network_of(docker_bench)
    bare = seen.client.containers.create(BASE, ["true"], name=f"{spec.name}-bare")
    bare.commit("mcp-compose-test/no-python", "1", changes=["ENV PATH=/nowhere"])
    bare.remove()
    assert spec.egress is not None
    try:
        bad = replace(spec, egress=replace(spec.egress, image="mcp-compose-test/no-python:1"))
        with pytest.raises(EngineError):
            await docker_bench.engine().create_network(bad)
    finally:
        seen.client.images.remove("mcp-compose-test/no-python:1", force=True)
    assert leg_name(spec.name) not in seen.left()


async def test_one_that_ends_at_once_is_said_with_its_reason(docker_bench: Bench, seen: Seen) -> None:
    with pytest.raises(EngineError, match=r"does not start: .*nonsense"):
        await docker_bench.engine().create_network(network_of(docker_bench, "host.test:nonsense"))
    assert leg_name(f"{docker_bench.project}-a") not in seen.left()


async def test_a_server_over_http_whose_way_out_is_down_is_said_to_be_unreachable(
    docker_bench: Bench, seen: Seen
) -> None:
    engine, network = docker_bench.engine(), network_of(docker_bench, port=8931)
    await engine.create_network(network)
    words = ("python3", "-m", "http.server", "8931")
    spec = docker_bench.spec(transport=Http(8931, "/mcp"), network=network.name, command=words)
    values = docker_bench.values(command=words)
    await engine.create_instance(spec, values)
    await engine.start_instance(spec.name, values)
    seen.client.containers.get(leg_name(network.name)).kill()

    with pytest.raises(EngineError, match="the way out of network"):
        await engine.connect_instance(spec.name)

    await engine.remove_instance(spec.name)
