"""What writing a request down costs; docs/audit.md has what was measured on a quiet machine."""

from __future__ import annotations

import time

from harness.audit import Shelf, call
from mcpcompose.audit.verify import verify


def test_a_request_is_written_down_in_microseconds_whatever_number_of_secrets_is_known(shelf: Shelf) -> None:
    for number in range(100):
        shelf.redactor.add(f"a secret value, number {number:06d}")
    log = shelf.log()
    call(log)
    best = min(_batch(shelf, first) for first in range(0, 4000, 200))
    print(f"{best * 1e6:.1f} µs for a request: both records")
    log.close()

    assert best < 60e-6
    assert verify(shelf.folder).requests == 4001


def _batch(shelf: Shelf, first: int) -> float:
    started = time.perf_counter()
    for number in range(first, first + 200):
        call(shelf.logs[0], str(number))
    return (time.perf_counter() - started) / 200
