"""What a person sees and does of interceptors and sessions, through the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness.desk import Desk, eventually

PIN = {"use": "session-pin", "match": {"server": "a"}, "key": "{text}"}


def governed(desk: Desk, *interceptors: object, **more: object) -> Path:
    server = {"process": [sys.executable, "-u", "echo.py"]}
    whole = {"name": "desk", "engine": "process", "servers": {"a": server}, "interceptors": interceptors, **more}
    file: Path = desk.write(json.dumps(whole))
    return file


def test_a_pin_holds_until_a_person_ends_the_session_also_over_another_gateway(desk: Desk) -> None:
    governed(desk, PIN)
    desk.up()

    assert desk.ok("tools", "call", "a__echo", "text=one") == "one\n"
    assert desk.run("tools", "call", "a__echo", "text=two").returncode == 1
    (session,) = desk.json("session", "ls")
    assert (session["client"], list(session["pins"].values())) == ("(shared)", ["one"])

    desk.ok("down")
    assert desk.json("session", "ls")[0]["pins"] == session["pins"]
    desk.ok("up", "-d")
    assert desk.run("tools", "call", "a__echo", "text=two").returncode == 1

    desk.ok("session", "reset", "shared")
    assert desk.json("session", "ls") == []
    assert desk.ok("tools", "call", "a__echo", "text=two") == "two\n"


def test_a_session_of_a_gateway_that_is_gone_can_be_ended_too(desk: Desk) -> None:
    governed(desk, PIN)
    desk.up()
    desk.ok("tools", "call", "a__echo", "text=one")
    desk.ok("down")

    wrong = desk.run("session", "reset", "share")
    neither = desk.run("session", "reset")
    done = desk.run("session", "reset", "--all")

    assert wrong.returncode == neither.returncode == 2
    assert "did you mean `(shared)`?" in wrong.stderr
    assert "the session of `(shared)` is over" in done.stderr
    assert desk.json("session", "ls") == []


def test_an_interceptor_that_somebody_takes_out_of_the_file_holds_until_that_is_approved(desk: Desk) -> None:
    governed(desk, PIN)
    desk.up()
    desk.ok("tools", "call", "a__echo", "text=one")
    governed(desk)

    (form,) = eventually(lambda: desk.json("ps")["unapproved"])
    assert (form["kind"], form["subject"]) == ("looser interceptors", "session-pin")
    assert desk.run("tools", "call", "a__echo", "text=two").returncode == 1

    desk.ok("trust", form["hash"])
    eventually(lambda: desk.run("tools", "call", "a__echo", "text=two").returncode == 0)


def test_ps_says_which_interceptor_fails_and_why(desk: Desk) -> None:
    governed(desk, {"name": "check", "run": ["/nowhere/to/be/found"]})
    desk.up()

    refused = desk.run("tools", "call", "a__echo", "text=one")

    assert refused.returncode == 1
    (problem,) = desk.json("ps")["interceptors"]
    assert (problem["name"], problem["count"] > 0) == ("check", True)
    assert "/nowhere/to/be/found" in problem["problem"]
    shown = desk.run("ps")
    assert "interceptor `check` failed" in shown.stderr
    assert problem["problem"] in shown.stderr


def test_a_missing_secret_of_an_interceptor_exits_3_before_anything_starts(desk: Desk) -> None:
    hook = {"name": "hook", "url": "https://example.com", "headers": {"A": "${secret:key}"}}
    governed(desk, hook, secrets={"key": {"environment": "NOT_SET_ANYWHERE"}})
    desk.ok("trust", "--all")

    done = desk.run("up", "-d")

    assert done.returncode == 3
    assert "secret `key` of interceptor `hook` is missing" in done.stderr
