"""A disk that is full, read-only, gone or out of handles: requests are refused, and it goes on by itself."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.audit import Shelf, begin, call
from mcpcompose.audit.log import AuditLog
from mcpcompose.audit.verify import verify
from mcpcompose.errors import AuditUnavailable


@contextmanager
def limited(what: int, value: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def refused(log: AuditLog) -> None:
    with pytest.raises(AuditUnavailable):
        begin(log, "refused")
    assert log.problem is not None
    assert "refused" in log.problem


def many_calls(log: AuditLog) -> None:
    for number in range(100):
        call(log, str(number))


def recovered(log: AuditLog, bound: float = 5.0) -> None:
    """A request can be written again, without anybody doing anything but making room."""
    end = time.monotonic() + bound
    while True:
        try:
            call(log, "recovered")
        except AuditUnavailable:
            assert time.monotonic() < end
            time.sleep(0.01)
        else:
            return


@pytest.mark.parametrize("room", [0, 1, 100, 250, 299])
def test_a_full_disk_refuses_requests_and_leaves_no_broken_chain(shelf: Shelf, room: int) -> None:
    log = shelf.log()
    call(log, "before")
    (path,) = shelf.files()
    with limited(resource.RLIMIT_FSIZE, path.stat().st_size + room):  # a partial write, then an error, as a full disk
        for _ in range(3):
            with pytest.raises(AuditUnavailable):
                call(log, "refused")
        assert log.problem is not None
        assert os.strerror(errno.EFBIG) in log.problem or os.strerror(errno.ENOSPC) in log.problem

    recovered(log)

    assert log.problem is None
    log.close()
    verdict = verify(shelf.folder)
    assert (verdict.problems, verdict.notes) == ([], [])


def test_an_end_that_cannot_be_written_is_refused_too(shelf: Shelf) -> None:
    log = shelf.log()
    begin(log, "1")
    with limited(resource.RLIMIT_FSIZE, shelf.files()[0].stat().st_size), pytest.raises(AuditUnavailable):
        log.ended(id="1", outcome="ok")


def test_a_folder_that_cannot_be_made_refuses_requests_until_it_can(shelf: Shelf) -> None:
    shelf.folder.write_text("in the way")
    log = shelf.log()
    refused(log)
    shelf.folder.unlink()

    recovered(log)

    assert log.problem is None


def make_a_folder_in_its_place(shelf: Shelf) -> None:
    shutil.rmtree(shelf.folder)
    shelf.folder.write_text("in the way")


def remove_the_folder(shelf: Shelf) -> None:
    shutil.rmtree(shelf.folder)


def remove_the_file(shelf: Shelf) -> None:
    shelf.files()[0].unlink()


def truncate_the_file(shelf: Shelf) -> None:
    os.truncate(shelf.files()[0], 100)


def empty_the_file(shelf: Shelf) -> None:
    os.truncate(shelf.files()[0], 0)


def cut_one_record(shelf: Shelf) -> None:
    path = shelf.files()[0]
    os.truncate(path, len(b"".join(path.read_bytes().splitlines(keepends=True)[:-1])))


@pytest.mark.parametrize("do", [remove_the_folder, remove_the_file, truncate_the_file, empty_the_file, cut_one_record])
def test_what_is_removed_under_a_running_gateway_is_noticed_at_once_and_told(
    shelf: Shelf, do: Callable[[Shelf], None]
) -> None:
    log = shelf.log()
    for number in range(5):
        call(log, str(number))
    do(shelf)

    call(log, "after")

    assert log.problem is not None
    assert "removed or changed" in log.problem
    log.close()
    assert any("removed or changed" in problem for problem in verify(shelf.folder).problems)
    assert b'"after"' in shelf.lines()[-2]


def test_what_somebody_else_writes_into_the_file_is_told(shelf: Shelf) -> None:
    log = shelf.log()
    call(log, "before")
    with shelf.files()[0].open("ab") as file:
        file.write(b"something else\n")
    call(log, "after")
    log.close()

    verdict = verify(shelf.folder)
    assert verdict.problems == []
    assert len(verdict.notes) == 1


def test_a_file_that_is_moved_away_is_missed(shelf: Shelf) -> None:
    log = shelf.log()
    call(log, "before")
    shelf.files()[0].rename(shelf.folder / "elsewhere")
    end = time.monotonic() + 10
    while not shelf.files():
        assert time.monotonic() < end
        call(log, "after")
    assert log.problem is not None


def test_a_folder_in_the_place_of_the_log_refuses_requests(shelf: Shelf) -> None:
    log = shelf.log()
    call(log)
    make_a_folder_in_its_place(shelf)
    refused(log)
    shelf.folder.unlink()
    recovered(log)


def test_no_handles_left_refuse_requests_until_there_are_some(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096)
    call(log)
    highest = os.dup(0)
    os.close(highest)
    with limited(resource.RLIMIT_NOFILE, highest), pytest.raises(AuditUnavailable):
        many_calls(log)
    recovered(log)
    log.close()
    assert verify(shelf.folder).problems == []


def test_a_sync_that_fails_refuses_requests_until_one_succeeds(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fdatasync
    fails = True

    def fdatasync(descriptor: int) -> None:
        if fails:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    log = shelf.log(sync="always")
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    for _ in range(3):
        refused(log)
    fails = False
    recovered(log)
    assert log.problem is None
    log.close()
    assert verify(shelf.folder).problems == []


def test_a_folder_that_others_can_reach_is_not_written_to(shelf: Shelf) -> None:
    shelf.folder.parent.chmod(0o777)
    log = shelf.log()
    refused(log)
    shelf.folder.parent.chmod(0o700)
    recovered(log)


def test_a_link_in_the_place_of_a_file_is_not_followed(shelf: Shelf) -> None:
    log = shelf.log()
    call(log)
    log.close()
    (path,) = shelf.files()
    target = shelf.folder.parent / "target"
    path.rename(target)
    path.symlink_to(target)
    before = target.read_bytes()

    refused(shelf.log())

    assert target.read_bytes() == before
