"""Where in a document an entry is, and what is beside it, on plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcpcompose.clients.edit_types import Container, EditFailed, Way


@dataclass(frozen=True, slots=True)
class Spot:
    """The entry *name* in the container that *path* leads to."""

    path: tuple[str, ...]
    name: str
    container: Container = "map"
    identifier: str = "name"

    def way(self, root: Any) -> Way | None:
        """The way to the entry; None when it is not there. Raises `EditFailed` when its container is something else."""
        depth = depth_of(root, self.path)
        here = at(root, self.path[:depth])
        if depth < len(self.path) or here is None:
            return None
        if self.container == "map":
            _expect(here, dict, self.path)
            return (*self.path, self.name) if self.name in here else None
        _expect(here, list, self.path)
        ours = [index for index, item in enumerate(here) if self._is_ours(item)]
        if len(ours) > 1:
            raise EditFailed(f"two entries of `{_shown(self.path)}` are named `{self.name}`")
        return (*self.path, ours[0]) if ours else None

    def held(self, entry: Mapping[str, Any]) -> Any:
        """A container with *entry* alone."""
        return {self.name: entry} if self.container == "map" else [entry]

    def beside(self, root: Any, depth: int = 0) -> Any:
        """*root* without the entry, and without containers on the way that hold nothing else."""
        if depth < len(self.path):
            step, here = self.path[depth], root or {}
            below = self.beside(here.get(step), depth + 1)
            return {key: below if key == step else item for key, item in here.items() if key != step or below}
        if self.container == "map":
            return {key: item for key, item in (root or {}).items() if key != self.name}
        return [item for item in root or [] if not self._is_ours(item)]

    def _is_ours(self, item: Any) -> bool:
        return isinstance(item, dict) and item.get(self.identifier) == self.name


def at(root: Any, way: Way) -> Any:
    """The value at *way*, which is there."""
    for step in way:
        root = root[step]
    return root


def depth_of(root: Any, path: tuple[str, ...]) -> int:
    """How many steps of *path* are there; the last of them may lead to a null."""
    for depth, step in enumerate(path):
        if root is None:
            return depth
        _expect(root, dict, path[:depth])
        if step not in root:
            return depth
        root = root[step]
    return len(path)


def nested(path: tuple[str, ...], value: Any) -> Any:
    """*value* below the keys *path*."""
    for step in reversed(path):
        value = {step: value}
    return value


def merged(value: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """*value* and *more*, mapping by mapping."""
    both = {key: merged(value[key], item) if isinstance(value.get(key), dict) else item for key, item in more.items()}
    return {**value, **both}


def same(one: Any, other: Any) -> bool:
    """Equal in value and kind; not-a-number is equal to itself."""
    return (bool(one == other) and _kinds(one, other)) or repr(one) == repr(other)


def _kinds(one: Any, other: Any) -> bool:
    """Whether two equal values differ nowhere as `1`, `1.0` and `true` do."""
    if isinstance(one, Mapping):
        return all(_kinds(item, other[key]) for key, item in one.items())
    if isinstance(one, (list, tuple)):
        return all(map(_kinds, one, other))
    return type(one) is type(other)


def _expect(value: Any, kind: type, path: tuple[str, ...]) -> None:
    if not isinstance(value, kind):
        raise EditFailed(f"`{_shown(path)}` is not {'a mapping' if kind is dict else 'a list'}")


def _shown(path: tuple[str, ...]) -> str:
    return ".".join(path) or "the file"
