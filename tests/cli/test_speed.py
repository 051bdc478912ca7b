"""What the command line costs before it does anything: processor time, which a busy machine does not change."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.files import many_servers
from harness.slowness import slowness

SECONDS_OF_CONFIG = 0.7
SECONDS_OF_HELP = 0.2


def least_processor_time(arguments: list[str], folder: Path) -> float:
    """Seconds of one command, start-up included: the least of five, as others on the machine only ever add."""
    environ = {**os.environ, "MCP_COMPOSE_HOME": str(folder / "home")}
    found = []
    for _ in range(5):
        before = os.times()
        subprocess.run([sys.executable, "-m", "mcpcompose", *arguments], cwd=folder, env=environ, check=True,
                       stdout=subprocess.DEVNULL, timeout=60)  # fmt: skip
        after = os.times()
        found.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(found)


@pytest.mark.skipif(bool(os.environ.get("COVERAGE_PROCESS_START")), reason="measuring coverage costs more")
def test_a_file_of_200_servers_is_checked_and_printed_in_time(tmp_path: Path) -> None:
    (tmp_path / "mcp-compose.yaml").write_text(many_servers(200))

    assert least_processor_time(["config"], tmp_path) < SECONDS_OF_CONFIG * slowness()


@pytest.mark.skipif(bool(os.environ.get("COVERAGE_PROCESS_START")), reason="measuring coverage costs more")
def test_help_is_there_in_time(tmp_path: Path) -> None:
    assert least_processor_time(["--help"], tmp_path) < SECONDS_OF_HELP * slowness()
