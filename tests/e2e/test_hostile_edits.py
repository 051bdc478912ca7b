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


def secret_command(workspace: Workspace) -> dict[str, Any]:
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


@pytest.mark.parametrize(
    ("edit", "exact"),
    [
        (host_command, "/usr/bin/touch"),
        (home_mount, "/.ssh"),
        (dropped_rule, "env"),
        (outside_mount, "at /elsewhere, writable"),
        (widened_network, "network: open"),
        (privileged, "privileged"),
    ],
    ids=["host command", "mount of the keys", "dropped rule", "mount outside", "widened network", "privileged"],
)
async def test_a_hostile_edit_is_not_done_and_ps_and_trust_name_it(
    workspace: Workspace, containers: Containers, edit: Any, exact: str
) -> None:
    workspace.save(GUARDED)
    workspace.up()
    workspace.when_ready("a")
    before = containers.traces()

    workspace.save(edit(workspace))
    until(lambda: workspace.status()["problem"] or workspace.status()["unapproved"], "`ps` names it")
    shown, trust = workspace.run("ps"), workspace.run("trust", code=None)
    async with workspace.client() as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert text(await client.call_tool("a__echo", {"text": "still"})) == "still"

    assert "approval" in shown.stderr or exact in shown.stderr
    assert exact in trust.stdout + shown.stderr
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
