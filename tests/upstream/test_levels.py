from __future__ import annotations

from typing import get_args

import mcp.types as sdk

from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import Call, Origin
from mcpcompose.upstream.levels import LEVELS, Loudest, concerned, is_severe, wants


def call(client: str = "c", session: str | None = "s", level: str | None = None, *, modern: bool = False) -> Call:
    return Call("tools/call", {}, origin=Origin(client, session, modern=modern, level=level))


def test_the_levels_are_the_sdks() -> None:
    assert set(get_args(sdk.LoggingLevel)) == set(LEVELS)


def test_a_client_gets_messages_as_severe_as_it_wants() -> None:
    warning = b'{"level":"warning","data":{"x":1}}'

    assert is_severe(warning, "warning")
    assert is_severe(warning, "debug")
    assert not is_severe(warning, "error")
    assert is_severe(b'{"level":"verbose"}', "error")
    assert not is_severe(b"[]", "debug")
    assert wants(Origin("c", "s"), warning)
    assert not wants(Origin("c", modern=True), warning)
    assert wants(Origin("c", modern=True, level="info"), warning)
    assert not wants(None, warning)


def test_a_message_on_a_shared_stream_has_an_owner_only_when_that_is_certain() -> None:
    mine, other = call(), call("d", "t")

    assert concerned([mine], Era.LEGACY, own=False) is mine
    assert concerned([mine, other], Era.LEGACY, own=False) is None
    assert concerned([mine, other], Era.LEGACY, own=True) is other
    assert concerned([Call("ping", {})], Era.LEGACY, own=False) is None


def test_a_modern_server_speaks_for_requests_that_asked_for_it() -> None:
    opted, silent = call(level="info", modern=True), call(modern=True)

    assert concerned([silent, opted, silent], Era.MODERN, own=False) is opted
    assert concerned([opted, opted], Era.MODERN, own=False) is None


def test_a_shared_server_is_told_the_least_severe_level_that_anybody_wants() -> None:
    loudest = Loudest()

    assert loudest.wants("a", "error")
    assert not loudest.wants("b", "critical")
    assert loudest.wants("c", "info")
    assert loudest.level == "info"
    assert loudest.wants("c", None)
    assert loudest.level == "error"
    assert not loudest.wants("d", "nonsense")
