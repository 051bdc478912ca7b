"""Reading the log as requests."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from harness.audit import Shelf, begin, call
from mcpcompose.actions.audit import moment
from mcpcompose.audit.entries import Filter, ends, entries, follow, newest
from mcpcompose.errors import UsageError

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def ids(shelf: Shelf, **asked: object) -> list[str]:
    return [entry["id"] for entry in entries(shelf.folder, Filter(**asked))]  # type: ignore[arg-type]


def test_a_request_is_shown_with_how_it_ended(shelf: Shelf) -> None:
    call(shelf.log(), "1")
    (entry,) = entries(shelf.folder, Filter())
    assert entry["outcome"] == "ok"
    assert entry["ms"] == 1.5
    assert entry["arguments"] == {"owner": 4, "body": 7}
    assert entry["ended"] >= entry["time"]


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        ({"client": "cursor"}, ["1", "3"]),
        ({"client": "c*"}, ["1", "2", "3"]),
        ({"server": "linear"}, ["2"]),
        ({"name": "create_*"}, ["1", "2"]),
        ({"method": "resources/*"}, ["3"]),
        ({"outcome": "refused"}, ["2"]),
        ({"interceptor": "pin"}, ["2"]),
        ({"interceptor": "one-repo"}, ["2"]),
        ({"id": "3"}, ["3"]),
        ({"client": "cursor", "server": "linear"}, []),
        ({"since": NOW + timedelta(days=36500)}, []),
        ({"until": NOW + timedelta(days=36500), "session": "00112233"}, ["1", "2", "3"]),
    ],
)
def test_filters_show_what_fits_everything_asked(shelf: Shelf, asked: dict[str, object], want: list[str]) -> None:
    log = shelf.log()
    call(log, "1")
    begin(log, "2", client="claude", server="linear")
    log.ended(id="2", outcome="refused", decisions=[{"interceptor": "pin", "decision": "refused", "rule": "one-repo"}])
    call(log, "3", method="resources/read", name="file:///a")
    assert ids(shelf, **asked) == want


def test_a_request_without_an_end_is_under_way_and_after_a_kill_interrupted(shelf: Shelf) -> None:
    begin(shelf.log(), "open")
    assert [entry["outcome"] for entry in entries(shelf.folder, Filter())] == ["under way"]

    call(shelf.log(), "next")
    found = {entry["id"]: entry["outcome"] for entry in entries(shelf.folder, Filter())}
    assert found == {"open": "interrupted", "next": "ok"}


def test_the_newest_are_found_over_several_files(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096)
    for number in range(60):
        call(log, str(number))
    assert [entry["id"] for entry in newest(shelf.folder, Filter(), 30)] == [str(n) for n in range(30, 60)]
    assert [entry["id"] for entry in newest(shelf.folder, Filter(id="3"), 5)] == ["3"]
    assert newest(shelf.folder.parent / "none", Filter(), 5) == []


def test_following_shows_what_ends_from_now_on_through_rotations(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096)
    call(log, "before")
    begin(log, "open")
    rounds = iter(range(40))

    def wait() -> None:
        number = next(rounds)
        if number == 0:
            log.ended(id="open", outcome="ok")
        call(log, str(number))

    seen = follow(shelf.folder, Filter(), wait)
    assert [next(seen)["id"] for _ in range(41)] == ["open", *(str(number) for number in range(40))]
    assert len(shelf.files()) > 2


def test_looking_for_the_newest_of_what_is_rare_reads_the_log_about_once_however_many_files_there_are(
    shelf: Shelf,
) -> None:
    log = shelf.log(rotate=4096, keep=1000)
    for number in range(1500):
        call(log, str(number))
    log.close()
    assert len(shelf.files()) > 100

    begun = time.process_time()
    assert list(entries(shelf.folder, Filter(client="nobody"))) == []
    once = time.process_time() - begun
    begun = time.process_time()
    assert newest(shelf.folder, Filter(client="nobody"), 1) == []
    assert time.process_time() - begun < 10 * once + 0.1


def test_the_newest_know_who_asked_also_when_that_stands_in_the_file_before(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096)
    begin(log, "long")
    while len(shelf.files()) < 3:
        call(log)
    log.ended(id="long", outcome="ok")

    (entry,) = newest(shelf.folder, Filter(), 1)
    assert (entry["id"], entry["client"]) == ("long", "cursor")
    assert [entry["id"] for entry in newest(shelf.folder, Filter(client="cursor"), 1)] == ["long"]


def test_files_that_a_gateway_lets_go_while_they_are_read_are_no_error(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096, keep=5)
    while len(shelf.files()) < 5:
        call(log, "early")
    reading = entries(shelf.folder, Filter())
    next(reading)

    for number in range(60):
        call(log, str(number))
    call(log, "last")

    assert "early" in {entry["id"] for entry in reading}
    assert [entry["id"] for entry in newest(shelf.folder, Filter(), 1)] == ["last"]


def test_following_goes_on_when_files_are_let_go_before_it_got_to_them(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096, keep=3)
    rounds = iter([60])

    def write() -> None:
        for number in range(next(rounds, 0)):
            call(log, str(number))

    call(log, "before")
    seen = follow(shelf.folder, Filter(), write)
    next(seen)
    for number in range(60):
        call(log, str(number))
    call(log, "last")

    assert "last" in (entry["id"] for entry in seen)


def test_following_shows_what_ended_while_the_newest_were_printed(shelf: Shelf) -> None:
    log = shelf.log()
    call(log, "old")
    begin(log, "open")
    at = ends(shelf.folder)
    log.ended(id="open", outcome="ok")
    call(log, "new")

    seen = follow(shelf.folder, Filter(client="cursor"), lambda: None, at)
    assert [next(seen)["id"] for _ in range(2)] == ["open", "new"]


def test_an_end_with_its_beginning_rotated_away_is_shown_as_far_as_it_goes(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096, keep=1)
    begin(log, "long")
    for number in range(60):
        call(log, str(number))
    log.ended(id="long", outcome="ok")
    (entry,) = entries(shelf.folder, Filter(id="long"))
    assert entry["outcome"] == "ok"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("15m", NOW - timedelta(minutes=15)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-22T10:00:00+00:00", NOW - timedelta(hours=2)),
        ("2026-11-22T10:00:00Z", NOW - timedelta(hours=2)),
    ],
)
def test_times_are_taken_as_people_write_them(text: str, want: datetime) -> None:
    assert moment(text, NOW) == want


@pytest.mark.parametrize("text", ["", "yesterday", "15", "m", "-1h", "999999999d", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        moment(text, NOW)
