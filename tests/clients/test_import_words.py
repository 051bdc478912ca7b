"""What a command line launches, what `docker run` says, what is a secret, and what a reference means: by example."""

from __future__ import annotations

from typing import Any

import pytest

from mcpcompose.clients.import_docker_run import docker_run
from mcpcompose.clients.import_docker_values import evaluated, evaluated_list
from mcpcompose.clients.import_names import server_name
from mcpcompose.clients.import_secrets import is_placeholder, is_secret
from mcpcompose.clients.import_text import Marks
from mcpcompose.clients.import_words import Bridge, Gateway, Host, Package, Run, launch

LAUNCHES: dict[str, Any] = {
    "npx -y @a/b@1.2 x": Package("npm:@a/b@1.2", ("x",)),
    "npx --yes -- b --flag": Package("npm:b", ("--flag",)),
    "npx --package=@a/b c d": Package("npm:@a/b", ("d",), "c"),
    "npx -p a -p b c": Host,
    "npx -c b": Host,
    "npx ./local": Host,
    "npx github:a/b": Host,
    "npx": Host,
    "bunx b": Package("npm:b", ()),
    "bun x b": Package("npm:b", ()),
    "bun run b": Host,
    "pnpm dlx b c": Package("npm:b", ("c",)),
    "yarn dlx b": Package("npm:b", ()),
    "npm exec -- b c": Package("npm:b", ("c",)),
    "C:\\nodejs\\npx.cmd -y b": Package("npm:b", ()),
    "cmd /c npx -y b": Package("npm:b", ()),
    "env A=1 npx b": Package("npm:b", ()),
    "uvx a": Package("pypi:a", ()),
    "uvx a@latest x": Package("pypi:a", ("x",)),
    "uvx a@1.0": Package("pypi:a==1.0", ()),
    "uvx --from a[x]==2 b c": Package("pypi:a[x]==2", ("c",), "b"),
    "uvx --from a_b a-b": Package("pypi:a_b", ()),
    "uvx -q --python 3.12 a": Package("pypi:a", ()),
    "uvx --with b a": Host,
    "uvx --from git+https://x/y a": Host,
    "uv tool run a": Package("pypi:a", ()),
    "uv run a.py": Host,
    "pipx run a x": Package("pypi:a", ("x",)),
    "pipx run --spec a==1 b": Package("pypi:a==1", (), "b"),
    "docker run -i a": Run(("-i", "a")),
    "podman container run a": Run(("a",)),
    "docker compose up": Host,
    "docker mcp gateway run": Gateway,
    "mcp-compose run --stdio": Gateway,
    "python -m mcpcompose run --stdio": Gateway,
    "python -m other": Host,
    "npx -y mcp-remote https://x/mcp": Bridge("https://x/mcp"),
    "npx mcp-remote@latest https://x/sse --transport sse-only": Bridge("https://x/sse", (), is_sse=True),
    "npx mcp-remote https://x/sse --transport http-first": Bridge("https://x/sse"),
    "npx mcp-remote https://x --header A:b --allow-http": Bridge("https://x", (("A", "b"),)),
    "npx -y supergateway --sse https://x/sse": Bridge("https://x/sse", (), is_sse=True),
    "npx supergateway --streamableHttp https://x --oauth2Bearer t": Bridge("https://x", (("Authorization", "Bearer t"),)),  # noqa: E501  one line each
    "npx -y supergateway --stdio npx": Package("npm:supergateway", ("--stdio", "npx")),
}  # fmt: skip


@pytest.mark.parametrize("line", LAUNCHES)
def test_a_command_line_launches(line: str) -> None:
    command, *args = line.split()

    found = launch(command, tuple(args), {})

    wanted = LAUNCHES[line]
    assert isinstance(found, wanted) if isinstance(wanted, type) else found == wanted


def test_scratch_folders_stand_once_and_are_absolute() -> None:
    mounts = [word for target in ("/x", "y") for word in ("--mount", f"type=tmpfs,dst={target}")]
    run = docker_run(["--tmpfs", "/tmp", "--tmpfs", "/x:size=1m", *mounts, "a"])

    assert run.keys == {"tmpfs": ["/tmp", "/x"]}
    assert run.remarks == ["a `--mount` is not carried over"]


def test_env_sets_variables_of_what_it_starts() -> None:
    variables = {"B": "own"}

    launch("env", ("A=1", "B=2", "npx", "b"), variables)

    assert variables == {"A": "1", "B": "own"}


OPTIONS = """
-it --rm --name x --init -e A=1 -eB=2 --env=C=a=b --env D -v /h:/c:ro,z -v vol:/d
--mount type=bind,src=/s,dst=/t,readonly --mount type=tmpfs,dst=/scratch -u 1:2 -w /w -m 512m --cpus=2.5
--pids-limit 64 --shm-size=1g --platform linux/amd64 --add-host a:1.2.3.4 --dns 1.1.1.1 -l k=v --entrypoint /bin/x
--tmpfs /y:rw --pull always --network bridge -p 80:80 --privileged --cap-add=NET_ADMIN --device /dev/x
--security-opt seccomp=unconfined --pid host --ipc=host --userns host --gpus all --unheard of --read-only
--cap-drop ALL img:1 --flag value
"""


def test_docker_run_options_become_keys_and_dangerous_ones_remarks() -> None:
    run = docker_run(OPTIONS.split())

    assert (run.image, run.command) == ("img:1", ["--flag", "value"])
    assert run.variables == {"A": "1", "B": "2", "C": "a=b", "D": None}
    assert run.mounts == [("/h", "/c", True), ("vol", "/d", False), ("/s", "/t", True)]
    assert run.keys == {
        "tmpfs": ["/tmp", "/scratch", "/y"], "user": "1:2", "working_dir": "/w", "mem_limit": "512m", "cpus": 2.5,
        "pids_limit": 64, "shm_size": "1g", "platform": "linux/amd64", "extra_hosts": {"a": "1.2.3.4"},
        "dns": ["1.1.1.1"], "labels": {"k": "v"}, "entrypoint": ["/bin/x"], "pull_policy": "always",
    }  # fmt: skip
    said = "\n".join(run.remarks)
    for option in ("privileged", "cap-add", "device", "security-opt", "pid", "ipc", "userns", "gpus", "unheard"):
        assert f"`--{option}` is not carried over" in said
    assert "no port is published" in said


SECRETS = {
    ("GITHUB_TOKEN", "abc"): True,
    ("DB_PASSWORD", "123456789"): True,
    ("password", "x"): True,
    ("apiKey", "abcdef"): True,
    ("X", "ghp_" + "a1" * 18): True,
    ("X", "postgres://u:secretpw@h/d"): True,
    ("X", '{"a": {"token": "abc"}}'): True,
    ("X", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc"): True,
    ("ANYTHING", "q8Zr3TnV7xKw2LpM9sYb4HdC"): True,
    ("SESSION", "abcdef"): True,
    ("GITHUB_TOKEN", ""): False,
    ("MAX_TOKENS", "4096"): False,
    ("TOKEN_LIMIT", "4096"): False,
    ("AUTH_TYPE", "oauth"): False,
    ("AUTH_ENABLED", "true"): False,
    ("AUTH", "true"): False,
    ("PRIVATE_KEY_PATH", "/home/me/key.pem"): False,
    ("KEY", "/home/me/key.pem"): False,
    ("LOG_LEVEL", "debug"): False,
    ("API_URL", "https://api.example.com/v1"): False,
    ("WORKSPACE", "7f3c2a10-1111-4222-8333-444455556666"): False,
    ("NAME", "a-rather-long-name-of-a-thing"): False,
    ("MODEL", "claude-sonnet-4-5-20250929"): False,
    ("X", "org.example.some.package.Name2"): False,
    ("X", '{"a": 1, "path": "/x"}'): False,
    ("X", "[1, 2]"): False,
    ("X", "https://user@host/path"): False,
}


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_what_is_a_secret(name: str, value: str) -> None:
    assert is_secret(name, value) is SECRETS[name, value]


@pytest.mark.parametrize(
    "text",
    ["<YOUR_TOKEN>", "your-api-key", "YOUR_API_KEY", "your_token_here", "xxxxxxxx", "ghp_xxxxxxxxxxxx", "***", "...",
     "insert-your-key", "sk-...", "${{TOKEN}}"[1:], "ghp_your_personal_access_token", "paste key here", "changeme"],
)  # fmt: skip
def test_what_stands_for_a_value_in_manuals(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize(
    "text", ["hunter2", "sk-abc123def456", "here-we-go-2024", "my password", "Xx1-xX2", "youreadme"]
)
def test_what_is_a_value(text: str) -> None:
    assert not is_placeholder(text)


REFERENCES = {
    "${env:X}": "${X}",
    "${X}": "${X}",
    "${X:-a b}": "${X:-a b}",
    "{env:X}": "${X}",
    "${env.X}": "${X}",
    "$env:X": "${X}",
    "${{ secrets.X }}": "${X}",
    "${input:my-key}": "${MY_KEY}",
    "${userHome}/a": "${HOME}/a",
    "${workspaceFolder}/a": "./a",
    "a${pathSeparator}b": "a/b",
    "$X": "$$X",
    "100$": "100$$",
    "${not a reference}": "$${not a reference}",
    "${secret:stolen}": "$${secret:stolen}",
    "$${X}": "$$${X}",
}


@pytest.mark.parametrize("text", REFERENCES)
def test_a_clients_reference_is_one_of_ours(text: str) -> None:
    marks = Marks()

    assert marks.finished(marks.read(text)) == REFERENCES[text]


def test_a_dollar_alone_is_a_reference_for_clients_that_know_it() -> None:
    marks = Marks(dollar=True)

    assert marks.finished(marks.read("$X/$1")) == "${X}/$$1"


NAMES = {
    "GitHub MCP": "github-mcp",
    "@modelcontextprotocol/server-github": "server-github",
    "io.github.someone/My_Server.2": "my-server-2",
    "1password": "password",
    "123": "server-123",
    "": "server",
    "ünïcode": "n-code",
    "a-very-long-name-of-some-mcp-server": "a-very-long-name-of-some",
}


@pytest.mark.parametrize("text", NAMES)
def test_a_servers_name_is_made_valid(text: str) -> None:
    assert server_name(text) == NAMES[text]


def test_names_that_come_out_the_same_are_told_apart() -> None:
    assert server_name("A B", ["a-b", "a-b-2"]) == "a-b-3"
    assert server_name("x" * 40, ["x" * 24]) == "x" * 22 + "-2"


CONFIG = {"s": {"a": "x", "list": ["/p", "/q"], "none": None, "n": 5, "on": True, "deep": {"er": "y"}}}
VALUES: dict[str, Any] = {
    "{{s.a}}": "x",
    "--a={{s.a}}/{{s.deep.er}}": "--a=x/y",
    "{{s.n}}": "5",
    "{{s.on}}": "true",
    "{{s.none}}": "",
    "{{s.gone|or:d}}": "d",
    "{{s.gone|or:[]}}": [],
    "{{s.list|volume|into}}": ["/p:/p", "/q:/q"],
    "{{s.list|volume-target|into}}": ["/p", "/q"],
    "{{s.a|mount_as:/logs:ro}}": "x:/logs:ro",
    "{{s.gone|mount_as:/logs}}": "",
    "plain": "plain",
}


@pytest.mark.parametrize("text", VALUES)
def test_dockers_expressions_have_their_values(text: str) -> None:
    assert evaluated(text, CONFIG) == VALUES[text]


def test_lists_are_spread_and_empty_values_left_away() -> None:
    assert evaluated_list(["a", "{{s.list|into}}", "{{s.none}}", 5], CONFIG) == ["a", "/p", "/q", "5"]
