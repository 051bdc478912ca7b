"""What the lock pins, what differs from it, and what somebody else's lock would let in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcpcompose.engine.base import PackageImage, RegistryImage
from mcpcompose.engine.memory import MemoryEngine, World
from mcpcompose.engine.programs import echo
from mcpcompose.errors import ApprovalNeeded, LockedStateDiffers
from mcpcompose.orchestrator.desired import desired
from mcpcompose.orchestrator.lock_accept import accepted, as_offered, drift, next_entry
from mcpcompose.orchestrator.lock_changes import changes
from mcpcompose.orchestrator.lock_differences import differences
from mcpcompose.orchestrator.lock_identity import launch_identities
from mcpcompose.orchestrator.lock_pinning import pinned
from mcpcompose.orchestrator.lock_rules import lock_forms, lock_rules
from mcpcompose.orchestrator.reconcile import reconcile
from mcpcompose.orchestrator.requests import ApplyRequest
from mcpcompose.spec.lockfile import Lock, LockedServer
from mcpcompose.spec.project import Project, Provenance
from orchestrator.stage import OWNER, Stage, after_up, project

A, B, C = ("sha256:" + one * 64 for one in "abc")
HOME = Path("/home/someone")


def engine(**digests: str) -> MemoryEngine:
    """One whose images all exist and are known to a registry under *digests*, by the part before the tag."""
    names = ("one:1", "one:2", "two:1", "python:3.12-slim", "node:22-slim", "x==1")
    world = World(digests={f"{name}:1": digest for name, digest in digests.items()})
    return MemoryEngine(dict.fromkeys(names, echo), world=world)


async def locked(what: Project, on: MemoryEngine | None = None, offers: Any = None) -> Project:
    """*what* with the lock that `lock` writes for it."""
    made = await pinned(
        what, on or engine(one=A, two=B), renew=frozenset(), home=HOME, contexts={}, told=lambda *_: None
    )
    assert not made.failed
    nothing = {"tools": {}, "prompts": {}, "templates": {}, "instructions": None}
    entries = {name: as_offered(entry, (offers or {}).get(name, nothing)) for name, entry in made.lock.servers.items()}
    return what.model_copy(update={"lock": Lock(servers=entries)})


def differing(what: Project, held: Project) -> list[str]:
    """The differences of *what* with the lock of *held*."""
    now = what.model_copy(update={"lock": held.lock})
    return [f"{one.server}: {one.text}" for one in differences(now, launch_identities(now, HOME, {}))]


# --- pins -------------------------------------------------------------------------------------------------------------


async def test_an_image_runs_by_the_digest_that_was_locked_whatever_its_tag_is_by_now() -> None:
    held = await locked(project(servers={"a": {"image": "one:1"}}))

    (spec,) = desired(held, OWNER).instances

    assert isinstance(spec.source, RegistryImage)
    assert spec.source.reference == f"one@{A}"


async def test_locking_what_runs_restarts_nothing() -> None:
    before = project(servers={"a": {"image": "one:1"}})
    running = after_up(before)
    held = await locked(before)
    same = tuple((f"one@{A}" if name == "one:1" else name, id_) for name, id_ in running.images)

    plan = reconcile(desired(held, OWNER), type(running)(running.instances, running.networks, running.volumes, same))

    assert plan.steps == ()


async def test_a_container_of_another_image_than_the_locked_one_is_replaced() -> None:
    before = project(servers={"a": {"image": "one:1"}})
    running = after_up(before)
    held = await locked(before)

    plan = reconcile(desired(held, OWNER), running)

    assert {step.cause for step in plan.steps} == {"image changed"}


async def test_an_image_that_no_registry_has_is_held_by_its_id() -> None:
    held = await locked(project(servers={"a": {"image": "one:1"}}), engine())

    (spec,) = desired(held, OWNER).instances

    assert isinstance(spec.source, RegistryImage)
    assert spec.source.reference.startswith("sha256:")


async def test_a_package_is_installed_by_hash_on_a_runner_by_digest() -> None:
    on = engine()
    on.world.digests["python:3.12-slim"] = C
    held = await locked(project(servers={"a": {"package": "pypi:x==1"}}), on)

    (spec,) = desired(held, OWNER).instances

    assert isinstance(spec.source, PackageImage)
    assert spec.source.runner == f"python@{C}"
    assert spec.source.pinned == f"x==1 --hash=sha256:{'0' * 64}\n"
    (unpinned,) = desired(project(servers={"a": {"package": "pypi:x==1"}}), OWNER).instances
    assert isinstance(unpinned.source, PackageImage)
    assert spec.source.tag != unpinned.source.tag


async def test_a_pin_of_another_image_or_package_than_the_declared_one_is_none() -> None:
    held = await locked(project(servers={"a": {"image": "one:1"}, "b": {"package": "pypi:x==1"}}))
    now = project(servers={"a": {"image": "one:2"}, "b": {"package": "pypi:x==2"}}, lock=held.lock)

    image, package = (spec.source for spec in desired(now, OWNER).instances)

    assert isinstance(image, RegistryImage)
    assert image.reference == "one:2"
    assert isinstance(package, PackageImage)
    assert package.pinned == ""


# --- the launch identity ----------------------------------------------------------------------------------------------

KEYS: dict[str, Any] = {
    "image": "one:1",
    "command": ["serve"],
    "environment": {"A": "1"},
    "volumes": ["/srv/data:/data"],
    "network": "none",
}


@pytest.mark.parametrize(
    "changed",
    [
        {"command": ["serve", "--all"]},
        {"entrypoint": ["sh"]},
        {"environment": {"A": "1", "B": "2"}},
        {"volumes": ["/srv/data:/data:ro"]},
        {"volumes": ["/srv/other:/data"]},
        {"network": "open"},
        {"user": "0"},
        {"platform": "linux/arm64"},
        {"secrets": ["token"]},
        {"working_dir": "/x"},
    ],
    ids=str,
)
async def test_another_launch_is_a_difference(changed: dict[str, Any]) -> None:
    held = await locked(project(servers={"a": KEYS}))

    (found,) = differing(project(servers={"a": {**KEYS, **changed}}), held)

    assert found.startswith("a: is launched in another way than the lock holds")


async def test_the_value_of_a_variable_is_no_part_of_the_launch() -> None:
    held = await locked(project(servers={"a": KEYS}))

    assert differing(project(servers={"a": {**KEYS, "environment": {"A": "2"}}}), held) == []


async def test_another_folder_and_another_home_give_the_same_lock() -> None:
    def of(folder: str, home: str) -> Project:
        volumes = [f"{folder}/data:/data", f"{home}/models:/models:ro", f"{folder}/x:/x"]
        written = Provenance(written={"servers.a.volumes.2": "${WHERE}:/x"})
        return project(Path(folder), servers={"a": {"image": "one:1", "volumes": volumes}}, provenance=written)

    one = launch_identities(of("/srv/team", "/home/ann"), Path("/home/ann"), {})
    two = launch_identities(of("/srv/repo", "/Users/bob"), Path("/Users/bob"), {})

    assert one == two


async def test_another_build_context_is_a_difference() -> None:
    what = project(servers={"a": {"build": {"context": "/srv/a"}}})

    assert launch_identities(what, HOME, {"a": "1"}) != launch_identities(what, HOME, {"a": "2"})


# --- differences ------------------------------------------------------------------------------------------------------


async def test_differences_name_the_server_what_runs_and_what_is_held() -> None:
    held = await locked(project(servers={"a": {"image": "one:1"}, "b": {"package": "pypi:x==1"}, "c": {"url": "u"}}))

    now = project(servers={"a": {"image": "one:2"}, "b": {"package": "pypi:x==2"}, "d": {"image": "two:1"}})

    assert differing(now, held) == [
        "a: runs image `one:2`, the lock holds `one:1`",
        "b: runs package `pypi:x==2`, the lock holds `pypi:x==1`",
        "d: is not in the lock",
        "c: is in the lock and not declared any more",
    ]


def test_another_catalog_than_the_locked_one_is_a_difference() -> None:
    now = project(
        lock=Lock(catalogs={"acme": A, "gone": A}), provenance=Provenance(catalog_digests={"acme": B, "n": A})
    )

    assert [(one.what, one.text, one.command) for one in differences(now, {})] == [
        ("catalog", "catalog `acme` changed (`mcp-compose.lock`)", "mcp-compose lock"),
        ("catalog", "catalog `gone` is gone (`mcp-compose.lock`)", "mcp-compose lock"),
        ("catalog", "catalog `n` is not in the lock (`mcp-compose.lock`)", "mcp-compose lock"),
    ]


async def test_what_is_as_it_was_locked_differs_in_nothing() -> None:
    what = project(servers={"a": KEYS, "b": {"package": "npm:x@1"}, "c": {"url": "https://x.example/mcp"}})
    on = engine(one=A)
    on.programs = {**on.programs, "x@1": echo}

    assert differing(what, await locked(what, on)) == []


async def test_up_locked_refuses_before_anything_is_asked_of_the_engine(stage: Stage) -> None:
    held = await locked(project(stage.folder, servers={"a": {"image": "one:1"}}))
    assert held.lock is not None
    strict = held.lock.model_copy(update={"is_strict": True})
    stage.write(project(stage.folder, servers={"a": {"image": "one:2"}}, lock=strict))

    with pytest.raises(LockedStateDiffers, match="`a` runs image `one:2`") as caught:
        await stage.controller.apply(ApplyRequest())

    assert "mcp-compose lock --accept a" in (caught.value.hint or "")
    assert caught.value.exit_code == 5
    assert stage.world.pulls == []


# --- accepting --------------------------------------------------------------------------------------------------------


def entry(**held: Any) -> LockedServer:
    base = {"tools": {}, "prompts": {}, "templates": {}, "instructions": None}
    return as_offered(LockedServer(fingerprint=A, launch=A), {**base, **held})


def offered(**held: Any) -> dict[str, Any]:
    return {"tools": {}, "prompts": {}, "templates": {}, "instructions": None, **held}


def test_only_what_is_accepted_gets_into_the_lock() -> None:
    before = entry(tools={"a": A, "b": A, "gone": A})
    now = offered(tools={"a": B, "b": B, "new": A}, instructions=A)

    nothing = next_entry("s", before, before, now, accepted([], ["s"]))
    one = next_entry("s", before, before, now, accepted(["s/a"], ["s"]))
    everything = next_entry("s", before, before, now, accepted(["s"], ["s"]))

    assert nothing == before
    assert dict(one.tools) == {"a": B, "b": A, "gone": A}
    assert one.instructions is None
    assert dict(everything.tools) == {"a": B, "b": B, "new": A}
    assert everything.instructions == A


def test_drift_says_what_is_new_and_what_changed_and_not_what_is_missing() -> None:
    before = entry(tools={"a": A, "gone": A}, prompts={"p": A})

    found = drift("s", before, offered(tools={"a": B, "new": A}, instructions=A))

    assert list(map(str, found)) == ["~ tool `a`: changed", "+ tool `new`: new", "+ instructions: new"]


async def test_changes_read_as_from_what_to_what() -> None:
    one = await locked(project(servers={"a": {"image": "one:1"}, "b": {"image": "two:1"}}))
    two = await locked(project(servers={"a": {"image": "one:1"}, "c": {"image": "two:1"}}), engine(one=C, two=B))
    assert one.lock is not None
    assert two.lock is not None

    assert [f"{change.server} {change}" for change in changes(one.lock, two.lock)] == [
        f"a ~ image: one:1 {A[:19]} -> one:1 {C[:19]}",
        "b - server: gone",
        "c + server: new",
        f"c + image: two:1 {B[:19]}",
    ]


# --- somebody else's lock ---------------------------------------------------------------------------------------------


def said(before: Lock | None, after: Lock | None) -> dict[str, str]:
    rules = lock_rules(before, None)
    return {form.subject: form.text for form in lock_forms(after, rules)}


def test_a_lock_that_came_with_a_commit_and_accepts_more_needs_approval() -> None:
    before = Lock(servers={"s": entry(tools={"a": A, "b": A}), "t": entry(tools={"a": A})})
    after = Lock(servers={"s": entry(tools={"a": B, "b": A, "c": A}, instructions=A), "t": entry()})

    assert said(before, after) == {"s": "accepts another tool a\naccepts the new tool c\naccepts instructions"}


def test_a_lock_that_is_gone_needs_approval() -> None:
    assert list(said(Lock(servers={"s": entry()}), None)) == ["mcp-compose.lock"]


def test_a_first_lock_and_one_that_accepts_less_need_none() -> None:
    assert said(None, Lock(servers={"s": entry(tools={"a": A})})) == {}
    assert said(Lock(servers={"s": entry(tools={"a": A})}), Lock(servers={"s": entry()})) == {}


def test_a_server_that_is_taken_out_and_put_in_again_with_more_is_noticed() -> None:
    rules = lock_rules(Lock(servers={"s": entry(tools={"a": A})}), None)
    rules = lock_rules(Lock(), rules)

    assert [form.text for form in lock_forms(Lock(servers={"s": entry(tools={"a": B})}), rules)] == [
        "accepts another tool a"
    ]


async def test_a_changed_lock_takes_effect_only_once_it_is_approved(stage: Stage) -> None:
    what = project(stage.folder, servers={"a": {"image": "one:1"}})
    stage.world.digests["one:1"] = A
    first = await locked(what, stage.engine, {"a": offered(tools={"t": A})})
    stage.write(first)
    await stage.controller.apply()
    assert first.lock is not None
    other = Lock(servers={"a": as_offered(first.lock.servers["a"], offered(tools={"t": B}))})
    stage.write(what.model_copy(update={"lock": other}))

    await stage.controller.look()

    status = stage.controller.status()
    assert isinstance(status.problem, ApprovalNeeded)
    assert [form.text for form in status.pending] == ["accepts another tool t"]
    assert status.project is not None
    assert status.project.lock == first.lock

    stage.approvals.accept_lock(other)
    await stage.controller.look()

    assert stage.controller.status().problem is None
    assert stage.serving.declared[-1][0].lock == other


async def test_what_lock_is_only_looking_at_is_neither_asked_about_nor_remembered(stage: Stage) -> None:
    what = project(stage.folder, servers={"a": {"image": "one:1"}})
    held = await locked(what, stage.engine, {"a": offered(tools={"t": A})})
    stage.write(held)
    await stage.controller.apply()
    assert held.lock is not None
    entry_now = as_offered(held.lock.servers["a"], offered(tools={"t": B}))
    look = Lock(servers={"a": entry_now}, is_provisional=True)
    before = stage.approvals.baseline()
    stage.write(what.model_copy(update={"lock": look}))

    await stage.controller.apply()

    assert stage.approvals.baseline() == before
