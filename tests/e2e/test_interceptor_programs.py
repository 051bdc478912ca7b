"""Programs as interceptors, from the file to the answer: approved first, kept as approved, gone with their gateway."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil

from harness.wait import until, until_ended
from harness.workspace import Workspace

SERVERS: dict[str, Any] = {"a": {"process": [sys.executable, "-u", "programs/echo.py"]}}
CHECK = """
import json, os, sys
q = json.load(sys.stdin)
text = json.dumps(q["params"])
answer = {"decision": "deny", "message": "leave the word out"} if "WORD" in text else {"decision": "allow"}
print(json.dumps(answer))
"""
KEPT = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin:
    q = json.loads(line)
    print(json.dumps({"id": q["id"], "decision": "deny", "message": os.environ.get("KEY", "")}), flush=True)
time.sleep(600)
"""


def write(workspace: Workspace, name: str, text: str) -> Path:
    path = workspace.directory / "policies" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def call(workspace: Workspace, text: str) -> str:
    done = workspace.run("tools", "call", "a__echo", f"text={text}", code=None)
    return (done.stdout + done.stderr).strip()


def interceptor_processes(workspace: Workspace) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if str(workspace.directory) == process.cwd() and "policies/kept.py" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_program_runs_only_with_the_content_that_was_approved(workspace: Workspace) -> None:
    script = write(workspace, "check.py", CHECK)
    interceptors = [{"run": [sys.executable, "-I", "policies/check.py"], "name": "check", "match": {"server": "a"}}]
    workspace.save(SERVERS, engine="process", interceptors=interceptors)

    refused = workspace.up(code=6)
    assert "program of `check`" in refused.stderr
    workspace.run("trust", "--all")
    workspace.up()
    workspace.when_ready()
    assert call(workspace, "fine") == "fine"
    assert call(workspace, "WORD") == "leave the word out"

    script.write_text(CHECK.replace("deny", "allow").replace('"message": "leave the word out"', '"labels": []'))
    assert "`policies/check.py` is not what was approved" in call(workspace, "WORD")
    until(lambda: "program of `check`" in json.dumps(workspace.status()), "the change waits for approval")
    assert "`policies/check.py` is not what was approved" in call(workspace, "WORD")

    workspace.run("trust", "--all")
    workspace.up()
    assert call(workspace, "WORD") == "WORD"


def test_a_killed_gateway_leaves_no_interceptor_to_the_next_one(workspace: Workspace) -> None:
    write(workspace, "kept.py", KEPT)
    interceptors = [{"run": [sys.executable, "-I", "policies/kept.py"], "keep": True, "when": "before"}]
    workspace.save(SERVERS, engine="process", interceptors=interceptors)
    workspace.run("trust", "--all")
    workspace.up()
    workspace.when_ready()
    call(workspace, "x")
    (left,) = interceptor_processes(workspace)

    workspace.gateway().kill()
    assert left.is_running()
    workspace.up()
    until_ended(left)  # by the next gateway

    call(workspace, "x")
    assert interceptor_processes(workspace)
    workspace.run("down")
    until(lambda: not interceptor_processes(workspace), "none is left after `down`")


def test_a_secret_that_changes_reaches_a_program_that_is_kept(workspace: Workspace) -> None:
    write(workspace, "kept.py", KEPT)
    secret = workspace.directory / "key"
    secret.write_text("first-value")
    interceptors = [
        {
            "run": [sys.executable, "-I", "policies/kept.py"],
            "keep": True,
            "when": "before",
            "secrets": [{"source": "key", "env": "KEY"}],
        }
    ]
    workspace.save(SERVERS, engine="process", secrets={"key": {"file": "./key"}}, interceptors=interceptors)
    workspace.run("trust", "--all")
    workspace.up()
    workspace.when_ready()
    assert len(call(workspace, "x")) > 0
    fresh = secret.with_name("fresh")
    fresh.write_text("second-value")
    fresh.replace(secret)

    until(lambda: call(workspace, "x") == "second-value", "the new value is there")
    assert "first-value" not in workspace.log()
