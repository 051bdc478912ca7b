from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mcpcompose.auth.tokens import Tokens
from mcpcompose.errors import UsageError


def test_a_token_is_made_once_kept_and_known_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "tokens.json"

    token = Tokens(path).token()

    again = Tokens(path)
    assert again.token() == token
    assert again.check(token) == ("default", "default")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_client_has_its_own_token_bound_to_its_profile(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    tokens.bind({"cursor": "developer"})

    assert tokens.token("cursor") != tokens.token()
    assert tokens.check(tokens.token("cursor")) == ("cursor", "developer")


def test_a_rotated_token_is_worth_nothing(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    old = tokens.token()

    new = tokens.rotate()

    assert tokens.check(old) is None
    assert tokens.check(new) == ("default", "default")


def test_a_client_that_is_gone_is_not_let_in(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    tokens.bind({"cursor": "developer"})
    token = tokens.token("cursor")

    tokens.bind({})

    assert tokens.check(token) is None
    with pytest.raises(UsageError, match="no client `cursor`"):
        tokens.token("cursor")


def test_what_another_process_rotated_is_seen(tmp_path: Path) -> None:
    now = 0.0
    tokens = Tokens(tmp_path / "tokens.json", clock=lambda: now)
    old = tokens.token()
    assert tokens.check(old) is not None

    new = Tokens(tmp_path / "tokens.json").rotate()
    now = 2.0

    assert tokens.check(old) is None
    assert tokens.check(new) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"default": 1}', b"\xff"])
def test_a_broken_file_lets_nobody_in(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens.json"
    path.write_bytes(content)
    tokens = Tokens(path)

    assert tokens.check("") is None
    assert tokens.check("1") is None
    assert tokens.check(tokens.token()) == ("default", "default")


def test_a_token_that_another_process_made_just_now_is_known_at_once(tmp_path: Path) -> None:
    ours, theirs = Tokens(tmp_path / "tokens.json", clock=lambda: 0.0), Tokens(tmp_path / "tokens.json")
    for tokens in (ours, theirs):
        tokens.bind({"new": "narrow"})
    assert ours.check(ours.token()) is not None

    assert ours.check(theirs.token("new")) == ("new", "narrow")
