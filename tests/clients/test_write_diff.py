"""The change that a person is shown: exact where it is ours, without anybody's secret."""

from __future__ import annotations

import json

from mcpcompose.clients import edit
from mcpcompose.clients.write_diff import diff

TOKEN = "mcpc_5f2e9a7b1c3d4e6f8a9b0c1d"
THEIRS = """{
  "mcpServers": {
    "github": {
      "command": "npx",
      "args": ["--token", "s3cr3t"],
      "env": {"GITHUB_PAT": "ghp_planted1", "PIN": "hunter2!"},
      "url": "https://user:pw@host/mcp?key=planted2"
    }
  }
}
"""


def change(entry: dict[str, object], text: str = THEIRS) -> str:
    return diff(text, edit.put("jsonc", text, ("mcpServers",), "x", entry), "~/.client.json", secrets=[TOKEN])


def test_our_lines_are_shown_with_the_token_masked() -> None:
    entry = {"type": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": f"Bearer {TOKEN}"}}

    shown = change(entry)

    assert '+      "url": "http://127.0.0.1:9/mcp",' in shown
    assert '+        "Authorization": "Bearer [redacted]"' in shown
    assert TOKEN not in shown


def test_nothing_of_the_neighbours_is_shown_but_keys_and_words() -> None:
    shown = change({"url": "http://127.0.0.1:9/mcp"})

    for planted in ("s3cr3t", "ghp_planted1", "hunter2", "planted2", "user:pw"):
        assert planted not in shown
    assert '"GITHUB_PAT": "…"' in shown


def test_a_reference_is_no_secret() -> None:
    for reference in ("${MCP_COMPOSE_TOKEN}", "{env:MCP_COMPOSE_TOKEN}", "${input:mcp-token}", "${env:T}"):
        assert f"Bearer {reference}" in change({"headers": {"Authorization": f"Bearer {reference}"}})


def test_unknown_credentials_of_ours_are_masked_too() -> None:
    shown = change({"env": {"API_KEY": "abc"}, "args": ["--password", "x"], "token": "sk-live-0123456789abcdef0123"})

    assert "sk-live" not in shown
    assert '"API_KEY": "[redacted]"' in shown


def test_one_long_line_is_cut_to_what_differs() -> None:
    text = json.dumps({"big": ["ghp_planted" * 2000], "mcpServers": {}})

    shown = change({"url": "u"}, text)

    assert len(shown) < 500
    assert '"x"' in shown
    assert "planted" not in shown


def test_the_neighbours_on_a_line_that_changes_are_not_shown() -> None:
    shown = change({"url": "u"}, '{"mcpServers": {"a": {"env": {"PIN": "hunter2!"}}}}\n')

    assert "hunter2" not in shown


def test_yaml_and_toml_neighbours_are_not_shown() -> None:
    yaml = (
        "extensions:\n  a:\n    envs:\n      PIN: hunter2!\n      K: [planted1, planted2]\n    uri: http://h/planted3\n"
    )
    toml = '[mcp_servers.a]\nurl = "http://h/planted3"\nenv = { PIN = "hunter2!", K = \'planted1\' }\n'

    for fmt, text, path in (("yaml", yaml, "extensions"), ("toml", toml, "mcp_servers")):
        after = edit.put(fmt, text, (path,), "x", {"url": "http://127.0.0.1:9/mcp"})  # type: ignore[arg-type]
        shown = diff(text, after, "f")
        assert "hunter2" not in shown
        assert "planted" not in shown
        assert "http://127.0.0.1:9/mcp" in shown


def test_no_change_shows_nothing() -> None:
    assert diff(THEIRS, THEIRS, "f") == ""


def test_a_large_file_is_shown_quickly() -> None:
    text = json.dumps({"a": [{"x": 1}] * 20000, "mcpServers": {}}, indent=1)

    shown = change({"url": "u"}, text)

    assert len(shown.splitlines()) < 25
