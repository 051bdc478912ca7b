from __future__ import annotations

from typing import Any

import mcp.types as sdk
import pytest

from mcpcompose.gateway import capabilities
from mcpcompose.gateway.capabilities import TASKS, UI

EVERYTHING: dict[str, Any] = {
    "tools": {"vendor": 1},
    "resources": {"subscribe": True},
    "completions": {},
    "logging": {},
    "tasks": {"list": {}},
    "experimental": {"x": {"y": 1}},
    "extensions": {TASKS: {"a": 1}, UI: {"mimeTypes": ["text/html"]}, "com.example/own": {}},
    "unheard": {"of": True},
}


def test_a_servers_own_endpoint_repeats_what_the_server_says() -> None:
    said = capabilities.of_one(EVERYTHING, modern=True)

    assert said == {
        **{key: value for key, value in EVERYTHING.items() if key != "tasks"},
        "tools": {"vendor": 1, "listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
    }


def test_handshake_clients_hear_of_tasks_of_their_own_revision_only() -> None:
    said = capabilities.of_one(EVERYTHING, modern=False)

    assert said["tasks"] == {"list": {}}
    assert said["extensions"] == {UI: {"mimeTypes": ["text/html"]}, "com.example/own": {}}


@pytest.mark.parametrize("modern", [True, False])
def test_an_endpoint_of_several_says_what_is_routed(modern: bool) -> None:
    said = capabilities.of_all([{"tools": {}}, None, EVERYTHING], modern=modern)

    assert said["resources"] == {"subscribe": True, "listChanged": True}
    assert said["prompts"] == {"listChanged": True}
    assert (said["completions"], said["logging"]) == ({}, {})
    assert set(said["extensions"]) == ({TASKS, UI} if modern else {UI})
    assert not said.keys() & {"tasks", "experimental", "unheard"}


def test_without_a_server_that_can_nothing_is_promised() -> None:
    lists = {kind: {"listChanged": True} for kind in ("tools", "prompts", "resources")}

    assert capabilities.of_all([{"tools": {}}], modern=True) == lists
    assert capabilities.of_one(None, modern=True) == lists
    assert capabilities.of_one({"tools": {}}, modern=False) == {"tools": {"listChanged": True}}


def test_the_sdk_reads_what_we_say() -> None:
    read = sdk.ServerCapabilities.model_validate(capabilities.of_all([EVERYTHING], modern=True))

    assert read.resources is not None
    assert read.resources.subscribe is True
    assert read.completions is not None
