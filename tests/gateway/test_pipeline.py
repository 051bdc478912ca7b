"""Every way to a server, and every way back, goes through the interceptors: what they decide is what happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import FakeServer, Stage, project, running, tool, until
from mcpcompose.gateway.chain import Broken, Link
from mcpcompose.interceptors.base import (
    Answer,
    AskPerson,
    Change,
    Decision,
    Exchange,
    InterceptorFailed,
    Refuse,
    Respond,
    Warn,
)
from mcpcompose.spec.interceptor import Interceptor as Spec

TEXT = {"content": [{"type": "text", "text": "mine"}]}
ELICITS = {"elicitation": {"form": {}}}


@dataclass(eq=False)
class Probe:
    """An interceptor that does as it is told, and remembers what it saw."""

    on_before: Callable[[Exchange], Answer] = lambda _exchange: None
    on_after: Callable[[Exchange], Answer] = lambda _exchange: None
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    closed: bool = False

    def before(self, exchange: Exchange) -> Answer:
        self.seen.append(("before", exchange.method, exchange.name))
        return self.on_before(exchange)

    def after(self, exchange: Exchange) -> Answer:
        self.seen.append(("after", exchange.method, exchange.name))
        self.results.append(exchange.value())
        return self.on_after(exchange)

    async def close(self) -> None:
        self.closed = True


def later(decision: Decision | None) -> Callable[[Exchange], Answer]:
    async def decide() -> Decision | None:
        await asyncio.sleep(0)
        return decision

    return lambda _exchange: decide()


def now(decision: Decision | None) -> Callable[[Exchange], Answer]:
    return lambda _exchange: decision


def govern(stage: Stage, *probes: Probe, **keys: Any) -> list[Link]:
    """Put *probes* around every request, the first outermost."""
    spec = Spec.model_validate({"use": "annotate", "timeout": 0.3, **keys})
    governance = stage.gateway.governance
    governance.links.all = tuple(Link(spec, f"probe{at}", probe) for at, probe in enumerate(probes))
    governance.active = True
    governance.routes(governance._routing.lists)
    return list(governance.links.all)


def everything() -> FakeServer:
    return FakeServer(
        tools=[tool("echo", annotations={"destructiveHint": False}), tool("drop")],
        prompts=[{"name": "hello"}],
        resources=[{"uri": "note://one", "name": "one"}],
        capabilities={"tools": {}, "prompts": {}, "resources": {"subscribe": True}, "completions": {}},
        answers={
            "completion/complete": lambda server, message: server.result(message, {"completion": {"values": ["x"]}}),
            "resources/subscribe": lambda server, message: server.result(message, {}),
        },
    )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with running(tmp_path) as made:
        yield made


async def serve(stage: Stage, server: FakeServer | None = None, **servers: FakeServer) -> FakeServer:
    first = server or everything()
    await stage.serve(project(servers={"a": {}, **{key: {} for key in servers}}), {"a": first, **servers})
    return first


REQUESTS: dict[str, dict[str, Any]] = {
    "tools/call": {"name": "a__echo", "arguments": {"x": 1}},
    "prompts/get": {"name": "a__hello", "arguments": {"x": "1"}},
    "resources/read": {"uri": "note://one"},
    "completion/complete": {
        "ref": {"type": "ref/prompt", "name": "a__hello"},
        "argument": {"name": "x", "value": "1"},
    },
}
WHEN: dict[str, Callable[[Decision | None], Callable[[Exchange], Answer]]] = {"at once": now, "later": later}


async def ask(stage: Stage, method: str, params: dict[str, Any], era: str, **keys: Any) -> dict[str, Any]:
    if era == "modern":
        return dict((await stage.post(method, params, **keys)).json())
    session = await stage.session(**keys)
    return dict((await session.post(method, params)).json())


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("method", REQUESTS)
async def test_what_is_refused_never_reaches_the_server(stage: Stage, method: str, when: str, era: str) -> None:
    server = await serve(stage)
    outer, inner = Probe(), Probe(on_before=WHEN[when](Refuse("not now: ask Ann", "no-x")))
    govern(stage, outer, inner)
    answered = await ask(stage, method, REQUESTS[method], era)
    assert not [one for one in server.seen if one.get("method") == method]
    if method == "tools/call":
        assert answered["result"]["isError"] is True
        assert answered["result"]["content"][0]["text"] == "not now: ask Ann"
    else:
        assert answered["error"]["message"] == "not now: ask Ann"
        assert answered["error"]["data"] == {"interceptor": "probe1", "rule": "no-x"}
    assert [step for step, _, _ in outer.seen] == ["before", "after"]
    assert [step for step, _, _ in inner.seen] == ["before"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("method", REQUESTS)
async def test_a_result_that_is_refused_never_reaches_the_client(
    stage: Stage, method: str, when: str, era: str
) -> None:
    await serve(stage)
    outer, inner = Probe(), Probe(on_after=WHEN[when](Refuse("not for you")))
    govern(stage, outer, inner)
    answered = json.dumps(await ask(stage, method, REQUESTS[method], era))
    assert "not for you" in answered
    assert '"values"' not in answered
    assert '"contents"' not in answered
    assert '"messages"' not in answered
    assert "not for you" in json.dumps(outer.results)


@pytest.mark.parametrize("when", WHEN)
async def test_arguments_and_results_can_be_changed(stage: Stage, when: str) -> None:
    server = await serve(stage)

    def other(exchange: Exchange) -> Answer:
        return WHEN[when](Change(params={**exchange.params, "arguments": {"y": 2}}))(exchange)

    govern(stage, Probe(on_before=other), Probe(on_after=WHEN[when](Change(result=json.dumps(TEXT).encode()))))
    answered = await ask(stage, "tools/call", REQUESTS["tools/call"], "modern")
    assert answered["result"]["content"] == TEXT["content"]
    assert server.calls[0]["params"]["arguments"] == {"y": 2}


@pytest.mark.parametrize("key", ["name", "uri", "task"])
async def test_an_interceptor_cannot_send_a_request_elsewhere(stage: Stage, key: str) -> None:
    server = await serve(stage)
    govern(stage, Probe(on_before=lambda exchange: Change(params={**exchange.params, key: "drop"})))
    answered = await ask(stage, "tools/call", REQUESTS["tools/call"], "modern")
    assert answered["result"]["isError"] is True
    assert not server.calls


async def test_an_interceptor_can_answer_itself(stage: Stage) -> None:
    server = await serve(stage)
    outer = Probe()
    govern(stage, outer, Probe(on_before=now(Respond(json.dumps(TEXT).encode()))), Probe())
    for era in ("modern", "legacy"):
        answered = await ask(stage, "tools/call", REQUESTS["tools/call"], era)
        assert answered["result"]["content"] == TEXT["content"]
    assert not server.calls
    assert outer.results[0] == TEXT


async def test_before_goes_from_the_outermost_inwards_and_after_back(stage: Stage) -> None:
    await serve(stage)
    order: list[str] = []

    def step(name: str) -> Callable[[Exchange], Answer]:
        def note(_exchange: Exchange) -> None:
            order.append(name)

        return note

    govern(stage, *(Probe(step(f"b{at}"), step(f"a{at}")) for at in range(3)))
    await ask(stage, "tools/call", REQUESTS["tools/call"], "modern")
    assert order == ["b0", "b1", "b2", "a2", "a1", "a0"]


FAILURES: dict[str, Callable[[Exchange], Answer]] = {}


def _failure(name: str) -> Callable[[Callable[[Exchange], Answer]], None]:
    def keep(function: Callable[[Exchange], Answer]) -> None:
        FAILURES[name] = function

    return keep


@_failure("says it failed")
def _says(_exchange: Exchange) -> Answer:
    raise InterceptorFailed("exited with code 1")


@_failure("raises anything")
def _raises(_exchange: Exchange) -> Answer:
    raise KeyError("x")


@_failure("fails later")
def _late(_exchange: Exchange) -> Answer:
    async def fail() -> Decision | None:
        await asyncio.sleep(0)
        raise ValueError("x")

    return fail()


@_failure("hangs")
def _hangs(_exchange: Exchange) -> Answer:
    async def hang() -> Decision | None:
        await asyncio.Event().wait()
        return None

    return hang()


@_failure("answers nonsense")
def _nonsense(_exchange: Exchange) -> Answer:
    return "yes"  # type: ignore[return-value]


@_failure("answers nothing to change")
def _empty(_exchange: Exchange) -> Answer:
    return Change()


@pytest.mark.parametrize("on_failure", ["deny", "allow"])
@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("how", FAILURES)
async def test_a_failing_interceptor_has_the_outcome_that_the_file_says(
    stage: Stage, how: str, phase: str, on_failure: str
) -> None:
    server = await serve(stage)
    probe = Probe(**{f"on_{phase}": FAILURES[how]})
    link = govern(stage, probe, on_failure=on_failure)[0]
    async with asyncio.timeout(5):
        answered = await ask(stage, "tools/call", REQUESTS["tools/call"], "modern")
    refused = answered["result"].get("isError") is True
    assert refused is (on_failure == "deny")
    if phase == "before":
        assert len(server.calls) == (0 if refused else 1)
    assert link.failures == 1
    assert stage.gateway.governance.problems()[0]["name"] == "probe0"


async def test_one_that_hangs_keeps_nobody_else_waiting(stage: Stage) -> None:
    await serve(stage)
    hanging, others = Probe(on_before=FAILURES["hangs"]), Probe()
    govern(stage, hanging, match={"tools": ["drop"]})
    governance = stage.gateway.governance
    governance.links.all = (*governance.links.all, *[Link(Spec(use="annotate"), "others", others)])
    stuck = asyncio.create_task(ask(stage, "tools/call", {"name": "a__drop"}, "modern"))
    await until(lambda: bool(hanging.seen))
    answered = await asyncio.wait_for(ask(stage, "tools/call", REQUESTS["tools/call"], "modern"), 0.25)
    assert not answered["result"].get("isError")
    assert (await stuck)["result"]["isError"] is True


async def test_no_more_at_once_than_it_may_have(stage: Stage) -> None:
    await serve(stage)
    under_way = most = 0

    async def count() -> Decision | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return None

    govern(stage, Probe(on_before=lambda _exchange: count()), concurrency=2, timeout=5)
    await asyncio.gather(*(ask(stage, "tools/call", REQUESTS["tools/call"], "modern") for _ in range(8)))
    assert most == 2


# --- asking the person ------------------------------------------------------------------------------------------------


async def test_a_modern_client_is_asked_and_its_yes_lets_the_call_through(stage: Stage) -> None:
    server = await serve(stage)
    govern(stage, Probe(on_before=now(AskPerson("Really?", "The person said no."))))
    can = {"_meta": {"io.modelcontextprotocol/clientCapabilities": ELICITS}}
    for content, reached in (({"allow": True}, 1), ({"allow": False}, 0), ({}, 0)):
        server.calls.clear()
        first = (await stage.post("tools/call", {**REQUESTS["tools/call"], **can})).json()["result"]
        assert first["resultType"] == "input_required"
        [(key, asked)] = first["inputRequests"].items()
        assert asked["method"] == "elicitation/create"
        assert "Really?" in asked["params"]["message"]
        again = {
            "inputResponses": {key: {"action": "accept", "content": content}},
            "requestState": first["requestState"],
        }
        second = (await stage.post("tools/call", {**REQUESTS["tools/call"], **can, **again})).json()["result"]
        assert len(server.calls) == reached
        assert second.get("isError", False) is not bool(reached)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_client_that_cannot_ask_is_refused(stage: Stage, era: str) -> None:
    server = await serve(stage)
    govern(stage, Probe(on_before=now(AskPerson("Really?", "This needs a person."))))
    async with asyncio.timeout(5):
        if era == "modern":
            answered = (await stage.post("tools/call", REQUESTS["tools/call"])).json()["result"]
        else:
            session = await stage.session()
            response = await session.post("tools/call", REQUESTS["tools/call"])
            answered = _last(response.text)["result"]
    assert answered["content"][0]["text"] == "This needs a person."
    assert not server.calls


def _last(text: str) -> dict[str, Any]:
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ") and len(line) > 6]
    return dict(json.loads(data[-1] if data else text))


# --- the other direction ----------------------------------------------------------------------------------------------

FORM = {"mode": "form", "message": "Your name?", "requestedSchema": {"type": "object", "properties": {}}}


def asking() -> FakeServer:
    """Asks the client before it answers with what it was told."""

    def call(server: FakeServer, message: dict[str, Any]) -> None:
        server.calls.append(message)
        server.send({"jsonrpc": "2.0", "id": "ask", "method": "elicitation/create", "params": FORM})

    def told(server: FakeServer, message: dict[str, Any]) -> None:
        text = json.dumps(message.get("result", message.get("error")))
        server.result(server.calls[-1], {"content": [{"type": "text", "text": text}]})

    return FakeServer(answers={"tools/call": call, None: told})


async def _asked(stage: Stage, content: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """One call of a modern client: what it was asked, and the result."""
    can = {"_meta": {"io.modelcontextprotocol/clientCapabilities": ELICITS}}
    first = (await stage.post("tools/call", {"name": "a__echo", **can})).json()["result"]
    if first["resultType"] != "input_required":
        return None, dict(first)
    [(key, asked)] = first["inputRequests"].items()
    again = {"inputResponses": {key: {"action": "accept", "content": content}}, "requestState": first["requestState"]}
    return dict(asked), dict((await stage.post("tools/call", {"name": "a__echo", **can, **again})).json()["result"])


class Copies:
    """Instances on request, as a server that asks needs."""

    async def start_copy(self, server: str) -> tuple[str, Any]:
        from mcpcompose.engine.base import StreamEndpoint

        return f"{server}-2", StreamEndpoint(asking())

    async def stop_copy(self, server: str, copy: str) -> None: ...

    async def rest(self, server: str) -> None: ...


@pytest.fixture
async def interactive(tmp_path: Path) -> AsyncIterator[Stage]:
    async with running(tmp_path, instances=Copies()) as made:
        await made.serve(project(servers={"a": {"scope": "client"}}), {"a": asking()})
        yield made


@pytest.mark.parametrize("when", WHEN)
async def test_a_server_s_question_passes_the_interceptors_both_ways(interactive: Stage, when: str) -> None:
    stage = interactive
    changed = Change(params={**FORM, "message": "[checked] Your name?"})
    answer = Change(result=b'{"action":"accept","content":{"name":"hidden"}}')
    probe = Probe(
        on_before=lambda e: WHEN[when](changed)(e) if e.method == "elicitation/create" else None,
        on_after=lambda e: WHEN[when](answer)(e) if e.method == "elicitation/create" else None,
    )
    govern(stage, probe)
    asked, result = await _asked(stage, {"name": "Ann"})
    assert asked is not None
    assert "[checked] Your name?" in asked["params"]["message"]
    assert "hidden" in result["content"][0]["text"]
    assert "Ann" not in result["content"][0]["text"]


@pytest.mark.parametrize("when", WHEN)
async def test_a_question_that_is_refused_is_never_shown(interactive: Stage, when: str) -> None:
    refuse = WHEN[when](Refuse("no questions here"))
    govern(interactive, Probe(on_before=lambda e: refuse(e) if e.method == "elicitation/create" else None))
    asked, result = await _asked(interactive, {})
    assert asked is None
    assert "no questions here" in result["content"][0]["text"]


async def test_notifications_can_be_changed_and_held_back(stage: Stage) -> None:
    def speaks(server: FakeServer, message: dict[str, Any]) -> None:
        for text in ("one", "two"):
            params = {"level": "info", "data": text}
            server.send({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
        server.result(message, TEXT)

    def judge(exchange: Exchange) -> Answer:
        if exchange.method != "notifications/message":
            return None
        if exchange.params["data"] == "one":
            return Refuse("no")
        return Change(params={**exchange.params, "data": "changed"})

    server = everything()
    server.answers["tools/call"] = speaks
    await serve(stage, server)
    govern(stage, Probe(on_before=judge))
    session = await stage.session()
    text = (await session.post("tools/call", {"name": "a__echo"})).text
    assert "changed" in text
    assert '"one"' not in text
    assert '"two"' not in text


async def test_lists_pass_those_that_ask_for_them_by_name(stage: Stage) -> None:
    await serve(stage)
    empty = Change(result=b'{"tools":[]}')
    by_name = Probe(on_after=lambda e: empty if e.method == "tools/list" else None)
    govern(stage, by_name, match={"methods": ["tools/list"]})
    for era in ("modern", "legacy"):
        assert (await ask(stage, "tools/list", {}, era))["result"]["tools"] == []
    others = Probe()
    govern(stage, others)
    assert len((await ask(stage, "tools/list", {}, "modern"))["result"]["tools"]) == 2
    assert not others.seen


# --- the choke point --------------------------------------------------------------------------------------------------


async def test_no_way_to_a_server_leads_around_a_rule_that_denies(stage: Stage) -> None:
    server = await serve(stage)
    govern(stage, Probe(on_before=now(Refuse("no"))))
    before = len(server.seen)
    ways: list[Awaitable[Any]] = []
    for path in ("/mcp", "/servers/a/mcp"):
        plain = path != "/mcp"
        for method, params in REQUESTS.items():
            named = {**params, "name": params["name"].removeprefix("a__")} if plain and "name" in params else params
            if plain and "ref" in params:
                named = {**params, "ref": {"type": "ref/prompt", "name": "hello"}}
            ways.append(ask(stage, method, named, "modern", path=path))
            ways.append(ask(stage, method, named, "legacy", path=path))
        ways.append(ask(stage, "resources/subscribe", {"uri": "note://one"}, "legacy", path=path))
        if plain:
            ways.append(ask(stage, "x/unknown", {}, "legacy", path=path))
            ways.append(ask(stage, "tasks/list", {}, "legacy", path=path))
    ways.append(stage.gateway.call("tools/call", REQUESTS["tools/call"]))
    ways.append(stage.gateway.call("tools/call", {"name": "echo"}))
    for answered in await asyncio.gather(*ways):
        assert "no" in json.dumps(answered)
    reached = {one.get("method") for one in server.seen[before:]}
    assert reached <= {"initialize", "server/discover", "notifications/initialized", "tools/list", "prompts/list",
                       "resources/list", "resources/templates/list", "ping", "subscriptions/listen"}  # fmt: skip


async def test_only_what_fits_is_seen(stage: Stage) -> None:
    await serve(stage, b=everything())
    for match, seen in (
        ({"server": ["b"]}, {("tools/call", "echo"), ("resources/read", "note://one")}),
        ({"tools": ["dr*"]}, {("tools/call", "drop")}),
        ({"methods": ["prompts/*"]}, {("prompts/get", "hello")}),
        ({"annotations": {"destructiveHint": True}}, {("tools/call", "drop")}),
        ({"annotations": {"destructiveHint": False}, "server": ["a"]}, {("tools/call", "echo")}),
        ({"client": ["nobody"]}, set()),
        ({"profile": ["default"], "methods": ["prompts/get"]}, {("prompts/get", "hello")}),
    ):
        probe = Probe()
        govern(stage, probe, match=match)
        await ask(stage, "tools/call", {"name": "a__echo"}, "modern")
        await ask(stage, "tools/call", {"name": "a__drop"}, "modern")
        await ask(stage, "prompts/get", {"name": "a__hello"}, "modern")
        if match.get("server") == ["b"]:
            await ask(stage, "tools/call", {"name": "b__echo"}, "modern")
            await ask(stage, "resources/read", {"uri": "b+note://one"}, "modern")
        assert {(method, name) for step, method, name in probe.seen if step == "before"} == seen, match


async def test_clients_without_a_token_are_taken_for_every_client_and_profile(stage: Stage) -> None:
    await serve(stage)
    probe = Probe()
    govern(stage, probe, match={"client": ["cursor"], "profile": ["marketing"]})
    await stage.gateway.call("tools/call", REQUESTS["tools/call"])
    assert probe.seen


async def test_a_warning_lets_it_through(stage: Stage) -> None:
    server = await serve(stage)
    govern(stage, Probe(now(Warn("odd", "r")), now(Warn("odd"))))
    assert not (await ask(stage, "tools/call", REQUESTS["tools/call"], "modern"))["result"].get("isError")
    assert len(server.calls) == 1


async def test_a_call_that_its_client_gives_up_ends_its_interceptor_too(stage: Stage) -> None:
    server = await serve(stage)
    ended = asyncio.Event()

    async def long() -> Decision | None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return None

    [link] = govern(stage, Probe(on_before=lambda _exchange: long()), timeout=60)
    session = await stage.session()
    waiting = asyncio.create_task(session.post("tools/call", {"name": "a__echo"}, id_=7))
    await until(lambda: link.users == 1)
    await session.post("notifications/cancelled", {"requestId": 7}, id_=None)
    await asyncio.wait_for(ended.wait(), 5)
    await waiting
    assert link.users == 0
    assert not server.calls


# --- modern servers: questions and tasks in results ---


def _needs(message: str) -> Any:
    """A modern server's call that needs an answer of the client first."""

    def call(server: FakeServer, request: dict[str, Any]) -> None:
        server.calls.append(request)
        if "inputResponses" in request["params"]:
            server.result(request, {**TEXT, "resultType": "complete"})
            return
        form = {"mode": "form", "message": message, "requestedSchema": {"type": "object", "properties": {}}}
        asks = {"one": {"method": "elicitation/create", "params": form}}
        server.result(request, {"resultType": "input_required", "inputRequests": asks, "requestState": "s"})

    return call


@pytest.mark.parametrize("when", WHEN)
async def test_what_a_modern_server_asks_of_a_modern_client_passes_too(stage: Stage, when: str) -> None:
    server = everything()
    server.modern, server.answers["tools/call"] = True, _needs("Your name?")
    await serve(stage, server)
    can = {"_meta": {"io.modelcontextprotocol/clientCapabilities": ELICITS}}

    def change(exchange: Exchange) -> Answer:
        if exchange.method != "elicitation/create":
            return None
        return WHEN[when](Change(params={**exchange.params, "message": "[checked]"}))(exchange)

    govern(stage, Probe(on_before=change))
    asked = (await stage.post("tools/call", {**REQUESTS["tools/call"], **can})).json()["result"]
    assert asked["inputRequests"]["one"]["params"]["message"] == "[checked]"
    refuse = WHEN[when](Refuse("no questions"))
    govern(stage, Probe(on_before=lambda e: refuse(e) if e.method == "elicitation/create" else None))
    answered = (await stage.post("tools/call", {**REQUESTS["tools/call"], **can})).json()
    assert "no questions" in json.dumps(answered)
    assert "Your name?" not in json.dumps(answered)


async def test_a_handshake_client_s_question_of_a_modern_server_passes_too(stage: Stage) -> None:
    server = everything()
    server.modern, server.answers["tools/call"] = True, _needs("Your name?")
    await serve(stage, server)
    govern(stage, Probe(on_before=lambda e: Refuse("no") if e.method == "elicitation/create" else None))
    session = await stage.session(capabilities=ELICITS)
    text = (await session.post("tools/call", REQUESTS["tools/call"])).text
    assert "Your name?" not in text


async def test_the_result_of_a_task_passes_what_its_call_would_have_passed(stage: Stage) -> None:
    tasks = {"extensions": {"io.modelcontextprotocol/tasks": {}}}

    def begins(server: FakeServer, request: dict[str, Any]) -> None:
        server.result(request, {"resultType": "task", "taskId": "t1", "status": "working", "pollIntervalMs": 50})

    def told(server: FakeServer, request: dict[str, Any]) -> None:
        done = {"resultType": "complete", "taskId": "t1", "status": "completed", "result": TEXT}
        server.result(request, done)

    server = everything()
    server.modern = True
    server.capabilities = {"tools": {}, **tasks}
    server.answers |= {"tools/call": begins, "tasks/get": told}
    await serve(stage, server)
    probe = Probe(on_after=lambda e: Refuse("secret result") if b"mine" in (e.result or b"") else None)
    govern(stage, probe, match={"tools": ["echo"]})
    can = {"_meta": {"io.modelcontextprotocol/clientCapabilities": tasks}}
    task = (await stage.post("tools/call", {**REQUESTS["tools/call"], **can})).json()["result"]
    assert task["resultType"] == "task"
    got = (await stage.post("tasks/get", {"taskId": task["taskId"], **can})).json()
    assert "mine" not in json.dumps(got)
    assert "secret result" in json.dumps(got)


async def test_a_subscription_of_a_modern_client_passes_too(stage: Stage) -> None:
    server = await serve(stage)
    govern(stage, Probe(on_before=lambda e: Refuse("no") if e.method == "resources/subscribe" else None))
    body = {"notifications": {"resourceSubscriptions": ["note://one"]}}
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    content = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {**body, "_meta": meta}}
    )
    headers = {
        "authorization": f"Bearer {stage.token()}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "subscriptions/listen",
    }
    async with stage.http.stream("POST", stage.url, content=content, headers=headers) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                told = json.loads(line[6:])
                assert told["params"]["notifications"] == {"resourceSubscriptions": []}
                break
    assert not [one for one in server.seen if one.get("method") == "resources/subscribe"]


async def test_a_yes_that_cannot_be_remembered_is_a_failure_of_the_interceptor(stage: Stage) -> None:
    server = await serve(stage)

    def forgetful() -> None:
        raise OSError("disk full")

    govern(stage, Probe(on_before=now(AskPerson("Really?", "no", accepted=forgetful))))
    can = {"_meta": {"io.modelcontextprotocol/clientCapabilities": ELICITS}}
    first = (await stage.post("tools/call", {**REQUESTS["tools/call"], **can})).json()["result"]
    yes = {key: {"action": "accept", "content": {"allow": True}} for key in first["inputRequests"]}
    again = {"inputResponses": yes, "requestState": first["requestState"]}
    async with asyncio.timeout(5):
        second = (await stage.post("tools/call", {**REQUESTS["tools/call"], **can, **again})).json()["result"]
    assert second["isError"] is True
    assert not server.calls


# --- what a second pair of eyes found ---


async def test_an_interceptor_that_cannot_be_made_fails_after_a_call_too(stage: Stage) -> None:
    server = await serve(stage)
    governance = stage.gateway.governance
    spec = Spec.model_validate({"use": "annotate", "when": "after"})
    governance.links.all = (Link(spec, "broken", Broken("no such file")),)
    governance.active = True
    answered = await ask(stage, "tools/call", REQUESTS["tools/call"], "modern")
    assert answered["result"]["isError"] is True
    assert "broken" in answered["result"]["content"][0]["text"]
    assert len(server.calls) == 1


@pytest.mark.parametrize("spelling", [r'"result\u0054ype":"input_required"', r'"resultType":"input\u005frequired"'])
async def test_escapes_do_not_hide_a_modern_server_s_questions(stage: Stage, spelling: str) -> None:
    def call(server: FakeServer, request: dict[str, Any]) -> None:
        form = json.dumps(FORM)
        asks = f'{{"one":{{"method":"elicitation/create","params":{form}}}}}'
        result = f'{{{spelling},"inputRequests":{asks},"requestState":"s"}}'
        server.put(f'{{"jsonrpc":"2.0","id":{json.dumps(request["id"])},"result":{result}}}\n'.encode())

    server = everything()
    server.modern, server.answers["tools/call"] = True, call
    await serve(stage, server)
    can = {"_meta": {"io.modelcontextprotocol/clientCapabilities": ELICITS}}
    govern(stage, Probe(on_before=lambda e: Refuse("no") if e.method == "elicitation/create" else None))
    assert "Your name?" not in (await stage.post("tools/call", {**REQUESTS["tools/call"], **can})).text
    govern(stage, Probe())
    asked = (await stage.post("tools/call", {**REQUESTS["tools/call"], **can})).json()["result"]
    assert asked["resultType"] == "input_required"
    assert asked["requestState"] != "s", "a server's state is sealed"


async def test_what_an_interceptor_waits_for_being_cancelled_is_its_failure(stage: Stage) -> None:
    await serve(stage)

    async def cancelled() -> Decision | None:
        raise asyncio.CancelledError

    [link] = govern(stage, Probe(on_before=lambda _exchange: cancelled()))
    async with asyncio.timeout(5):
        answered = await ask(stage, "tools/call", REQUESTS["tools/call"], "modern")
    assert answered["result"]["isError"] is True
    assert link.users == 0


async def test_a_session_does_not_end_while_a_request_of_it_is_under_way(stage: Stage) -> None:
    server = everything()
    answers: list[dict[str, Any]] = []
    server.answers["tools/call"] = lambda _server, message: answers.append(message)
    await serve(stage, server)
    sessions = stage.gateway.governance.sessions
    sessions.idle = 0.0
    govern(stage, Probe(on_after=lambda e: e.session.label("private", "a/echo")))
    waiting = asyncio.create_task(ask(stage, "tools/call", REQUESTS["tools/call"], "modern"))
    await until(lambda: bool(answers))
    before = sessions.of("default")
    server.result(answers[0], TEXT)
    await waiting
    assert before.has("private") == "a/echo"
    assert before.users == 0


async def test_questions_in_a_task_pass_too(stage: Stage) -> None:
    tasks = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    form = {"mode": "form", "message": "Your name?", "requestedSchema": {"type": "object", "properties": {}}}

    def begins(server: FakeServer, request: dict[str, Any]) -> None:
        server.result(request, {"resultType": "task", "taskId": "t1", "status": "working", "pollIntervalMs": 50})

    def told(server: FakeServer, request: dict[str, Any]) -> None:
        asks = {"one": {"method": "elicitation/create", "params": form}}
        done = {"resultType": "complete", "taskId": "t1", "status": "input_required", "inputRequests": asks}
        server.result(request, done)

    server = everything()
    server.modern = True
    server.capabilities = {"tools": {}, **tasks}
    server.answers |= {"tools/call": begins, "tasks/get": told}
    await serve(stage, server)
    govern(stage, Probe(on_before=lambda e: Refuse("no") if e.method == "elicitation/create" else None))
    can = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {**tasks, **ELICITS}}}
    task = (await stage.post("tools/call", {**REQUESTS["tools/call"], **can})).json()["result"]
    assert "Your name?" not in (await stage.post("tasks/get", {"taskId": task["taskId"], **can})).text


async def test_a_list_of_several_servers_is_seen_by_who_asks_for_one_of_them(stage: Stage) -> None:
    await serve(stage, b=everything())
    probe = Probe()
    govern(stage, probe, match={"server": ["b"], "methods": ["tools/list"]})
    await ask(stage, "tools/list", {}, "modern")
    assert ("after", "tools/list", None) in probe.seen


async def test_log_levels_pass_too(stage: Stage) -> None:
    server = everything()
    server.capabilities = {**server.capabilities, "logging": {}}
    await serve(stage, server)
    govern(stage, Probe(on_before=lambda e: Refuse("no levels") if e.method == "logging/setLevel" else None))
    session = await stage.session()
    answered = (await session.post("logging/setLevel", {"level": "debug"})).json()
    assert answered["error"]["message"] == "no levels"
    assert not [one for one in server.seen if one.get("method") == "logging/setLevel"]
