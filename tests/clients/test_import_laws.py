"""Laws of imports: whatever a file says, the result loads and shows no secret, and importing again adds nothing."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.importing import Machine
from mcpcompose.actions.import_secrets import Keeper
from mcpcompose.clients.import_text import Marks
from mcpcompose.errors import UsageError
from mcpcompose.spec.template import expand

# --- secrets ----------------------------------------------------------------------------------------------------------

ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
SECRET = st.text(ALPHABET, min_size=12, max_size=40).map(lambda text: f"q7{text}Zx")
NAMED = st.sampled_from(
    [
        "API_KEY",
        "GITHUB_TOKEN",
        "password",
        "client_secret",
        "SLACK_BOT_TOKEN",
        "dbPassword",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD_SECRET",
    ]
)
HEADER = st.sampled_from(["Authorization", "X-Api-Key", "x-auth-token", "Cookie", "PRIVATE-TOKEN"])
SCHEME = st.sampled_from(["", "Bearer ", "token ", "Basic "])
WORD = st.from_regex(r"[a-z]{1,10}", fullmatch=True)


def in_variable(secret: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda name: {"command": "npx", "args": ["-y", "a-mcp"], "env": {name: secret}}, NAMED)


def in_container(secret: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda name, glued: {
            "command": "docker",
            "args": [
                "run",
                "-i",
                "--rm",
                *([f"-e{name}={secret}"] if glued else ["--env", f"{name}={secret}"]),
                "acme/a",
            ],
        },
        NAMED,
        st.booleans(),
    )


def in_header(secret: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda name, scheme: {"url": "https://a.example/mcp", "headers": {name: scheme + secret}}, HEADER, SCHEME
    )


def in_url(secret: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(
        [
            f"https://user:{secret}@a.example/mcp",
            f"https://{secret}@a.example/mcp",
            f"https://a.example/mcp?api_key={secret}",
            f"https://a.example/mcp?x=1&token={secret}&y=2",
            f"https://a.example/sse?apiKey={secret}#x",
        ]
    ).map(lambda url: {"url": url})


def in_argument(secret: str) -> st.SearchStrategy[dict[str, Any]]:
    words = st.sampled_from(
        [
            [f"--api-key={secret}"], ["--token", secret], ["--password", secret, "x"], [f"postgres://u:{secret}@h/db"],
            ["--header", f"Authorization: Bearer {secret}"], ["--config", json.dumps({"apiKey": secret})],
            ["-e", f"API_KEY={secret}"], [f"--dsn=mysql://root:{secret}@localhost/x"],
        ]
    )  # fmt: skip
    commands = st.sampled_from(
        [["npx", "-y", "a-mcp"], ["uvx", "a-mcp"], ["node", "/x.js"], ["docker", "run", "-i", "a/b"]]
    )
    return st.builds(lambda c, w: {"command": c[0], "args": [*c[1:], *w]}, commands, words)


def in_shell(secret: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({"command": "bash", "args": ["-c", f"export API_KEY={secret}; exec ./server --x"]})


def in_json(secret: str) -> st.SearchStrategy[dict[str, Any]]:
    value = json.dumps({"headers": {"Authorization": f"Bearer {secret}"}})
    return st.just({"command": "npx", "args": ["-y", "a-mcp"], "env": {"OPTIONS": value}})


PLACES = (in_variable, in_container, in_header, in_url, in_argument, in_shell, in_json)


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    secret = draw(SECRET)
    return secret, draw(draw(st.sampled_from(PLACES))(secret))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(planted(), min_size=1, max_size=4), st.sampled_from(list(Keeper)))
def test_no_secret_is_in_what_an_import_writes_or_says(
    entries: list[tuple[str, dict[str, Any]]], keeper: Keeper
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        machine = Machine(Path(base))
        servers = {f"s{number}": entry for number, (_, entry) in enumerate(entries)}

        done = machine.imported({"mcpServers": servers}, keeper=keeper)

        said = repr(done) + done.text + repr(done.servers) + repr(done.secrets) + repr(done.left) + repr(done.remarks)
        for secret, _ in entries:
            assert secret not in machine.file.read_text()
            assert secret not in said
        machine.loaded()
        if keeper is not Keeper.ENVIRONMENT:
            kept = "\n".join(machine.kept().values())
            assert all(secret in kept for secret, _ in entries)


# --- anything ---------------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=30)
ODD = st.one_of(
    TEXT,
    st.sampled_from(
        ["-y", "npx", "uvx", "docker", "run", "-e", "-v", "--", "${X}", "$X", "a:b", "/tmp", "~", ".", "--env-file"]
    ),
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
KEYS = (
    "command",
    "args",
    "env",
    "url",
    "headers",
    "type",
    "disabled",
    "cwd",
    "timeout",
    "includeTools",
    "transport",
    "envFile",
    "image",
    "cmd",
    "tools",
)
LOOSE = st.dictionaries(st.one_of(st.sampled_from(KEYS), TEXT), VALUE, max_size=6)
SHAPED = st.fixed_dictionaries(
    {"command": st.sampled_from(["npx", "uvx", "docker", "node", "cmd", "env", "/bin/sh", "uv", "podman"])},
    optional={
        "args": st.lists(ODD, max_size=8),
        "env": st.dictionaries(ODD, ODD, max_size=3),
        "disabledTools": st.lists(ODD, max_size=2),
        "cwd": ODD,
        "timeout": st.integers() | st.floats(),
    },
)
REMOTE = st.fixed_dictionaries(
    {"url": st.one_of(ODD, ODD.map(lambda text: f"https://{text}"), ODD.map(lambda text: f"https://h.example/{text}"))},
    optional={"headers": st.dictionaries(ODD, ODD, max_size=3), "type": ODD},
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(ODD, st.one_of(LOOSE, SHAPED, REMOTE), min_size=1, max_size=4))
def test_whatever_a_file_says_the_result_loads_and_a_second_import_adds_nothing(servers: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        machine = Machine(Path(base))
        try:
            machine.imported({"mcpServers": servers})
        except UsageError:
            assert not machine.file.exists()
            return
        project = machine.loaded().project
        before = machine.file.read_bytes()

        again = machine.imported({"mcpServers": servers})

        assert machine.file.read_bytes() == before
        assert set(again.unchanged) == set(project.servers)
        assert not any(server.unsafe for server in project.servers.values())


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_a_text_without_references_means_itself(text: str) -> None:
    marks = Marks()
    marked = marks.read(text)
    if marks.all(marked):
        return
    clean = text.replace("\ue000", "").replace("\ue001", "")

    assert expand(marks.finished(marked), {}.get, lambda name: name) == clean
