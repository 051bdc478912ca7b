"""
The text of a client's file with our entry in it, and without it again.

Pure: texts in, texts out. An entry of that name that is not ours is left alone unless it is forced, and one of ours
that somebody made into something else is not taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mcpcompose.clients import edit
from mcpcompose.clients.edit_types import EditFailed, Undo, Unreadable
from mcpcompose.clients.ledger import Piece
from mcpcompose.clients.parts import Part
from mcpcompose.clients.registry import Application, Scope
from mcpcompose.errors import McpComposeError

State = Literal["connected", "changed", "gone", "unreadable"]


class NotOurs(McpComposeError):  # noqa: N818  the name of the thing, not of the event
    """An entry that somebody else wrote, or made into something else, stands in our place."""


@dataclass(frozen=True, slots=True)
class Connected:
    """*replaced*: an entry of somebody else had to go, so the file as it was is worth keeping."""

    text: str
    pieces: tuple[Piece, ...]
    replaced: bool = False


def with_entry(
    application: Application,
    scope: Scope,
    text: str,
    parts: Sequence[Part],
    before: Sequence[Piece] = (),
    *,
    force: bool = False,
) -> Connected:
    """
    *text* with *parts* in it; *before* is what we wrote there the last time.

    Raises `Unreadable`, `EditFailed`, `NotOurs`.
    """
    wanted = {(part.path, part.name) for part in parts}
    for piece in reversed(before):
        if (piece.path, piece.name) not in wanted:
            text = _without(application, text, piece)
    pieces: list[Piece] = []
    replaced = False
    for part in parts:
        known = next((piece for piece in before if (piece.path, piece.name) == (part.path, part.name)), None)
        there = _there(application, text, part)
        if there is not None and known is None and _piece(part, Undo()).state(there) != "ours":
            if part.is_question:
                continue  # in somebody's own words
            if not force:
                raise NotOurs(
                    f"there is an entry `{part.name}` already that `client connect` did not write",
                    hint="choose another name with `--name`, or replace it with `--force`",
                )
            replaced, there = True, None
            text = _without(application, text, _piece(part, Undo()))
        if known is not None and there is None:
            known = None  # somebody took it out: it comes anew
        taken_over = there is not None and known is None
        text, piece = _put(application, scope, text, part, known, taken_over=taken_over)
        pieces.append(piece)
    return Connected(text, tuple(pieces), replaced)


def without_entry(application: Application, text: str, pieces: Sequence[Piece], *, force: bool = False) -> str:
    """*text* without what is ours. Raises `Unreadable`, `EditFailed`, `NotOurs`."""
    for piece in reversed(pieces):
        if not force and piece.state(_there(application, text, piece)) == "changed":
            raise NotOurs(
                f"the entry `{piece.name}` was changed since it was written",
                hint="`--force` takes it away all the same",
            )
        text = _without(application, text, piece)
    return text


def state_of(application: Application, text: str, pieces: Sequence[Piece]) -> State:
    """How our entry is doing in *text*."""
    try:
        there = _there(application, text, pieces[0])
    except (Unreadable, EditFailed):
        return "unreadable"
    found: dict[str, State] = {"missing": "gone", "ours": "connected", "changed": "changed"}
    return found[pieces[0].state(there)]


def _put(
    application: Application, scope: Scope, text: str, part: Part, known: Piece | None, *, taken_over: bool
) -> tuple[str, Piece]:
    root, strict = scope.root or None, application.strict
    if known is not None:
        undo = known.undo
    elif taken_over:
        undo = Undo()
    else:
        undo = edit.undo(application.format, text, part.path, root=root, strict=strict)
    text = edit.put(
        application.format,
        text,
        part.path,
        part.name,
        part.value,
        container=part.container,
        identifier=part.identifier,
        root=root,
        owned=known.fields if known is not None else (),
        strict=strict,
    )
    return text, _piece(part, undo)


def _piece(part: Part, undo: Undo) -> Piece:
    return Piece.of(part.path, part.name, part.value, undo, container=part.container, identifier=part.identifier)


def _without(application: Application, text: str, piece: Piece) -> str:
    return edit.remove(
        application.format,
        text,
        piece.path,
        piece.name,
        container=piece.container,
        identifier=piece.identifier,
        undo=piece.undo,
        strict=application.strict,
    )


def _there(application: Application, text: str, one: Part | Piece) -> Any | None:
    return edit.entry(
        application.format, text, one.path, one.name, one.container, one.identifier, strict=application.strict
    )
