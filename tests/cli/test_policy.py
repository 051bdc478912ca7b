"""`policy test`: requests and expected decisions, against the same pipeline that the gateway has."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.desk import Desk

FILE = """
name: rules
engine: process
servers:
  github: {process: [python3, -c, "1"]}
  web: {process: [python3, -c, "1"]}
profiles:
  default: {servers: [github, web]}
  guest: {servers: [web]}
clients:
  cursor: {profile: guest}
interceptors:
"""
PIN = "  - {use: session-pin, match: {server: github}, key: '{owner}/{repo}', unpinned: [get_me]}\n"


@pytest.fixture
def desk() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="mcd-", dir="/tmp", ignore_cleanup_errors=True) as base:
        made = Desk(Path(base))
        try:
            yield made
        finally:
            made.leave()


def tried(desk: Desk, interceptors: str, tests: str, code: int = 0) -> dict[str, Any]:
    desk.write(FILE + interceptors)
    desk.write(tests, "tests.yaml")
    done = desk.run("policy", "test", "tests.yaml", "--format", "json")
    assert done.returncode == code, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def test_steps_of_a_test_share_a_session_and_tests_do_not(desk: Desk) -> None:
    found = tried(
        desk,
        PIN,
        """
tests:
  - name: the second repository is refused
    steps:
      - {call: github/get_issue, arguments: {owner: acme, repo: site}, returns: fine, expect: allow, message: fine}
      - {call: github/get_me, expect: allow}
      - call: github/get_file
        arguments: {owner: acme, repo: payroll}
        expect: deny
        by: session-pin
        rule: other-key
        message: acme/site
      - {read: "github/repo://acme/payroll", expect: deny, rule: no-key}
  - name: another session is another one
    steps:
      - {call: github/get_file, arguments: {owner: acme, repo: payroll}, expect: allow}
""",
    )
    assert [one["passed"] for one in found["tests"]] == [True, True]


def test_what_is_not_as_expected_is_told_with_its_place_and_exit_code_1(desk: Desk) -> None:
    found = tried(
        desk,
        PIN,
        """
tests:
  - name: wrong
    steps:
      - {call: github/get_issue, arguments: {owner: acme, repo: site}, expect: allow}
      - {call: github/get_issue, arguments: {owner: acme, repo: other}, expect: allow}
  - name: right
    steps: [{call: web/get, expect: allow}]
""",
        code=1,
    )
    wrong, right = found["tests"]
    assert right["passed"]
    assert "step 2" in wrong["failure"]
    assert "expected to be allowed, but it was denied (`session-pin` refused by `other-key`" in wrong["failure"]
    assert wrong["at"]["line"] == 6


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("by: rules", "expected `rules` to decide"),
        ("rule: other", "expected the rule `other`"),
        ("message: nothing like it", "expected the client to be told"),
        ("sent: {q: x}", "expected the server to get"),
        ("absent: [secretword]", "`secretword` was not taken out"),
    ],
)
def test_every_wish_can_fail(desk: Desk, wish: str, said: str) -> None:
    step = f"{{call: web/get, arguments: {{q: y}}, returns: a secretword, expect: allow, {wish}}}"
    found = tried(desk, "  - use: sanitize\n", f"tests:\n  - name: x\n    steps:\n      - {step}\n", code=1)
    assert said in found["tests"][0]["failure"]


def test_hints_questions_profiles_results_and_errors(desk: Desk) -> None:
    found = tried(
        desk,
        """
  - {use: approve}
  - {use: sanitize}
  - use: rules
    rules: [{deny: "profile == 'guest' && server == 'web' && name == 'post'", message: guests only read}]
""",
        """
tools:
  web: [{name: get, annotations: {readOnlyHint: true}}, {name: post, annotations: {destructiveHint: false}}]
tests:
  - name: asked
    steps:
      - {call: web/drop, expect: ask, answer: "yes", returns: gone, message: gone}
      - {call: web/drop, expect: ask, message: did not allow}
      - {call: web/get, expect: allow}
      - {call: web/get, fails: "out of\\u200b order", expect: allow, message: out of order, by: sanitize}
      - {call: web/get, returns: {content: [{type: text, text: "a<!-- evil -->b"}]}, expect: allow, absent: [evil]}
      - {prompt: web/hello, returns: hi, expect: allow, message: hi}
      - {read: "web/file:///x", returns: text, expect: allow, message: text}
  - name: a guest
    client: cursor
    steps: [{call: web/post, expect: deny, by: rules, message: guests only read}]
  - name: who is none
    profile: default
    steps: [{call: web/post, expect: allow}]
""",
    )
    assert found["failed"] == 0, found


def test_a_client_without_a_token_is_treated_as_every_profile(desk: Desk) -> None:
    rule = "  - {use: rate-limit, limit: 0/day, match: {profile: guest}}\n"
    tests = """
tests:
  - {name: one of another profile, profile: default, steps: [{call: web/get, expect: allow}]}
  - {name: without a token, token: false, steps: [{call: web/get, expect: deny, by: rate-limit}]}
"""
    assert tried(desk, rule, tests)["failed"] == 0


def test_programs_are_run_and_need_approval_first(desk: Desk) -> None:
    program = (
        "import json, sys; json.load(sys.stdin); print(json.dumps({'decision': 'refuse', 'message': 'not today'}))"
    )
    desk.write(program, "check.py")
    rule = f"  - {{run: [{sys.executable}, check.py], name: mine}}\n"
    tests = "tests:\n  - {name: x, steps: [{call: web/get, expect: deny, by: mine}]}\n"
    desk.write(FILE + rule)
    desk.write(tests, "tests.yaml")
    refused = desk.run("policy", "test", "tests.yaml")
    assert refused.returncode == 6
    assert "trust" in refused.stderr
    desk.ok("trust", "--all")
    assert tried(desk, rule, tests)["failed"] == 0


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("", "holds `tests`"),
        ("tests: []", "must not be empty"),
        ("tests: [{name: x, steps: [{call: web/get, expect: maybe}]}]", "`expect` cannot be `maybe`"),
        ("tests: [{name: x, steps: [{call: web, expect: allow}]}]", "SERVER/NAME"),
        ("tests: [{name: x, steps: [{expect: allow}]}]", "exactly one of"),
        ("tests: [{name: x, steps: [{call: web/get, expct: allow}]}]", "did you mean `expect`?"),
        ("tests: [{name: x, steps: [{call: wib/get, expect: allow}]}]", "there is no server `wib`"),
        ("tests: [{name: x, client: zed, steps: [{call: web/get, expect: allow}]}]", "there is no client `zed`"),
        ("tests: [{name: x, profile: zed, steps: [{call: web/get, expect: allow}]}]", "there is no profile `zed`"),
        ("tests: [{name: x, steps: [{call: githb/get, expect: allow}]}]", "did you mean `github`?"),
        ("tools: {wib: [{name: x}]}\ntests: [{name: x, steps: [{call: web/get, expect: allow}]}]", "no server `wib`"),
        ("tools: {web: [{nme: x}]}\ntests: [{name: x, steps: [{call: web/get, expect: allow}]}]", "has a `name`"),
        ("tests: [{name: x, steps: [{call: web/get, expect: allow, returns: x, fails: y}]}]", "`returns` or `fails`"),
        ("tests: [", "tests.yaml:2"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_wrong_is_an_error_with_its_place(desk: Desk, tests: str | None, said: str) -> None:
    desk.write(FILE + PIN)
    if tests is not None:
        desk.write(tests, "tests.yaml")
    done = desk.run("policy", "test", "tests.yaml")
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr


def test_what_a_profile_or_the_rules_for_tools_keep_away_is_denied_by_the_file(desk: Desk) -> None:
    desk.write(
        FILE.replace(
            'web: {process: [python3, -c, "1"]}', 'web: {process: [python3, -c, "1"], tools: {deny: ["drop_*"]}}'
        )
        .replace("guest: {servers: [web]}", "guest: {servers: [web], tools: {web: [get]}}")
        .replace("interceptors:\n", "")
    )
    desk.write(
        """
tests:
  - name: everybody
    steps:
      - {call: web/get, expect: allow}
      - {call: web/drop_all, expect: deny, by: (file)}
      - {read: "web/file:///drop_all", expect: allow}
  - name: a guest
    client: cursor
    steps:
      - {call: web/get, expect: allow}
      - {call: web/put, expect: deny}
      - {call: github/get, expect: allow}
""",
        "tests.yaml",
    )
    done = desk.run("policy", "test", "tests.yaml")
    assert done.returncode == 1
    assert "FAILED  a guest" in done.stdout
    assert "step 3" in done.stdout
    assert "profile `guest` has no server `github`" in done.stdout
    assert "--> tests.yaml:13:9" in done.stdout


def test_for_people_it_prints_a_line_for_each_test(desk: Desk) -> None:
    desk.write(FILE + PIN)
    desk.write("tests:\n  - {name: a guest may read, steps: [{call: web/get, expect: allow}]}\n", "tests.yaml")
    assert desk.ok("policy", "test", "tests.yaml") == "ok      a guest may read\n"
