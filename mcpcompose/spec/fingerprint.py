"""
The launch identity of a server: what decides which tools it will offer.

Pure. Keys the cache of tool lists, and later the lock. Holds names of environment variables, never values.
"""

from __future__ import annotations

import hashlib
import json

from mcpcompose.spec.server import NetworkAllow, Server


def fingerprint(server: Server, *, image: str | None = None) -> str:
    """
    SHA-256 over the launch identity.

    *image* is the id of the image where it is known; without it the reference as written stands for it.
    """
    identity = {
        "source": image or server.image or (server.build.model_dump(mode="json") if server.build else None),
        "package": server.package,
        "process": server.process,
        "url": server.url,
        "entrypoint": server.entrypoint,
        "command": server.command,
        "args": server.args,
        "environment": sorted({*server.environment, *(use.env for use in server.secrets if use.env)}),
        "headers": sorted(server.headers),
        "secrets": sorted(use.target or use.source for use in server.secrets if not use.env),
        "mounts": sorted((v.type, v.source, v.target, v.read_only) for v in server.volumes),
        "network": sorted(server.network.allow) if isinstance(server.network, NetworkAllow) else server.network,
        "http": server.http.model_dump(mode="json") if server.http else None,
        "user": server.user,
        "working_dir": server.working_dir,
        "platform": server.platform,
        "era": server.era,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
