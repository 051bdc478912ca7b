"""Whatever runs on the host, or is told what clients say, is approved in its exact form first."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.config.load import Request, load
from mcpcompose.orchestrator.approval import forms
from mcpcompose.orchestrator.forms import Form

HOME = Path("/home/someone")
HEAD = "name: team\nservers:\n  a: {image: one:1}\nsecrets:\n  key: {environment: KEY}\n  other: {environment: OTHER}\n"


def asked(folder: Path, interceptors: str, environ: dict[str, str] | None = None) -> tuple[Form, ...]:
    (folder / "mcp-compose.yaml").write_text(f"{HEAD}interceptors:\n{interceptors}\n")
    loaded = load(Request((), folder, environ or {}, HOME))
    return forms(loaded.project, variables=loaded.variables, digests={}, home=HOME)


def one(folder: Path, interceptor: str, **environ: str) -> Form:
    (found,) = asked(folder, f"  - {interceptor}", environ)
    return found


def test_a_program_is_approved_with_its_command_its_folder_and_its_scripts_content(tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text("print('a')")

    form = one(tmp_path, "{run: [python3, check.py, '${LEVEL}'], match: {tools: ['x*']}}", LEVEL="high")

    assert form.kind == "program"
    runs, where, content, sees = form.text.splitlines()
    assert runs == 'runs ["python3", "check.py", "high"] on the host'
    assert where == f"in {tmp_path}"
    assert content.startswith(f"content {tmp_path}/check.py sha256:")
    assert sees == 'sees {"tools": ["x*"]}'


def test_a_built_in_needs_none(tmp_path: Path) -> None:
    assert not asked(tmp_path, "  - {use: secret-scan}\n  - {use: approve}")


CHECK = "{run: [python3, check.py]}"
HOOK = "{url: 'https://policy.example/x'}"
IMAGE = "{image: 'policy:1'}"
FUNCTION = "{python: 'rules:check'}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CHECK, "{run: [python3, check.py, -v]}"),
        (CHECK, "{run: [python3, check.py], environment: {PYTHONPATH: /x}}"),
        (CHECK, "{run: [python3, check.py], environment: {A: b}}"),
        (CHECK, "{run: [python3, check.py], secrets: [{source: key, env: KEY}]}"),
        (CHECK, "{run: [python3, check.py], working_dir: /}"),
        ("{run: [python3, check.py], match: {server: a}}", CHECK),
        (
            "{run: [python3, check.py], secrets: [{source: key, env: KEY}]}",
            "{run: [python3, check.py], secrets: [{source: other, env: KEY}]}",
        ),
        (HOOK, "{url: 'https://policy.example/y'}"),
        (HOOK, "{url: 'https://elsewhere.example/x'}"),
        (HOOK, "{url: 'https://policy.example/x', headers: {Authorization: '${secret:key}'}}"),
        ("{url: 'https://policy.example/x', match: {server: a}}", HOOK),
        (IMAGE, "{image: 'policy:2'}"),
        (IMAGE, "{image: 'policy:1', command: [--loose]}"),
        (IMAGE, "{image: 'policy:1', secrets: [{source: key, env: KEY}]}"),
        (FUNCTION, "{python: 'rules:other'}"),
        (FUNCTION, "{python: 'os:system'}"),
    ],
)
def test_another_form_is_another_approval(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "check.py").write_text("print('a')")

    assert one(tmp_path, before).hash != one(tmp_path, after).hash


@pytest.mark.parametrize("change", [f"{CHECK[:-1]}, timeout: 1s}}", f"{CHECK[:-1]}, when: after}}"])
def test_what_changes_nothing_of_it_keeps_its_approval(tmp_path: Path, change: str) -> None:
    assert one(tmp_path, CHECK).hash == one(tmp_path, change).hash


@pytest.mark.parametrize(
    ("interceptor", "script"),
    [
        (CHECK, "check.py"),
        ("{run: [./check.sh]}", "check.sh"),
        ("{run: [sh, -c, 'cat | ./policies/check.sh --strict']}", "policies/check.sh"),
        ("{run: [node, --require=./hooks.js, main.js]}", "hooks.js"),
        ("{run: [python3, -m, policies.check]}", "policies/check.py"),
        ("{run: ['${TOOL}']}", "check.py"),
        ("{python: 'policies.rules:check'}", "policies/rules.py"),
        ("{python: 'policies.rules:check'}", "policies/__init__.py"),
        ("{python: 'policies.rules:check'}", "policies/rules.abi3.so"),
        ("{python: 'policies.rules:check'}", f"policies/rules{EXTENSION_SUFFIXES[0]}"),
        ("{python: 'policies.rules:check'}", "policies/rules/__init__.abi3.so"),
    ],
)
def test_another_content_of_a_script_is_another_approval(tmp_path: Path, interceptor: str, script: str) -> None:
    (tmp_path / script).parent.mkdir(parents=True, exist_ok=True)
    missing = one(tmp_path, interceptor, TOOL="./check.py")
    (tmp_path / script).write_text("one")
    before = one(tmp_path, interceptor, TOOL="./check.py")
    (tmp_path / script).write_text("two")
    after = one(tmp_path, interceptor, TOOL="./check.py")

    assert len({missing.hash, before.hash, after.hash}) == 3


def test_a_secret_is_shown_by_where_it_comes_from_and_never_by_its_value(tmp_path: Path) -> None:
    form = one(
        tmp_path, "{url: 'https://policy.example/x', headers: {Authorization: 'Bearer ${secret:key}'}}", KEY="sesame"
    )

    assert 'key from {"environment": "KEY"}' in form.text
    assert "sesame" not in form.text


def test_a_webhook_without_tls_is_shown_as_that(tmp_path: Path) -> None:
    assert "http://policy.example" in one(tmp_path, "{url: 'http://${HOST}/x'}", HOST="policy.example").text


@pytest.mark.parametrize(
    "interceptor",
    [
        "{url: 'https://policy.example/${TEAM}'}",
        "{url: 'https://policy.example/', headers: {X-Team: '${TEAM}'}}",
        "{run: [check], environment: {MODE: 'team-${TEAM}'}}",
        "{run: [check], environment: [TEAM]}",
        "{image: 'check:1', environment: [TEAM]}",
    ],
)
def test_another_value_of_a_variable_is_another_approval_and_is_shown(tmp_path: Path, interceptor: str) -> None:
    form, other = (one(tmp_path, interceptor, TEAM=team) for team in ("ours", "theirs"))

    assert form.hash != other.hash
    assert 'TEAM is "theirs"' in other.text.splitlines()


def test_a_variable_that_probably_holds_a_secret_is_not_shown_and_may_change(tmp_path: Path) -> None:
    form, other = (
        one(tmp_path, "{run: [check], environment: [API_TOKEN]}", API_TOKEN=token) for token in ("sesame", "other")
    )

    assert form == other
    assert "sesame" not in form.text


def test_a_changed_script_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text("one")
    (tmp_path / "mcp-compose.yaml").write_text(f"{HEAD}interceptors:\n  - {CHECK}\n")

    loaded: Any = load(Request((), tmp_path, {}, HOME))

    assert tmp_path / "check.py" in loaded.files
