"""Every project of this user on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcpcompose.actions.lock import holder
from mcpcompose.actions.record import records
from mcpcompose.paths import project_paths


def projects(environ: Mapping[str, str], *, also_stopped: bool) -> list[dict[str, Any]]:
    """Name, status (`running`, `left` for servers without a gateway, `down`), files, endpoint and process id."""
    found = []
    for folder, record in records(environ):
        pid = holder(project_paths(folder, environ))
        status = "running" if pid is not None else "left" if record.engines else "down"
        if status == "down" and not also_stopped:
            continue
        found.append(
            {
                "name": record.name,
                "status": status,
                "directory": record.directory,
                "files": list(record.files),
                "endpoint": record.endpoint if pid is not None else None,
                "pid": pid,
            }
        )
    return found
