"""
What a project accepts at all. Policies only tighten: two of them are one that is at least as tight as each.

Pure. The form of patterns and requirements is chosen so that any two policies have one that says exactly both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import StringConstraints

from mcpcompose.spec.base import Model
from mcpcompose.spec.written import OneOrMany

ServerPattern = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_.-]+\*?|\*)/([A-Za-z0-9_./-]+\*?|\*)$")]
"""`catalog/entry`; a `*` at the end of either part stands for anything."""


class ImagePolicy(Model):
    """What images must be. It is about containers; what runs on the host has no image."""

    require: Literal["digest"] | None = None
    """`digest`: every image is named by its digest (`name@sha256:…`), also the one that a package is installed on."""
    signed_by: OneOrMany = ()
    """Files with public keys (cosign's, ECDSA P-256): every image is named by digest and signed for each of them."""

    @property
    def wants_digests(self) -> bool:
        """A signature is one of a digest."""
        return self.require == "digest" or bool(self.signed_by)


class Policy(Model):
    """What this project accepts at all; with several (of includes, of the machine), all of them hold."""

    servers: tuple[ServerPattern, ...] | None = None
    """The catalog entries that servers may come from, such as `acme/*`; nothing else is accepted then."""
    images: ImagePolicy = ImagePolicy()
    """What images must be."""

    @property
    def is_empty(self) -> bool:
        """It asks for nothing."""
        return self.servers is None and not self.images.wants_digests

    def accepts(self, entry: str) -> bool:
        """Whether a server may come from the catalog entry *entry* (`catalog/entry`)."""
        return self.servers is None or any(covers(pattern, entry) for pattern in self.servers)


class Signer(Model):
    """Who has to have signed: any one of *keys*, which are in *file*."""

    file: str
    """The file with the keys, absolute."""
    keys: tuple[str, ...]
    """Public keys, each as base64 of its DER."""


def covers(pattern: str, entry: str) -> bool:
    """Whether everything that *entry* (an entry, or a pattern itself) stands for is among what *pattern* stands for."""
    return all(_part_covers(p, e) for p, e in zip(_parts(pattern), _parts(entry), strict=True))


def tightened(policies: Iterable[Policy]) -> Policy:
    """The one policy that accepts exactly what all of *policies* accept."""
    servers: tuple[str, ...] | None = None
    signed_by: dict[str, None] = {}
    require: Literal["digest"] | None = None
    for policy in policies:
        if policy.servers is not None:
            servers = policy.servers if servers is None else tuple(dict.fromkeys(_both(servers, policy.servers)))
        signed_by.update(dict.fromkeys(policy.images.signed_by))
        require = policy.images.require or require
    images = {key: said for key, said in (("require", require), ("signed_by", tuple(signed_by))) if said}
    whole = {"servers": tuple(_needed(servers))} if servers is not None else {}
    # Only what is said is set: what is printed is what would be written.
    return Policy.model_validate({**whole, **({"images": ImagePolicy.model_validate(images)} if images else {})})


def _needed(patterns: tuple[str, ...]) -> Iterator[str]:
    """Those that none of the others covers."""
    for index, one in enumerate(patterns):
        before, after = patterns[:index], patterns[index + 1 :]
        if not any(covers(other, one) and not covers(one, other) for other in after) and not any(
            covers(other, one) for other in before
        ):
            yield one


def _parts(text: str) -> tuple[str, str]:
    catalog, _, entry = text.partition("/")
    return catalog, entry


def _part_covers(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def _both(ours: Iterable[str], theirs: Iterable[str]) -> Iterator[str]:
    """What both stand for: of two patterns with a `*` at the end at most, the narrower part, or nothing."""
    others = tuple(theirs)
    for one in ours:
        for other in others:
            pairs = list(zip(_parts(one), _parts(other), strict=True))
            if all(_part_covers(a, b) or _part_covers(b, a) for a, b in pairs):
                yield "/".join(b if _part_covers(a, b) else a for a, b in pairs)
