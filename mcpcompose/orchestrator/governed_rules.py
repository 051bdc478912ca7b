"""
Whether what governs requests is weaker than it was when it was last in force on this machine: the project's own
interceptors, how long sessions last, and what is kept of them.

Pure. The machine's policy is not looked at: it is root's to change. What is not surely as strict is taken for weaker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Final

from pydantic import ValidationError

from mcpcompose.orchestrator.forms import Form, as_text, form, source_of
from mcpcompose.orchestrator.stricter import forgotten, relabelled, weaker
from mcpcompose.spec.interceptor import RELAXING, Interceptor
from mcpcompose.spec.project import Project

LOOSER: Final = "looser interceptors"


def governed_rules(project: Project) -> dict[str, Any]:
    """What governs requests, as JSON."""
    audit = project.audit
    return {
        "interceptors": [one.model_dump(mode="json", exclude_defaults=True) for one in _own(project)],
        "idle": project.session.idle,
        "audit": {"sync": audit.sync, "bytes": audit.rotate * audit.keep},
    }


def governing_forms(project: Project) -> Iterator[Form]:
    """What weakens a project whenever it is said, whatever was in force before."""
    for one in _own(project):
        if one.on_failure == "allow":
            lines = ["lets requests through when it fails, is late, or answers nonsense", _shown(one)]
            yield form("interceptor that may fail", one.label, lines)
    if not project.audit.enabled:
        yield form("no audit log", "audit", ["nothing is written down of what clients and servers do"])
    elif project.audit.values == "redacted":
        lines = ["arguments and results are written down, known secrets hidden"]
        yield form("audit log with values", "audit", lines)


def weaker_forms(project: Project, before: Mapping[str, Any] | None, servers: Mapping[str, Any]) -> Iterator[Form]:
    """What is weaker than *before*; *servers* are those known before, with their `source`."""
    if before is None:
        return
    old = [_read(one) for one in before["interceptors"]]
    yield from _interceptors(old, before["interceptors"], _own(project))
    yield from _relaxing(old, project)
    yield from _renamed([one for one in old if one is not None], project, servers)
    yield from _session(before["idle"], project.session.idle)
    yield from _audit(before["audit"], governed_rules(project)["audit"])


def _own(project: Project) -> tuple[Interceptor, ...]:
    return project.interceptors[project.provenance.imposed :]


def _read(written: Mapping[str, Any]) -> Interceptor | None:
    try:
        return Interceptor.model_validate(written)
    except ValidationError:
        return None  # of another version: it counts as gone


# --- interceptors -----------------------------------------------------------------------------------------------------


def _interceptors(
    old: Sequence[Interceptor | None], written: Sequence[Mapping[str, Any]], now: Sequence[Interceptor]
) -> Iterator[Form]:
    places = _places(old, now)
    for index, one in enumerate(old):
        place = places.get(index)
        if one is not None and place is not None:
            if lines := [*weaker(one, now[place]), *forgotten(one, now[place])]:
                yield _looser(one.label, lines, [written[index], _written(now[place])])
        else:
            label = one.label if one is not None else str(written[index].get("name", "interceptor"))
            yield _looser(label, ["is gone", as_text(written[index])], written[index])
    kept = [(places[index], one) for index, one in enumerate(old) if one is not None and index in places]
    for (at, one), (next_at, other) in pairwise(kept):
        if at > next_at:
            lines = [f"comes after {other.label} now, and came before it"]
            yield _looser(one.label, lines, [_written(one), _written(other)])


def _relaxing(old: Sequence[Interceptor | None], project: Project) -> Iterator[Form]:
    """What newly makes tools look harmless to the rules of the project, or to those of the machine."""
    now = _own(project)
    known = _places(old, now).values()
    for at, one in enumerate(now if old or project.provenance.imposed else ()):
        said = sorted(hint for hint, value in one.annotations.items() if RELAXING.get(hint) is value)
        if said and at not in known:
            lines = [f"gives tools {', '.join(said)}, which rules may go by", _shown(one)]
            yield _looser(one.label, lines, _written(one))


def _looser(label: str, lines: list[str], identity: Any) -> Form:
    return form(LOOSER, label, lines, identity, once=True)


def _places(old: Sequence[Interceptor | None], now: Sequence[Interceptor]) -> dict[int, int]:
    """
    Where each of *old* is in *now*, by index: the same one, else one that is as strict, else one of the same kind.

    One stands for one only: two that were there are not both what is left of them.
    """
    found: dict[int, int] = {}

    def pair(fits: Callable[[Interceptor, Interceptor], bool]) -> None:
        for index, one in enumerate(old):
            if one is None or index in found:
                continue
            taken = set(found.values())
            place = next((at for at, other in enumerate(now) if at not in taken and fits(one, other)), None)
            if place is not None:
                found[index] = place

    pair(lambda one, other: one == other)
    pair(lambda one, other: _is_alike(one, other) and one.label == other.label and not any(weaker(one, other)))
    pair(lambda one, other: _is_alike(one, other) and not any(weaker(one, other)))
    pair(lambda one, other: _is_alike(one, other) and one.label == other.label)
    return found


def _is_alike(one: Interceptor, other: Interceptor) -> bool:
    return one.kind == other.kind and getattr(one, one.kind) == getattr(other, other.kind)


def _renamed(old: Iterable[Interceptor], project: Project, servers: Mapping[str, Any]) -> Iterator[Form]:
    """A rule about a server is not dropped by giving the server another name, be it one that another server had."""
    before = {name: rule["source"] for name, rule in servers.items()}
    about = [one for one in old if one.match.server or one.sources or one.sinks]
    for name, server in project.servers.items() if about else ():
        source = source_of(server)
        if before.get(name) == source:
            continue
        for other in (known for known, said in before.items() if said == source):
            for one in about:
                if _sees(one, other) and not any(_sees_as_well(one, other, now, name) for now in _own(project)):
                    lines = [f"does not see server {name}, which is the same as {other} ({source})"]
                    yield _looser(one.label, lines, [_written(one), name, other])


def _sees_as_well(one: Interceptor, other: str, now: Interceptor, name: str) -> bool:
    """Whether *now* is to the server *name* what *one* was to *other*."""
    if not _is_alike(one, now) or not _sees(now, name):
        return False
    moved = one.match.model_copy(update={"server": now.match.server})
    alike = one.model_copy(update={"match": moved, "sources": now.sources, "sinks": now.sinks})
    return relabelled(one, other, now, name) and not any(weaker(alike, now))


def _sees(one: Interceptor, server: str) -> bool:
    return not one.match.server or any(fnmatchcase(server, glob) for glob in one.match.server)


def _written(one: Interceptor) -> dict[str, Any]:
    return one.model_dump(mode="json", exclude_defaults=True)


def _shown(one: Interceptor) -> str:
    return as_text(_written(one))


# --- sessions and the audit log ---------------------------------------------------------------------------------------


def _session(before: float, now: float) -> Iterator[Form]:
    if now < before:
        lines = [f"ends after {now:g} s of silence, was {before:g} s: what was read, and pins, are forgotten then"]
        yield form("shorter session", "session", lines, once=True)


def _audit(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Form]:
    lines = []
    if before["sync"] == "always" and now["sync"] != "always":
        lines.append("answers leave before their records are on disk")
    if now["bytes"] < before["bytes"]:
        lines.append(f"keeps at most {now['bytes']} bytes of records, was {before['bytes']}")
    if lines:
        yield form("looser audit log", "audit", lines, once=True)
