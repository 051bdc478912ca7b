"""What `approve` asks the person about, by what the file says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interceptors.outside_stage import around, exchange
from mcpcompose.interceptors.base import TO_CLIENT, AskPerson
from mcpcompose.interceptors.registry import make
from mcpcompose.spec.interceptor import Interceptor as Spec


def asks(method: str, match: dict[str, Any], **fields: Any) -> str | None:
    """What the person is asked about one request."""
    spec = Spec.model_validate({"use": "approve", "match": match})
    said = make(spec, around(Path(), spec)).before(exchange(method, **fields))
    assert said is None or isinstance(said, AskPerson)
    return said.question if said is not None else None


@pytest.mark.parametrize(
    ("method", "wants"),
    [
        ("elicitation/create", "ask you something"),
        ("sampling/createMessage", "ask your model something"),
        ("roots/list", "see which folders are open"),
        ("custom/thing", "send `custom/thing`"),
    ],
)
def test_what_a_server_asks_is_asked_about_where_match_names_its_method(method: str, wants: str) -> None:
    params = {"message": "Your\nname?"}
    said = asks(method, {"methods": [method]}, direction=TO_CLIENT, params=params, tool=None)
    assert said == f'May the server `github` {wants}?\nWhat it sends: {{"message": "Your\\nname?"}}'
    assert asks(method, {}, direction=TO_CLIENT, params=params, tool=None) is None


def test_notifications_are_let_through_unless_match_names_them_as_nothing_waits_for_an_answer() -> None:
    method = "notifications/roots/list_changed"
    for direction in ({}, {"direction": TO_CLIENT}):
        assert asks(method, {"methods": ["*"]}, params={}, tool=None, **direction) is None
        assert asks(method, {"methods": ["notifications/*"]}, params={}, tool=None, **direction) is not None


def test_without_match_it_asks_about_what_may_destroy() -> None:
    assert asks("tools/call", {}) == 'May `github/create` be used?\nArguments: {"title": "x"}'
    harmless = {"name": "create", "annotations": {"readOnlyHint": True}}
    assert asks("tools/call", {}, tool=harmless) is None
    assert asks("resources/read", {}, params={"uri": "x://y"}, tool=None) is None
