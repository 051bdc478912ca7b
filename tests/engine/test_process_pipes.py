"""
A process's pipes on either event loop: each descriptor is closed once.

One that is closed twice may be somebody else's by then: a client's connection, or a pipe of a process that is started.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mcpcompose.engine.process_launch import LogPipe, ProcessStream

uvloop = pytest.importorskip("uvloop")
LOOPS = (uvloop.new_event_loop, asyncio.new_event_loop)


class Pipe(io.FileIO):
    """One end of a pipe; *late* counts the ends that were closed behind its back."""

    late = 0

    def close(self) -> None:
        if not self.closed:
            try:
                os.fstat(self.fileno())
            except OSError:
                Pipe.late += 1
        super().close()


async def open_and_close() -> None:
    for _ in range(5):
        (read, stdin), (stdout, write), (stderr, log) = os.pipe(), os.pipe(), os.pipe()
        stream, logs = ProcessStream(), LogPipe()
        await stream.connect(Pipe(stdin, "wb"), Pipe(stdout, "rb"))
        await logs.connect(Pipe(stderr, "rb"), lambda _data: None)
        stream.write(b"hello")
        for other in (read, write, log):
            os.close(other)
        await stream.close()
        logs.close()
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("loop", LOOPS)
def test_each_descriptor_is_closed_once(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop().close()  # a loop's library has descriptors of its own from its first loop on
    Pipe.late, before = 0, len(list(Path("/proc/self/fd").iterdir()))

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(open_and_close())

    assert Pipe.late == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before
