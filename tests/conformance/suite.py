"""Run the official conformance suite, and read what it found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_TESTS = str(Path(__file__).resolve().parents[1])
"""Where the client that the suite runs is found."""
WIRES = ("2025-11-25", "2026-07-28")
SUITE_SECONDS = 300
_FOLDER = re.compile(r"(?:server-)?(?P<scenario>[^/]+?)-\d{4}-\d\d-\d\dT[\d-]+Z$")
_NOT_JUDGED = {"INFO", "SKIPPED"}


class Key(NamedTuple):
    """One check: its scenario, its id, and which of those with this id it is."""

    scenario: str
    check: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.scenario}  {self.check}" + (f" #{self.occurrence}" if self.occurrence else "")


@dataclass(frozen=True)
class Check:
    """What the suite said of one check."""

    status: str
    message: str
    details: Any

    @property
    def passed(self) -> bool:
        """Tell whether it counts."""
        return self.status == "SUCCESS"


Checks = dict[Key, Check]


def program() -> list[str]:
    """Give the command of the pinned suite on the Node that it needs; `scripts/clients` brings both."""
    return [os.environ["MCP_COMPOSE_TEST_NODE"], os.environ["MCP_COMPOSE_TEST_CONFORMANCE"]]


def against_server(url: str, wire: str, scenarios: Sequence[str] = ()) -> Checks:
    """Give every check of the suite for *wire* against the server at *url*; *scenarios* limits it to these."""
    checks: Checks = {}
    for choice in [["--scenario", name] for name in scenarios] or [["--suite", "all"]]:
        checks.update(_run("server", "--url", url, *choice, "--spec-version", wire))
    return checks


def against_client(scenario: str, wire: str, **environ: str) -> Checks:
    """Give every check of one client scenario; the client is `as_client.py`, through the gateway or straight."""
    command = f"{sys.executable} -m conformance.as_client"
    return _run("client", "--command", command, "--scenario", scenario, "--spec-version", wire, **environ)


def _run(*arguments: str, **environ: str) -> Checks:
    with tempfile.TemporaryDirectory(prefix="mct-conformance-") as folder:
        done = subprocess.run(
            [*program(), *arguments, "-o", folder],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, (_TESTS, os.environ.get("PYTHONPATH")))),
                **environ,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SUITE_SECONDS,
            check=False,
        )
        checks = read(Path(folder))
        if not checks or "CLIENT EXITED" in done.stderr:
            print(f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}", file=sys.stderr)
        return checks


def read(folder: Path) -> Checks:
    """Give the checks of a results folder."""
    checks: Checks = {}
    for file in sorted(folder.rglob("checks.json")):
        named = _FOLDER.search(file.parent.relative_to(folder).as_posix())
        if named is None:
            raise RuntimeError(f"no scenario in the name of `{file.parent}`")
        seen: Counter[str] = Counter()
        for check in json.loads(file.read_text()):
            key = Key(named["scenario"], check["id"], seen[check["id"]])
            seen[check["id"]] += 1
            if check["status"] not in _NOT_JUDGED:
                checks[key] = Check(check["status"], check.get("errorMessage") or "", check.get("details"))
    return checks
