"""What is on the engine, seen with the engine's own client and not with ours."""

from __future__ import annotations

import os
from typing import Any

import docker

PROJECT_LABEL = "io.mcpcompose.project"
BASE_IMAGE = os.environ.get("MCP_COMPOSE_TEST_BASE", "mcp-compose-test/base:1")


def engine_problem() -> str | None:
    """Why the tests cannot use an engine, or None."""
    try:
        client = docker.from_env(timeout=20)
    except docker.errors.DockerException as error:
        return f"no engine answers: {error}"
    try:
        client.images.get(BASE_IMAGE)
    except docker.errors.DockerException as error:
        return f"the engine has no `{BASE_IMAGE}`: {error}"
    finally:
        client.close()
    return None


def names_on_the_engine(client: docker.DockerClient) -> set[str]:
    """
    The names of all containers and networks there are, also those of other tests.

    Only listed, never inspected: others remove theirs meanwhile, and `client.containers.list` fails then.
    """
    containers = {container_name(one) for one in client.api.containers(all=True)}
    return (containers | {one["Name"] for one in client.api.networks()}) - {""}


def container_name(listed: dict[str, Any]) -> str:
    """The name of a container in a list; one that is being removed may have none any more."""
    return next(iter(listed["Names"] or ()), "").lstrip("/")


class Containers:
    """Everything that carries one project's label."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.client = docker.from_env(timeout=60)
        self._filter = {"label": f"{PROJECT_LABEL}={project}"}

    def all(self) -> dict[str, dict[str, Any]]:
        """The project's containers by name, as `inspect` shows them."""
        found = self.client.api.containers(all=True, filters=self._filter)
        inspected = {}
        for item in found:
            try:
                inspected[container_name(item)] = self.client.api.inspect_container(item["Id"])
            except docker.errors.NotFound:
                continue
        return inspected

    def of(self, server: str) -> dict[str, Any]:
        """The one container of *server*."""
        return self.all()[f"{self.project}-{server}-1"]

    def id_of(self, server: str) -> str | None:
        """The id of *server*'s container; None while there is none, as when it is made anew."""
        found = self.all().get(f"{self.project}-{server}-1")
        return str(found["Id"]) if found else None

    def running(self) -> set[str]:
        """The names of those that run."""
        return {name for name, container in self.all().items() if container["State"]["Running"]}

    def traces(self) -> dict[str, tuple[str, str, int]]:
        """Per container what changes when somebody touches it: id, when it started, how often it restarted."""
        return {
            name: (container["Id"], container["State"]["StartedAt"], container["RestartCount"])
            for name, container in self.all().items()
        }

    def networks(self) -> set[str]:
        """The names of the project's networks."""
        return {network.name for network in self.client.networks.list(filters=self._filter)}

    def volumes(self) -> set[str]:
        """The names of the project's volumes."""
        return {volume.name for volume in self.client.volumes.list(filters=self._filter)}

    def leftovers(self) -> set[str]:
        """Names of everything there is."""
        return set(self.all()) | self.networks() | self.volumes()

    def remove_all(self) -> None:
        """Remove everything; for the end of a test, after it looked."""
        for container in self.client.containers.list(all=True, filters=self._filter, ignore_removed=True):
            container.remove(force=True)
        for network in self.client.networks.list(filters=self._filter):
            network.remove()
        for volume in self.client.volumes.list(filters=self._filter):
            volume.remove(force=True)
        self.client.close()


def assert_hardened(container: dict[str, Any]) -> None:
    """The defaults of every server that asks for nothing else, as `inspect` shows them."""
    host = container["HostConfig"]
    assert host["Init"] is True
    assert host["Privileged"] is False
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges" in "".join(host["SecurityOpt"])
    assert host["PidsLimit"] == 256
    assert host["Memory"] == 1 << 30
    assert host["NanoCpus"] == 1_000_000_000
    assert "/tmp" in host["Tmpfs"]
    assert host["LogConfig"]["Type"] == "none"
    assert host["RestartPolicy"]["Name"] in {"no", ""}
    assert not host["PortBindings"]
    assert host["PidMode"] == ""
    assert not host["Devices"]
