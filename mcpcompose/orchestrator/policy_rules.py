"""
Whether a project's own policy is looser than the one last in force on this machine.

Pure. The machine's policy is not looked at: it is root's to change. Keys count by what is in them, not by their files'
names, and catalogs by where they are: a policy means nothing else because a file beside it was exchanged.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from mcpcompose.spec.policy import covers
from mcpcompose.spec.project import Project


def policy_rules(project: Project) -> dict[str, Any] | None:
    """What the project's own policy asks for, as JSON; None without one."""
    own = project.provenance.policy
    if own is None or own.is_empty:
        return None
    signers = [signer for signer in project.signers if signer.file in own.images.signed_by]
    return {
        "servers": None if own.servers is None else sorted(own.servers),
        "digests": own.images.wants_digests,
        "signers": sorted(sorted(map(_short, signer.keys)) for signer in signers),
        "catalogs": dict(sorted(project.provenance.catalogs.items())),
    }


def looser_policy(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Iterator[str]:
    """What *now* accepts that *before* did not, a line each."""
    if before is None:
        return
    after: Mapping[str, Any] = now or {"servers": None, "digests": False, "signers": [], "catalogs": {}}
    yield from _servers(before["servers"], after["servers"])
    if before["digests"] and not after["digests"]:
        yield "no longer wants images named by their digest"
    for keys in before["signers"]:
        if not any(set(other) <= set(keys) for other in after["signers"]):
            added = {key for other in after["signers"] if set(other) & set(keys) for key in other} - set(keys)
            instead = f": takes those with key {' or '.join(sorted(added))} too" if added else ""
            yield f"no longer insists on signatures with key {' or '.join(keys)}{instead}"
    for name, text in before["catalogs"].items():
        if after["catalogs"].get(name, text) != text:
            yield f"catalog {name} is {after['catalogs'][name]}, was {text}"


def _servers(before: list[str] | None, after: list[str] | None) -> Iterator[str]:
    if before is None:
        return
    was = ", ".join(before) or "nothing"
    if after is None:
        yield f"accepts servers from anywhere, was {was}"
    elif added := [one for one in after if not any(covers(other, one) for other in before)]:
        yield f"also accepts servers from {', '.join(added)}, was {was}"


def _short(key: str) -> str:
    """What `openssl pkey -pubin -outform DER | sha256sum` begins with."""
    return hashlib.sha256(base64.b64decode(key)).hexdigest()[:40]
