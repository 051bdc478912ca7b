"""
What is different between two locks, a line for each thing: for people who accept it, and for approval.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mcpcompose.spec.lockfile import KINDS, Lock, LockedImage, LockedPackage, LockedServer

Sign = Literal["+", "~", "-"]
_SHORT: Final = 12
_NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing of *server* that is new (`+`), another one (`~`) or gone (`-`); *text* says from what to what."""

    server: str
    sign: Sign
    what: str
    name: str = ""
    text: str = ""

    def __str__(self) -> str:
        name = f" `{self.name}`" if self.name else ""
        word = {"+": "new", "~": "changed", "-": "gone"}[self.sign]
        return f"{self.sign} {self.what}{name}: {self.text or word}"


def changes(before: Lock, after: Lock) -> tuple[Change, ...]:
    """From *before* to *after*, server by server."""
    found: list[Change] = []
    for name in sorted({*before.servers, *after.servers}):
        found += server_changes(name, before.servers.get(name), after.servers.get(name))
    for name, sign, text in _between(before.catalogs, after.catalogs):
        found.append(Change("", sign, "catalog", name, text))
    return tuple(found)


def server_changes(name: str, before: LockedServer | None, after: LockedServer | None) -> Iterator[Change]:
    """Of one server."""
    if after is None:
        if before is not None:
            yield Change(name, "-", "server")
        return
    if before is None:
        yield Change(name, "+", "server")
    pins = list(_pins(name, before, after))
    yield from pins
    if before is not None and before.launch != after.launch and not pins:
        yield Change(
            name, "~", "launch", text="arguments, names of variables and secrets, mounts, network, URL or user"
        )
    for kind in KINDS:
        for item, sign, _ in _between(before.of(kind) if before is not None else _NOTHING, after.of(kind)):
            yield Change(name, sign, kind, item)
    instructions = before.instructions if before is not None else None
    if instructions != after.instructions:
        yield Change(name, "-" if after.instructions is None else "~" if instructions else "+", "instructions")


def _pins(name: str, before: LockedServer | None, after: LockedServer) -> Iterator[Change]:
    image = _from_to(before.image if before else None, after.image)
    if image is not None:
        yield Change(name, image[0], "image", text=image[1])
    context = before.build.context if before and before.build else None
    if after.build is not None and after.build.context != context:
        yield Change(
            name, "~" if context else "+", "build", text=f"{_short(context)}context {_cut(after.build.context)}"
        )
    yield from _packages(name, before.package if before else None, after.package)


def _packages(name: str, before: LockedPackage | None, after: LockedPackage | None) -> Iterator[Change]:
    if after is None or before == after:
        return
    if before is None or before.requirement != after.requirement:
        was = f"{before.requirement} -> " if before is not None else ""
        yield Change(name, "~" if before else "+", "package", text=f"{was}{after.requirement}")
    runner = _from_to(before.runner if before else None, after.runner)
    if runner is not None:
        yield Change(name, runner[0], "runner", text=runner[1])
    if before is None:
        count = len(after.distributions) + len(after.modules)
        yield Change(name, "+", "package", text=f"with {count} pinned by hash")
        return
    for one, sign, text in _between(_versions(before), _versions(after)):
        yield Change(name, sign, "dependency", one, text)
    same = _versions(before) == _versions(after)
    if same and (before.distributions, before.modules) != (after.distributions, after.modules):
        yield Change(name, "~", "hashes", text="other files of the same versions")


def _versions(package: LockedPackage) -> dict[str, str]:
    pypi = dict(one.split("==", 1) for one in package.distributions)
    return {**pypi, **{place: str(module.get("version")) for place, module in package.modules.items()}}


def _from_to(before: LockedImage | None, after: LockedImage | None) -> tuple[Sign, str] | None:
    if after is None or before == after:
        return None
    if before is None:
        return "+", _image(after)
    return "~", f"{_image(before)} -> {_image(after)}"


def _image(image: LockedImage) -> str:
    return f"{image.ref} {_cut(image.digest or image.id or '')}"


def _short(digest: str | None) -> str:
    return f"{_cut(digest)} -> " if digest else ""


def _cut(digest: str) -> str:
    algorithm, _, hexadecimal = digest.partition(":")
    return f"{algorithm}:{hexadecimal[:_SHORT]}"


def _between(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, Sign, str]]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        told = not (new or old or "").startswith("sha256:")
        text = f"{old or ''}{' -> ' if old and new else ''}{new or ''}" if told else ""
        yield name, "+" if old is None else "-" if new is None else "~", text
