"""A person, a model and a workspace behind an SDK client; and every kind of call that asks them something."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    URL_ELICITATION_REQUIRED,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)

FORMS: dict[str, dict[str, Any]] = {
    "Who are you?": {"username": "ann", "email": "ann@example.org"},
    "What is your name?": {"name": "Ann"},
    "Step 1: What is your name?": {"name": "Bo"},
    "Step 2: What is your favorite color?": {"color": "blue"},
    "What context should the prompt use?": {"context": "a garden"},
    "Please confirm": {"ok": True},
}
PAGE = "https://sign-in.example/start"


async def elicit(context: Any, params: ElicitRequestFormParams | ElicitRequestURLParams) -> ElicitResult:
    """Answer as Ann: she fills in what she knows, and visits the one page she trusts."""
    if isinstance(params, ElicitRequestURLParams):
        return ElicitResult(action="accept" if params.url == PAGE else "decline")
    asked = params.message.rpartition("] ")[2]  # the endpoint of several servers says which of them asks
    if asked not in FORMS:
        return ElicitResult(action="decline")
    return ElicitResult(action="accept", content=FORMS[asked])


async def sample(context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
    """Answer as a model that repeats what it is asked."""
    asked = params.messages[-1].content
    assert isinstance(asked, TextContent)
    said = TextContent(type="text", text=f"<{asked.text}>")
    return CreateMessageResult(role="assistant", content=said, model="parrot", stop_reason="endTurn")


async def roots(context: Any) -> ListRootsResult:
    """Name the one folder that is open."""
    return ListRootsResult(roots=[Root(uri="file:///garden", name="garden")])


CALLBACKS: dict[str, Any] = {
    "elicitation_callback": elicit,
    "sampling_callback": sample,
    "list_roots_callback": roots,
}


def tool(name: str, **arguments: str) -> Callable[[Client], Awaitable[str]]:
    """Call the tool *name* and give its text."""

    async def call(client: Client) -> str:
        result = await client.call_tool(name, arguments)
        assert not result.is_error, result
        return "".join(block.text for block in result.content if isinstance(block, TextContent))

    return call


async def prompt(client: Client) -> str:
    """Get the prompt that asks first."""
    result = await client.get_prompt("test_input_required_result_prompt")
    content = result.messages[0].content
    assert isinstance(content, TextContent)
    return content.text


async def page_first(client: Client) -> str:
    """Call a tool that turns away who has not visited its page; a legacy client is told so and calls again."""
    call = tool("test_page_first", ticket=uuid.uuid4().hex)
    try:
        return await call(client)
    except MCPError as error:
        pages = error.error.data["elicitations"] if error.error.code == URL_ELICITATION_REQUIRED else []
        if [page["url"] for page in pages] != [PAGE]:
            raise
        return await call(client)


KINDS: dict[str, tuple[Callable[[Client], Awaitable[str]], str]] = {
    "form": (
        tool("test_elicitation", message="Who are you?"),
        'User response: action=accept, content={"username": "ann", "email": "ann@example.org"}',
    ),
    "refused form": (
        tool("test_elicitation", message="What is your PIN?"),
        "User response: action=decline, content={}",
    ),
    "url": (tool("test_elicitation_url"), "Visit: accept"),
    "page first": (page_first, "The page was visited"),
    "sampling": (tool("test_sampling", prompt="Name a flower"), "LLM response: <Name a flower>"),
    "roots": (tool("test_input_required_result_list_roots"), "Roots: file:///garden"),
    "with state": (tool("test_input_required_result_request_state"), "state-ok: True"),
    "several at once": (
        tool("test_input_required_result_multiple_inputs"),
        "Ann | <Generate a greeting> | file:///garden",
    ),
    "several rounds": (tool("test_input_required_result_multi_round"), "Bo likes blue"),
    "prompt": (prompt, "Context: a garden"),
}
