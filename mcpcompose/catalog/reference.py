"""References of registries, as Docker writes them: `host:port/repository:tag@sha256:…`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from mcpcompose.errors import FetchFailed

HUB: Final = "docker.io"
_HUB_HOST: Final = "registry-1.docker.io"
_HUB_NAMES: Final = frozenset({HUB, "index.docker.io", _HUB_HOST, "registry.hub.docker.com"})
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST: Final = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """What a registry is asked for. *digest* counts before *tag*; without either it is the tag `latest`."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def host(self) -> str:
        """Where the registry answers."""
        return _HUB_HOST if self.registry == HUB else self.registry

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def wanted(self) -> str:
        """What to ask for: the digest, else the tag."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> Reference:
        """The same repository at *digest*."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The reference that *text* is. Raises `FetchFailed`."""
    rest, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise FetchFailed(f"`{text}` has no digest after its `@`", hint="a digest is `sha256:` and 64 hex digits")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise FetchFailed(f"`{text}` has no tag after its `:`")
    registry, repository = _split(head + slash + last)
    if not _REPOSITORY.fullmatch(repository) or not _HOST.fullmatch(registry) or len(repository) > _LONGEST:
        raise FetchFailed(
            f"`{text}` is not the name of a repository", hint="write it like `registry.example/team/name:1`"
        )
    return Reference(registry.lower(), repository, tag or None, digest or None)


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not (any(character in first for character in ".:[") or first == "localhost"):
        return HUB, name if slash else f"library/{name}"
    if first.lower() in _HUB_NAMES:
        return HUB, rest if "/" in rest else f"library/{rest}"
    return first, rest
