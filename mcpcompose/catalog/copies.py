"""Fetching catalogs: each as it is now where it can be had, kept as the last good copy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from mcpcompose.catalog.credentials import DockerLogins
from mcpcompose.catalog.https import Egress, Progress, Unchanged, allowed_private, fetch, quiet
from mcpcompose.catalog.kept import Copies, Copy, Https, Location, Oci, Registry, copies_of
from mcpcompose.catalog.oci import pull
from mcpcompose.catalog.reference import parse
from mcpcompose.catalog.registry_api import everything


def _any(_copy: Copy) -> None:
    """Whatever it is."""


class Supply:
    """Fetches catalogs, as the person whose environment and home these are."""

    def __init__(self, environ: Mapping[str, str], home: Path, copies: Copies | None = None) -> None:
        self.copies = copies or copies_of(environ)
        self.logins = DockerLogins(environ, home)
        named = allowed_private(environ)
        # Whoever logged in to a registry has said that it is theirs.
        self.egress = Egress(lambda host: named(host) or self.logins.knows(host))

    async def fresh(
        self, location: Location, judge: Callable[[Copy], object] = _any, progress: Progress = quiet
    ) -> tuple[Copy, bool]:
        """
        The catalog at *location* as it is now, kept as the last good copy, and whether it changed.

        *judge* raises when it is no catalog. Raises that, or `FetchFailed`; the copy that was there then stays.
        """
        before = self.copies.read(location)
        now = await self._fetched(location, before, progress)
        if before is not None and now == before:
            return before, False
        judge(now)
        self.copies.write(location, now)
        return now, before is None or now.digest != before.digest

    async def _fetched(self, location: Location, before: Copy | None, progress: Progress) -> Copy:
        match location:
            case Https(url):
                etag, modified = (before.etag, before.modified) if before is not None else (None, None)
                found = await fetch(url, self.egress, etag=etag, modified=modified, progress=progress)
                if isinstance(found, Unchanged) and before is not None:
                    return before
                assert not isinstance(found, Unchanged)  # noqa: S101  nothing is unchanged that was not there before
                digest = f"sha256:{hashlib.sha256(found.data).hexdigest()}"
                return Copy(found.data, digest, None, found.etag, found.modified)
            case Oci(text):
                known = before.digest if before is not None else None
                artifact = await pull(parse(text), self.egress, self.logins, known=known, progress=progress)
                if artifact is not None:
                    return Copy(artifact.data, artifact.digest, artifact.kind)
                assert before is not None  # noqa: S101  the same
                return before
            case Registry(url):
                return await everything(url, self.egress, before, progress)


__all__ = ["Copies", "Copy", "Https", "Location", "Oci", "Registry", "Supply", "copies_of"]
