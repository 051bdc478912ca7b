"""What is written for a request, when, and how it goes on after everything that ends a gateway."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.audit import Prompt, Shelf, begin, call
from mcpcompose.audit.verify import verify
from mcpcompose.redact import Redactor
from mcpcompose.spec.interceptor import Audit


def records(shelf: Shelf, event: str | None = None) -> list[dict[str, Any]]:
    return [one for one in map(json.loads, shelf.lines()) if event in {None, one["event"]}]


def test_a_request_is_two_records_that_say_who_what_and_how_it_ended(shelf: Shelf) -> None:
    log = shelf.log()

    begin(log, "r-1", modern=True)
    log.ended(
        id="r-1",
        outcome="refused",
        decisions=[{"interceptor": "session-pin", "decision": "refused", "rule": "pin"}],
        seconds=0.0123456,
        error="no",
        result=b"12345",
    )

    began, ended = records(shelf)[-2:]
    assert {key: began[key] for key in began if key not in {"time", "hash", "seq"}} == {
        "event": "begin", "id": "r-1", "client": "cursor", "profile": "default", "session": "00112233",
        "server": "github", "method": "tools/call", "name": "create_issue", "arguments": {"owner": 4, "body": 7},
        "modern": True,
    }  # fmt: skip
    assert {key: ended[key] for key in ended if key not in {"time", "hash", "seq"}} == {
        "event": "end", "id": "r-1", "outcome": "refused", "ms": 12.346, "bytes": 5, "error": "no",
        "decisions": [{"interceptor": "session-pin", "decision": "refused", "rule": "pin"}],
    }  # fmt: skip


def test_both_records_are_in_the_file_before_the_calls_return(shelf: Shelf) -> None:
    log = shelf.log()
    begin(log)
    assert records(shelf)[-1]["event"] == "begin"
    log.ended(id="1", outcome="ok")
    assert records(shelf)[-1]["event"] == "end"


def test_anyone_can_check_the_chain_with_sha_256_and_a_text_editor(shelf: Shelf) -> None:
    log = shelf.log()
    for number in range(5):
        call(log, str(number))

    before = "0" * 64
    for line in shelf.lines():
        text = line.decode().rstrip("\n")
        stated = json.loads(text)["hash"]
        without = text.removesuffix(f',"hash":"{stated}"' + "}") + "}"
        assert hashlib.sha256((before + without).encode()).hexdigest() == stated
        before = stated


def test_the_documentation_s_own_program_checks_a_log(shelf: Shelf, repository: Path) -> None:
    log = shelf.log(rotate=4096, keep=2)
    for number in range(100):
        call(log, str(number))
    log.close()
    (program,) = re.findall(r"```python\n(.*?)```", (repository / "docs/audit.md").read_text(), re.DOTALL)

    def check(content: bytes) -> int:
        return subprocess.run(
            [sys.executable, "-c", program], input=content, capture_output=True, check=False
        ).returncode

    content = b"".join(shelf.lines())
    assert json.loads(content.partition(b"\n")[0])["seq"] > 1
    assert check(content) == 0
    assert check(content.replace(b'"ok"', b'"no"', 1)) == 1


def test_values_are_not_written_unless_asked_for(shelf: Shelf) -> None:
    call(shelf.log(), arguments={"body": "very private"})
    assert b"very private" not in b"".join(shelf.lines())

    log = shelf.log(values="redacted")
    begin(log, arguments={"body": "very private", "n": 7})
    log.ended(id="1", outcome="ok", result=b'{"content":[{"type":"text","text":"also"}]}')

    began, ended = records(shelf)[-2:]
    assert began["values"] == {"body": "very private", "n": 7}
    assert ended["result"] == {"content": [{"type": "text", "text": "also"}]}


def test_large_values_are_left_out_and_their_size_is_not(shelf: Shelf) -> None:
    log = shelf.log(values="redacted")
    begin(log, arguments={"body": "x" * 100_000})
    log.ended(id="1", outcome="ok", result=json.dumps("y" * 100_000).encode())

    began, ended = records(shelf)[-2:]
    assert began["arguments"] == {"body": 100_000}
    assert "values" not in began
    assert (ended["bytes"], ended["result"]) == (100_002, None)


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 10**400, "deep": [[[[1]]]]},
        {"lone \ud800": "\udfff", "\x00\x1b[31m": "\n"},
        {f"argument{number}": number for number in range(5000)},
        {"a" * 100_000: "b" * 1_000_000},
        {},
    ],
    ids=["huge-number", "surrogates", "many", "long", "none"],
)
@pytest.mark.parametrize("values", ["none", "redacted"])
def test_odd_arguments_make_one_bounded_line_of_the_chain(shelf: Shelf, arguments: dict[str, Any], values: str) -> None:
    log = shelf.log(values=values)
    call(log, arguments=arguments)
    log.close()

    assert max(map(len, shelf.lines())) < (8_000 if values == "none" else 100_000)
    assert verify(shelf.folder).problems == []


def test_a_second_gateway_goes_on_in_the_same_chain(shelf: Shelf) -> None:
    first = shelf.log()
    call(first, "1")
    first.close()
    call(shelf.log(), "2")

    found = records(shelf)
    assert [one["seq"] for one in found] == list(range(1, len(found) + 1))
    assert [one["event"] for one in found] == ["file", "start", "begin", "end", "stop", "start", "begin", "end"]
    assert verify(shelf.folder).problems == []


def test_a_log_that_is_made_but_never_written_touches_nothing(shelf: Shelf) -> None:
    shelf.log().close()
    assert not shelf.folder.exists()


def test_the_files_are_for_their_user_only(shelf: Shelf) -> None:
    log = shelf.log()
    call(log)
    log.close()

    assert stat.S_IMODE(shelf.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in shelf.folder.iterdir()} == {0o600}


def test_rotation_continues_the_chain_and_keeps_as_many_full_files_as_asked(shelf: Shelf) -> None:
    log = shelf.log(rotate=4096, keep=3)
    for number in range(100):
        call(log, str(number))
    log.close()

    assert len(shelf.files()) == 4
    assert all(path.stat().st_size < 4096 + 1024 for path in shelf.files())
    verdict = verify(shelf.folder)
    assert verdict.problems == []
    assert verdict.first is not None
    assert verdict.first > 1


def test_turning_it_off_and_on_is_written_down(shelf: Shelf) -> None:
    log = shelf.log()
    call(log)
    log.follow(Audit(enabled=False))
    log.follow(Audit())
    assert [one["event"] for one in records(shelf)][-2:] == ["off", "on"]


def test_a_clock_that_jumps_changes_times_and_nothing_else(shelf: Shelf) -> None:
    now = iter([1e9, 1e9 - 86400.5, 4e9, 0.0] + [1e9] * 20)
    log = Prompt(shelf.folder, Audit(), Redactor(), clock=lambda: next(now))
    for number in range(4):
        call(log, str(number))
    log.close()

    assert "2001-09-08T01:46:39.500Z" in {one["time"] for one in records(shelf)}
    assert verify(shelf.folder).problems == []


async def test_synced_waits_until_what_was_written_is_on_disk(shelf: Shelf) -> None:
    log = shelf.log()
    call(log)
    await log.synced()
    last = records(shelf)[-1]
    assert (shelf.folder / "head").read_text() == f"{last['seq']:020d} {last['hash']}\n"


def test_head_follows_without_being_asked(shelf: Shelf) -> None:
    log = shelf.log()
    call(log)
    want = f"{records(shelf)[-1]['seq']:020d} "
    end = time.monotonic() + 10
    while not ((shelf.folder / "head").exists() and (shelf.folder / "head").read_text().startswith(want)):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_always_means_that_a_file_is_synced_before_the_record_counts(shelf: Shelf, monkeypatch: Any) -> None:
    synced: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (synced.append(len(shelf.lines())), real(descriptor)))
    log = shelf.log(sync="always")
    begin(log)
    assert synced[-1] == len(shelf.lines())


def test_a_killed_process_loses_no_record_that_was_written(shelf: Shelf, tmp_path: Path) -> None:
    program = tmp_path / "writer.py"
    program.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from harness.audit import Shelf, call\n"
        "log = Shelf(Path(sys.argv[1])).log()\n"
        "for number in range(1000):\n"
        "    call(log, str(number))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, program, shelf.folder], env=environ, check=False)
    assert done.returncode == -9

    call(shelf.log(), "after")

    assert [one["id"] for one in records(shelf, "end")] == [*map(str, range(1000)), "after"]
    assert verify(shelf.folder).problems == []
