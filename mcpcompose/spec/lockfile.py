"""
`mcp-compose.lock`: what a project's servers were when somebody accepted them.

Pure. Nothing in it is about one machine: digests, names and versions, never paths, hosts of an index or values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from mcpcompose.spec.base import Model, Names
from mcpcompose.spec.canonical import digest

FILE_NAME: Final = "mcp-compose.lock"
VERSION: Final = 1
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Kind = Literal["tool", "prompt", "template"]
KINDS: Final[tuple[Kind, ...]] = ("tool", "prompt", "template")
DISTRIBUTION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!_-]*")
_MODULE: Final = r"node_modules/(?:@[a-z0-9~-][\w.~-]*/)?[\w~-][\w.~-]*"
PLACE: Final = re.compile(rf"{_MODULE}(?:/{_MODULE})*", re.IGNORECASE | re.ASCII)
INTEGRITY: Final = re.compile(r"sha512-[A-Za-z0-9+/]{86}==")
MODULE_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]*")
MODULE_KEYS: Final = (
    "version", "integrity", "dependencies", "optionalDependencies", "peerDependencies", "peerDependenciesMeta",
    "optional", "peer", "os", "cpu", "libc", "bin", "engines", "hasInstallScript", "inBundle", "bundleDependencies",
)  # fmt: skip
"""What of an npm module's entry decides what is installed."""


def _plain_distributions(found: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """They become lines of a file for `pip`, where anything else could be an option or a URL."""
    for name, hashes in found.items():
        if not DISTRIBUTION.fullmatch(name) or not hashes:
            raise ValueError(f"{name[:80]!r} is no `name==version` with hashes")
    return found


def _plain_modules(found: Mapping[str, dict[str, Any]]) -> Mapping[str, dict[str, Any]]:
    """They become a file for `npm ci`, where other places and keys could fetch and write elsewhere, without a hash."""
    for place, module in found.items():
        if not PLACE.fullmatch(place):
            raise ValueError(f"{place[:80]!r} is no place for a module")
        if other := next((key for key in module if key not in MODULE_KEYS), None):
            raise ValueError(f"{place[:80]!r} has an unknown key {other[:80]!r}")
        if not MODULE_VERSION.fullmatch(str(module.get("version"))):
            raise ValueError(f"{place[:80]!r} has no plain version")
        if module.get("inBundle") is not True and not INTEGRITY.fullmatch(str(module.get("integrity"))):
            raise ValueError(f"{place[:80]!r} has no SHA-512 hash")
    return found


class LockedImage(Model):
    """An image by its reference, and the digest that a registry has it under; *id* is of one that no registry has."""

    ref: str
    digest: Digest | None = None
    id: Digest | None = None

    @property
    def pin(self) -> str:
        """
        What an engine has to be asked for to get this image and no other; empty when nothing is known.

        A digest that the file itself names is what it is: a lock puts no other image in its place.
        """
        if "@" in self.ref:
            return self.ref
        return f"{repository(self.ref)}@{self.digest}" if self.digest else self.id or ""


class LockedBuild(Model):
    """The digest of a build's context."""

    context: Digest


class LockedPackage(Model):
    """
    A package with everything it needs, by hash.

    *distributions* (PyPI) have the hashes of all their files, by `name==version`; *modules* (npm) are the entries of
    a `package-lock.json`, by path. *runner* is the image it is installed on.
    """

    requirement: str
    runner: LockedImage | None = None
    distributions: Annotated[Names[tuple[Digest, ...]], AfterValidator(_plain_distributions)] = Field(
        default_factory=dict
    )
    modules: Annotated[Names[dict[str, Any]], AfterValidator(_plain_modules)] = Field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Something can be installed from it."""
        return bool(self.distributions or self.modules)


class LockedServer(Model):
    """What one server was: *launch* is its launch identity; None of *instructions* means it says none."""

    fingerprint: Digest
    launch: Digest
    image: LockedImage | None = None
    build: LockedBuild | None = None
    package: LockedPackage | None = None
    instructions: Digest | None = None
    tools: Names[Digest] = Field(default_factory=dict)
    prompts: Names[Digest] = Field(default_factory=dict)
    templates: Names[Digest] = Field(default_factory=dict)

    def of(self, kind: Kind) -> Mapping[str, str]:
        """What was accepted of *kind*, by the server's own names."""
        return {"tool": self.tools, "prompt": self.prompts, "template": self.templates}[kind]

    @property
    def source(self) -> Any:
        """What pins the code that runs, as JSON."""
        pins = (("image", self.image), ("build", self.build), ("package", self.package))
        return {name: pin.model_dump(mode="json", exclude_none=True) for name, pin in pins if pin is not None}

    def whole(self) -> str:
        """The one fingerprint of the server as this says it."""
        return digest(
            {
                "launch": self.launch,
                "instructions": self.instructions,
                "tools": self.tools,
                "prompts": self.prompts,
                "templates": self.templates,
            }
        )


class Lock(Model):
    """
    The whole file, and two things that are no part of it.

    *is_strict*: `--locked` refuses a server instead of withholding tools. *is_provisional*: `lock` is only looking at
    what there is, and nothing of it counts as accepted.
    """

    version: Literal[1] = 1
    catalogs: Names[Digest] = Field(default_factory=dict)
    servers: Names[LockedServer] = Field(default_factory=dict)
    is_strict: bool = Field(default=False, exclude=True)
    is_provisional: bool = Field(default=False, exclude=True)

    def wrong(self) -> Iterator[str]:
        """The servers whose entries were changed by hand: their fingerprint is another one."""
        for name, server in self.servers.items():
            if server.fingerprint != server.whole():
                yield name


def accept_command(server: str) -> str:
    """The command that accepts what *server* is now."""
    return f"mcp-compose lock --accept {server}"


def locked_server(**parts: Any) -> LockedServer:
    """An entry with its fingerprint."""
    made = LockedServer(fingerprint="sha256:" + "0" * 64, **parts)
    return made.model_copy(update={"fingerprint": made.whole()})


def repository(ref: str) -> str:
    """An image's reference without tag and digest."""
    plain = ref.partition("@")[0]
    name, colon, tag = plain.rpartition(":")
    return name if colon and "/" not in tag else plain
