"""
The process that a `python` interceptor's function runs in; started as a file, with nothing of mcp-compose around it.

A line of JSON in, a line of JSON out; what the function prints goes to the log, and for it and what it starts the
standard input is empty. Functions may be plain, which run in
threads, or asynchronous. One that returns nothing is a failure: it has to say `{"decision": "allow"}`.
"""

import asyncio
import concurrent.futures
import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any


def load(name: str) -> Callable[[dict[str, Any]], Any]:
    """The function *name*, `module:function`. Raises whatever importing it raises."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"`{name}` is not a function")
    return found  # type: ignore[no-any-return]


async def answered(function: Callable[[dict[str, Any]], Any], line: bytes, pool: concurrent.futures.Executor) -> bytes:
    """The line that answers *line*, whatever the function raises."""
    question = json.loads(line)
    if inspect.iscoroutinefunction(function):
        asking = asyncio.ensure_future(_written(function(question), question["id"]))
    else:
        called = asyncio.get_running_loop().run_in_executor(pool, function, question)
        asking = asyncio.ensure_future(_written(called, question["id"]))
    await asyncio.wait({asking})
    error = asking.exception()
    if error is None:
        return asking.result()
    traceback.print_exception(error)
    said = f"{type(error).__name__}: {error}"[:1000]
    return json.dumps({"id": question["id"], "decision": "fail", "message": said}).encode()


async def _written(called: Awaitable[Any], id_: str) -> bytes:
    try:
        answer = usable(await called)
    except SystemExit as error:  # which would end the others' questions, too
        raise RuntimeError(f"it ended with `SystemExit: {error}`") from error
    return json.dumps({**answer, "id": id_}, separators=(",", ":"), allow_nan=False).encode()


def usable(answer: Any) -> dict[str, Any]:
    """What a function returned, if that is an answer. Raises `TypeError`."""
    if not isinstance(answer, dict):
        raise TypeError(f"it returned {type(answer).__name__}; it has to return a dict with a `decision`")
    return answer


async def serve(function: Callable[[dict[str, Any]], Any], questions: int, output: int, threads: int) -> None:
    """Answer every line of *questions*, several at once."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 30)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(questions, "rb", 0))
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    running: set[asyncio.Task[None]] = set()

    async def one(line: bytes) -> None:
        view = memoryview(await answered(function, line, pool) + b"\n")
        while view:
            view = view[os.write(output, view) :]

    while line := await reader.readline():
        task = loop.create_task(one(line))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running, return_exceptions=True)


def main() -> None:
    """Arguments: `module:function`, how many threads, and the folder to look for modules in, last."""
    name, threads, folder = sys.argv[1:4]
    questions, output = os.dup(0), os.dup(1)  # which nothing inherits
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.path[0:1] = []
    sys.path.append(folder)
    asyncio.run(serve(load(name), questions, output, int(threads)))


if __name__ == "__main__":
    main()
