"""`audit tail`, `show` and `verify`, of a gateway that runs, was killed, and of a log that somebody changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.audit import Shelf, call
from harness.desk import Desk, eventually


@pytest.fixture
def used(desk: Desk) -> Desk:
    """Two calls were made, the second of them failed."""
    desk.servers(a={})
    desk.up()
    desk.ok("tools", "call", "a__echo", "text=hi")
    desk.run("tools", "call", "a__echo", "text=no", "--json", '{"fail": true}')
    return desk


def audit_file(desk: Desk) -> Path:
    (path,) = desk.home.glob("state/*/audit/audit-*.jsonl")
    return path


def test_tail_shows_who_called_what_and_how_it_ended(used: Desk) -> None:
    line = used.ok("audit", "tail", "-n", "1000").splitlines()[0]
    for part in ("command line", "tools/call", "a/echo", "ok", " ms"):
        assert part in line


def test_filters_and_json_lines(used: Desk) -> None:
    (entry,) = map(json.loads, used.ok("audit", "tail", "-n", "1", "--server", "a", "--format", "json").splitlines())
    assert (entry["server"], entry["name"], entry["arguments"]["text"]) == ("a", "echo", 2)
    assert used.ok("audit", "show", "--server", "other") == ""
    assert used.ok("audit", "show", "--since", "1h", "--until", "30m") == ""


def test_show_prints_everything_of_one_request(used: Desk) -> None:
    entry = json.loads(used.ok("audit", "tail", "-n", "1", "--format", "json"))
    assert json.loads(used.ok("audit", "show", entry["id"])) == entry
    missing = used.run("audit", "show", "nothing")
    assert missing.returncode == 2
    assert "there is no request `nothing`" in missing.stderr


def test_verify_says_intact_and_prints_a_head_that_can_be_asked_for(used: Desk) -> None:
    said = used.json("audit", "verify")
    assert (said["intact"], said["requests"], said["completed"], said["problems"]) == (True, 2, 2, [])
    assert "is intact" in used.ok("audit", "verify", "--head", said["head"])
    assert used.run("audit", "verify", "--head", "4:" + "0" * 64).returncode == 1
    assert used.run("audit", "verify", "--head", "four").returncode == 2
    assert used.run("audit", "verify", "--head", "0:" + "0" * 64).returncode == 2


def test_verify_says_where_the_log_is(used: Desk) -> None:
    folder = audit_file(used).parent
    assert used.json("audit", "verify")["folder"] == str(folder)
    assert f"in {folder}" in used.ok("audit", "verify")


def test_an_outcome_that_no_request_can_have_is_an_error_and_not_an_empty_list(desk: Desk) -> None:
    desk.servers(a={})
    wrong = desk.run("audit", "tail", "--outcome", "refsed")
    assert wrong.returncode == 2
    assert "did you mean `refused`?" in wrong.stderr
    assert desk.ok("audit", "tail", "--outcome", "re*") == ""


def test_what_clients_and_servers_call_things_cannot_write_to_the_terminal(used: Desk) -> None:
    folder = audit_file(used).parent
    used.ok("down")
    name = "\x1b[31mred\x1b]0;title\x07\r\n\u202eevil\u200b"
    call(Shelf(folder).log(), "1-1", client=name, name=name)
    for arguments in (["tail", "-n", "1"], ["show", "--client", "*red*", "--format", "json"], ["show", "1-1"]):
        shown = used.ok("audit", *arguments)
        assert "evil" in shown
        assert [one for one in name if not one.isprintable() and one != "\n" and one in shown] == []


def test_verify_fails_for_a_changed_log(used: Desk) -> None:
    path = audit_file(used)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"echo"', b'"eche"', 1))
    done = used.run("audit", "verify")
    assert done.returncode == 1
    assert "was changed" in done.stderr
    assert "NOT intact" in done.stdout


def test_following_prints_what_is_called_from_then_on(used: Desk) -> None:
    watching = used.start("audit", "tail", "-f", "-n", "0", "--name", "echo", "--format", "json")
    try:
        os.set_blocking(watching.stdout.fileno(), False)  # type: ignore[union-attr]

        def called() -> str | None:
            used.ok("tools", "call", "a__echo", "text=again")
            return watching.stdout.readline()  # type: ignore[union-attr]

        assert json.loads(eventually(called))["arguments"] == {"text": 5}
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()  # type: ignore[union-attr]


def test_without_a_log_there_is_nothing_and_no_error(desk: Desk) -> None:
    desk.servers(a={})
    assert desk.ok("audit", "tail") == desk.ok("audit", "show") == ""
    assert "nothing has been written" in desk.ok("audit", "verify")


def test_a_log_that_cannot_be_written_refuses_calls_shows_in_ps_and_recovers_by_itself(used: Desk) -> None:
    folder = audit_file(used).parent
    kept = folder.rename(folder.with_name("kept"))
    folder.write_text("in the way")

    def refused() -> bool:
        return "audit log" in used.run("tools", "call", "a__echo", "text=hi").stderr

    eventually(refused)
    assert "audit log cannot be written" in used.run("ps").stdout + used.run("ps").stderr
    folder.unlink()
    kept.rename(folder)

    assert eventually(lambda: used.run("tools", "call", "a__echo", "text=hi").stdout == "hi\n")
    assert used.json("audit", "verify")["intact"] is True
