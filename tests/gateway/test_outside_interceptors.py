"""What an outside interceptor can do wrong, through the gateway: the call ends in time, others are unaffected."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import FakeServer, Stage, project, running, tool
from harness.wait import LOADED
from mcpcompose.spec.interceptor import Interceptor

LIMIT = 1.0
GROUND = "import json, os, sys, time; q = json.loads(sys.stdin.readline());"
BAD = {
    "hangs": "time.sleep(60)",
    "crashes": "os.abort()",
    "prints 1 GB": "[print('x' * (1 << 20), flush=True) for _ in range(1024)]",
    "prints nonsense": "print('ready to serve')",
}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with running(tmp_path) as made:
        yield made


def program(folder: Path, code: str, **keys: Any) -> Interceptor:
    return Interceptor.model_validate(
        {
            "name": "policy",
            "run": [sys.executable, "-I", "-c", GROUND + code],
            "working_dir": str(folder),
            "match": {"tools": ["guarded"]},
            "timeout": LIMIT,
            **keys,
        }
    )


async def serve(stage: Stage, *interceptors: Interceptor) -> FakeServer:
    server = FakeServer(tools=[tool("guarded"), tool("free")])
    made = project(servers={"a": {}})
    await stage.serve(made.model_copy(update={"interceptors": interceptors}), {"a": server})
    return server


async def call(stage: Stage, name: str) -> tuple[dict[str, Any], float]:
    since = time.monotonic()
    answer = (await stage.post("tools/call", {"name": f"a__{name}", "arguments": {}})).json()
    return dict(answer["result"]), time.monotonic() - since


@pytest.mark.parametrize("on_failure", ["deny", "allow"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("bad", BAD)
async def test_the_call_ends_within_its_limit_with_the_declared_outcome_and_others_are_unaffected(
    stage: Stage, tmp_path: Path, bad: str, when: str, on_failure: str
) -> None:
    server = await serve(stage, program(tmp_path, BAD[bad], when=when, on_failure=on_failure))

    guarded = asyncio.create_task(call(stage, "guarded"))
    others = [await call(stage, "free") for _ in range(10)]
    result, took = await guarded

    reached = [one["params"]["name"] for one in server.calls]
    assert took < LIMIT + LOADED
    assert all(not answer.get("isError") and seconds < LIMIT for answer, seconds in others)
    if on_failure == "allow":
        assert not result.get("isError")
        assert "guarded" in reached
    else:
        assert result["isError"] is True
        assert "`policy` failed" in result["content"][0]["text"]
        assert ("guarded" in reached) is (when == "after")
    (problem,) = stage.gateway.governance.problems()
    assert problem["name"] == "policy"
    assert problem["count"] == 1


async def test_a_kept_program_goes_on_when_the_file_is_read_again(stage: Stage, tmp_path: Path) -> None:
    code = """
import itertools
for line in itertools.chain([json.dumps(q)], sys.stdin):
    q = json.loads(line)
    print(json.dumps({"id": q["id"], "decision": "deny", "message": str(os.getpid())}), flush=True)
"""
    spec = program(tmp_path, "\n" + code, keep=True, when="before")
    await serve(stage, spec)
    first, _ = await call(stage, "guarded")
    declared = stage.gateway._project
    assert declared is not None
    stage.gateway.declare(declared.model_copy(update={"name": "other"}), {"a": "f"})

    second, _ = await call(stage, "guarded")
    stage.gateway.declare(replace_interceptors(declared, program(tmp_path, "\n" + code, keep=True)), {"a": "f"})
    third, _ = await call(stage, "guarded")

    assert first["content"] == second["content"]
    assert third["content"] != first["content"]


def replace_interceptors(declared: Any, *interceptors: Interceptor) -> Any:
    return declared.model_copy(update={"interceptors": interceptors})


async def test_nothing_but_the_contract_is_told(stage: Stage, tmp_path: Path) -> None:
    code = """print(json.dumps({"decision": "deny", "message": json.dumps(sorted(q))}))"""
    await serve(stage, program(tmp_path, code, when="before"))

    result, _ = await call(stage, "guarded")

    assert json.loads(result["content"][0]["text"]) == sorted(
        ["version", "id", "request", "phase", "direction", "method", "server", "name", "exposed", "params", "tool",
         "client", "has_token", "profile", "session"]
    )  # fmt: skip
