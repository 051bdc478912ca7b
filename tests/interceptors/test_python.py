"""Python functions: called in a process of their own, and whatever they raise is a failure and no yes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from harness.wait import LOADED
from interceptors.outside_stage import asked, exchange, made, marked_processes
from mcpcompose.interceptors.base import InterceptorFailed, Refuse

FUNCTIONS = """
import asyncio, os, time

def deny(q):
    print("printed, which is no answer")
    return {"decision": "deny", "message": q["name"]}

async def later(q):
    await asyncio.sleep(0)
    return {"decision": "deny", "message": "later"}

def slow(q):
    time.sleep(0.3)
    return {"decision": "allow"}

def nothing(q):
    pass

def raises(q):
    raise ValueError("no such rule")

def ends(q):
    os._exit(3)

def hangs(q):
    time.sleep(60)

def text(q):
    return "allow"

def odd(q):
    return {"decision": "allow", "x": object()}

def cheats(q):
    return {"id": "999", "decision": "deny", "message": "its id is ours to say"}

def starts(q):
    import subprocess, sys
    read = subprocess.run(["cat"], capture_output=True).stdout + sys.stdin.buffer.read()
    return {"decision": "deny", "message": f"read {len(read)} bytes"}

def quits(q):
    if q["params"]["arguments"].get("quit"):
        raise SystemExit(3)
    time.sleep(0.3)
    return {"decision": "deny", "message": str(os.getpid())}

async def quits_later(q):
    if q["params"]["arguments"].get("quit"):
        raise SystemExit(3)
    await asyncio.sleep(0.3)
    return {"decision": "deny", "message": str(os.getpid())}

class Rules:
    @staticmethod
    def check(q):
        return {"decision": "deny", "message": "nested"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "rules.py").write_text(FUNCTIONS)
    return tmp_path


@pytest.mark.parametrize(
    ("function", "message"),
    [("deny", "create"), ("later", "later"), ("Rules.check", "nested"), ("cheats", "its id is ours to say")],
)
async def test_a_function_decides(folder: Path, function: str, message: str) -> None:
    async with made(folder, python=f"policies.rules:{function}") as one:
        assert await asked(one, exchange()) == Refuse(message)
        assert await asked(one, exchange()) == Refuse(message)

    assert not marked_processes(folder)


@pytest.mark.parametrize("function", ["nothing", "raises", "ends", "hangs", "text", "odd", "missing"])
async def test_a_function_that_does_not_decide_is_a_failure_within_the_limit(folder: Path, function: str) -> None:
    async with made(folder, python=f"policies.rules:{function}", timeout=2.0) as one:
        since = time.monotonic()
        with pytest.raises((InterceptorFailed, TimeoutError)):
            await asked(one, exchange(), limit=2.0)

        assert time.monotonic() - since < 2.0 + LOADED


async def test_what_a_function_raises_is_said_and_the_others_go_on(folder: Path) -> None:
    async with made(folder, python="policies.rules:raises") as one:
        with pytest.raises(InterceptorFailed, match="ValueError: no such rule"):
            await asked(one, exchange())
        (process,) = marked_processes(folder)
        with pytest.raises(InterceptorFailed, match="ValueError: no such rule"):
            await asked(one, exchange())

        assert marked_processes(folder) == [process]


async def test_what_a_function_starts_does_not_read_the_questions_of_others(folder: Path) -> None:
    async with made(folder, python="policies.rules:starts", timeout=3.0) as one:
        found = await asyncio.gather(*(asked(one, exchange(), limit=3.0) for _ in range(4)))

    assert found == [Refuse("read 0 bytes")] * 4


@pytest.mark.parametrize("function", ["quits", "quits_later"])
async def test_a_function_that_would_end_the_program_fails_alone(folder: Path, function: str) -> None:
    async with made(folder, python=f"policies.rules:{function}") as one:
        first = await asked(one, exchange())
        others = asyncio.gather(*(asked(one, exchange()) for _ in range(3)))
        with pytest.raises(InterceptorFailed, match="SystemExit: 3"):
            await asked(one, exchange(params={"name": "create", "arguments": {"quit": True}}))

        assert await others == [first] * 3


async def test_plain_functions_run_beside_each_other(folder: Path) -> None:
    async with made(folder, python="policies.rules:slow", concurrency=8) as one:
        await asked(one, exchange())
        since = time.monotonic()
        await asyncio.gather(*(asked(one, exchange()) for _ in range(8)))

        assert time.monotonic() - since < 8 * 0.3 * 0.8  # one after the other they take 8 times 0.3 s


async def test_a_module_that_was_changed_since_it_was_approved_is_not_loaded(folder: Path) -> None:
    async with made(folder, python="policies.rules:deny") as one:
        (folder / "policies" / "rules.py").write_text(FUNCTIONS + "\n")
        with pytest.raises(InterceptorFailed, match=r"`policies/rules\.py` is not what was approved"):
            await asked(one, exchange())


@pytest.mark.parametrize("name", ["policies/__init__.py", "policies/rules/__init__.py"])
async def test_a_file_that_would_be_loaded_in_its_place_is_noticed(folder: Path, name: str) -> None:
    async with made(folder, python="policies.rules:deny") as one:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("def deny(q): return {'decision': 'allow'}")
        with pytest.raises(InterceptorFailed, match="is not what was approved"):
            await asked(one, exchange())


async def test_a_compiled_copy_beside_it_is_not_believed(folder: Path) -> None:
    import importlib.util
    import py_compile

    source = folder / "policies" / "rules.py"
    stat = source.stat()
    other = folder / "policies" / "other.py"
    body = "def deny(q): return {'decision': 'allow'}\n"
    other.write_text(body + "#" * (stat.st_size - len(body) - 1) + "\n")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    py_compile.compile(str(other), cfile=importlib.util.cache_from_source(str(source)), doraise=True)

    async with made(folder, python="policies.rules:deny") as one:
        assert await asked(one, exchange()) == Refuse("create")


async def test_a_file_of_the_project_takes_no_other_modules_place(folder: Path) -> None:
    (folder / "colorsys.py").write_text("import os; os._exit(9)")
    rules = folder / "policies" / "rules.py"
    rules.write_text("import colorsys\n" + FUNCTIONS)
    async with made(folder, python="policies.rules:deny") as one:
        assert await asked(one, exchange()) == Refuse("create")
