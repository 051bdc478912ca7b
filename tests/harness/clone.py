"""The README's first command in a clone of the repository, as somebody runs it who has no container engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

NO_ENGINE = "unix:///nowhere/at/all.sock"


def first_command(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], *, bound: float
) -> subprocess.CompletedProcess[str]:
    """Run it in *folder* with nobody at the keyboard."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=bound,
        check=False,
    )


def of_a_clone(base: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* without an engine, with what the repository's own file needs in *base*."""
    kept = {key: value for key, value in environ.items() if key not in {"MCP_COMPOSE_ENGINE", "DOCKER_CONTEXT"}}
    return {**kept, "DOCKER_HOST": NO_ENGINE, "MCP_COMPOSE_MEMORY_FILE": str(base / "memory.jsonl")}


def as_person(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """Start it on a terminal of its own; returns our end of that too, which the caller closes."""
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
    finally:
        os.close(theirs)
    return process, ours
