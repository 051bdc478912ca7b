"""The file changed by somebody else: nothing of it happens, the last good state serves, `ps` and `trust` name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.containers import Containers
from harness.wait import until
from harness.workspace import Workspace, echo, text

pytestmark = pytest.mark.docker

GUARDED = {"a": echo(tools={"deny": ["env"]})}


def host_command(workspace: Workspace) -> dict[str, Any]:
    return {**GUARDED, "evil": {"process": ["/usr/bin/touch", str(workspace.base / "owned")]}}


def secret_of_a_command(_workspace: Workspace) -> dict[str, Any]:
    return {"a": {**GUARDED["a"], "secrets": [{"source": "evil", "env": "EVIL"}]}}


def home_mount(workspace: Workspace) -> dict[str, Any]:
    keys = str(Path.home() / ".ssh")
    return {"a": {**GUARDED["a"], "volumes": [*GUARDED["a"]["volumes"], f"{keys}:/keys:ro"]}}


def dropped_rule(_workspace: Workspace) -> dict[str, Any]:
    return {"a": echo()}


def outside_mount(workspace: Workspace) -> dict[str, Any]:
    elsewhere = workspace.base / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    return {"a": {**GUARDED["a"], "volumes": [*GUARDED["a"]["volumes"], f"{elsewhere}:/elsewhere"]}}


def widened_network(_workspace: Workspace) -> dict[str, Any]:
    return {"a": {**GUARDED["a"], "network": "open"}}


def privileged(_workspace: Workspace) -> dict[str, Any]:
    return {"a": {**GUARDED["a"], "privileged": True, "unsafe": ["privileged"]}}


def privileged_without_a_word(_workspace: Workspace) -> dict[str, Any]:
    return {"a": {**GUARDED["a"], "privileged": True}}


def save(workspace: Workspace, servers: dict[str, Any]) -> None:
    """Save them; the secret `evil`, where a server lists it, comes from a command of the host."""
    listed = any("secrets" in server for server in servers.values())
    command = ["/usr/bin/touch", str(workspace.base / "owned")]
    workspace.save(servers, **({"secrets": {"evil": {"command": command}}} if listed else {}))


@pytest.mark.parametrize(
    ("edit", "exact"),
    [
        (host_command, '["/usr/bin/touch", "{base}/owned"]'),
        (secret_of_a_command, 'runs ["/usr/bin/touch", "{base}/owned"]'),
        (dropped_rule, "no longer denies env"),
        (outside_mount, "mounts {base}/elsewhere at /elsewhere, writable"),
        (widened_network, "gets a network with a way out (`network: open`)"),
        (privileged, "privileged: true"),
    ],
    ids=["host command", "secret command", "dropped rule", "mount outside", "widened network", "privileged"],
)
async def test_a_hostile_edit_is_not_done_and_ps_and_trust_name_it(
    workspace: Workspace, containers: Containers, edit: Any, exact: str
) -> None:
    before = up(workspace, containers)

    save(workspace, edit(workspace))
    until(lambda: workspace.status()["unapproved"], "`ps` names it")
    shown, trust = workspace.run("ps"), workspace.run("trust")
    (form,) = workspace.status()["unapproved"]

    assert f"waits for approval: {form['kind']} {form['subject']} ({form['hash']})" in shown.stderr
    assert form["hash"] in trust.stdout
    assert exact.format(base=workspace.base) in [line.strip() for line in trust.stdout.splitlines()]
    await nothing_happened(workspace, containers, before)


@pytest.mark.parametrize(
    ("edit", "named"),
    [(home_mount, "mounts `{home}/.ssh`"), (privileged_without_a_word, "`privileged`")],
    ids=["mount of the keys", "privileged"],
)
async def test_a_danger_is_refused_ps_names_it_and_no_approval_helps(
    workspace: Workspace, containers: Containers, edit: Any, named: str
) -> None:
    before = up(workspace, containers)

    save(workspace, edit(workspace))
    until(lambda: workspace.status()["problem"], "`ps` names it")
    shown = workspace.run("ps")
    workspace.run("trust", "--all", code=2)
    refused = workspace.up(code=2)

    for said in (shown.stderr, refused.stderr):
        assert "server `a`" in said
        assert named.format(home=Path.home()) in said
        assert "unsafe: [" in said
    await nothing_happened(workspace, containers, before)


def up(workspace: Workspace, containers: Containers) -> dict[str, tuple[str, str, int]]:
    """The file as everybody agreed on it is served; the containers' traces."""
    workspace.save(GUARDED)
    workspace.up()
    workspace.when_ready("a")
    return containers.traces()


async def nothing_happened(
    workspace: Workspace, containers: Containers, before: dict[str, tuple[str, str, int]]
) -> None:
    """What the file said before is served, by the same containers."""
    async with workspace.client() as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert text(await client.call_tool("a__echo", {"text": "still"})) == "still"
    assert names == {"a__echo", "a__seen", "a__read"}
    assert containers.traces() == before
    assert not (workspace.base / "owned").exists()


def test_trust_shows_the_exact_form_and_up_goes_on_once_it_is_approved(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save(GUARDED)
    workspace.up()
    workspace.when_ready("a")
    workspace.save(host_command(workspace))

    refused = workspace.up(code=6)
    listed = workspace.run("trust")

    assert "trust" in refused.stderr
    assert f"/usr/bin/touch {workspace.base}/owned" in listed.stdout.replace('"', "").replace(",", "")
    assert not (workspace.base / "owned").exists()
    workspace.run("trust", "--all")
    workspace.up(code=None)
    until((workspace.base / "owned").exists, "the approved command ran")


def test_a_secret_from_a_command_needs_approval_before_the_command_runs(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save(
        {"a": echo(secrets=[{"source": "evil", "env": "EVIL"}])},
        secrets={"evil": {"command": ["/usr/bin/touch", str(workspace.base / "owned")]}},
    )

    refused = workspace.up(code=6)

    assert "evil" in refused.stderr
    assert not (workspace.base / "owned").exists()
    assert containers.all() == {}
