"""A policy that accepts more than the one in force is noticed, whatever it was that changed."""

from __future__ import annotations

from typing import Any

import pytest

from mcpcompose.orchestrator.policy_rules import looser_policy

BEFORE: dict[str, Any] = {
    "servers": ["acme/*", "docker/time"],
    "digests": True,
    "signers": [["a"], ["b", "c"]],
    "catalogs": {"acme": "./acme.yaml"},
}


def lines(now: dict[str, Any] | None, before: dict[str, Any] | None = BEFORE) -> list[str]:
    return list(looser_policy(before, now))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"servers": ["acme/db", "acme/x*"]},
        {"servers": []},
        {"signers": [["a"], ["b"]]},
        {"signers": [["a"], ["b", "c"], ["d"]]},
        {"catalogs": {"acme": "./acme.yaml", "more": "./more.yaml"}},
        {"catalogs": {}},
    ],
)
def test_the_same_and_tighter_need_nobody(change: dict[str, Any]) -> None:
    assert lines({**BEFORE, **change}) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"servers": None}, "accepts servers from anywhere, was acme/*, docker/time"),
        ({"servers": ["acme/*", "evil/x"]}, "also accepts servers from evil/x, was acme/*, docker/time"),
        ({"servers": ["a*/*"]}, "also accepts servers from a*/*, was acme/*, docker/time"),
        ({"digests": False}, "no longer wants images named by their digest"),
        ({"signers": [["b", "c"]]}, "no longer insists on signatures with key a"),
        (
            {"signers": [["a"], ["b", "c", "d"]]},
            "no longer insists on signatures with key b or c: takes those with key d too",
        ),
        ({"signers": [["x"], ["b"]]}, "no longer insists on signatures with key a"),
        ({"catalogs": {"acme": "./evil.yaml"}}, "catalog acme is ./evil.yaml, was ./acme.yaml"),
    ],
)
def test_looser_is_said(change: dict[str, Any], line: str) -> None:
    assert lines({**BEFORE, **change}) == [line]


def test_no_policy_any_more_is_looser_in_every_way() -> None:
    assert len(lines(None)) == 4


def test_a_first_policy_is_tighter() -> None:
    assert lines(BEFORE, None) == []
