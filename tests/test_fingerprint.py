from __future__ import annotations

from typing import Any

import pytest

from mcpcompose.spec.fingerprint import fingerprint
from mcpcompose.spec.server import Server


def of(image: str | None = None, **keys: Any) -> str:
    return fingerprint(Server.model_validate({"image": "x:1", **keys}), image=image)


@pytest.mark.parametrize(
    "keys",
    [
        {"image": "x:2"},
        {"command": ["a"]},
        {"environment": {"A": "1"}},
        {"secrets": [{"source": "s", "env": "A"}]},
        {"volumes": ["./a:/a"]},
        {"network": "open"},
        {"era": "legacy"},
        {"transport": {"http": {"port": 1}}},
    ],
)
def test_whatever_can_change_the_tools_changes_the_fingerprint(keys: dict[str, Any]) -> None:
    assert of(**keys) != of()


@pytest.mark.parametrize("keys", [{"mem_limit": "1m"}, {"tools": {"deny": ["x"]}}, {"prefix": "p"}, {"restart": "no"}])
def test_what_cannot_change_them_does_not(keys: dict[str, Any]) -> None:
    assert of(**keys) == of()


def test_values_of_variables_do_not_count_and_the_images_id_does() -> None:
    assert of(environment={"A": "1"}) == of(environment={"A": "2"})
    assert of(image="sha256:1") != of(image="sha256:2")
