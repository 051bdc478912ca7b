"""The server: what it answers to each method, in the form it has on the wire."""

from __future__ import annotations

import json
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import anyio
import mcp_types as types
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourceUpdated, ToolsListChanged
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from conformance.everything import asking, catalog
from conformance.everything.catalog import Wire, text
from conformance.everything.flows import Context, run

NAME = "everything"
BEAT = 0.05  # the suite wants to see what arrives while a tool works
RESOURCE_NOT_FOUND = -32002


class Everything:
    """What the server remembers, and its handlers."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.tools = {**catalog.TOOL_SCHEMAS, **dict.fromkeys(asking.TOOLS, catalog.NOTHING)}
        self.tools.update({name: catalog.TOOL_SCHEMAS[name] for name in ("test_sampling", "test_elicitation")})
        self.prompts = list(catalog.PROMPTS)
        self.subscribed: set[str] = set()
        self.tickets: set[str] = set()
        self._calls: dict[str, Callable[[Context, Wire], Awaitable[Wire | str]]] = {
            "test_tool_with_logging": self._log,
            "test_logging_tool": self._log,
            "test_tool_with_progress": self._progress,
            "test_error_handling": self._fail,
            "test_reconnection": self._reconnect,
            "test_trigger_tool_change": self._change_tools,
            "test_trigger_prompt_change": self._change_prompts,
            "test_trigger_resource_update": self._update_resource,
            "test_custom_headers": self._headers,
            "json_schema_2020_12_tool": self._echo,
            catalog.COMES_AND_GOES: self._echo,
        }

    # --- tools

    async def list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> Wire:
        return {"tools": [catalog.tool(name, schema) for name, schema in self.tools.items()]}

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> Wire:
        arguments = params.arguments or {}
        if params.name not in self.tools:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        if params.name in catalog.FIXED_RESULTS:
            return {"content": catalog.FIXED_RESULTS[params.name]}
        if params.name in asking.TOOLS:
            outcome = await run(context, asking.TOOLS[params.name], arguments, params)
        elif params.name == "test_page_first":
            outcome = await self._page_first(context, arguments, params)
        else:
            outcome = await self._calls[params.name](context, arguments)
        return {"content": [text(outcome)]} if isinstance(outcome, str) else outcome

    async def _log(self, context: Context, arguments: Wire) -> str:
        for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await log(context, message)
            await anyio.sleep(BEAT)
        return "Tool with logging executed successfully"

    async def _progress(self, context: Context, arguments: Wire) -> str:
        for done in (0, 50, 100):
            await context.session.report_progress(done, 100, f"{done} of 100")
            await anyio.sleep(BEAT)
        return "Tool with progress executed successfully"

    async def _fail(self, context: Context, arguments: Wire) -> Wire:
        return {"content": [text("This tool intentionally returns an error for testing")], "isError": True}

    async def _reconnect(self, context: Context, arguments: Wire) -> str:
        await log(context, "Before the stream closes")
        if context.close_sse_stream is not None:
            await context.close_sse_stream()
        await anyio.sleep(BEAT * 4)
        await log(context, "After the stream closed")
        return "Reconnection test completed"

    async def _change_tools(self, context: Context, arguments: Wire) -> str:
        if self.tools.pop(catalog.COMES_AND_GOES, None) is None:
            self.tools[catalog.COMES_AND_GOES] = catalog.NOTHING
        await self.bus.publish(ToolsListChanged())
        if not modern(context):
            await context.session.send_tool_list_changed()
        return "The list of tools changed"

    async def _change_prompts(self, context: Context, arguments: Wire) -> str:
        extra = {"name": catalog.COMES_AND_GOES, "description": "a prompt that comes and goes"}
        self.prompts = list(catalog.PROMPTS) if extra in self.prompts else [*catalog.PROMPTS, extra]
        await self.bus.publish(PromptsListChanged())
        if not modern(context):
            await context.session.send_prompt_list_changed()
        return "The list of prompts changed"

    async def _update_resource(self, context: Context, arguments: Wire) -> str:
        uri = str(arguments["uri"])
        await self.bus.publish(ResourceUpdated(uri))
        if uri in self.subscribed and not modern(context):
            await context.session.send_resource_updated(uri)
        return f"{uri} changed"

    async def _page_first(self, context: Context, arguments: Wire, params: types.CallToolRequestParams) -> Wire | str:
        """Turn a legacy client away with the page that it must visit before it calls again, as 2025-11-25 has it."""
        ticket = str(arguments["ticket"])
        if modern(context):
            return await run(context, asking.PAGE_FIRST, arguments, params)
        if ticket in self.tickets:
            return "The page was visited"
        self.tickets.add(ticket)
        pages = [request["params"] for request in asking.VISIT.values()]
        raise MCPError(types.URL_ELICITATION_REQUIRED, "A page has to be visited first", {"elicitations": pages})

    async def _headers(self, context: Context, arguments: Wire) -> str:
        return f"region={arguments.get('region')}"

    async def _echo(self, context: Context, arguments: Wire) -> str:
        return json.dumps(arguments, sort_keys=True)

    # --- prompts

    async def list_prompts(self, context: Context, params: types.PaginatedRequestParams | None) -> Wire:
        return {"prompts": self.prompts}

    async def get_prompt(self, context: Context, params: types.GetPromptRequestParams) -> Wire:
        arguments = params.arguments or {}
        if params.name == "test_input_required_result_prompt":
            outcome = await run(context, asking.PROMPT, dict(arguments), params)
            return messages(text(outcome)) if isinstance(outcome, str) else outcome
        if params.name == "test_prompt_with_arguments":
            return messages(text(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'"))
        if params.name == "test_prompt_with_embedded_resource":
            embedded = catalog.resource(
                arguments["resourceUri"], "text/plain", "Embedded resource content for testing."
            )
            return messages(embedded, text("Please process the embedded resource above."))
        if params.name == "test_prompt_with_image":
            return messages(catalog.image(), text("Please analyze the image above."))
        if params.name in {"test_simple_prompt", catalog.COMES_AND_GOES}:
            return messages(text("This is a simple prompt for testing."))
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")

    async def complete(self, context: Context, params: types.CompleteRequestParams) -> Wire:
        values = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
        return {"completion": {"values": values, "total": len(values), "hasMore": False}}

    # --- resources

    async def list_resources(self, context: Context, params: types.PaginatedRequestParams | None) -> Wire:
        return {"resources": catalog.RESOURCES}

    async def list_templates(self, context: Context, params: types.PaginatedRequestParams | None) -> Wire:
        return {"resourceTemplates": catalog.TEMPLATES}

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> Wire:
        uri = params.uri
        if uri == "test://static-binary":
            return {"contents": [{"uri": uri, "mimeType": "image/png", "blob": catalog.PIXEL}]}
        if uri in {"test://static-text", "test://watched-resource"}:
            content = f"This is the content of the {uri.removeprefix('test://').replace('-', ' ')} resource."
            return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": content}]}
        if uri.startswith("test://template/") and uri.endswith("/data"):
            number = uri.removeprefix("test://template/").removesuffix("/data")
            data = json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})
            return {"contents": [{"uri": uri, "mimeType": "application/json", "text": data}]}
        code = types.INVALID_PARAMS if modern(context) else RESOURCE_NOT_FOUND
        raise MCPError(code, "Resource not found", {"uri": uri})

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        self.subscribed.add(params.uri)
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self.subscribed.discard(params.uri)
        return types.EmptyResult()

    async def set_level(self, context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        return types.EmptyResult()


def modern(context: Context) -> bool:
    """Tell the era of a request."""
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def messages(*blocks: Wire) -> Wire:
    """Give a prompt that says these blocks, one message each."""
    return {"messages": [{"role": "user", "content": block} for block in blocks]}


async def log(context: Context, message: str) -> None:
    """Log on the stream of this request."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        await context.session.send_log_message("info", message, "everything", related_request_id=context.request_id)


def finished(handler: Callable[[Context, Any], Awaitable[Wire]]) -> Callable[[Context, Any], Awaitable[Any]]:
    """Say in a modern result that it is complete, unless it says what it is."""

    async def answer(context: Context, params: Any) -> Wire:
        result = await handler(context, params)
        return {"resultType": "complete", **result} if modern(context) else result

    return answer


class ChangingServer(Server[Any]):
    """A server that says in `initialize`, too, that its lists change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        changing = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(
            notification_options or changing, experimental_capabilities, extensions
        )


def build() -> Server[Any]:
    """Make the server, with a state of its own."""
    everything = Everything()
    hint = CacheHint(ttl_ms=1000, scope="public")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        server = ChangingServer(
            NAME,
            version="1.0.0",
            instructions="Exercises everything the protocol has.",
            cache_hints=dict.fromkeys(get_args(CacheableMethod), hint),
            get_tool_input_schema=everything.tools.get,
            on_list_tools=finished(everything.list_tools),
            on_call_tool=finished(everything.call_tool),
            on_list_prompts=finished(everything.list_prompts),
            on_get_prompt=finished(everything.get_prompt),
            on_completion=finished(everything.complete),
            on_list_resources=finished(everything.list_resources),
            on_list_resource_templates=finished(everything.list_templates),
            on_read_resource=finished(everything.read),
            on_subscribe_resource=everything.subscribe,
            on_unsubscribe_resource=everything.unsubscribe,
            on_set_logging_level=everything.set_level,
            on_subscriptions_listen=ListenHandler(everything.bus),
        )
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server
