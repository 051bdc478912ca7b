"""Whose a thing on an engine is, read from its labels. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mcpcompose.errors import EngineError, NameTaken
from mcpcompose.spec.identity import HASH_LABEL, OWNER_LABEL, PROJECT_LABEL, SERVER_LABEL, Owner


def owner_of(labels: Mapping[str, str]) -> Owner | None:
    """The owner that *labels* name; None for a thing that is not ours at all."""
    project, identity = labels.get(PROJECT_LABEL), labels.get(OWNER_LABEL)
    return Owner(project, identity) if project and identity else None


def server_of(labels: Mapping[str, str]) -> str:
    """The server that *labels* name."""
    return labels.get(SERVER_LABEL, "")


def hash_of(labels: Mapping[str, str]) -> str:
    """The configuration hash that *labels* carry."""
    return labels.get(HASH_LABEL, "")


def refuse_foreign(kind: str, name: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise `NameTaken` unless the existing *name* has the owner that is *wanted*."""
    if owner_of(wanted) is None or owner_of(wanted) != owner_of(found):
        raise NameTaken(
            f"{kind} `{name}` exists and belongs to somebody else",
            hint="use another project name: `--project-name NAME`, or `name:` in the file",
        )


def refuse_other_configuration(name: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise unless the existing instance *name* is this owner's, with this very configuration."""
    refuse_foreign("instance", name, wanted, found)
    if hash_of(wanted) != hash_of(found):
        raise EngineError(f"instance `{name}` exists with another configuration", hint="run `mcp-compose up` again")
