"""What the models allow where: the keys of every mapping of the file, derived from the models themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from mcpcompose.config.tree import Path
from mcpcompose.spec.project import ComposeFile


@dataclass(frozen=True, slots=True)
class Shape:
    """
    One value's alternatives: *keys* if it may be a mapping with fixed keys, *values* if one with
    free names, *items* if a list. All None: a scalar, or anything.
    """

    keys: Mapping[str, Shape] | None = None
    values: Shape | None = None
    items: Shape | None = None

    def child(self, key: str | int) -> Shape:
        """The shape below *key*; an empty one where the models do not say."""
        if isinstance(key, int):
            return self.items or Shape()
        if self.keys is not None and key in self.keys:
            return self.keys[key]
        return self.values or Shape()


@cache
def compose_file() -> Shape:
    """The shape of a whole file."""
    return _shape(ComposeFile)


def at(path: Path) -> Shape:
    """The shape at *path*."""
    shape = compose_file()
    for key in path:
        shape = shape.child(key)
    return shape


def key_paths(shape: Shape | None = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key that the models know, with `*` for free names and list items."""
    shape = compose_file() if shape is None else shape
    for key, child in (shape.keys or {}).items():
        yield (*path, key)
        yield from key_paths(child, (*path, key))
    for inner in (shape.values, shape.items):
        if inner is not None:
            yield from key_paths(inner, (*path, "*"))


def _shape(annotation: Any) -> Shape:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _shape(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return _either([_shape(one) for one in get_args(annotation)])
    if origin is tuple:
        return Shape(items=_shape(get_args(annotation)[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return Shape(values=_shape(get_args(annotation)[1]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return Shape(keys={field.alias or name: _shape(field.annotation) for name, field in fields})
    return Shape()


def _either(shapes: list[Shape]) -> Shape:
    keys: dict[str, Shape] = {}
    for shape in shapes:
        keys.update(shape.keys or {})
    first = {name: next((s for s in (getattr(x, name) for x in shapes) if s), None) for name in ("values", "items")}
    return Shape(keys=keys or None, values=first["values"], items=first["items"])
