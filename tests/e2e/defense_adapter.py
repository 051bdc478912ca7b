"""
mcp-defense-bench through the real gateway: each fixture becomes MCP traffic, and what came through is compared.

What it says of a fixture is what the gateway did to it, with the interceptors of `examples/guarded` as they are.
Fixtures that are no traffic of a gateway (tokens of other systems, consent screens) are not said anything of.
"""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from mcp_defense_bench import AdapterMeta, Verdict

from gateway.stage import MODERN, FakeServer, Stage, project, running
from mcpcompose.gateway.gateway import Governed
from mcpcompose.orchestrator.approval import forms
from mcpcompose.redact import Redactor
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.project import Gateway
from orchestrator.stage import project as declared

CAN = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
META = {"_meta": {"io.modelcontextprotocol/clientCapabilities": CAN}}
_EMPTY = {"type": "object"}
_VALUES: dict[str, Any] = {"string": "x", "number": 0, "integer": 0, "boolean": False, "array": [], "object": {}}


class ThroughTheGateway:
    """An adapter of the benchmark; *interceptors* are those of the file."""

    def __init__(self, interceptors: tuple[Interceptor, ...]) -> None:
        self._interceptors = interceptors
        self._kinds = {
            "malicious-tool-definition": self._definition,
            "benign-tool-definition": self._definition,
            "malicious-tool-result": self._result,
            "benign-tool-result": self._result,
            "tool-call": self._call,
            "tool-call-sequence": self._sequence,
            "definition-change": self._change,
            "cache-invalidation": self._invalidation,
            "http-request": self._http,
            "input-required-result": self._input_required,
            "mrtr-retry": self._retry,
            "multi-server-registry": self._registry,
            "list-result": self._list_result,
            "task-lifecycle": self._task,
            "ui-resource": self._resource,
            "scenario": self._scenario,
        }
        self.meta = AdapterMeta(
            tool="mcp-compose", class_="gateway", reproducible=True, fixture_types=tuple(self._kinds)
        )

    async def assess(self, fixture: Mapping[str, Any], _testcase: Mapping[str, Any]) -> Verdict:
        """What the gateway did with *fixture*: let it through, said something, or stopped or changed it."""
        return await self._kinds[fixture["type"]](copy.deepcopy(dict(fixture)))

    @contextlib.asynccontextmanager
    async def _serving(self, servers: Mapping[str, FakeServer], **keys: Any) -> AsyncIterator[Stage]:
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder)
            governed = Governed(state / "sessions.json", state / "audit", Redactor(), dict)
            async with running(state, governed=governed, accepted=state / "accepted.json") as stage:
                clients = {"alice": "default", "bob": "default", "mallory": "default"}
                what = project(
                    servers={key: {} for key in servers}, interceptors=self._interceptors, clients=clients, **keys
                )
                await stage.serve(what, dict(servers))
                yield stage

    def _warned(self, stage: Stage) -> bool:
        """Whether anything was noticed that was let through."""
        return any(line.withheld or line.reason for line in stage.gateway.status())

    # --- definitions --------------------------------------------------------------------------------------------------

    async def _definition(self, fixture: dict[str, Any]) -> Verdict:
        return await self._shown({"server": [_tool(fixture["tool"])]})

    async def _registry(self, fixture: dict[str, Any]) -> Verdict:
        return await self._shown({one["server"]: [_tool(tool) for tool in one["tools"]] for one in fixture["servers"]})

    async def _shown(self, tools: dict[str, list[dict[str, Any]]]) -> Verdict:
        servers = {name: FakeServer(tools=items) for name, items in tools.items()}
        async with self._serving(servers) as stage:
            shown = {
                one["_mcpcompose"]["server"] + "/" + one["_mcpcompose"]["name"]: one for one in stage.gateway.tools()
            }
            for name, items in tools.items():
                for item in items:
                    seen = shown.get(f"{name}/{item['name']}")
                    if seen is None or seen.get("description") != item.get("description"):
                        return Verdict(detect=True, enforce=True, signal=f"{item['name']} withheld or changed")
            noticed = self._warned(stage)
            return Verdict(detect=noticed, enforce=False, signal="noticed" if noticed else "")

    async def _change(self, fixture: dict[str, Any]) -> Verdict:
        return await self._swapped(_tool(fixture["before"]), _tool(fixture["after"]))

    async def _invalidation(self, fixture: dict[str, Any]) -> Verdict:
        before, after = fixture["cached"]["result"]["tools"][0], fixture["upstreamNow"]["tools"][0]
        return await self._swapped(_tool(before), _tool(after), tell=fixture["notification"] is not None)

    async def _swapped(self, before: dict[str, Any], after: dict[str, Any], *, tell: bool = True) -> Verdict:
        server = FakeServer(tools=[before])
        async with self._serving({"server": server}) as stage:
            server.tools = [after]
            if tell:
                server.changed()
                await _until_listed_again(server)
            stage.gateway._swap_now()
            tools = (await stage.post("tools/list")).json()["result"]["tools"]
            expected = {**after, "name": f"server__{after['name']}"}
            if [one.get("description") for one in tools] == [expected.get("description")]:
                return Verdict(detect=self._warned(stage), enforce=False, signal="")
            return Verdict(detect=True, enforce=True, signal="the changed tool is withheld")

    async def _list_result(self, fixture: dict[str, Any]) -> Verdict:
        given = fixture["result"]
        server = FakeServer(modern=True, capabilities={"tools": {}})
        server.answers["tools/list"] = lambda one, message: one.result(message, given)
        auth = Gateway(auth="token" if fixture.get("authenticated") else "none")
        async with self._serving({"server": server}, gateway=auth) as stage:
            got = (await stage.post("tools/list", path="/servers/server/mcp")).json()["result"]
            same = [one.get("description") for one in got["tools"]] == [
                one.get("description") for one in given["tools"]
            ]
            hints = all(got.get(key) == given[key] for key in ("ttlMs", "cacheScope") if key in given)
            changed = not (same and hints)
            return Verdict(detect=changed, enforce=changed, signal="the list or its cache hints were changed")

    # --- calls and results --------------------------------------------------------------------------------------------

    async def _call(self, fixture: dict[str, Any]) -> Verdict:
        return await self._sequence({**fixture, "calls": [fixture["call"]]})

    async def _result(self, fixture: dict[str, Any]) -> Verdict:
        tool = _tool(fixture["tool"])
        call = fixture.get("call") or {"name": tool["name"], "arguments": _placeholder(tool["inputSchema"])}
        return await self._sequence({**fixture, "calls": [{**call, "result": fixture["result"]}]})

    async def _sequence(self, fixture: dict[str, Any]) -> Verdict:
        calls = fixture["calls"]
        servers: dict[str, FakeServer] = {}
        for one in calls:
            server = servers.setdefault(one.get("server", "server"), FakeServer(tools=[]))
            tool = fixture.get("tool") if fixture.get("tool", {}).get("name") == one["name"] else None
            if not any(known["name"] == one["name"] for known in server.tools):
                server.tools.append(_tool(tool or {"name": one["name"]}))
        async with self._serving(servers) as stage:
            previous = ""
            for one in calls:
                server = servers[one.get("server", "server")]
                given = one.get("result") or {"content": [{"type": "text", "text": "ok"}]}
                server.answers["tools/call"] = _answering(given)
                arguments = json.loads(json.dumps(one.get("arguments", {})).replace("{{result_of_previous}}", previous))
                name = f"{one.get('server', 'server')}__{one['name']}"
                before = len(server.calls)
                got = (await stage.post("tools/call", {"name": name, "arguments": arguments, **META})).json()
                if len(server.calls) == before:
                    return Verdict(detect=True, enforce=True, signal=f"{one['name']} was refused")
                if server.calls[-1]["params"].get("arguments") != arguments:
                    return Verdict(detect=True, enforce=True, signal="the arguments were changed")
                if got.get("result", {}).get("content") != given["content"]:
                    return Verdict(detect=True, enforce=True, signal="the result was changed")
                previous = given["content"][0]["text"]
            return Verdict(detect=False, enforce=False, signal="")

    async def _scenario(self, fixture: dict[str, Any]) -> Verdict:
        if "action" in fixture:
            return await self._sequence({"calls": [fixture["action"]]})
        if "request" in fixture:
            said = fixture["request"]
            async with self._serving({"server": FakeServer()}) as stage:
                port = stage.gateway.port
                headers = {"origin": said["origin"].replace(":7000", f":{port}")} if "origin" in said else {}
                response = await stage.post("tools/list", headers=headers)
                return Verdict(detect=response.status_code != 200, enforce=response.status_code != 200, signal="origin")
        url = fixture.get("endpoint") or next(word for word in fixture["setup"].split() if "://" in word).rstrip(".")
        waits = forms(declared(servers={"a": {"url": url}}), variables={}, digests={}, home=Path("/home/someone"))
        return Verdict(detect=bool(waits), enforce=bool(waits), signal="not before a person approved it")

    # --- the wire -----------------------------------------------------------------------------------------------------

    async def _http(self, fixture: dict[str, Any]) -> Verdict:
        body = fixture["body"]
        params = body["params"]
        server = FakeServer(modern=True, tools=[_tool({"name": params.get("name", "any")})])
        server.capabilities = {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
        for method in ("tasks/update", "tasks/get"):
            server.answers[method] = lambda one, message: one.result(message, {"resultType": "complete"})
        meta = params.setdefault("_meta", {})
        if "io.modelcontextprotocol/protocolVersion" in meta:
            meta.setdefault("io.modelcontextprotocol/clientCapabilities", CAN)
        async with self._serving({"server": server}) as stage:
            path = "/servers/server/mcp"
            headers = {
                "authorization": f"Bearer {stage.token()}",
                "content-type": "application/json",
                "accept": "application/json, text/event-stream",
                **{name.lower(): value for name, value in fixture["headers"].items()},
            }
            if not meta:  # a client of before: it has shaken hands
                headers["mcp-session-id"] = str((await stage.session(path=path)).id)
            response = await stage.http.post(stage.base + path, content=json.dumps(body).encode(), headers=headers)
            refused = response.status_code >= 400
            return Verdict(detect=refused, enforce=refused, signal=f"HTTP {response.status_code}")

    async def _input_required(self, fixture: dict[str, Any]) -> Verdict:
        request = fixture["onRequest"]["params"]
        server = FakeServer(modern=True, tools=[_tool({"name": request["name"]})])
        server.answers["tools/call"] = lambda one, message: one.result(message, fixture["result"])
        async with self._serving({"server": server}) as stage:
            got = (await stage.post("tools/call", {**request, "name": f"server__{request['name']}", **META})).json()
            asked = got.get("result", {}).get("inputRequests")
            stopped = asked is None or [one["params"] for one in asked.values()] != [
                one["params"] for one in fixture["result"]["inputRequests"].values()
            ]
            return Verdict(detect=stopped, enforce=stopped, signal="the question was stopped or changed")

    async def _retry(self, fixture: dict[str, Any]) -> Verdict:
        """The client gets the gateway's own state; who changes it, or has it from somebody else, comes no further."""
        issued = fixture.get("issued") or {
            "resultType": "input_required", "inputRequests": {}, "requestState": fixture["requestState"],
        }  # fmt: skip
        name = fixture.get("originalRequest", {}).get("name") or fixture["tamperedRetry"]["params"]["name"]
        arguments = fixture.get("tamperedRetry", {}).get("params", {}).get("arguments", {})
        first, second = (
            (fixture["issuedTo"]["principal"], fixture["replayedBy"]["principal"])
            if "issuedTo" in fixture
            else ("alice",) * 2
        )
        server = FakeServer(modern=True, tools=[_tool({"name": name})])
        reached: list[Any] = []

        def call(one: FakeServer, message: dict[str, Any]) -> None:
            if "requestState" in message["params"]:
                reached.append(message)
                one.result(message, {"resultType": "complete", "content": [{"type": "text", "text": "done"}]})
            else:
                one.result(message, issued)

        server.answers["tools/call"] = call
        async with self._serving({"server": server}) as stage:
            request = {"name": f"server__{name}", "arguments": arguments, **META}
            given = (await stage.post("tools/call", request, client=first)).json()["result"]["requestState"]
            said = fixture.get("tamperedRetry", {}).get("params", {})
            state = said["requestState"] if said and said["requestState"] != issued["requestState"] else given
            again = {**request, "requestState": state, "inputResponses": said.get("inputResponses", {})}
            await stage.post("tools/call", again, client=second)
            return Verdict(detect=not reached, enforce=not reached, signal="the state was refused")

    async def _task(self, fixture: dict[str, Any]) -> Verdict:
        """Tasks get ids of the gateway's; a probe uses what its principal has: its own, or a guess."""
        server = FakeServer(modern=True, tools=[_tool({"name": "work"})])
        server.capabilities = {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
        ids = iter([one["taskId"] for one in fixture["issued"]])
        reached: list[Any] = []

        def call(one: FakeServer, message: dict[str, Any]) -> None:
            one.result(message, {"resultType": "task", "taskId": next(ids), "status": "working", "pollIntervalMs": 50})

        def told(one: FakeServer, message: dict[str, Any]) -> None:
            reached.append(message)
            one.result(message, {"resultType": "complete", "taskId": message["params"]["taskId"], "status": "working"})

        server.answers |= {"tools/call": call, "tasks/get": told}
        async with self._serving({"server": server}) as stage:
            given: dict[tuple[str, str], str] = {}
            for one in fixture["issued"]:
                got = (await stage.post("tools/call", {"name": "server__work", **META}, client=one["principal"])).json()
                given[one["principal"], one["taskId"]] = got["result"]["taskId"]
            probe = fixture["probe"]
            wanted = probe["params"]["taskId"]
            wanted = given.get((probe["principal"], wanted), wanted)
            await stage.post(probe["method"], {"taskId": wanted, **META}, client=probe["principal"])
            return Verdict(detect=not reached, enforce=not reached, signal="the task is another client's, or nobody's")

    async def _resource(self, fixture: dict[str, Any]) -> Verdict:
        uri, html = fixture["uri"], fixture["html"]
        server = FakeServer(resources=[{"uri": uri, "name": "ui", "mimeType": fixture["mimeType"]}])
        content = {"contents": [{"uri": uri, "mimeType": fixture["mimeType"], "text": html}]}
        server.answers["resources/read"] = lambda one, message: one.result(message, content)
        async with self._serving({"server": server}) as stage:
            got = (await stage.post("resources/read", {"uri": uri})).json()
            seen = got.get("result", {}).get("contents", [{}])[0].get("text")
            return Verdict(detect=seen != html, enforce=seen != html, signal="the page was stopped or changed")


def _tool(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"inputSchema": _EMPTY, **given}


def _placeholder(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {
        name: properties.get(name, {}).get("enum", [_VALUES.get(properties.get(name, {}).get("type"), "x")])[0]
        for name in schema.get("required", ())
    }


def _answering(result: Mapping[str, Any]) -> Any:
    def call(server: FakeServer, message: dict[str, Any]) -> None:
        server.calls.append(message)
        server.result(message, result)

    return call


async def _until_listed_again(server: FakeServer) -> None:
    from gateway.stage import until

    def lists() -> int:
        return sum(one.get("method") == "tools/list" for one in server.seen)

    before = lists()
    with contextlib.suppress(TimeoutError):
        await until(lambda: lists() > before, 2)


__all__ = ["MODERN", "ThroughTheGateway"]
