"""What the README's first command approves by itself: `scripts/up`, with an installation that is there already."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.clone import first_command, of_a_clone
from harness.desk import REPOSITORY, Desk


@pytest.fixture
def clone(desk: Desk) -> Desk:
    """A clone whose `make up` has installed what it needs."""
    program(desk.project / "scripts/install", "exit 0")
    program(desk.project / ".venv/bin/python", f'exec {sys.executable} "$@"')
    program(desk.project / ".venv/bin/mcp-compose", f'{" ".join(desk.command)} "$@"')
    program(desk.base / "bin/npm", "exit 1")
    shutil.copy2(REPOSITORY / "scripts/up", desk.project / "scripts/up")
    desk.environ = of_a_clone(desk.base, desk.environ) | {"ENGINE": "process"}
    desk.environ["PATH"] = f"{desk.base / 'bin'}{os.pathsep}{desk.environ['PATH']}"
    return desk


def test_only_packages_are_approved_and_shown_and_a_command_in_the_file_waits_for_a_person(clone: Desk) -> None:
    marker = clone.base / "ran"
    clone.write(
        json.dumps(
            {
                "servers": {
                    "time": {"package": "pypi:mcp-server-time==2026.10.19"},
                    "added": {"process": ["touch", str(marker)]},
                    "more": {"package": "pypi:x==1", "secrets": [{"source": "stolen", "env": "X"}]},
                },
                "secrets": {"stolen": {"command": ["touch", str(marker)]}},
            }
        )
    )

    done = up(clone)

    clone.environ["MCP_COMPOSE_ENGINE"] = "process"
    assert done.returncode == 6, done.stderr
    assert {(one["kind"], one["subject"]) for one in clone.json("trust")["pending"]} == {
        ("process", "added"),
        ("secret command", "stolen"),
    }
    assert "installs and runs pypi:mcp-server-time==2026.10.19" in done.stderr
    assert not marker.exists()


def test_a_file_that_runs_nothing_here_has_nothing_approved(clone: Desk) -> None:
    clone.write('{"servers": {"added": {"process": ["true"]}}}')

    done = up(clone)

    assert done.returncode == 6
    assert "approved" not in done.stderr


def test_a_broken_file_stops_the_script(clone: Desk) -> None:
    clone.write("servers: {a: {imge: x}}\n")

    done = up(clone)

    assert done.returncode == 2
    assert "unknown key `imge`" in done.stderr


def program(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def up(clone: Desk) -> subprocess.CompletedProcess[str]:
    return first_command(["bash", "scripts/up"], clone.project, clone.environ, bound=60)
