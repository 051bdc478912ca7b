"""Programs of the host: one for each request or one for many; whatever they do, a request ends within its limit."""

from __future__ import annotations

import asyncio
import py_compile
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.wait import LOADED, until_async
from interceptors.outside_stage import PLAIN, asked, exchange, lines, made, marked_processes, python
from mcpcompose.interceptors.base import Change, Exchange, InterceptorFailed, Refuse, Respond

LIMIT = 0.6
RESULT = {"content": []}
DENY = 'say({"decision": "deny", "message": "no"})'
FILLED = "print('x' * (1 << 20), flush=True)"

ONE_EACH = {"exits with 1 after a yes"}
"""What is kept has answered by then."""
BAD: dict[str, str] = {
    "hangs": "time.sleep(60)",
    "hangs deaf to signals": "import signal; signal.signal(15, signal.SIG_IGN); time.sleep(60)",
    "crashes": "os.abort()",
    "exits with 1 after a yes": 'say({"decision": "allow"}); sys.exit(1)',
    "says nothing": "sys.exit(0)",
    "prints 1 GB": f"[{FILLED} for _ in range(1024)]",
    "prints 1 GB for its log": "[sys.stderr.write('x' * (1 << 20)) for _ in range(1024)]",
    "prints nonsense": "print('Starting policy engine...')",
    "answers another question": 'say({"id": "999", "decision": "allow"})',
    "tries to widen": 'say({"decision": "change", "params": {"name": "delete_repository", "arguments": {}}})',
    "answers for somebody else": 'say({"decision": "allow", "client": "admin", "server": "bank"})',
}


def what(phase: str) -> Exchange:
    return exchange(result=PLAIN if phase == "after" else None)


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize(
    ("bad", "keep"), [(bad, keep) for bad in BAD for keep in (False, True) if not (keep and bad in ONE_EACH)]
)
async def test_a_program_that_does_not_decide_is_a_failure_within_the_limit(
    tmp_path: Path, bad: str, phase: str, keep: bool
) -> None:
    command = lines(BAD[bad]) if keep else python(BAD[bad])
    async with made(tmp_path, run=command, keep=keep, timeout=LIMIT, output=1 << 16) as one:
        since = time.monotonic()
        with pytest.raises((InterceptorFailed, TimeoutError)):
            await asked(one, what(phase), phase, LIMIT)
        took = time.monotonic() - since

    assert took < LIMIT + LOADED
    await until_async(lambda: not marked_processes(tmp_path), "nothing of it is left")


@pytest.mark.parametrize("keep", [False, True], ids=["one each", "kept"])
@pytest.mark.parametrize(
    ("code", "phase", "decision"),
    [
        ('say({"decision": "allow"})', "before", None),
        (DENY, "before", Refuse("no")),
        (DENY, "after", Refuse("no")),
        (
            'say({"decision": "change", "arguments": {**q["params"]["arguments"], "more": 1}})',
            "before",
            Change(params={"name": "create", "arguments": {"title": "x", "more": 1}}),
        ),
        ('say({"decision": "change", "result": {"content": []}})', "after", Change(result=b'{"content":[]}')),
        ('say({"decision": "respond", "result": {"content": []}})', "before", Respond(b'{"content":[]}')),
    ],
)
async def test_a_program_decides(tmp_path: Path, code: str, phase: str, decision: object, keep: bool) -> None:
    async with made(tmp_path, run=lines(code) if keep else python(code), keep=keep) as one:
        assert await asked(one, what(phase), phase) == decision
        assert await asked(one, what(phase), phase) == decision


async def test_it_has_nothing_of_our_environment_but_path_and_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_not_for_it")
    code = 'say({"decision": "deny", "message": " ".join(sorted(os.environ))})'
    keys: dict[str, Any] = {"environment": {"LEVEL": "${WORD}"}, "secrets": [{"source": "key", "env": "KEY"}]}
    values = {"WORD": "high", "secret:key": "sesame"}
    async with made(tmp_path, run=python(code), more={"values": values}, **keys) as one:
        found = await asked(one, exchange())

    assert isinstance(found, Refuse)
    assert set(found.message.split()) - {"LC_CTYPE"} == {"HOME", "KEY", "LEVEL", "MCP_COMPOSE_INSTANCE", "PATH"}


async def test_its_variables_have_their_values(tmp_path: Path) -> None:
    code = 'say({"decision": "deny", "message": os.environ["LEVEL"] + os.environ["KEY"]})'
    keys: dict[str, Any] = {"environment": {"LEVEL": "${WORD}"}, "secrets": [{"source": "key", "env": "KEY"}]}
    async with made(
        tmp_path, run=python(code), more={"values": {"WORD": "high", "secret:key": "sesame"}}, **keys
    ) as one:
        assert await asked(one, exchange()) == Refuse("highsesame")


async def test_what_it_says_for_its_log_is_there(tmp_path: Path) -> None:
    said: list[tuple[str, bytes]] = []
    code = 'print("looking at", q["name"], file=sys.stderr); say({"decision": "allow"})'
    async with made(
        tmp_path, run=python(code), name="check", more={"log": lambda name, data: said.append((name, data))}
    ) as one:
        await asked(one, exchange())
        await asked(one, exchange())

    assert (b"".join(data for _, data in said)) == b"looking at create\n" * 2
    assert {name for name, _ in said} == {"team-_check-1", "team-_check-2"}


async def test_children_that_leave_its_group_are_ended_with_it(tmp_path: Path) -> None:
    child = f"subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(60)'], start_new_session=True)"
    code = f'import subprocess; {child}; say({{"decision": "allow"}})'
    async with made(tmp_path, run=python(code), timeout=2.0) as one:
        assert await asked(one, exchange(), limit=2.0) is None
        await until_async(lambda: not marked_processes(tmp_path), "the child is gone")


async def test_a_call_that_is_given_up_ends_its_process_at_once(tmp_path: Path) -> None:
    async with made(tmp_path, run=python("time.sleep(60)")) as one:
        asking = asyncio.create_task(asked(one, exchange()))
        await until_async(lambda: marked_processes(tmp_path), "it runs")
        asking.cancel()
        await until_async(lambda: not marked_processes(tmp_path), "it has ended")


async def test_a_question_larger_than_a_pipe_arrives(tmp_path: Path) -> None:
    large = exchange(params={"name": "create", "arguments": {"text": "x" * (4 << 20)}})
    code = 'say({"decision": "deny", "message": str(len(q["params"]["arguments"]["text"]))})'
    async with made(tmp_path, run=python(code)) as one:
        assert await asked(one, large) == Refuse(str(4 << 20))


async def test_a_program_that_does_not_read_can_still_decide(tmp_path: Path) -> None:
    large = exchange(params={"name": "create", "arguments": {"text": "x" * (4 << 20)}})
    answer = """echo '{"decision": "deny", "message": "unread"}'"""
    async with made(tmp_path, run=["sh", "-c", answer]) as one:
        assert await asked(one, large) == Refuse("unread")


async def test_notifications_are_not_told(tmp_path: Path) -> None:
    async with made(tmp_path, run=python(DENY)) as one:
        assert one.before(exchange("notifications/message")) is None


def _bad_keys() -> list[Any]:
    return [
        pytest.param({"run": ["check", "${secret:key}"]}, "which every process", id="a secret in the command"),
        pytest.param({"run": ["check"], "format": "docker", "keep": True}, "keep", id="docker's format, kept"),
        pytest.param({"run": ["check"], "secrets": ["key"]}, "no `env`", id="a secret that is no variable"),
    ]


@pytest.mark.parametrize(("keys", "said"), _bad_keys())
async def test_what_cannot_be_made_says_why(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InterceptorFailed, match=said):
        async with made(tmp_path, **keys):
            raise AssertionError


async def test_a_script_that_was_changed_since_it_was_approved_is_not_run(tmp_path: Path) -> None:
    script = tmp_path / "check.py"
    script.write_text("""print('{"decision": "allow"}')""")
    async with made(tmp_path, run=["python3", "check.py"]) as one:
        assert await asked(one, exchange()) is None
        script.write_text("""print('{"decision": "allow"}') # and more""")
        with pytest.raises(InterceptorFailed, match=r"`check\.py` is not what was approved"):
            await asked(one, exchange())
        script.write_text("""print('{"decision": "allow"}')""")
        assert await asked(one, exchange()) is None


async def test_a_script_that_takes_the_place_of_another_program_is_not_run(tmp_path: Path) -> None:
    async with made(tmp_path, run=["sh", "-c", "sh check.sh || true"]) as one:
        (tmp_path / "check.sh").write_text('echo \'{"decision": "allow"}\'')
        with pytest.raises(InterceptorFailed, match=r"`check\.sh` is not what was approved"):
            await asked(one, exchange())


async def test_a_link_that_leads_elsewhere_since_it_was_approved_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("one", "two"):
        (tmp_path / name).write_text("""print('{"decision": "allow"}')""")
    (folder / "check").symlink_to(tmp_path / "one")
    async with made(folder, run=["python3", "check"]) as one:
        assert await asked(one, exchange()) is None
        (folder / "check").unlink()
        (folder / "check").symlink_to(tmp_path / "two")
        with pytest.raises(InterceptorFailed, match="`check` is not what was approved"):
            await asked(one, exchange())


async def test_a_result_that_reads_in_two_ways_is_a_failure_and_is_not_told(tmp_path: Path) -> None:
    twice = b'{"content":[{"type":"text","text":"bad"}],"content":[]}'
    async with made(tmp_path, run=python('say({"decision": "allow"})')) as one:
        with pytest.raises(InterceptorFailed, match="two members of one name"):
            await asked(one, exchange(result=twice), "after")


async def test_nobody_else_waits_while_a_large_result_is_told(tmp_path: Path) -> None:
    large = b'{"content":[%b]}' % b",".join([b'{"type":"text","text":"%b"}' % (b"x" * 100)] * 40_000)
    assert len(large) > 4 << 20
    async with made(tmp_path, run=python('say({"decision": "allow"})'), format="mcp-compose") as one:
        asking = asyncio.create_task(asked(one, exchange(result=large), "after"))
        longest = 0.0
        while not asking.done():
            since = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - since)
        assert await asking is None

    assert longest < 0.5


async def test_many_requests_leave_no_process_no_descriptor_and_no_task(tmp_path: Path) -> None:
    async with made(tmp_path, run=["sh", "-c", "cat > /dev/null; exit 1"]) as one:
        for _ in range(3):
            with pytest.raises(InterceptorFailed):
                await asked(one, exchange())
        await until_async(lambda: not marked_processes(tmp_path), "they are gone")
        before = _held()
        for _ in range(40):
            with pytest.raises(InterceptorFailed):
                await asked(one, exchange())
        await until_async(lambda: not marked_processes(tmp_path), "they are gone")
        await until_async(lambda: _held() <= before, f"not more than {before} is held")
    assert len(asyncio.all_tasks()) == 1


def _held() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_compiled_copy_beside_a_module_is_not_believed(tmp_path: Path) -> None:
    module = tmp_path / "check.py"
    module.write_text('print(\'{"decision": "allow"}\')')
    py_compile.compile(str(module), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    module.write_text('print(\'{"decision": "deny", "message": "no"}\')')

    async with made(tmp_path, run=[sys.executable, "-m", "check"], timeout=5.0) as one:
        assert await asked(one, exchange(), "before", 5.0) == Refuse("no")
