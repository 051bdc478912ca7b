"""Run a program of the host for a value: without a shell, bounded in time and output, ended with its children."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LETTING_GO: Final = 5.0
"""Seconds that what was killed may take to be gone."""


@dataclass(frozen=True, slots=True, repr=False)
class Ran:
    """What a program printed, and how it ended; what it says of errors is kept only where it was asked for."""

    code: int
    output: bytes
    errors: bytes = b""


class NotRunError(Exception):
    """It could not be run, took too long or printed too much; the text says which, never what was printed."""


async def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    directory: Path,
    *,
    time_limit: float,
    most: int,
    given: bytes | None = None,
    hear_errors: bool = False,
) -> Ran:
    """Run *argv* to its end, with *given* on its standard input. Raises `NotRunError`."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=DEVNULL if given is None else PIPE,
            stdout=PIPE,
            stderr=PIPE if hear_errors else DEVNULL,
            env=dict(environ),
            cwd=directory,
            start_new_session=True,
        )
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # A start that is cancelled half-way waits for ever in asyncio: it is let come to its end, and ended.
        await _end(await starting)
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "unknown error"
        raise NotRunError(f"cannot be run: {reason.lower()}") from None
    try:
        async with asyncio.timeout(time_limit):
            return await _conversation(process, given, most)
    except TimeoutError:
        raise NotRunError(f"no answer within {time_limit:g} s") from None
    finally:
        await _end(process)


async def _conversation(process: Process, given: bytes | None, most: int) -> Ran:
    told = asyncio.ensure_future(_tell(process, given))
    heard = asyncio.ensure_future(_errors(process))
    try:
        output = bytearray()
        assert process.stdout is not None  # noqa: S101  it was asked for
        while chunk := await process.stdout.read(1 << 16):
            output += chunk
            if len(output) > most:
                raise NotRunError(f"printed more than {most} bytes")
        return Ran(await process.wait(), bytes(output), await heard)
    finally:
        told.cancel()
        heard.cancel()
        await asyncio.gather(told, heard, return_exceptions=True)


async def _tell(process: Process, given: bytes | None) -> None:
    if given is not None and process.stdin is not None:
        with suppress(ConnectionError):
            process.stdin.write(given)
            await process.stdin.drain()
        process.stdin.close()


async def _errors(process: Process) -> bytes:
    """The first of what it says about errors; the rest is read and dropped, so that it does not stand still."""
    if process.stderr is None:
        return b""
    kept = await process.stderr.read(1 << 12)
    while await process.stderr.read(1 << 16):
        pass
    return kept


async def _end(process: Process) -> None:
    """End the program and its group when it is still there; an agent that a finished one left is its own business."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        async with asyncio.timeout(_LETTING_GO):
            for pipe in (process.stdout, process.stderr):
                while pipe is not None and await pipe.read(1 << 16):
                    pass  # a pipe that is full and not read keeps `wait` waiting
            await process.wait()
    except TimeoutError:  # somebody who got away may hold its pipes for as long as they like
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  asyncio lets go in no other way
