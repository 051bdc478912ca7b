"""Tools and prompts that ask back: one description each, asked as the era of the request wants it.

A legacy client is sent real requests on the stream of its call. A modern one gets `input_required` and calls again;
what it answered in earlier rounds travels in the request state, which `RequestStateBoundary` seals.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

from conformance.everything.catalog import Wire, text

Context = ServerRequestContext[Any, Any]
Asked = dict[str, Wire]
ANSWERS: dict[str, type[BaseModel]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}


@dataclass(frozen=True)
class Flow:
    """Rounds of questions and what to say when all are answered."""

    rounds: Callable[[Wire], list[Asked]]
    finish: Callable[[Wire, dict[str, Wire]], str]
    state: bool = False
    only_declared: bool = False


def form(message: str, properties: Wire, required: list[str] | None = None) -> Wire:
    """Ask a person to fill in a form."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def link(message: str, url: str, elicitation: str) -> Wire:
    """Ask a person to visit a page."""
    params = {"mode": "url", "message": message, "url": url, "elicitationId": elicitation}
    return {"method": "elicitation/create", "params": params}


def sample(prompt: str, tokens: int) -> Wire:
    """Ask the client's model."""
    message = {"role": "user", "content": text(prompt)}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": tokens}}


ROOTS: Wire = {"method": "roots/list", "params": {}}
STRING: Wire = {"type": "string"}


def needed(request: Wire) -> Wire:
    """Give the capability that a client must have declared to be asked this."""
    if request["method"] == "sampling/createMessage":
        return {"sampling": {}}
    if request["method"] == "roots/list":
        return {"roots": {}}
    return {"elicitation": {request["params"]["mode"]: {}}}


def declared(context: Context, request: Wire) -> bool:
    """Tell whether the client of this request can be asked this; a bare `elicitation: {}` means forms."""
    capabilities = context.session.client_capabilities
    said = {} if capabilities is None else capabilities.model_dump(by_alias=True, exclude_none=True)
    ((kind, modes),) = needed(request).items()
    if kind not in said:
        return False
    return kind != "elicitation" or "url" not in modes or "url" in said["elicitation"]


async def run(context: Context, flow: Flow, arguments: Wire, params: types.InputResponseRequestParams) -> Wire | str:
    """Give the flow's closing words, or the `input_required` result to be answered first."""
    rounds = [dict(asked) for asked in flow.rounds(arguments)]
    for asked in rounds:
        for key, request in list(asked.items()):
            if declared(context, request):
                continue
            if not flow.only_declared:
                raise MCPError(
                    types.MISSING_REQUIRED_CLIENT_CAPABILITY,
                    f"the client did not declare what `{request['method']}` needs",
                    {"requiredCapabilities": needed(request)},
                )
            del asked[key]
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return _next_round(flow, rounds, arguments, params)
    answers: dict[str, Wire] = {}
    for asked in rounds:
        answers.update(await _ask(context, asked))
    return flow.finish(arguments, answers)


def _next_round(
    flow: Flow, rounds: list[Asked], arguments: Wire, params: types.InputResponseRequestParams
) -> Wire | str:
    state: Wire = json.loads(params.request_state) if params.request_state else {"round": 0, "answers": {}}
    responses = params.input_responses or {}
    given = {key: answer.model_dump(by_alias=True, mode="json", exclude_none=True) for key, answer in responses.items()}
    answers, number = dict(state["answers"]), int(state["round"])
    if set(rounds[number]) <= set(given):
        answers.update({key: given[key] for key in rounds[number]})
        number += 1
    if number == len(rounds):
        return flow.finish(arguments, answers)
    wanted: Wire = {"resultType": "input_required", "inputRequests": {k: _modern(r) for k, r in rounds[number].items()}}
    if flow.state or len(rounds) > 1:
        wanted["requestState"] = json.dumps({"round": number, "answers": answers})
    return wanted


def _modern(request: Wire) -> Wire:
    return {**request, "params": {key: value for key, value in request["params"].items() if key != "elicitationId"}}


async def _ask(context: Context, asked: Asked) -> dict[str, Wire]:
    answers: dict[str, Wire] = {}

    async def one(key: str, request: Wire) -> None:
        answer: BaseModel = await context.session.send_request(
            types.server_request_adapter.validate_python(request),
            ANSWERS[request["method"]],
            metadata=ServerMessageMetadata(related_request_id=context.request_id),
        )
        answers[key] = answer.model_dump(by_alias=True, mode="json", exclude_none=True)

    async with anyio.create_task_group() as group:
        for key, request in asked.items():
            group.start_soon(one, key, request)
    return answers
