"""
Who owns what: the names and labels of everything a project has on an engine.

Pure. Owned means that the project label *and* the owner label match; everything else is somebody else's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROJECT_LABEL: Final = "io.mcpcompose.project"
OWNER_LABEL: Final = "io.mcpcompose.owner"
SERVER_LABEL: Final = "io.mcpcompose.server"
HASH_LABEL: Final = "io.mcpcompose.config-hash"


@dataclass(frozen=True, slots=True)
class Owner:
    """One project of one user in one directory on one machine."""

    project: str
    id: str

    def labels(self, server: str | None = None, config_hash: str | None = None) -> dict[str, str]:
        """The labels of a thing of this owner."""
        labels = {PROJECT_LABEL: self.project, OWNER_LABEL: self.id}
        if server is not None:
            labels[SERVER_LABEL] = server
        if config_hash is not None:
            labels[HASH_LABEL] = config_hash
        return labels


def owner_id(machine: str, user: int, directory: Path) -> str:
    """The owner id: 16 hex digits of a digest, so that labels give away neither machine nor path."""
    text = f"{machine}\0{user}\0{directory}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def instance_name(project: str, server: str, number: int = 1) -> str:
    """The name of a server's *number*-th instance."""
    return f"{project}-{server}-{number}"


def is_copy(instance: str) -> bool:
    """Whether this is the name of a further instance of a server, beside the first."""
    return instance.rpartition("-")[2] != "1"


def network_name(project: str, server: str) -> str:
    """The name of a server's own network."""
    return f"{project}-{server}"


def volume_name(project: str, volume: str) -> str:
    """The name of a named volume on the engine; the `_` keeps it apart from networks, as in Compose."""
    return f"{project}_{volume}"
