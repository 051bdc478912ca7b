"""`up -d` leaves a gateway that the other commands find again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess

import pytest

from harness.clone import as_person
from harness.desk import Desk, eventually

HANDSHAKE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def test_up_serves_until_down_which_leaves_nothing(desk: Desk) -> None:
    desk.servers(a={}, b={"environment": {"GREETING": "hello "}})

    desk.up()

    report = desk.json("ps")
    assert {one["server"]: one["state"] for one in report["servers"]} == {"a": "ready", "b": "ready"}
    assert report["servers"][0].keys() >= {"reason", "era", "version", "tools", "restarts", "since"}
    assert [tool["name"] for tool in desk.json("tools", "ls")] == ["a__echo", "b__echo"]
    assert desk.ok("tools", "call", "b__echo", "text=world") == "hello world\n"
    assert desk.json("ls")[0]["status"] == "running"
    assert desk.run("down").returncode == 0
    assert desk.processes() == []
    assert desk.json("ls") == []
    assert desk.json("ps")["servers"] == []
    assert not [path for path in (desk.home / "run").rglob("*") if path.is_socket() or path.suffix == ".json"]
    assert desk.run("down").stderr == "there is nothing to take down\n"


def test_up_with_nothing_changed_says_so_in_one_line_and_touches_no_process(desk: Desk) -> None:
    desk.servers(a={}, b={})
    desk.up()
    before = {one.pid for one in desk.processes()}

    again = desk.ok("up", "-d")

    assert again.splitlines()[0] == "everything is up to date"
    assert {one.pid for one in desk.processes()} == before
    assert desk.ok("plan") == "everything is up to date\n"
    assert desk.json("up", "--dry-run")["steps"] == []


def test_a_saved_change_takes_effect_by_itself_and_leaves_the_neighbour_alone(desk: Desk) -> None:
    desk.servers(a={}, b={})
    desk.up()
    since = desk.state("a")["since"]

    desk.servers(a={}, b={"environment": {"GREETING": "new "}})
    desk.ok("trust", "--all")

    eventually(lambda: desk.run("tools", "call", "b__echo", "text=x").stdout == "new x\n")
    assert desk.state("a")["since"] == since


def test_without_watching_a_change_waits_for_the_next_up(desk: Desk) -> None:
    desk.servers(a={})
    desk.ok("trust", "--all")
    desk.ok("up", "-d", "--no-watch")
    desk.servers(a={"tools": {"rename": {"echo": "say"}}})

    desk.ok("restart", "a")
    kept = desk.json("tools", "ls")
    desk.ok("up", "-d", "--no-watch")

    assert [tool["name"] for tool in kept] == ["a__echo"]
    assert [tool["name"] for tool in desk.json("tools", "ls")] == ["a__say"]


def test_a_broken_file_keeps_what_was_served_and_shows_its_line_until_it_is_mended(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()
    good = (desk.project / "mcp-compose.yaml").read_text()

    desk.write("name: desk\nengine: process\nservers:\n  a:\n    enviroment: {}\n")

    problem = eventually(lambda: desk.json("ps")["problem"])
    assert problem["problems"][0]["position"].endswith("mcp-compose.yaml:5:5")
    shown = desk.run("ps")
    assert "mcp-compose.yaml:5:5" in shown.stdout + shown.stderr
    assert desk.ok("tools", "call", "a__echo", "text=still") == "still\n"
    assert "mcp-compose.yaml:5:5" in desk.ok("logs", "gateway")
    desk.write(good)
    eventually(lambda: desk.json("ps")["problem"] is None)


def test_a_change_that_needs_approval_waits_for_trust(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()

    desk.servers(a={}, b={})

    waiting = eventually(lambda: desk.json("ps")["unapproved"])
    assert [(one["kind"], one["subject"]) for one in waiting] == [("process", "b")]
    assert waiting == desk.json("trust")["pending"]
    desk.ok("trust", waiting[0]["hash"])
    eventually(lambda: desk.state("b").get("state") == "ready")
    assert desk.json("ps")["unapproved"] == []


def test_stopped_servers_stay_stopped_until_started(desk: Desk) -> None:
    desk.servers(a={}, b={})
    desk.up()
    pid = desk.gateway().pid

    desk.ok("stop", "a")
    stopped = desk.state("a")["state"], desk.state("b")["state"]
    desk.ok("start", "a")
    since = desk.state("b")["since"]
    desk.ok("restart", "b")

    assert stopped == ("stopped", "ready")
    assert desk.state("a")["state"] == "ready"
    assert desk.state("b")["since"] > since
    assert desk.gateway().pid == pid


def test_logs_show_what_servers_wrote_and_follow_what_they_write(desk: Desk) -> None:
    desk.servers(a={}, b={})
    desk.up()
    for server in ("a", "b"):
        eventually(lambda server=server: desk.run("logs", server).stdout == f"{server} | echo starts\n")
    following = desk.start("logs", "-f", "-n", "1", "b")
    try:
        before = following.stdout.readline()
        desk.ok("restart", "b")
        first = following.stdout.readline()
    finally:
        following.kill()
        following.communicate()

    lines = [json.loads(line) for line in desk.ok("logs", "--format", "json").splitlines()]
    assert before == first == "b | echo starts\n"
    assert {"server": "a", "line": "echo starts"} in lines
    assert "gateway started" in desk.ok("logs", "-n", "5", "gateway")


def test_after_kill_9_the_next_up_and_down_work_as_ever(desk: Desk) -> None:
    desk.servers(a={}, b={})
    desk.up()
    desk.gateway().kill()

    left = desk.json("ps")
    desk.ok("up", "-d")
    ready = desk.state("a")["state"]
    desk.gateway().kill()
    desk.ok("down")

    assert left["gateway"] is None
    assert ready == "ready"
    assert desk.processes() == []


def test_down_works_with_a_broken_file_and_without_a_gateway(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()
    desk.gateway().kill()
    desk.write("name: desk\nservers: [\n")

    desk.ok("down")

    assert desk.processes() == []


def test_two_at_once_end_with_one_gateway(desk: Desk) -> None:
    desk.servers(a={})
    desk.ok("trust", "--all")

    both = [desk.start("up", "-d"), desk.start("up", "-d")]
    outputs = [one.communicate(timeout=60)[0] for one in both]

    assert [one.returncode for one in both] == [0, 0], outputs
    assert sum("serve" in one.cmdline() for one in desk.processes()) == 1


def test_the_foreground_stays_until_ctrl_c_and_says_what_it_leaves(desk: Desk) -> None:
    desk.servers(a={})
    desk.ok("trust", "--all")
    staying = desk.start("up")
    eventually(lambda: desk.state("a").get("state") == "ready")
    token = desk.json("client", "config", "--show-token")["token"]

    handed_over = desk.ok("up", "-d")
    staying.send_signal(signal.SIGINT)
    shown = staying.communicate(timeout=30)[0]

    assert handed_over.startswith("everything is up to date")
    assert staying.returncode == 130
    assert "endpoint  http://127.0.0.1:" in shown
    assert "mcp-compose client connect" in shown
    assert "mcp-compose down" in shown
    assert "not isolated" in shown
    assert token not in shown
    assert [one for one in desk.processes() if "echo.py" in " ".join(one.cmdline())] == []
    desk.ok("down")


def test_the_foreground_tells_of_a_broken_file_and_of_its_mending(desk: Desk) -> None:
    desk.servers(a={})
    desk.ok("trust", "--all")
    staying = desk.start("up")
    eventually(lambda: desk.state("a").get("state") == "ready")
    good = (desk.project / "mcp-compose.yaml").read_text()

    desk.write(good + "nonsense: 1\n")
    eventually(lambda: desk.json("ps")["problem"])
    desk.write(good)
    eventually(lambda: desk.json("ps")["problem"] is None)
    staying.send_signal(signal.SIGINT)
    shown = staying.communicate(timeout=30)[0]

    assert "warning: the last change did not take effect" in shown
    assert "unknown key `nonsense`" in shown
    assert "the file is good again" in shown
    desk.ok("down")


def test_ctrl_c_while_servers_start_ends_soon_and_leaves_none_of_them(desk: Desk) -> None:
    desk.servers(a={}, slow={"process": ["/bin/sh", "-c", "sleep 50"], "timeouts": {"start": "50s"}})
    desk.ok("trust", "--all")
    staying = desk.start("up")
    eventually(lambda: desk.state("slow").get("state") == "starting")

    staying.send_signal(signal.SIGINT)
    staying.communicate(timeout=30)

    assert staying.returncode == 130
    assert [one for one in desk.processes() if "sleep" in " ".join(one.cmdline())] == []


def test_ctrl_c_of_a_detached_up_leaves_the_gateway_to_go_on(desk: Desk) -> None:
    desk.servers(a={}, slow={"process": ["/bin/sh", "-c", "sleep 50"], "timeouts": {"start": "50s"}})
    desk.ok("trust", "--all")
    starting = desk.start("up", "-d")
    eventually(lambda: desk.state("a").get("state") == "ready")

    starting.send_signal(signal.SIGINT)
    shown = starting.communicate(timeout=30)[0]

    assert starting.returncode == 130
    assert "mcp-compose down" in shown
    assert desk.state("a")["state"] == "ready"
    desk.ok("down")
    assert desk.processes() == []


def test_a_terminated_gateway_stops_its_servers(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()

    desk.gateway().terminate()

    eventually(lambda: desk.processes() == [])


def test_the_port_stays_the_same_and_a_taken_one_is_an_error_that_names_the_key(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()
    first = desk.json("ps")["endpoint"]
    desk.ok("down")
    desk.ok("up", "-d")
    second = desk.json("ps")["endpoint"]
    desk.ok("down")

    with socket.socket() as other:
        other.bind(("127.0.0.1", int(first.split(":")[2].split("/")[0])))
        other.listen()
        refused = desk.run("up", "-d")

    assert first == second
    assert refused.returncode == 1
    assert "gateway.port" in refused.stderr
    assert desk.processes() == []


def test_another_port_in_the_file_moves_the_endpoint_of_the_running_gateway(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = (desk.project / "mcp-compose.yaml").read_text()

    desk.write(f"{text}gateway: {{port: {port}}}\n")

    eventually(lambda: desk.json("ps")["endpoint"] == f"http://127.0.0.1:{port}/mcp")
    socket.create_connection(("127.0.0.1", port), 5).close()
    assert desk.json("client", "config")["endpoint"] == f"http://127.0.0.1:{port}/mcp"


def test_run_stdio_starts_the_gateway_and_speaks_mcp(desk: Desk) -> None:
    desk.servers(a={})
    desk.ok("trust", "--all")
    asked = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HANDSHAKE},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "a__echo", "arguments": {"text": "hi"}}},
    ]

    client = subprocess.Popen(
        [*desk.command, "run", "--stdio"],
        cwd=desk.project,
        env=desk.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    client.stdin.write("".join(json.dumps(one) + "\n" for one in asked))
    client.stdin.flush()
    found: dict[int, dict] = {}
    while found.keys() != {1, 2, 3}:
        answer = json.loads(client.stdout.readline())
        found |= {answer["id"]: answer} if "id" in answer else {}
    client.communicate(timeout=30)

    assert client.returncode == 0
    assert [tool["name"] for tool in found[2]["result"]["tools"]] == ["a__echo"]
    assert found[3]["result"]["content"][0]["text"] == "hi"
    assert desk.json("ps")["gateway"] is not None


def test_client_config_shows_the_token_only_when_asked_and_rotate_replaces_it(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()

    hidden = desk.ok("client", "config")
    first = desk.json("client", "config", "--show-token")
    desk.ok("client", "rotate")
    second = desk.json("client", "config", "--show-token")

    assert first["token"] not in hidden
    assert "MCP_COMPOSE_TOKEN" in hidden
    assert first["token"] != second["token"]
    assert first["http"]["desk"]["headers"]["Authorization"] == f"Bearer {first['token']}"
    assert first["stdio"]["desk"]["args"][-4:] == ["run", "--stdio", "--client", "default"]
    unknown = desk.run("client", "config", "nobody")
    assert unknown.returncode == 2
    assert "`nobody`" in unknown.stderr


def test_a_server_that_does_not_serve_costs_only_itself_and_an_exit_code(desk: Desk) -> None:
    desk.servers(a={}, bad={"process": ["/bin/sh", "-c", "exit 3"], "timeouts": {"start": "5s"}})
    desk.ok("trust", "--all")

    done = desk.run("up", "-d")

    assert done.returncode == 1
    assert "`bad`" in done.stderr
    assert "code 3" in desk.state("bad")["reason"]
    assert desk.ok("tools", "call", "a__echo", "text=fine") == "fine\n"


def test_tools_are_inspected_and_called_with_arguments_in_every_form(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()

    assert json.loads(desk.ok("tools", "inspect", "a__echo"))["description"] == "Says it again."
    assert desk.ok("tools", "call", "a__echo", "--arg", "text=one") == "one\n"
    assert desk.ok("tools", "call", "a__echo", "--json", "-", stdin='{"text": "two"}') == "two\n"
    assert desk.json("tools", "call", "a__echo", "--json", '{"text": "3"}')["content"][0]["text"] == "3"
    assert desk.run("tools", "call", "a__echo", "text=x", "fail=true").returncode == 1
    unknown = desk.run("tools", "inspect", "a__ecko")
    assert unknown.returncode == 2
    assert "did you mean `a__echo`?" in unknown.stderr
    assert desk.run("tools", "call", "a__nothing").returncode == 1


def test_two_names_in_one_folder_are_two_projects(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()
    desk.ok("-p", "other", "trust", "--all")
    desk.ok("-p", "other", "up", "-d")

    assert {one["name"] for one in desk.json("ls")} == {"desk", "other"}
    desk.ok("-p", "other", "down")
    assert [one["name"] for one in desk.json("ls")] == ["desk"]
    assert desk.state("a")["state"] == "ready"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 6)])
def test_on_a_terminal_up_shows_the_exact_form_and_asks(desk: Desk, answer: str, code: int) -> None:
    desk.servers(a={"environment": {"GREETING": "hello"}})
    process, ours = as_person([*desk.command, "up", "-d"], desk.project, {**desk.environ, "TERM": "dumb"})

    shown = ""
    while "[y/N]" not in shown:
        shown += os.read(ours, 4096).decode()
    os.write(ours, f"{answer}\n".encode())
    with contextlib.suppress(OSError):  # the terminal is gone with its last process
        while more := os.read(ours, 4096):
            shown += more.decode()

    assert process.wait(30) == code
    assert "echo.py" in shown
    assert "GREETING=hello" in shown
    os.close(ours)


def test_an_engine_that_does_not_answer_leaves_no_project_behind(desk: Desk) -> None:
    desk.write('name: desk\nengine: docker\nservers: {a: {image: "x:1"}}\n')
    desk.environ["DOCKER_HOST"] = "unix:///nowhere/at/all.sock"
    desk.ok("trust", "--all")

    refused = desk.run("up", "-d")

    assert refused.returncode == 4
    assert desk.json("ls") == []
