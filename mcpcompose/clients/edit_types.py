"""What the editing engines share: their errors, where an entry is, and what an edit has to remember to be undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from mcpcompose.errors import McpComposeError

Format = Literal["json", "jsonc", "toml", "yaml"]
Container = Literal["map", "array"]
Strict = bool | Literal["commas"]
"""What of JSON a client reads: RFC 8259 only (true), comments too (`commas`), trailing commas as well (false)."""
NULL: Final = "null"
"""What `edit.entry` gives for an entry that holds nothing: it is there all the same, and whoever made it is not us."""
Step = str | int
Way = tuple[Step, ...]
"""From the root of a document to one of its values: keys, and indices of lists."""


class Unreadable(McpComposeError):  # noqa: N818  the name of the thing, not of the event
    """A client's file that its client could not read either; *line* and *column* count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message, hint="nothing was changed; repair the file first")
        self.line = line
        self.column = column


class EditFailed(McpComposeError):  # noqa: N818
    """A readable file that cannot be edited without risk to what is not ours."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="nothing was changed; add the entry by hand, see `mcp-compose client config`")


@dataclass(frozen=True, slots=True)
class Undo:
    """
    What a `put` into a text changes besides the entry, so that `remove` gives back the very same text.

    *created* are the containers that were missing; *way* leads to the deepest one that was there, and *was* is
    its source when it held nothing (`null`, `{ }`, for a blank document its whole text). *root* are the keys
    added beside the container because the document was blank.
    """

    created: tuple[tuple[str, ...], ...] = ()
    way: tuple[str, ...] = ()
    was: str | None = None
    root: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def as_json(self) -> dict[str, Any]:
        """For the ledger."""
        return {
            "created": [list(way) for way in self.created],
            "way": list(self.way),
            "was": self.was,
            "root": dict(self.root),
        }

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Undo:
        """The inverse of `as_json`."""
        created = tuple(tuple(way) for way in value["created"])
        return cls(created, tuple(value["way"]), value["was"], value["root"])


class Engine(Protocol):
    """
    One format's editor: each function takes a text that `parse` accepts and gives another text.

    A *way* that is asked for must exist. None of them touches a byte outside what it is asked to change, except
    the separator before or behind it.
    """

    def parse(self, text: str, *, strict: Strict) -> Any:
        """The plain value of *text*; None for a blank one. Raises `Unreadable`."""

    def create(self, text: str, value: Mapping[str, Any]) -> str:
        """The blank *text* with *value* as its root."""

    def insert(self, text: str, way: Way, key: str | None, value: Any) -> str:
        """Add a last member to the mapping, or with *key* None a last item to the list, at *way*."""

    def replace(self, text: str, way: Way, value: Any) -> str:
        """Put *value* in the place of the value at *way*."""

    def delete(self, text: str, way: Way) -> str:
        """Take the member or item at *way* away; the empty *way* stands for the whole root."""

    def source(self, text: str, way: Way) -> str | None:
        """The text of the value at *way*; None when it has no single place in the text."""

    def restore(self, text: str, way: Way, source: str) -> str:
        """Put *source*, which `source` gave, in the place of the value at *way*."""
