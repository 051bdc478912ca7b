"""Commands that need nothing that runs, exit codes, messages, and what is printed where."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from harness.desk import Desk
from mcpcompose.cli.printable import json_safe, printable

COMMANDS = (
    *("init", "config", "plan", "up", "down", "ls", "ps", "logs", "start", "stop", "restart", "pull", "build"),
    *("import", "trust", "tools", "client", "profile", "session", "run", "gateway", "version", "completion"),
)


def test_help_teaches_every_command_with_examples(desk: Desk) -> None:
    shown = desk.ok("--help")

    assert all(f"  {command} " in shown for command in COMMANDS)
    for words in [[c] for c in COMMANDS if c not in {"tools", "client", "gateway", "profile", "session"}] + [
        ["tools", "ls"], ["tools", "inspect"], ["tools", "call"], ["client", "config"], ["client", "rotate"],
        ["gateway", "run"], ["profile", "ls"], ["profile", "show"],
        ["session"], ["session", "ls"], ["session", "reset"], ["policy"], ["policy", "test"],
        ["audit"], ["audit", "tail"], ["audit", "show"], ["audit", "verify"],
    ]:  # fmt: skip
        assert "Examples:\n" in desk.ok(*words, "--help"), words


def test_the_list_of_a_governing_command_says_what_each_does_to_the_end_of_the_sentence(desk: Desk) -> None:
    for command in ("audit", "policy", "session"):
        (line,) = [line for line in desk.ok("--help").splitlines() if line.startswith(f"  {command} ")]
        listed = desk.ok(command, "--help").partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
        assert [one for one in [line, *listed] if not one.endswith(".") or one.endswith("...")] == []


def test_help_imports_nothing_heavy(desk: Desk) -> None:
    program = (
        "import sys; from mcpcompose.cli.main import main; main(['--help']); "
        "sys.exit(bool({'docker', 'httpx2', 'rich', 'ruamel', 'starlette', 'uvicorn'} & set(sys.modules)))"
    )
    desk.command = [sys.executable, "-c"]

    assert desk.run(program).returncode == 0


def test_init_writes_a_file_that_loads_and_never_replaces_one(desk: Desk) -> None:
    desk.ok("init")
    names = desk.json("config", "--servers")
    again = desk.run("init")
    desk.write("servers: {}\n")
    desk.ok("init", "--force")

    assert names == ["time"]
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert desk.json("config", "--servers") == ["time"]


def test_config_prints_references_and_where_a_value_came_from(desk: Desk) -> None:
    desk.environ["KEY"] = "planted-value"
    desk.write("servers:\n  a:\n    image: x:1\n    read_only: false\n    environment:\n      KEY: ${KEY}\n")

    shown = desk.ok("config")

    assert "KEY: ${KEY}" in shown
    assert "planted-value" not in shown + json.dumps(desk.json("config"))
    assert desk.ok("config", "--explain", "servers.a.image").splitlines()[0] == "servers.a.image: x:1"
    assert desk.json("config", "--explain", "servers.a.image")["origin"].endswith("mcp-compose.yaml:3:5")
    assert "relaxes" in desk.ok("config", "--explain", "servers.a.read_only")
    assert desk.ok("config", "--explain", "servers.a.network").startswith("servers.a.network: none\n")
    assert desk.ok("-q", "config") == ""


def test_all_problems_of_a_file_are_shown_with_their_place(desk: Desk) -> None:
    desk.write("servers:\n  a:\n    imge: x\n  b:\n    image: y\n    ports: ['80:80']\n")

    done = desk.run("config")

    assert done.returncode == 2
    assert "error: unknown key `imge`, did you mean `image`?\n  --> mcp-compose.yaml:3:5\n" in done.stderr
    assert "--> mcp-compose.yaml:6:" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pss"], "did you mean `ps`?"),
        (["up", "--detatch"], "--detach"),
        (["run"], "`--stdio`"),
        (["--engine", "podmann", "ps"], "podmann"),
        (["-f", "nowhere/at/all.yaml", "config"], "nowhere/at/all.yaml"),
        (["tools", "call", "x", "--json", "[1]"], "no object"),
        (["trust", "0000"], "0000"),
        (["completion", "tcsh"], "tcsh"),
        (["pull", "b"], "`b`"),
        (["logs", "aa"], "did you mean `a`?"),
    ],
)
def test_a_command_line_that_makes_no_sense_exits_2_and_says_why(desk: Desk, arguments: list[str], said: str) -> None:
    desk.servers(a={})

    done = desk.run(*arguments)

    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_without_a_file_the_way_out_is_named(desk: Desk) -> None:
    done = desk.run("up")

    assert done.returncode == 2
    assert "mcp-compose init" in done.stderr


def test_a_missing_secret_exits_3_before_anything_starts(desk: Desk) -> None:
    keys = {"process": [sys.executable, "echo.py"], "secrets": [{"source": "pat", "env": "PAT"}]}
    sources = {"pat": {"environment": "NOT_SET_ANYWHERE"}}
    desk.write(json.dumps({"engine": "process", "servers": {"a": keys}, "secrets": sources}))
    desk.ok("trust", "--all")

    done = desk.run("up", "-d")

    assert done.returncode == 3
    assert "`pat`" in done.stderr
    assert desk.processes() == []


def test_an_engine_that_does_not_answer_exits_4_and_names_the_ways_out(desk: Desk) -> None:
    desk.environ["DOCKER_HOST"] = f"unix://{desk.base}/none.sock"
    desk.write("servers:\n  a: {image: 'x:1'}\n")

    done = desk.run("up", "-d")

    assert done.returncode == 4
    assert all(way in done.stderr for way in ("Docker", "DOCKER_HOST", "--engine process"))
    assert desk.processes() == []


def test_pull_without_an_engine_exits_4(desk: Desk) -> None:
    desk.environ["DOCKER_HOST"] = f"unix://{desk.base}/none.sock"
    desk.write("servers:\n  a: {image: 'x:1'}\n")

    assert desk.run("pull").returncode == 4


def test_pull_runs_nothing_while_something_waits_that_belongs_to_no_other_server(desk: Desk) -> None:
    desk.environ["DOCKER_HOST"] = f"unix://{desk.base}/none.sock"
    servers = {"a": {"image": "x:1"}, "b": {"process": ["true"]}}
    desk.write(json.dumps({"servers": servers}))
    other = desk.run("pull", "a")
    desk.write(json.dumps({"servers": servers, "secrets": {"b": {"command": ["true"]}}}))

    assert other.returncode == 4
    assert desk.run("pull", "a").returncode == 6


def test_a_server_without_anything_to_pull_or_build_cannot_be_named(desk: Desk) -> None:
    desk.write("servers:\n  a: {image: 'x:1'}\n  b: {process: ['true']}\n")

    for verb, server in (("pull", "b"), ("build", "a")):
        done = desk.run(verb, server)
        assert done.returncode == 2
        assert f"server `{server}` has nothing to {verb}" in done.stderr


def test_what_was_not_approved_exits_6_with_its_hash_and_up_trust_approves_it(desk: Desk) -> None:
    desk.servers(a={})

    refused = desk.run("up", "-d")
    waiting = desk.json("trust")["pending"]
    approved = desk.run("up", "-d", "--trust", waiting[0]["hash"])

    assert refused.returncode == 6
    assert waiting[0]["hash"] in refused.stderr
    assert "echo.py" in waiting[0]["text"]
    assert approved.returncode == 0


def test_without_a_gateway_what_needs_one_exits_1_and_names_up(desk: Desk) -> None:
    desk.servers(a={})

    for arguments in (["tools", "ls"], ["start"], ["restart", "a"], ["client", "config"]):
        done = desk.run(*arguments)
        assert done.returncode == 1, arguments
        assert "mcp-compose up" in done.stderr


def test_global_options_mean_the_same_before_and_after_the_command(desk: Desk) -> None:
    file = desk.write("name: other\nservers:\n  a: {image: 'x:1'}\n", "other.yaml")

    before = desk.json("-f", "other.yaml", "-p", "renamed", "config")
    after = desk.json("config", "--file=other.yaml", "-p", "renamed")
    desk.environ |= {"MCP_COMPOSE_FILE": str(file), "MCP_COMPOSE_PROJECT_NAME": "renamed"}

    assert before == after == desk.json("config")
    assert before["name"] == "renamed"


def test_a_project_is_found_by_its_name_however_the_file_is_written(desk: Desk) -> None:
    for text in (
        'name: "mine" # ours\nservers: {}\n',
        '{"name": "mine", "servers": {}}',
        "servers: {}\nname: ${WHOSE:-mine}\n",
    ):
        desk.write(text)
        assert desk.json("ps")["project"] == "mine"
    desk.write("servers: {}\n")
    assert desk.json("ps")["project"] == "p"


def test_several_files_are_merged(desk: Desk) -> None:
    desk.write("servers:\n  a: {image: 'x:1'}\n", "one.yaml")
    desk.write("servers:\n  a: {image: 'x:2'}\n  b: {image: 'y:1'}\n", "two.yaml")
    desk.environ["MCP_COMPOSE_FILE"] = os.pathsep.join(["one.yaml", "two.yaml"])

    found = desk.json("config")["servers"]

    assert found["a"]["image"] == "x:2"
    assert list(found) == ["a", "b"]


def test_version_and_completion_print_data(desk: Desk) -> None:
    assert desk.ok("--version") == desk.ok("version")
    assert desk.json("version").keys() == {"version", "python"}
    for shell in ("bash", "zsh", "fish"):
        assert "mcp-compose" in desk.ok("completion", shell)


@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("bash", {"COMP_WORDS": "mcp-compose lo", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "mcp-compose lo"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "mcp-compose lo", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_a_shell_that_asks_is_told_what_could_come_next(desk: Desk, shell: str, asked: dict[str, str]) -> None:
    desk.environ |= {"_MCP_COMPOSE_COMPLETE": f"complete_{shell}", **asked}

    done = desk.run()

    assert done.returncode == 0, done.stderr
    assert "logs" in done.stdout
    assert "pull" not in done.stdout
    assert done.stderr == ""


def test_what_comes_from_outside_cannot_write_to_the_terminal(desk: Desk) -> None:
    desk.write('name: desk\nservers:\n  "a\\e[31m\\u202eb": {image: x}\n')

    done = desk.run("config")

    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr


def test_unsafe_characters_are_escaped_and_json_keeps_its_meaning() -> None:
    hostile = "a\x1b[2Jb\x9b\u202ec\u2028\U000e0041\ud800\tü"
    encoded = json_safe(json.dumps({"k": hostile}, ensure_ascii=False))

    assert printable(hostile) == "a\\x1b[2Jb\\x9b\\u202ec\\u2028\\udb40\\udc41\\ud800\\tü"
    assert json.loads(encoded) == {"k": hostile}
    assert printable(encoded) == encoded


def test_there_is_no_colour_where_nobody_sees_it(desk: Desk) -> None:
    desk.write("servers:\n  a: {imge: x}\n")
    desk.environ["FORCE_COLOR"] = "1"

    assert "\x1b" not in desk.run("config").stderr


def test_a_reader_that_goes_away_ends_the_command_quietly(desk: Desk) -> None:
    desk.ok("init")
    process = desk.start("config")
    process.stdout.close()

    assert process.wait(30) in {0, 1}


def test_interrupted_logs_exit_130(desk: Desk) -> None:
    import signal

    desk.servers(a={})
    desk.up()
    following = desk.start("logs", "-f")
    following.stdout.readline()

    following.send_signal(signal.SIGINT)
    following.communicate(timeout=20)

    assert following.returncode == 130


def test_a_command_that_finds_a_gateway_needs_no_engine_library(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()
    program = (
        "import sys; from mcpcompose.cli.main import main; main(sys.argv[1:]); "
        "sys.exit(bool({'docker', 'httpx2', 'ruamel', 'starlette', 'uvicorn'} & set(sys.modules)))"
    )
    desk.command = [sys.executable, "-c", program]

    for arguments in (["up", "-d"], ["ps"], ["tools", "ls"]):
        assert desk.run(*arguments).returncode == 0, arguments


def test_a_current_folder_that_is_gone_is_a_clear_error(desk: Desk) -> None:
    gone = desk.base / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && exec {' '.join(desk.command)} ps"

    done = subprocess.run(
        ["/bin/sh", "-c", script], env=desk.environ, capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == 2
    assert "error: the current folder is gone" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_project_whose_file_is_gone_can_be_looked_at_and_taken_down(desk: Desk) -> None:
    for name, words in (("named", ["-p", "named"]), ("desk", [])):
        desk.servers(a={})
        desk.ok("trust", "--all")
        desk.ok("-p", name, "up", "-d")
        (desk.project / "mcp-compose.yaml").rename(desk.project / "other.yaml")

        assert desk.json(*words, "ps")["project"] == name
        desk.ok(*words, "down")

        assert desk.json("ls") == []
        gone = desk.run(*words, "ps")
        assert gone.returncode == 2
        assert "mcp-compose init" in gone.stderr


def test_of_several_projects_without_a_file_one_has_to_be_named(desk: Desk) -> None:
    desk.servers(a={})
    desk.ok("trust", "--all")
    for name in ("one", "two"):
        desk.ok("-p", name, "up", "-d")
    (desk.project / "mcp-compose.yaml").unlink()

    done = desk.run("down")

    assert done.returncode == 2
    assert "`one`" in done.stderr
    assert "`two`" in done.stderr
    desk.ok("-p", "one", "down")
    desk.ok("down")
    assert desk.json("ls") == []
