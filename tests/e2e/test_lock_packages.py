"""Packages by hash, with everything they need: the same on every machine, and nothing else is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.containers import BASE_IMAGE, Containers
from harness.machine import another_engine
from harness.workspace import Workspace
from mcpcompose.config.lockfile import lock_text, parse_lock
from mcpcompose.orchestrator.lock_identity import launch_identities
from mcpcompose.orchestrator.lock_pinning import sealed

pytestmark = [pytest.mark.docker, pytest.mark.real, pytest.mark.timeout(900)]

TIME = {"package": "pypi:mcp-server-time==2026.10.19"}
MEMORY = {"package": "npm:@modelcontextprotocol/server-memory@2026.8.31"}
SLOW = 600.0


def lock_of(workspace: Workspace) -> dict[str, Any]:
    return dict(json.loads((workspace.directory / "mcp-compose.lock").read_text())["servers"])


def python_packages(folder: Path) -> dict[str, str]:
    """What is installed, with the hashes of all its files but of programs, which name the folder they are in."""
    found = {}
    for record in folder.rglob("*.dist-info/RECORD"):
        lines = [
            line for line in record.read_text().splitlines() if not line.startswith("../") and "RECORD" not in line
        ]
        kept = [line for line in lines if ".pyc" not in line and "INSTALLER" not in line]
        found[record.parent.name.removesuffix(".dist-info").lower().replace("_", "-")] = "\n".join(sorted(kept))
    return {name: text for name, text in found.items() if not name.startswith(("pip-", "setuptools-"))}


def node_packages(folder: Path) -> dict[str, str]:
    (file,) = folder.rglob("node_modules/.package-lock.json")
    packages = json.loads(file.read_text())["packages"]
    return {place: f"{one['version']} {one['integrity']}" for place, one in packages.items()}


def test_two_machines_install_the_same_packages_with_everything_they_need(workspace: Workspace) -> None:
    workspace.save({"time": TIME, "memory": MEMORY}, engine="process")
    workspace.run("trust", "--all")
    workspace.run("lock", bound=SLOW)
    other = Workspace(workspace.name)
    try:
        shutil.rmtree(other.directory)
        shutil.copytree(workspace.directory, other.directory)
        other.run("trust", "--all")
        for machine in (workspace, other):
            machine.up("--locked", bound=SLOW)
        lists = [machine.run("tools", "ls", "--format", "json").stdout for machine in (workspace, other)]
        python = [python_packages(machine.home) for machine in (workspace, other)]
        node = [node_packages(machine.home) for machine in (workspace, other)]
    finally:
        other.destroy()

    held = lock_of(workspace)
    assert python[0] == python[1]
    assert set(python[0]) == {one.replace("==", "-") for one in held["time"]["package"]["distributions"]}
    assert node[0] == node[1]
    modules = held["memory"]["package"]["modules"]
    assert all(modules[place]["integrity"] in one for place, one in node[0].items())
    assert lists[0] == lists[1]
    assert "time__get_current_time" in lists[0]
    many = [name for name, hashes in held["time"]["package"]["distributions"].items() if len(hashes) > 1]
    assert any(name.startswith("pydantic-core==") for name in many), "files for other processors are held, too"
    text = (workspace.directory / "mcp-compose.lock").read_text()
    for word in ("http:", "https:", "file:", "resolved", str(workspace.base), str(Path.home()), "/opt/", "/tmp/"):
        assert word not in text, f"nothing of a machine or an index belongs into a lock: {word}"


def test_in_a_container_exactly_the_locked_distributions_are_installed(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"time": TIME}, runners={"pypi": BASE_IMAGE})
    workspace.run("lock", bound=SLOW)
    workspace.up("--locked", bound=SLOW)

    image = containers.of("time")["Image"]
    look = "import importlib.metadata as m; print(*(d.metadata['Name'] + '==' + d.version for d in m.distributions()))"
    python = "/opt/mcp-compose/env/bin/python"
    done = subprocess.run(
        ["docker", "run", "--rm", "--network=none", "--entrypoint", python, image, "-c", look],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    installed = {name.lower().replace("_", "-").replace(".", "-") for name in done.stdout.split()}
    held = {name.replace(".", "-") for name in lock_of(workspace)["time"]["package"]["distributions"]}
    assert installed == held
    assert lock_of(workspace)["time"]["package"]["runner"]["ref"]


def test_two_engines_install_the_same_files_of_the_same_packages(workspace: Workspace, containers: Containers) -> None:
    workspace.save({"time": TIME}, runners={"pypi": BASE_IMAGE})
    workspace.run("lock", bound=SLOW)
    with another_engine(reaches_out=True) as host:
        subprocess.run(f"docker save {BASE_IMAGE} | docker -H {host} load", shell=True, check=True, capture_output=True)
        other = Workspace(workspace.name, DOCKER_HOST=host)
        try:
            shutil.rmtree(other.directory)
            shutil.copytree(workspace.directory, other.directory)
            for machine in (workspace, other):
                machine.up("--locked", bound=SLOW)
            lists = [machine.run("tools", "ls", "--format", "json").stdout for machine in (workspace, other)]
            ours = installed_files([], containers.of("time")["Image"])
            theirs = installed_files(["-H", host], _image(host, f"{workspace.name}-time-1"))
        finally:
            other.destroy()

    assert ours == theirs
    assert any("/mcp/" in name for name in ours)
    assert lists[0] == lists[1]
    assert "time__get_current_time" in lists[0]


def installed_files(engine: list[str], image: str) -> dict[str, str]:
    """The digest of every file of the package's environment, without what Python compiled of it."""
    look = (
        "import hashlib, json, pathlib; root = pathlib.Path('/opt/mcp-compose/env'); "
        "print(json.dumps({str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() "
        "for f in sorted(root.rglob('*')) if f.is_file() and not f.is_symlink() and f.suffix != '.pyc'}))"
    )
    done = subprocess.run(
        ["docker", *engine, "run", "--rm", "--network=none", "--entrypoint", "python3", image, "-c", look],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def _image(host: str, container: str) -> str:
    asked = ["docker", "-H", host, "inspect", "-f", "{{.Image}}", container]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("engine", ["docker", "process"])
def test_a_file_with_another_hash_or_a_dependency_that_is_not_locked_is_not_installed(
    workspace: Workspace, containers: Containers, engine: str
) -> None:
    workspace.save({"time": TIME}, engine=engine, runners={"pypi": BASE_IMAGE})
    if engine == "process":
        workspace.run("trust", "--all")
    workspace.run("lock", bound=SLOW)
    whole = (workspace.directory / "mcp-compose.lock").read_bytes()

    for change, said in ((_other_hash, "hash"), (_one_less, "--require-hashes")):
        change(workspace, whole)
        workspace.run("trust", "--all")
        done = workspace.up(code=1, bound=SLOW)
        assert "server `time` does not serve" in done.stderr
        assert said in done.stderr.lower()
        assert workspace.servers()["time"]["tools"] == 0 or workspace.servers()["time"]["state"] == "failed"


def _other_hash(workspace: Workspace, whole: bytes) -> None:
    _tampered(workspace, whole, lambda held: {name: (f"sha256:{'0' * 64}",) if "mcp==" in name else hashes
                                             for name, hashes in held.items()})  # fmt: skip


def _one_less(workspace: Workspace, whole: bytes) -> None:
    _tampered(workspace, whole, lambda held: {name: one for name, one in held.items() if not name.startswith("mcp==")})


def _tampered(workspace: Workspace, whole: bytes, change: Any) -> None:
    """A lock that somebody made right again after they changed what it holds."""
    from mcpcompose.config.load import Request, load

    file = workspace.directory / "mcp-compose.lock"
    lock = parse_lock(whole, file)
    entry = lock.servers["time"]
    assert entry.package is not None
    package = entry.package.model_copy(update={"distributions": change(dict(entry.package.distributions))})
    lock = lock.model_copy(update={"servers": {"time": entry.model_copy(update={"package": package})}})
    request = Request((workspace.file,), workspace.directory, workspace.environ, Path.home())
    project = load(request).project.model_copy(update={"lock": lock})
    launch = launch_identities(project, Path.home(), {})["time"]
    entry = sealed(lock.servers["time"].model_copy(update={"launch": launch}))
    file.write_text(lock_text(lock.model_copy(update={"servers": {"time": entry}})))
