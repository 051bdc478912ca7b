"""What the lock does not hold is unknown to clients, on every path; what it holds is not touched."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import FakeServer, Stage, project, tool, until
from mcpcompose.gateway.examiner import Examiner
from mcpcompose.gateway.first_sight import FirstSight
from mcpcompose.gateway.withholding import Withholding, fingerprints
from mcpcompose.spec.lockfile import Lock, LockedServer, locked_server
from mcpcompose.upstream.base import ServerLists
from mcpcompose.upstream.call import Call, Origin

REAL = json.loads((Path(__file__).parent / "tool_definitions.json").read_text())
LAUNCH = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
OFFERED = {"tools": {"listChanged": True}, "prompts": {"listChanged": True}, "resources": {"listChanged": True}}


def held(lists: ServerLists, launch: str = LAUNCH) -> LockedServer:
    return locked_server(launch=launch, **fingerprints(lists))


def accepted(lists: ServerLists, entry: LockedServer, launch: str = LAUNCH, *, strict: bool = False) -> ServerLists:
    withholding = Withholding(FirstSight(None), Examiner(lambda: None), str)
    withholding.follow(Lock(servers={"a": entry}, is_strict=strict), {"a": launch}, {})
    return withholding.accepted({"a": lists})["a"]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all single values, and of empty containers."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path


def mutated(value: Any, path: tuple[Any, ...], chance: random.Random) -> Any:
    """*value* with one field at *path* changed by as little as can be."""
    made = copy.deepcopy(value)
    place = made
    for step in path[:-1]:
        place = place[step]
    old = place[path[-1]]
    match old:
        case bool():
            place[path[-1]] = not old
        case int() | float():
            place[path[-1]] = old + 1
        case str() if old:
            at = chance.randrange(len(old))
            changes = [old[:at] + chr(ord(old[at]) ^ 1) + old[at + 1 :], old[:at] + "\u200b" + old[at:], old + " "]
            place[path[-1]] = chance.choice(changes)
        case _:
            place[path[-1]] = [old, None]
    return made


def test_500_single_field_mutations_of_50_real_tools_are_all_noticed() -> None:
    assert len(REAL) == 50
    lists = ServerLists(tools=tuple(REAL))
    entry, chance = held(lists), random.Random(8785)
    missed, count = [], 0
    for number in range(500):
        one, neighbour = REAL[number % 50], REAL[(number + 1) % 50]
        path = chance.choice([path for path in leaves(one) if path != ("name",)])
        changed = mutated(one, path, chance)
        assert changed != one
        kept = accepted(ServerLists(tools=(changed, neighbour)), entry)
        count += 1
        if kept.tools != (neighbour,):
            missed.append((one["name"], path))

    assert (count, missed) == (500, [])


def test_another_order_of_keys_and_other_white_space_change_nothing() -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in reversed(list(value))}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    entry = held(ServerLists(tools=tuple(REAL)))
    again = json.loads(json.dumps([shuffled(one) for one in REAL], indent=7))

    assert accepted(ServerLists(tools=tuple(again)), entry).tools == tuple(again)


@pytest.mark.parametrize("missing", range(0, 50, 7))
def test_a_tool_that_is_gone_is_no_drift(missing: int) -> None:
    entry = held(ServerLists(tools=tuple(REAL)))
    fewer = ServerLists(tools=tuple(one for index, one in enumerate(REAL) if index != missing))

    assert accepted(fewer, entry) is fewer


def test_a_field_that_a_tool_gained_or_lost_is_noticed() -> None:
    one = tool("a", description="x")
    entry = held(ServerLists(tools=(one,)))

    assert accepted(ServerLists(tools=({**one, "annotations": {}},)), entry).tools == ()
    assert accepted(ServerLists(tools=(tool("a"),)), entry).tools == ()


def test_of_two_tools_with_one_name_only_the_accepted_one_is_kept() -> None:
    good, evil = tool("a", description="good"), tool("a", description="evil")
    entry = held(ServerLists(tools=(good,)))

    assert accepted(ServerLists(tools=(evil, good)), entry).tools == (good,)


def test_a_server_that_is_launched_in_another_way_offers_nothing() -> None:
    lists = ServerLists(tools=tuple(REAL), resources=({"uri": "x:1"},), instructions="hello", capabilities=OFFERED)

    kept = accepted(lists, held(lists), OTHER)

    assert (kept.tools, kept.resources, kept.instructions) == ((), (), None)


def test_a_server_that_is_not_in_the_lock_offers_nothing() -> None:
    withholding = Withholding(FirstSight(None), Examiner(lambda: None), str)
    withholding.follow(Lock(), {"a": LAUNCH}, {})

    assert withholding.accepted({"a": ServerLists(tools=tuple(REAL))})["a"].tools == ()
    assert [one.why for one in withholding.found["a"]] == ["is not in the lock"]


def test_locked_refuses_the_whole_server_for_one_tool() -> None:
    lists = ServerLists(tools=(tool("a"), tool("b")))
    drifted = ServerLists(tools=(tool("a", description="evil"), tool("b")))

    assert [one["name"] for one in accepted(drifted, held(lists)).tools] == ["b"]
    assert accepted(drifted, held(lists), strict=True).tools == ()


def server() -> FakeServer:
    return FakeServer(
        tools=[tool("kept", description="kept"), tool("moved", description="good")],
        prompts=[{"name": "kept", "description": "kept"}, {"name": "moved", "description": "good"}],
        templates=[{"uriTemplate": "kept://{id}", "name": "t"}, {"uriTemplate": "moved://{id}", "name": "good"}],
        capabilities=OFFERED,
    )


def lists_of(one: FakeServer) -> ServerLists:
    return ServerLists(tools=tuple(one.tools), prompts=tuple(one.prompts), templates=tuple(one.templates))


def locked(**servers: FakeServer) -> Any:
    """A project of these servers, and the lock of what they offer now."""
    lock = Lock(servers={name: held(lists_of(one)) for name, one in servers.items()})
    return project(servers={name: {} for name in servers}, lock=lock)


def drift(one: FakeServer) -> None:
    """Something of every kind changes, and something of every kind is new."""
    one.tools = [one.tools[0], tool("moved", description="evil"), tool("added")]
    one.prompts = [one.prompts[0], {"name": "moved", "description": "evil"}, {"name": "added"}]
    more = {"uriTemplate": "added://{id}", "name": "a"}
    one.templates = [one.templates[0], {"uriTemplate": "moved://{id}", "name": "evil"}, more]
    for kind in ("tools", "prompts", "resources"):
        one.changed(kind)


async def names(stage: Stage, method: str, member: str, path: str = "/mcp", key: str = "name") -> list[str]:
    return [item[key] for item in (await stage.post(method, path=path)).json()["result"][member]]


async def test_what_changes_in_the_middle_of_a_session_is_withheld_on_every_path(stage: Stage) -> None:
    a = server()
    await stage.serve(locked(a=a), {"a": a}, {"a": LAUNCH})
    session = await stage.session()
    assert "result" in (await session.post("tools/call", {"name": "a__moved"})).json()

    drift(a)
    await until(lambda: len(stage.gateway.status()[0].withheld) == 6)
    calls = len(a.calls)

    assert await names(stage, "tools/list", "tools") == ["a__kept"]
    assert await names(stage, "tools/list", "tools", "/servers/a/mcp") == ["kept"]
    assert await names(stage, "prompts/list", "prompts") == ["a__kept"]
    assert await names(stage, "resources/templates/list", "resourceTemplates", key="uriTemplate") == ["kept://{id}"]
    for name in ("moved", "added"):
        for method in ("tools/call", "prompts/get"):
            for called, path in ((f"a__{name}", "/mcp"), (name, "/mcp"), (name, "/servers/a/mcp")):
                answer = (await stage.post(method, {"name": called}, path=path)).json()
                assert "unknown" in answer["error"]["message"], (method, called, path)
        for path in ("/mcp", "/servers/a/mcp"):
            assert "error" in (await stage.post("resources/read", {"uri": f"{name}://1"}, path=path)).json()
        ref = {"type": "ref/prompt", "name": f"a__{name}"}
        asked = {"ref": ref, "argument": {"name": "x", "value": ""}}
        assert "error" in (await stage.post("completion/complete", asked)).json()
        asked["ref"] = {"type": "ref/resource", "uri": f"{name}://{{id}}"}
        assert "error" in (await stage.post("completion/complete", asked)).json()
        assert "error" in (await session.post("tools/call", {"name": f"a__{name}"})).json()
        assert "error" in (await session.post("resources/subscribe", {"uri": f"{name}://1"})).json()
        assert "error" in await stage.gateway.call("tools/call", {"name": f"a__{name}"})
    assert len(a.calls) == calls
    assert "result" in (await stage.post("resources/read", {"uri": "kept://1"})).json()
    assert "result" in (await stage.post("tools/call", {"name": "a__kept"})).json()


async def test_other_servers_keep_what_they_offer_while_one_is_withheld(stage: Stage) -> None:
    a, b = server(), server()
    await stage.serve(locked(a=a, b=b), {"a": a, "b": b}, {"a": LAUNCH, "b": LAUNCH})

    drift(a)
    await until(lambda: bool(stage.gateway.status()[0].withheld))

    assert await names(stage, "tools/list", "tools") == ["a__kept", "b__kept", "b__moved"]
    assert [(one.server, one.tools) for one in stage.gateway.status()] == [("a", 1), ("b", 2)]
    assert "mcp-compose lock --accept a" in (stage.gateway.status()[0].reason or "")


async def test_what_becomes_again_as_it_was_accepted_is_served_again(stage: Stage) -> None:
    a = server()
    before = a.tools
    await stage.serve(locked(a=a), {"a": a}, {"a": LAUNCH})
    drift(a)
    await until(lambda: bool(stage.gateway.status()[0].withheld))

    a.tools = before
    a.changed("tools")
    await until(lambda: not any(one.kind == "tool" for one in stage.gateway.status()[0].withheld))

    assert await names(stage, "tools/list", "tools") == ["a__kept", "a__moved"]


async def test_a_server_that_is_withheld_as_a_whole_gets_nothing_not_even_reads(stage: Stage) -> None:
    a = server()
    await stage.serve(locked(a=a), {"a": a}, {"a": OTHER})

    assert await names(stage, "tools/list", "tools") == []
    for path in ("/mcp", "/servers/a/mcp"):
        for uri in ("kept://1", "anything:1", "a+kept://1"):
            assert "error" in (await stage.post("resources/read", {"uri": uri}, path=path)).json(), (path, uri)
    assert a.calls == []


async def test_a_call_that_waited_for_a_server_whose_tool_has_changed_meanwhile_is_not_sent(stage: Stage) -> None:
    old, new = server(), server()
    new.tools[1] = tool("moved", description="evil")
    await stage.serve(locked(a=old), {"a": old}, {"a": LAUNCH})

    await stage.gateway.detach("a")
    bad = asyncio.create_task(stage.post("tools/call", {"name": "a__moved"}))
    good = asyncio.create_task(stage.post("tools/call", {"name": "a__kept"}))
    slot = stage.gateway.supervisor._slots["a"]
    await until(lambda: len(slot._parked) == 2)
    await stage.attach("a", new)

    assert "result" in (await good).json()
    assert "list it again" in (await bad).json()["error"]["message"]
    assert [call["params"]["name"] for call in new.calls] == ["kept"]


async def test_a_call_that_waited_while_its_server_was_started_again_as_it_was_is_answered(stage: Stage) -> None:
    one, other = server(), server()
    await stage.serve(locked(a=one, b=other), {"a": one, "b": other}, {"a": LAUNCH, "b": LAUNCH})
    kernel = stage.gateway.kernel
    table, call = kernel.table, Call("tools/call", {"name": "kept"}, origin=Origin("default"))

    drift(other)
    other.changed()
    await until(lambda: kernel.table is not table)
    await stage.gateway.detach("a")
    kernel._send(table, "a", partial(stage.gateway.supervisor.submit, "a"), call)  # what an interceptor let through
    await stage.attach("a", server())

    await until(lambda: call.reply is not None)
    assert call.reply is not None
    assert call.reply.error is None


async def test_without_a_lock_nothing_is_withheld(stage: Stage) -> None:
    a = server()
    await stage.serve(project(servers={"a": {}}), {"a": a})
    drift(a)

    await until(lambda: "a__added" in stage.gateway.kernel.table.endpoint("default").tool_routes)

    assert await names(stage, "tools/list", "tools") == ["a__kept", "a__moved", "a__added"]
