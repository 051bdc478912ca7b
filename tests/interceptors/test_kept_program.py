"""A program that is kept: many questions at once, in any order; one that makes it end fails alone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from harness.wait import until_async
from interceptors.outside_stage import around, asked, exchange, lines, made, marked_processes
from mcpcompose.interceptors import program
from mcpcompose.interceptors.base import InterceptorFailed, Refuse
from mcpcompose.interceptors.host_process import HostProcesses
from mcpcompose.interceptors.keeper import START_SECONDS, Keeper
from mcpcompose.interceptors.running import Running
from mcpcompose.spec.interceptor import Interceptor as Spec

PID = 'say({"decision": "deny", "message": str(os.getpid())})'
POISON = f"""
if q["params"]["arguments"].get("poison"): os.abort()
{PID}
"""
SLOW = """
import threading
def answer(q=q):
    time.sleep(q["params"]["arguments"].get("seconds", 0))
    word = "late" if q["params"]["arguments"] else "soon"
    print(json.dumps({"id": q["id"], "decision": "deny", "message": word}), flush=True)
threading.Thread(target=answer).start()
"""


def call(**arguments: object) -> object:
    return exchange(params={"name": "create", "arguments": arguments})


async def test_one_process_answers_all_questions(tmp_path: Path) -> None:
    async with made(tmp_path, run=lines(PID), keep=True) as one:
        found = await asyncio.gather(*(asked(one, exchange()) for _ in range(50)))

    assert len({one.message for one in found if isinstance(one, Refuse)}) == 1
    assert not marked_processes(tmp_path)


async def test_answers_may_come_in_any_order(tmp_path: Path) -> None:
    async with made(tmp_path, run=lines(SLOW), keep=True) as one:
        slow = asyncio.create_task(asked(one, call(seconds=1.0)))
        await asyncio.sleep(0)
        assert await asked(one, call()) == Refuse("soon")
        assert not slow.done()
        assert await slow == Refuse("late")


async def test_the_question_that_makes_it_end_fails_alone(tmp_path: Path) -> None:
    async with made(tmp_path, run=lines(POISON), keep=True) as one:
        answers = await asyncio.gather(*(asked(one, call(poison=at == 3)) for at in range(8)), return_exceptions=True)

    assert [type(answer) is Refuse for answer in answers] == [at != 3 for at in range(8)]
    assert isinstance(answers[3], InterceptorFailed)


async def test_one_that_was_killed_is_started_anew(tmp_path: Path) -> None:
    async with made(tmp_path, run=lines(PID), keep=True) as one:
        first = await asked(one, exchange())
        (process,) = marked_processes(tmp_path)
        os.kill(process, signal.SIGKILL)
        await until_async(lambda: process not in marked_processes(tmp_path), "it is gone")
        second = await asked(one, exchange())

    assert isinstance(second, Refuse)
    assert second != first


async def test_one_that_never_answers_is_started_ever_more_seldom(tmp_path: Path) -> None:
    counter, folder = tmp_path / "starts", tmp_path / "project"
    folder.mkdir()
    async with made(folder, run=["sh", "-c", f"echo >> {counter}; exit 1"], keep=True) as one:
        until = time.monotonic() + 1.5
        asks = 0
        while time.monotonic() < until:
            with pytest.raises(InterceptorFailed):
                await asked(one, exchange())
            asks += 1

    assert asks > 20
    assert 2 <= len(counter.read_text().splitlines()) <= 5


async def test_one_that_hangs_is_ended_and_the_next_question_is_answered(tmp_path: Path) -> None:
    code = f"""
if q["params"]["arguments"].get("poison"): time.sleep(60)
{PID}
"""
    async with made(tmp_path, run=lines(code), keep=True, timeout=0.5) as one:
        first = await asked(one, call())
        with pytest.raises(TimeoutError):
            await asked(one, call(poison=True), limit=0.5)
        again = await asked(one, call())
    assert isinstance(again, Refuse)
    assert again != first


async def test_one_that_takes_longer_to_start_than_a_question_may_wait_answers_once_it_has_started(
    tmp_path: Path,
) -> None:
    starts, ready = tmp_path / "starts", tmp_path / "ready"
    starting = f"open({str(starts)!r}, 'a').write('x')\nwhile not os.path.exists({str(ready)!r}): time.sleep(0.01)"
    command = [*lines(PID)[:-1], f"import os, time\n{starting}\n{lines(PID)[-1]}"]
    async with made(tmp_path, run=command, keep=True, timeout=0.2) as one:
        for _ in range(4):
            with pytest.raises(TimeoutError):
                await asked(one, call(), limit=0.2)
        ready.touch()
        assert isinstance(await asked(one, call()), Refuse)
    assert starts.read_text() == "x"


async def test_one_that_has_not_answered_anything_for_too_long_since_it_started_is_ended(tmp_path: Path) -> None:
    passed = [0.0]
    processes = HostProcesses(tmp_path, tmp_path, os.environ, lambda: lambda _data: None)
    clock = lambda: time.monotonic() + passed[0]  # noqa: E731
    keeper = Keeper(lambda: processes.start(["sleep", "60"], {}), 1 << 16, 0.1, _same, clock)

    async def given_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await keeper.ask(b'{"id":"1"}', "1")

    try:
        await given_up()
        (first,) = marked_processes(tmp_path)
        await given_up()
        assert marked_processes(tmp_path) == [first]
        passed[0] = START_SECONDS
        await given_up()
        await until_async(lambda: not marked_processes(tmp_path), "it is ended")
    finally:
        await keeper.close()
        await processes.close()


async def _same() -> object:
    return None


async def test_one_that_starts_slower_than_a_question_may_wait_is_started_once(tmp_path: Path) -> None:
    begun: list[asyncio.Event] = []
    processes = HostProcesses(tmp_path, tmp_path, os.environ, lambda: lambda _data: None)

    async def launch() -> Running:
        begun.append(asyncio.Event())
        await begun[-1].wait()
        return await processes.start(["cat"], {})

    keeper = Keeper(launch, 1 << 16, 0.1, _same)
    try:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await keeper.ask(b'{"id":"1"}', "1")
        begun[0].set()
        assert await keeper.ask(b'{"id":"2"}', "2") == b'{"id":"2"}'
    finally:
        await keeper.close()
        await processes.close()
    assert len(begun) == 1
    assert not marked_processes(tmp_path)


async def test_a_question_that_is_given_up_early_does_not_end_it(tmp_path: Path) -> None:
    code = f"""
if q["params"]["arguments"].get("slow"): time.sleep(0.3)
{PID}
"""
    async with made(tmp_path, run=lines(code), keep=True) as one:
        first = await asked(one, call())
        with pytest.raises(TimeoutError):
            await asked(one, call(slow=True), limit=0.1)
        assert await asked(one, call()) == first


async def test_other_variables_mean_another_process(tmp_path: Path) -> None:
    code = 'say({"decision": "deny", "message": os.environ["KEY"]})'
    spec = Spec.model_validate({"run": lines(code), "keep": True, "secrets": [{"source": "key", "env": "KEY"}]})
    one = program.Program(spec, around(tmp_path, spec, values={"secret:key": "old"}))
    try:
        assert await asked(one, exchange()) == Refuse("old")
        one.follow(around(tmp_path, spec, values={"secret:key": "new"}))
        assert await asked(one, exchange()) == Refuse("new")
        await until_async(lambda: len(marked_processes(tmp_path)) == 1, "the old one is gone")
    finally:
        await one.close()


async def test_empty_lines_are_no_answers(tmp_path: Path) -> None:
    async with made(tmp_path, run=lines("print(); print('  ')\n" + PID), keep=True) as one:
        assert isinstance(await asked(one, exchange()), Refuse)
