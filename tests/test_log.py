from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import stat
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcpcompose.log import OWN_LOG, ServerLogs, fields, setup
from mcpcompose.redact import MASK, RedactedStream, Redactor

SECRET = 'pl"anted/sécret+value\\42'
RAW = SECRET.encode()

FORMS = {
    "raw": RAW,
    "json": json.dumps(SECRET).encode(),
    "json, not ascii only": json.dumps(SECRET, ensure_ascii=False).encode(),
    "json in json": json.dumps(json.dumps({"k": SECRET})).encode(),
    "json with escaped slashes": json.dumps(SECRET).replace("/", "\\/").encode(),
    "base64": base64.b64encode(RAW),
    "base64 at 1": base64.b64encode(b"x" + RAW),
    "base64 at 2": base64.b64encode(b"xy" + RAW + b"tail"),
    "base64 for urls": base64.urlsafe_b64encode(b"user:" + RAW),
    "hex": RAW.hex().encode(),
    "HEX": RAW.hex().upper().encode(),
    "percent": quote(SECRET, safe="").encode(),
    "percent, lower": quote(SECRET, safe="").lower().replace("%c3%a9", "%c3%a9").encode(),
    "reversed": SECRET[::-1].encode(),
    "reversed bytes": RAW[::-1],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_value_is_hidden_in_every_form(form: str) -> None:
    redactor = Redactor([SECRET])

    clean = redactor.data(b"before " + FORMS[form] + b" after")

    assert MASK.encode() in clean
    assert clean.startswith(b"before ")
    assert clean.endswith(b" after")
    assert len(clean) < len(MASK) + 45


def test_values_that_overlap_leave_no_rest() -> None:
    assert Redactor(["abcdef", "defghi"]).text("x abcdefghi y") == f"x {MASK} y"


def test_each_long_line_of_a_value_is_hidden_by_itself() -> None:
    redactor = Redactor(["-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nabc\n-----END KEY-----"])

    assert redactor.text("prefix MIIEvQIBADANBgkqhkiG abc") == f"prefix {MASK} abc"


def test_short_values_are_not_looked_for() -> None:
    assert Redactor(["abc"]).text("abcabc") == "abcabc"


def test_what_holds_no_value_is_the_same_object() -> None:
    data = b"nothing here"

    assert Redactor([SECRET]).data(data) is data


def test_every_text_of_a_json_value_is_cleaned_keys_included() -> None:
    redactor = Redactor(["planted-value"])

    assert redactor.tree({"planted-value": ["x planted-value", 1, None]}) == {MASK: [f"x {MASK}", 1, None]}
    assert "planted" not in repr(redactor)


@given(st.lists(st.integers(0, 400), max_size=12), st.sampled_from(sorted(FORMS)))
@example(list(range(400)), "raw")
def test_a_value_split_over_chunks_in_any_way_does_not_get_through(cuts: list[int], form: str) -> None:
    redactor = Redactor([SECRET, "abababab"])
    whole = b"line one\n" + FORMS[form] + b" mid ababababab " + RAW + b"\nlast"
    bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    stream = RedactedStream(redactor)

    written = b"".join(stream.feed(whole[a:b]) for a, b in pairwise(bounds)) + stream.end()

    assert written == redactor.data(whole)


def test_a_whole_line_is_not_held_back() -> None:
    stream = RedactedStream(Redactor(["planted-value"]))

    assert stream.feed(b"hello p\n") == b"hello p\n"
    assert stream.feed(b"plan") == b""
    assert stream.feed(b"et\n") == b"planet\n"


def test_a_stream_that_ends_within_a_value_does_not_show_its_beginning() -> None:
    stream = RedactedStream(Redactor(["planted-value"]))

    assert stream.feed(b"x planted-val") + stream.end() == f"x {MASK}".encode()


def test_an_endless_repetition_does_not_fill_memory() -> None:
    stream = RedactedStream(Redactor(["aaaa"]))

    for _ in range(100):
        stream.feed(b"a" * 1000)
        assert len(stream._held) < 1100


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[ServerLogs]:
    made = ServerLogs(tmp_path / "logs", Redactor(["planted-value"]), project="team", max_bytes=1000, keep=2)
    yield made
    made.close()


def test_a_servers_log_is_its_own_file_that_only_the_user_can_read(logs: ServerLogs) -> None:
    logs("team-my-server-1", b"hello\n")

    path = logs.path("my-server")
    assert path.read_bytes() == b"hello\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_logs_are_bounded_and_keep_the_newest(logs: ServerLogs) -> None:
    for number in range(2000):
        logs("team-a-1", b"line %d\n" % number)

    files = sorted(path.name for path in logs.path("a").parent.iterdir())
    assert files == ["a.log", "a.log.1", "a.log.2"]
    assert sum(path.stat().st_size for path in logs.path("a").parent.iterdir()) <= 3000
    assert logs.tail("a", 2) == ["line 1998", "line 1999"]
    assert len(logs.tail("a")) > 200


def test_one_huge_chunk_is_bounded_too(logs: ServerLogs) -> None:
    logs("team-a-1", b"x" * 100_000)

    assert sum(path.stat().st_size for path in logs.path("a").parent.iterdir()) <= 3000


def test_logs_are_redacted_across_chunks_and_servers_do_not_mix(logs: ServerLogs) -> None:
    logs("team-a-1", b"my planted-")
    logs("team-b-1", b"value\n")
    logs("team-a-1", b"value\n")

    assert logs.tail("a") == [f"my {MASK}"]
    assert logs.tail("b") == ["value"]


def test_a_link_in_place_of_a_log_is_not_followed(logs: ServerLogs, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    logs.path("a").symlink_to(victim)

    logs("team-a-1", b"evil\n")

    assert victim.read_text() == "mine"


def test_a_strange_name_stays_within_the_folder(logs: ServerLogs) -> None:
    logs("../../etc/passwd", b"x\n")

    assert [path.name for path in logs.path("a").parent.iterdir()] == ["______etc_passwd.log"]


async def test_followers_get_whole_lines_of_their_servers(logs: ServerLogs) -> None:
    lines = logs.follow(["a"])
    first = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)
    logs("team-b-1", b"other\n")
    logs("team-a-1", b"he")
    logs("team-a-1", b"llo\nmore\n")

    assert await first == ("a", "hello")
    assert await anext(lines) == ("a", "more")
    await lines.aclose()


def test_our_own_log_is_json_lines_with_fields_and_without_secrets(tmp_path: Path) -> None:
    stream = io.StringIO()
    logger = setup(tmp_path / "logs", Redactor(["planted-value"]), stream=stream)
    try:
        logging.getLogger("mcpcompose.x").info("server failed", extra=fields(server="a", why="planted-value\nx"))
        try:
            int("planted-value")
        except ValueError:
            logging.getLogger("mcpcompose.x").exception("round failed")
    finally:
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True

    path = tmp_path / "logs" / OWN_LOG
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["message"], first["server"], first["why"]) == ("server failed", "a", f"{MASK}\nx")
    assert "planted" not in second["exception"]
    assert stream.getvalue() == path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_held_back_is_written_when_an_instance_ends(tmp_path: Path) -> None:
    logs = ServerLogs(tmp_path, Redactor([SECRET]), project="team")
    logs("team-a-1", b"whole\n" + RAW[:6])
    assert logs.tail("a") == ["whole"]

    logs("team-a-1", b"")

    assert logs.tail("a") == ["whole", MASK]
