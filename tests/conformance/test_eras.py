"""Interactive calls between every two eras: real SDK clients in front of the gateway, real SDK servers behind it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult

from conformance import questions, stage
from harness.workspace import Workspace

MODERN = "2026-07-28"
ROUNDS = 10
ENDPOINT = stage.ENDPOINTS["server"]
pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=["legacy", "modern"])
def server_era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["legacy", "modern"])
def mode(request: pytest.FixtureRequest) -> str:
    return "legacy" if request.param == "legacy" else MODERN


async def answers(client: Client) -> dict[str, str]:
    """What each kind of call says in the end."""
    said = {}
    for kind, (call, _) in questions.KINDS.items():
        async with asyncio.timeout(20):
            said[kind] = await call(client)
    return said


EXPECTED = {kind: expected for kind, (_, expected) in questions.KINDS.items()}


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_server_by_itself_asks_a_client_of_its_era(era: str) -> None:
    command = ["-m", "conformance.everything", "--era", era]
    server = StdioServerParameters(command=sys.executable, args=command, env={"PYTHONPATH": str(stage.TESTS)})
    async with Client(server, mode="legacy" if era == "legacy" else MODERN, **questions.CALLBACKS) as client:
        assert await answers(client) == EXPECTED


@pytest.fixture(scope="module")
def on_stdio(server_era: str) -> Iterator[Workspace]:
    """The gateway in front of a server of one era on stdio; it finds out which."""
    with stage.gateway("process", server_era=server_era) as workspace:
        yield workspace


async def test_every_kind_of_question_over_stdio_started_cold_is_answered_ten_times_of_ten(
    on_stdio: Workspace, mode: str
) -> None:
    for _ in range(ROUNDS):
        on_stdio.run("restart", stage.SERVER)
        async with on_stdio.client(mode, ENDPOINT, **questions.CALLBACKS) as client:
            assert await answers(client) == EXPECTED


@pytest.fixture(scope="module")
def on_http(server_era: str) -> Iterator[Workspace]:
    """The gateway in front of a server of one era on HTTP."""
    with stage.http_server("--era", server_era) as url, stage.gateway("http", url=url) as workspace:
        yield workspace


async def test_every_kind_of_question_over_http_is_answered_ten_times_of_ten(on_http: Workspace, mode: str) -> None:
    for _ in range(ROUNDS):
        async with on_http.client(mode, ENDPOINT, **questions.CALLBACKS) as client:
            assert await answers(client) == EXPECTED


async def test_a_client_that_spawns_the_gateway_is_asked_over_its_standard_streams(
    on_http: Workspace, mode: str
) -> None:
    async with Client(on_http.stdio(), mode=mode, **questions.CALLBACKS) as client:
        assert await answers(client) == EXPECTED


async def test_clients_that_are_asked_at_the_same_time_each_get_their_own_questions(
    on_stdio: Workspace, mode: str
) -> None:
    async def one(number: int) -> str:
        async def elicit(context: Any, params: Any) -> Any:
            return ElicitResult(action="accept", content={"name": f"client {number}"})

        callbacks = {**questions.CALLBACKS, "elicitation_callback": elicit}
        async with on_stdio.client(mode, ENDPOINT, **callbacks) as client:
            return await questions.tool("test_input_required_result_elicitation")(client)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(8)]

    assert [task.result() for task in tasks] == [f"Hello, client {number}!" for number in range(8)]


async def test_a_client_that_cannot_be_asked_gets_an_error_that_says_what_is_missing(
    on_stdio: Workspace, mode: str
) -> None:
    async with on_stdio.client(mode, ENDPOINT) as client:
        try:
            result = await client.call_tool("test_elicitation", {"message": "Who are you?"})
        except MCPError as error:
            said = error.error.message
        else:
            assert result.is_error
            said = str(result.content)

    assert "elicitation" in said
