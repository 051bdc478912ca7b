"""A governed session is the client's, not the connection's; labels and pins only accumulate, and stay."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from mcpcompose.interceptors.sessions import SHARED, GovernedSessions, TooMany


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(tmp_path: Path, clock: Clock) -> GovernedSessions:
    return GovernedSessions(tmp_path / "sessions.json", idle=60, clock=clock)


def test_a_client_has_one_session_however_often_it_comes(sessions: GovernedSessions) -> None:
    sessions.of("cursor").label("private", "github/get_file")
    sessions.of("cursor").label("private", "elsewhere")
    assert sessions.of("cursor").has("private") == "github/get_file"
    assert sessions.of("claude").has("private") is None


def test_a_pin_stays_what_it_was_first(sessions: GovernedSessions) -> None:
    assert sessions.of("cursor").pin("repo", "acme/one") == "acme/one"
    assert sessions.of("cursor").pin("repo", "acme/two") == "acme/one"
    assert sessions.of("cursor").pinned("repo") == "acme/one"


def test_it_ends_after_silence_and_not_while_it_is_used(sessions: GovernedSessions, clock: Clock) -> None:
    sessions.of("cursor").label("private", "x")
    for _ in range(5):
        clock.now += 59
        assert sessions.of("cursor").has("private")
    clock.now += 61
    assert sessions.of("cursor").has("private") is None


def test_it_ends_when_a_person_says_so(sessions: GovernedSessions) -> None:
    before = sessions.of("cursor")
    before.label("private", "x")
    assert sessions.reset("cursor")
    assert not sessions.reset("cursor")
    assert sessions.of("cursor").has("private") is None
    assert sessions.of("cursor").id != before.id


def test_a_clock_that_goes_back_ends_nothing(sessions: GovernedSessions, clock: Clock) -> None:
    sessions.of("cursor").label("private", "x")
    clock.now -= 10_000
    assert sessions.of("cursor").has("private")


def test_clients_without_a_token_see_what_any_client_has_read_and_not_the_other_way(sessions: GovernedSessions) -> None:
    sessions.of("cursor").label("private", "x")
    sessions.of("claude").pin("repo", "acme/one")
    nobody = sessions.of(None)
    assert nobody.client == SHARED
    assert nobody.has("private") == "x"
    assert nobody.pin("repo", "acme/two") == "acme/one"
    nobody.label("untrusted", "y")
    assert sessions.of("cursor").has("untrusted") is None


def test_another_gateway_knows_what_the_one_before_it_knew(
    sessions: GovernedSessions, tmp_path: Path, clock: Clock
) -> None:
    sessions.of("cursor").label("private", "x")
    sessions.of("cursor").pin("repo", "acme/one")
    assert stat.S_IMODE((tmp_path / "sessions.json").stat().st_mode) == 0o600
    clock.now += 30
    later = GovernedSessions(tmp_path / "sessions.json", idle=60, clock=clock)
    assert later.of("cursor").has("private") == "x"
    assert later.of("cursor").pin("repo", "acme/two") == "acme/one"


def test_a_client_that_was_active_until_the_restart_is_not_taken_for_silent(
    sessions: GovernedSessions, tmp_path: Path, clock: Clock
) -> None:
    sessions.of("cursor").label("private", "x")
    for _ in range(20):
        clock.now += 30
        sessions.of("cursor")
    later = GovernedSessions(tmp_path / "sessions.json", idle=60, clock=clock)
    assert later.of("cursor").has("private") == "x"


def test_what_cannot_be_written_down_is_not_let_pass(tmp_path: Path, clock: Clock) -> None:
    sessions = GovernedSessions(tmp_path / "gone" / "sessions.json", clock=clock)
    with pytest.raises(OSError, match="gone"):
        sessions.of("cursor").label("private", "x")


@pytest.mark.parametrize("content", ["", "[]", '{"sessions": 3}', '{"sessions": [{"client": 1}, 5]}', "\0", "{"])
def test_a_file_that_cannot_be_read_is_no_reason_not_to_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "sessions.json").write_text(content)
    assert GovernedSessions(tmp_path / "sessions.json").of("cursor").labels == {}


def test_a_session_holds_a_bounded_number_of_pins(sessions: GovernedSessions, tmp_path: Path) -> None:
    session = sessions.of("cursor")
    session._changed = lambda: None
    for number in range(1024):
        session.pin(f"key{number}", "x")
    with pytest.raises(TooMany):
        session.pin("one more", "x")
    with pytest.raises(TooMany):
        sessions.of("claude").pin("repo", "x" * 1000)


def test_only_sessions_that_have_something_to_remember_are_kept(sessions: GovernedSessions, tmp_path: Path) -> None:
    sessions.of("claude")
    sessions.of("cursor").label("private", "x")
    kept = json.loads((tmp_path / "sessions.json").read_text())["sessions"]
    assert [one["client"] for one in kept] == ["cursor"]
