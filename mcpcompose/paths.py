"""
Where a project keeps what is not in the repository.

Runtime: admin socket, lock, secret files (0700, on a tmpfs where there is one).
State: tokens, approvals, the remembered port, server logs. Cache: tool lists, private environments.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpcompose.errors import McpComposeError

_ELSEWHERE: Final = "remove it, or name a folder of yours with `MCP_COMPOSE_HOME`"


@dataclass(frozen=True, slots=True)
class ProjectPaths:
    """The folders of one project of one owner; made on first use with mode 0700."""

    runtime: Path
    state: Path
    cache: Path

    @property
    def lock(self) -> Path:
        """Held by the running gateway."""
        return self.runtime / "gateway.lock"

    @property
    def admin_socket(self) -> Path:
        """The running gateway's admin API."""
        return self.runtime / "admin.sock"

    @property
    def stdio_socket(self) -> Path:
        """Where the stdio shim speaks MCP to the running gateway."""
        return self.runtime / "stdio.sock"

    @property
    def secret_files(self) -> Path:
        """Secret files of running instances."""
        return self.runtime / "secrets"

    @property
    def instances(self) -> Path:
        """Records of the process engine's instances."""
        return self.runtime / "instances"

    @property
    def logs(self) -> Path:
        """Server logs and the gateway's own."""
        return self.state / "logs"

    @property
    def tool_lists(self) -> Path:
        """Tool lists by fingerprint."""
        return self.cache / "lists"

    @property
    def packages(self) -> Path:
        """Private environments of the process engine's packages."""
        return self.cache / "packages"

    def make(self) -> ProjectPaths:
        """Make the folders, refusing ones that others can write to or that are not ours."""
        for folder in (
            self.runtime,
            self.state,
            self.cache,
            self.secret_files,
            self.instances,
            self.logs,
            self.tool_lists,
        ):
            private_folder(folder)
        return self


def private_folder(folder: Path) -> Path:
    """Make *folder* with mode 0700. Raises `McpComposeError` when it cannot be made, or another user could have made or
    replaced it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or _is_anyones(folder.parent):
            raise McpComposeError(f"`{folder}` is not a folder of this user alone", hint=_ELSEWHERE)
        if info.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise McpComposeError(f"`{folder}` cannot be made: {error.strerror}", hint=_ELSEWHERE) from error
    return folder


def _is_anyones(folder: Path) -> bool:
    """Whether another user can put something else in the place of what is in *folder*."""
    info = folder.stat()
    others_write = bool(info.st_mode & 0o022) and not info.st_mode & stat.S_ISVTX
    return info.st_uid not in {0, os.getuid()} or others_write


def project_paths(owner: str, environ: Mapping[str, str]) -> ProjectPaths:
    """The folders of the owner id *owner*; `MCP_COMPOSE_HOME` puts all of them below one folder."""
    if home := environ.get("MCP_COMPOSE_HOME"):
        base = Path(home)
        return ProjectPaths(base / "run" / owner, base / "state" / owner, base / "cache" / owner)
    from platformdirs import PlatformDirs  # noqa: PLC0415  only without MCP_COMPOSE_HOME

    dirs = PlatformDirs("mcp-compose", appauthor=False)
    return ProjectPaths(
        _runtime_base(environ) / owner, Path(dirs.user_state_dir) / owner, Path(dirs.user_cache_dir) / owner
    )


def _runtime_base(environ: Mapping[str, str]) -> Path:
    """The user's runtime folder, or one of their own on a tmpfs; unix socket paths must stay under 100 characters."""
    if folder := environ.get("XDG_RUNTIME_DIR"):
        return Path(folder) / "mcp-compose"
    user = os.getuid()
    for base in (Path(f"/run/user/{user}"), Path("/dev/shm")):  # noqa: S108  a 0700 folder of our own is made in it
        if base.is_dir() and os.access(base, os.W_OK):
            return base / (f"mcp-compose-{user}" if base.name == "shm" else "mcp-compose")
    return Path.home() / ".cache" / "mcp-compose-run"


def machine_id() -> str:
    """What tells this machine from others; falls back to the host's name."""
    for candidate in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        try:
            if text := candidate.read_text().strip():
                return text
        except OSError:
            continue
    import socket  # noqa: PLC0415  only without a machine id

    return socket.gethostname()
