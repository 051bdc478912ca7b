"""
The gateway process: it holds the project's lock, the admin socket, the orchestrator and the serving side.

One event loop. However it ends, nothing that it made outlives it but the instances, stopped, until `down`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from mcpcompose.actions.locate import Place, place
from mcpcompose.actions.lock import held
from mcpcompose.actions.memory import return_large_blocks, without_core_files
from mcpcompose.actions.options import Options
from mcpcompose.actions.spawn import TAKEN
from mcpcompose.errors import GatewayNotRunning, GatewayRunning, McpComposeError

if TYPE_CHECKING:
    from mcpcompose.actions.admin_client import Event
    from mcpcompose.actions.control import GatewayControl

    OnEvent = Callable[[Event], None]

_log: Final = logging.getLogger(__name__)
_IDLE: Final = 2.0
"""Seconds that a gateway without anything to serve waits for somebody to hand it a file."""
_LOOK_EVERY: Final = 0.05
_STOPPING: Final = 60.0


def main(arguments: Sequence[str]) -> int:
    """The detached gateway of `up -d`: `gateway serve NAME DIRECTORY`; it is handed the file over its admin socket."""
    name, directory = arguments
    options = Options(directory=Path(directory), home=Path.home(), environ=dict(os.environ))
    try:
        serve(place((), Path(directory), name, options), None, _unheard, _unheard)
    except GatewayRunning:
        return TAKEN
    except McpComposeError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    return 0


def serve(where: Place, first: Event | None, on_event: OnEvent, serving: OnEvent, log_to: TextIO | None = None) -> bool:
    """
    Be the gateway of *where* until it is told to end, starting with *first* (None: wait for a file to be handed over).

    Tells *on_event* what goes on in the first round and *serving* its result. Returns whether a person interrupted
    it. Its log also goes to *log_to*. Raises `GatewayRunning`, and what keeps *first* from being used.
    """
    without_core_files()
    with held(where.paths):
        return _run(_serve(where, first, on_event, serving, log_to))


def _run(coroutine: Coroutine[Any, Any, bool]) -> bool:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


async def _serve(where: Place, first: Event | None, on_event: OnEvent, serving: OnEvent, log_to: TextIO | None) -> bool:
    from mcpcompose.actions.context import Context, log_level
    from mcpcompose.actions.control import GatewayControl
    from mcpcompose.gateway.admin import serve_admin
    from mcpcompose.log import setup

    context = Context(where)
    gc.freeze()
    setup(context.paths.logs, context.redactor, level=log_level(where.options.environ), stream=log_to)
    control = GatewayControl(context)
    interrupted = _on_signals(control)
    admin = await serve_admin(control, where.paths.admin_socket)
    return_large_blocks()
    _log.info("gateway started", extra={"pid": os.getpid(), "project": where.name})
    try:
        if first is not None:
            await _until_ended(control, _first_round(control, first, on_event, serving))
        else:
            await _until_ended(control, _given_something(control))
        await control.ended.wait()
    finally:
        await admin.stop()
        where.paths.admin_socket.unlink(missing_ok=True)
        await _stop(control, on_event)
        await context.close()
        where.paths.stdio_socket.unlink(missing_ok=True)
        _log.info("gateway ended", extra={"pid": os.getpid()})
    return interrupted.is_set()


async def _until_ended(control: GatewayControl, work: Coroutine[Any, Any, None]) -> None:
    """Do *work*, unless the end comes first. Raises what *work* raises."""
    task = asyncio.create_task(work)
    end = asyncio.create_task(control.ended.wait())
    try:
        await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for one in (task, end):
            one.cancel()
        await asyncio.gather(task, end, return_exceptions=True)


async def _first_round(control: GatewayControl, first: Event, on_event: OnEvent, serving: OnEvent) -> None:
    with suppress(GatewayNotRunning):  # a `down` that came meanwhile ends it, or fails and leaves it
        async for event in control.apply(first):
            (serving if event.get("event") == "done" else on_event)(event)


async def _given_something(control: GatewayControl) -> None:
    """End it when nobody hands it a file that it can serve."""
    idle_for = 0.0
    while not control.has_applied:
        await asyncio.sleep(_LOOK_EVERY)
        idle_for = idle_for + _LOOK_EVERY if control.is_idle else 0.0
        if idle_for > _IDLE or control.has_failed:
            control.ended.set()
            return


async def _stop(control: GatewayControl, on_event: OnEvent) -> None:
    from mcpcompose.actions.report import step_as_json

    try:
        async with asyncio.timeout(_STOPPING):
            await control.stop_everything(lambda event: on_event(step_as_json(event, str)))
    except (McpComposeError, TimeoutError) as error:
        _log.warning("servers could not be stopped", extra={"reason": str(error)})


def _on_signals(control: GatewayControl) -> asyncio.Event:
    """SIGINT and SIGTERM end it; a second one ends it at once. Returns what says that it was SIGINT."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(number: int) -> None:
        if control.ended.is_set():
            os._exit(130)
        if number == signal.SIGINT:
            interrupted.set()
        control.ended.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    return interrupted


def _unheard(_event: Event) -> None:
    """Nobody listens to a detached gateway."""
