"""Which requests an interceptor sees. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from mcpcompose.interceptors.base import HINT_DEFAULTS
from mcpcompose.spec.interceptor import Match

CALL: Final = "tools/call"
NOTIFICATIONS: Final = "notifications/"
_OF_CLIENTS: Final = ("tools/", "prompts/", "resources/", "completion/", "logging/", "subscriptions/", "server/")
"""What only clients ask for begins with one of these."""
EVERYBODY: Final = "(everybody)"
"""In place of a client and a profile: what concerns several is seen by whatever would see it of one of them."""


@dataclass(frozen=True, slots=True)
class Subject:
    """
    What is matched: *client* None for one without a token of its own, who is taken for every client and profile.

    *name* is the server's own name of a tool, *tool* its definition; None for anything else.
    """

    client: str | None
    profile: str
    server: str
    method: str
    name: str | None = None
    tool: Mapping[str, Any] | None = None


def fits(match: Match, subject: Subject) -> bool:
    """Whether *subject* is among the requests that *match* is about."""
    if match.server and subject.server and not _any(subject.server, match.server):
        return False
    if match.client and subject.client is not None and not _any(subject.client, match.client):
        return False
    if match.profile and subject.client is not None and not _any(subject.profile, match.profile):
        return False
    return _method(match, subject.method) and _tool(match, subject)


def might(match: Match, subject: Subject) -> bool:
    """Whether *match* is about a call of some tool of *subject*'s server: which one is not known."""
    if match.server and not _any(subject.server, match.server):
        return False
    if subject.client is not None and (match.client or match.profile):
        if match.client and not _any(subject.client, match.client):
            return False
        if match.profile and not _any(subject.profile, match.profile):
            return False
    return not match.methods or _any(CALL, match.methods)


def names_method(match: Match, method: str) -> bool:
    """Whether *match* asks for *method* by name; only then lists pass an interceptor."""
    return bool(match.methods) and _any(method, match.methods)


def hears(match: Match) -> bool:
    """Whether *match* may be about what a server says or asks during a request that it is not about itself."""
    return any(not glob.startswith(_OF_CLIENTS) for glob in match.methods)


def defines(match: Match, server: str, name: str | None, tool: Mapping[str, Any] | None) -> bool:
    """Whether a definition of *server* is treated: of everybody, whatever client or profile *match* is about."""
    if match.server and not _any(server, match.server):
        return False
    return tool is None or _tool(match, Subject(None, "", server, CALL, name, tool))


def _method(match: Match, method: str) -> bool:
    if match.methods:
        return _any(method, match.methods)
    return method == CALL if match.tools or match.annotations else True


def _tool(match: Match, subject: Subject) -> bool:
    if not match.tools and not match.annotations:
        return True
    if subject.name is None or (match.tools and not _any(subject.name, match.tools)):
        return subject.method != CALL and not match.annotations and bool(match.methods)
    notes = subject.tool.get("annotations") if subject.tool is not None else None
    said = notes if isinstance(notes, Mapping) else {}
    return all(_hint(said, name) is wanted for name, wanted in match.annotations.items())


def _hint(said: Mapping[str, Any], name: str) -> bool:
    value = said.get(name)
    return value if isinstance(value, bool) else HINT_DEFAULTS.get(name, False)


def _any(text: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs)
