"""Whatever somebody does to the files, `verify` tells, and the next gateway does not hide it."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Callable

import pytest

from harness.audit import Shelf, begin, call
from mcpcompose.audit.entries import Filter, entries, newest
from mcpcompose.audit.record import Link
from mcpcompose.audit.verify import verify

Lines = list[bytes]


def written(shelf: Shelf, requests: int = 10) -> None:
    log = shelf.log()
    for number in range(requests):
        call(log, str(number))
    log.close()


def change(lines: Lines) -> None:
    lines[7] = lines[7].replace(b"cursor", b"somebo").replace(b'"ok"', b'"no"')


def change_and_hash_anew(lines: Lines) -> None:
    before = json.loads(lines[6])["hash"]
    record = json.loads(lines[7])
    record.pop("hash")
    record["id"] = "other"
    body = json.dumps(record, separators=(",", ":")).encode()
    digest = hashlib.sha256(before.encode() + body).hexdigest()
    lines[7] = body[:-1] + f',"hash":"{digest}"}}\n'.encode()


def swap(lines: Lines) -> None:
    lines[5], lines[6] = lines[6], lines[5]


def say_it_was_torn(lines: Lines) -> None:
    lines[9] = b"x" * 40 + b"\n"


def cut_last_half(lines: Lines) -> None:
    lines[-1] = lines[-1][:30]


def blank(lines: Lines) -> None:
    lines[4] = b"\n"


TAMPERED: dict[str, Callable[[Lines], None]] = {
    "changed": change,
    "changed and hashed anew": change_and_hash_anew,
    "the first changed": lambda lines: lines.__setitem__(0, lines[0].replace(b'"oldest":1', b'"oldest":2')),
    "the last changed": lambda lines: lines.__setitem__(-1, lines[-1].replace(b"stop", b"stay")),
    "one removed": lambda lines: lines.pop(6),
    "several removed": lambda lines: lines.__delitem__(slice(4, 9)),
    "the first removed": lambda lines: lines.pop(0),
    "the beginning removed": lambda lines: lines.__delitem__(slice(0, 5)),
    "the last removed": lambda lines: lines.pop(),
    "the end removed": lambda lines: lines.__delitem__(slice(12, None)),
    "two swapped": swap,
    "one twice": lambda lines: lines.insert(6, lines[6]),
    "one put in": lambda lines: lines.insert(6, lines[9]),
    "one made unreadable": say_it_was_torn,
    "an empty line": blank,
    "the last cut after it was on disk": cut_last_half,
    "everything removed": lambda lines: lines.clear(),
    "a line put at the end": lambda lines: lines.append(b'{"seq":99}\n'),
}


@pytest.mark.parametrize("how", TAMPERED.values(), ids=TAMPERED)
def test_what_was_done_to_a_log_is_found(shelf: Shelf, how: Callable[[Lines], None]) -> None:
    written(shelf)
    assert verify(shelf.folder).problems == []

    shelf.rewrite(how)

    assert verify(shelf.folder).problems or verify(shelf.folder).notes
    if how is not TAMPERED["a line put at the end"]:
        assert verify(shelf.folder).problems


@pytest.mark.parametrize("how", TAMPERED.values(), ids=TAMPERED)
def test_the_next_gateway_goes_on_and_does_not_hide_it(shelf: Shelf, how: Callable[[Lines], None]) -> None:
    written(shelf)
    shelf.rewrite(how)

    written(shelf, 3)
    log = shelf.log()
    call(log, "last")

    verdict = verify(shelf.folder)
    if how is not TAMPERED["a line put at the end"]:
        assert verdict.problems
    assert json.loads(shelf.lines()[-1])["id"] == "last"
    assert not any("end are missing" in problem for problem in verdict.problems)


def test_hundreds_of_random_edits_are_all_found(shelf: Shelf) -> None:
    written(shelf, 6)
    (path,) = shelf.files()
    good = path.read_bytes()
    rng = random.Random(20261122)
    for _ in range(400):
        at = rng.randrange(len(good))
        edited = rng.choice(
            [
                good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :],
                good[:at] + good[at + rng.randrange(1, 400) :],
                good[:at] + good[at : at + rng.randrange(1, 400)] + good[at:],
                good[:at],
            ]
        )
        if edited == good:
            continue
        path.write_bytes(edited)
        found = verify(shelf.folder)
        is_longer = edited.startswith(good)  # a torn end, for all that can be known
        assert found.problems or (is_longer and found.notes), (at, edited[max(0, at - 50) : at + 50])


def test_a_removed_file_is_missed_wherever_it_was(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096)
    for number in range(60):
        call(log, str(number))
    log.close()
    assert len(shelf.files()) > 4
    for path in shelf.files():
        content = path.read_bytes()
        path.unlink()
        assert any("missing" in problem for problem in verify(shelf.folder).problems), path.name
        path.write_bytes(content)
    assert verify(shelf.folder).problems == []


def test_a_removed_oldest_file_is_still_missed_after_more_rotations(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096)
    for number in range(60):
        call(log, str(number))
    shelf.files()[0].unlink()
    for number in range(60):
        call(log, str(number))
    log.close()

    assert any("removed or changed" in problem for problem in verify(shelf.folder).problems)


def test_files_in_another_order_are_found(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096)
    for number in range(60):
        call(log, str(number))
    log.close()
    one, other = shelf.files()[1:3]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)

    assert verify(shelf.folder).problems


def test_a_removed_head_is_told(shelf: Shelf) -> None:
    written(shelf)
    (shelf.folder / "head").unlink()
    assert any("`head` is missing" in problem for problem in verify(shelf.folder).problems)

    log = shelf.log()
    call(log)
    assert log.problem is not None
    log.close()
    assert any("`head`" in note for note in verify(shelf.folder).notes)


def test_a_log_written_anew_as_a_whole_is_found_by_a_head_kept_elsewhere(shelf: Shelf) -> None:
    written(shelf)
    kept = verify(shelf.folder).last
    assert kept is not None
    for path in shelf.folder.iterdir():
        path.unlink()
    written(shelf, 30)

    assert verify(shelf.folder).problems == []
    assert verify(shelf.folder, kept).problems


def test_a_head_kept_elsewhere_is_found_again_later(shelf: Shelf) -> None:
    written(shelf)
    kept = verify(shelf.folder).last
    written(shelf)
    assert verify(shelf.folder, kept).problems == []
    assert verify(shelf.folder, Link(10**6, "0" * 64)).problems


def test_a_record_torn_by_a_dying_machine_is_no_problem_and_healed(shelf: Shelf) -> None:
    log = shelf.log()
    call(log, "whole")
    log.close()
    (path,) = shelf.files()
    for torn in (b'{"seq":5,"time":"2026-11-22T10:', b"\0" * 4096, b'{"seq":5}\n{"seq":6}', b"\xff\xfe\n\n"):
        with path.open("ab") as file:
            file.write(torn)
        before = verify(shelf.folder)
        assert (before.problems, len(before.notes) > 0) == ([], True), torn

        log = shelf.log()
        call(log, "after")
        log.close()

        healed = verify(shelf.folder)
        assert healed.problems == [], torn
    assert len(verify(shelf.folder).notes) == 4


def test_a_file_torn_at_its_very_beginning_is_healed(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096)
    while len(shelf.files()) < 3:
        call(log)
    log.close()
    last = verify(shelf.folder).last
    assert last is not None
    (shelf.folder / f"audit-{last.seq + 1:012d}.jsonl").write_bytes(b'{"seq":')

    log = shelf.log()
    call(log, "after")
    log.close()

    assert verify(shelf.folder).problems == []


def test_an_empty_file_of_a_gateway_that_died_making_it_is_no_problem(shelf: Shelf) -> None:
    written(shelf)
    last = verify(shelf.folder).last
    assert last is not None
    (shelf.folder / f"audit-{last.seq + 1:012d}.jsonl").touch()
    assert verify(shelf.folder).problems == []
    written(shelf)
    assert verify(shelf.folder).problems == []


def test_requests_that_a_killed_gateway_did_not_end_are_counted(shelf: Shelf) -> None:
    log = shelf.log()
    begin(log, "open")
    call(shelf.log(), "next")

    verdict = verify(shelf.folder)
    assert (verdict.requests, verdict.completed, verdict.interrupted) == (2, 1, 1)
    assert verdict.problems == []


def test_other_files_in_the_folder_are_left_alone(shelf: Shelf) -> None:
    written(shelf)
    (shelf.folder / "audit-notes.jsonl").write_text("mine")
    (shelf.folder / "audit-1.jsonl.gz").write_text("mine")
    written(shelf)
    assert verify(shelf.folder).problems == []
    assert (shelf.folder / "audit-notes.jsonl").read_text() == "mine"


def forged(seq: object, **members: object) -> bytes:
    """A line that has a hash, and is otherwise whatever somebody thought of."""
    body = json.dumps({"seq": seq, **members}, separators=(",", ":"))
    return body[:-1].encode() + b',"hash":"' + b"0" * 64 + b'"}\n'


@pytest.mark.parametrize(
    "line",
    [
        forged(5),
        forged(5, event=7, id=[], prev=3),
        forged(-1, event="begin"),
        forged(True, event="begin"),
        forged(10**40, event="file", oldest=10**40, prev="x"),
        forged(5, event="torn", bytes="x", sha256=None),
        forged(5, event="gap"),
        forged("5", event="end"),
        forged(None),
        b"[" * 100_000 + b"\n",
        b"{}\n",
        b"\xff" * 100 + b"\n",
    ],
)
def test_forged_lines_are_told_and_crash_nobody(shelf: Shelf, line: bytes) -> None:
    written(shelf)
    shelf.rewrite(lambda lines: lines.insert(6, line))
    assert verify(shelf.folder).problems
    assert len(list(entries(shelf.folder, Filter(interceptor="*")))) == 0
    assert len(newest(shelf.folder, Filter(), 100)) >= 9

    shelf.rewrite(lambda lines: lines.append(lines.pop(6)))
    written(shelf, 1)
    found = verify(shelf.folder)
    assert found.problems or found.notes


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"x",
        b"\xff" * 86,
        b"9" * 5000,
        b"-5 " + b"0" * 64,
        b"9" * 20 + b" " + b"0" * 64,
        b"0" * 20 + b" " + b"0" * 64,
    ],
)
def test_a_broken_head_is_told_and_does_not_stop_the_log(shelf: Shelf, head: bytes) -> None:
    written(shelf)
    (shelf.folder / "head").write_bytes(head)
    written(shelf)
    assert verify(shelf.folder).last is not None
    assert (shelf.folder / "head").stat().st_size == 86


def test_a_head_kept_elsewhere_that_is_older_than_what_is_kept_shows_nothing_and_is_a_problem(shelf: Shelf) -> None:
    written(shelf, 1)
    kept = verify(shelf.folder).last
    assert kept is not None
    log = shelf.log(rotate=4096, keep=2)
    while verify(shelf.folder).first == 1:
        call(log)
    log.close()

    assert verify(shelf.folder).problems == []
    (problem,) = verify(shelf.folder, kept).problems
    assert f"record {kept.seq}" in problem
    assert "older than what is kept" in problem


def test_a_log_written_anew_that_begins_after_the_head_kept_elsewhere_is_found(shelf: Shelf) -> None:
    written(shelf)
    kept = verify(shelf.folder).last
    assert kept is not None
    for path in shelf.folder.iterdir():
        path.unlink()
    body = json.dumps({"seq": 1000, "event": "file", "prev": "f" * 64, "oldest": 1000}, separators=(",", ":"))
    digest = hashlib.sha256(("f" * 64 + body).encode()).hexdigest()
    (shelf.folder / "audit-000000001000.jsonl").write_text(f'{body[:-1]},"hash":"{digest}"}}\n')
    (shelf.folder / "head").write_text(f"{1000:020d} {digest}\n")

    assert verify(shelf.folder).problems == []
    assert verify(shelf.folder, kept).problems


def test_a_log_that_a_gateway_writes_and_rotates_meanwhile_is_intact(shelf: Shelf) -> None:
    log = shelf.log(rotate=32768, keep=2)
    call(log)
    writing = threading.Thread(target=lambda: [call(log, str(number)) for number in range(5000)])
    writing.start()
    found: list[str] = []
    while writing.is_alive():
        found += verify(shelf.folder).problems
    writing.join()

    assert found == []
    assert len(shelf.files()) == 3
