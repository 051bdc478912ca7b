"""
The configuration hash of an instance: several short digests in one label, so that a difference has a name.

Pure. `1.<part>.<part>…`, each part 16 hex digits of a SHA-256 over what is declared (references, never values), or of a
keyed HMAC over values.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from mcpcompose.engine.base import InstanceSpec

VERSION: Final = "1"
PARTS: Final = ("image", "command", "environment", "secret", "mounts", "network", "limits", "settings")
"""What can differ, in the order of the label; each is also the word of its cause."""


def config_hash(spec: InstanceSpec, *, network: tuple[object, ...], keyed: tuple[str, str]) -> str:
    """
    The label's text for *spec*, whose own labels must not hold it yet.

    *network* says whether its own has no way out, and its prefix; *keyed* holds the digests of its variables and of its
    secrets.
    """
    variables, secrets = keyed
    parts: dict[str, Any] = {
        "image": (spec.source, spec.signers) if spec.signers else spec.source,
        "command": (spec.entrypoint, spec.command, spec.working_dir),
        "environment": (spec.environment, variables),
        "secret": (spec.secret_files, secrets),
        "mounts": (spec.mounts, spec.hardening.tmpfs, spec.hardening.read_only),
        "network": (spec.network, network, spec.extra_hosts, spec.dns, spec.transport),
        "limits": (spec.hardening.cpus, spec.hardening.memory, spec.hardening.pids, spec.hardening.shm_size),
        "settings": (spec.user, spec.labels, spec.hardening, spec.unsafe, *((spec.check,) if spec.check else ())),
    }
    return ".".join((VERSION, *(_short(parts[name]) for name in PARTS)))


def differences(before: str, after: str) -> tuple[str, ...]:
    """The names of the parts that differ; `definition` when *before* is from another version."""
    if before == after:
        return ()
    old, new = before.split("."), after.split(".")
    if len(old) != len(new) or old[0] != new[0]:
        return ("definition",)
    changed = tuple(name for name, a, b in zip(PARTS, old[1:], new[1:], strict=True) if a != b)
    named = tuple(name for name in changed if name != "settings")
    return named or changed


def _short(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]
