from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest

from mcpcompose.upstream.call import Origin
from mcpcompose.upstream.wire import META_CLIENT, initialize_params, modern_envelope


def told(info: dict[str, Any]) -> dict[str, Any]:
    """What a server of either era is told about who calls it."""
    origin = Origin("c", info=info)
    greeted: dict[str, Any] = initialize_params(origin)["clientInfo"]
    assert modern_envelope(origin)[META_CLIENT] == greeted
    return greeted


def test_what_a_client_says_of_itself_reaches_the_server_as_it_is() -> None:
    icons = [{"src": "https://example.com/a.png", "mimeType": "image/png", "sizes": ["48x48"]}]
    info = {"name": "", "version": "1.0", "title": "A", "icons": icons, "websiteUrl": "https://example.com", "own": 1}

    assert told(info) == info


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, {"name": "unknown", "version": "0"}),
        ({"name": "a"}, {"name": "a", "version": "0"}),
        ({"version": "1"}, {"name": "unknown", "version": "1"}),
        ({"name": 1, "version": None}, {"name": "unknown", "version": "0"}),
        ({"name": "a", "version": 2, "title": 3, "websiteUrl": None}, {"name": "a", "version": "0"}),
        ({"name": "a", "version": "1", "icons": "x", "description": []}, {"name": "a", "version": "1"}),
        ({"name": "a", "version": "1", "icons": [{"src": 1}]}, {"name": "a", "version": "1"}),
        ({"name": "a", "version": "1", "icons": None}, {"name": "a", "version": "1"}),
    ],
)
def test_a_strict_server_is_never_told_what_it_would_refuse(info: dict[str, Any], expected: dict[str, Any]) -> None:
    assert told(info) == expected
    types.Implementation.model_validate(told(info))
