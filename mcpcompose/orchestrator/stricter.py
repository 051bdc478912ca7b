"""In what an interceptor is weaker than another of its kind. Pure; what is not surely as strict counts as weaker."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from mcpcompose.spec.interceptor import Flowing, Interceptor, Match, Rule

_HARMLESS: Final = frozenset({"name", "message", "concurrency", "keep", "timeout", "output"})
"""Keys whose change lets nothing through that was stopped."""
_OF_APPROVAL: Final = frozenset({"environment", "headers", "secrets", "command", "working_dir"})
"""Keys of what runs outside: the exact form of that is approved anyway."""
_ACTIONS: Final = ("warn", "truncate", "ask", "redact", "block")
"""From the weakest to the strictest."""
_ORDINARY: Final = frozenset(
    {"tools/call", "prompts/get", "resources/read", "resources/subscribe", "completion/complete"}
)
"""What an interceptor sees whose `match` names no methods; lists, and what servers ask and say, it may not see then."""


def weaker(old: Interceptor, now: Interceptor) -> Iterator[str]:
    """A line for each key in which *now* may let something through that *old* stopped."""
    for key in type(old).model_fields:
        if key in _HARMLESS or key in _OF_APPROVAL:
            continue
        attribute = "acts" if key == "action" else key
        before, after = getattr(old, attribute), getattr(now, attribute)
        if before != after and not _AS_STRICT.get(key, _never)(before, after):
            yield f"{key}: {_shown(after)}, was {_shown(before)}"
    if now.on_failure == "allow" and now.timeout < old.timeout:
        yield f"timeout: {now.timeout:g} s, was {old.timeout:g} s"
    if old.use == "approve" and old.message != now.message:
        yield f"message: {_shown(now.message)}, was {_shown(old.message)}: it is what the person is asked with"
    if old.use == "approve" and _covers(old.match, now.match) and not _asks_for_all_of(old.match, now.match):
        yield f"match: {_shown(now.match)}, was {_shown(old.match)}: it names fewer calls to ask for"
    if old.use == "flow":
        yield from _overruled(old, now)


def forgotten(old: Interceptor, now: Interceptor) -> Iterator[str]:
    """A line when what sessions under way are pinned to is not known to *now*."""
    if old.use == "session-pin" and old.pinned_as != now.pinned_as:
        yield (
            f"what sessions are pinned to is forgotten: it is kept as {_shown(now.pinned_as)}, "
            f"was {_shown(old.pinned_as)}"
        )


def relabelled(old: Interceptor, other: str, now: Interceptor, server: str) -> bool:
    """Whether *now* gives *server* every label that *old* of `flow` gives the server *other*."""
    pairs = ((old.sources, now.sources), (old.sinks, now.sinks))
    return all(
        any(_is_about(one, server) and _labels(said, one) for one in after)
        for before, after in pairs
        for said in before
        if _is_about(said, other)
    )


def _is_about(one: Flowing, server: str) -> bool:
    return not one.server or any(fnmatchcase(server, glob) for glob in one.server)


def _labels(before: Flowing, after: Flowing) -> bool:
    return _wider(before.tools, after.tools) and set(before.labels) <= set(after.labels)


def _overruled(old: Interceptor, now: Interceptor) -> Iterator[str]:
    """What the file newly says of tools counts in place of their own hints, which may have labelled them."""
    named = (*old.sources, *old.sinks)
    said = {one for one in (*now.sources, *now.sinks) if one not in named}
    for one in sorted(said, key=_shown):
        if any(_reaches(known, one) for known in named):
            continue
        labels = [
            {label for other in items if _reaches(other, one) for label in other.labels}
            for items in (now.sources, now.sinks)
        ]
        if "untrusted" not in labels[0] or "public" not in labels[1]:
            yield f"{_shown(one)} counts in place of the tools' own hints, by which they may be untrusted and public"


def _reaches(one: Flowing, other: Flowing) -> bool:
    """Whether *one* is about everything that *other* is about."""
    return _wider(other.server, one.server) and _wider(other.tools, one.tools)


def _asks_for_all_of(before: Match, after: Match) -> bool:
    """Of `approve`: without tools, annotations and methods it asks only for what destroys something."""
    names = [bool(one.tools or one.annotations or one.methods) for one in (before, after)]
    return names[1] or not names[0]


def _never(_before: Any, _after: Any) -> bool:
    return False


def _covers(before: Match, after: Match) -> bool:
    """Whether *after* is about everything that *before* is about."""
    facets = ((before.server, after.server), (before.profile, after.profile), (before.client, after.client))
    if not all(_wider(old, now) for old, now in facets):
        return False
    if not _wider(_methods(before), _methods(after)) or not _wider(before.tools, after.tools):
        return False
    if not after.methods and not _ORDINARY.issuperset(before.methods):
        return False
    notes = [any(glob.startswith("notifications/") for glob in one.methods) for one in (before, after)]
    if notes[0] and not notes[1]:
        return False
    return all(before.annotations.get(hint) is said for hint, said in after.annotations.items())


def _methods(match: Match) -> Sequence[str]:
    if match.methods:
        return match.methods
    return ("tools/call",) if match.tools or match.annotations else ()


def _wider(before: Sequence[str], after: Sequence[str]) -> bool:
    return not after or (bool(before) and all(_covered(glob, after) for glob in before))


def _covered(glob: str, others: Iterable[str]) -> bool:
    is_literal = not any(character in glob for character in "*?[")
    return any(other in {glob, "*"} or (is_literal and fnmatchcase(glob, other)) for other in others)


def _stricter_action(before: str | None, after: str | None) -> bool:
    return before is not None and after is not None and _ACTIONS.index(after) >= _ACTIONS.index(before)


def _smaller(before: int | None, after: int | None) -> bool:
    return before is None or (after is not None and after <= before)


def _rarer(before: str | None, after: str | None) -> bool:
    """Fewer requests in the same time."""
    if before is None or after is None:
        return before is None
    (old, old_time), (now, now_time) = _rate(before), _rate(after)
    return old_time == now_time and now <= old


def _rate(limit: str) -> tuple[int, str]:
    count, _, time = limit.partition("/")
    return int(count), re.sub(r"^1?(?=[a-z])", "", re.sub(r"\s|s$", "", time.strip()))


def _fewer(before: Sequence[Any], after: Sequence[Any]) -> bool:
    return all(one in before for one in after)


def _more(before: Sequence[Any], after: Sequence[Any]) -> bool:
    return all(one in after for one in before)


def _more_said(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Nothing said is a default of its own."""
    return bool(before) and _more(before, after)


def _rules(before: Sequence[Rule], after: Sequence[Rule]) -> bool:
    """All of *before* are there in their order; in between only what refuses or warns was put, at the end anything."""
    waiting = [_decides(rule) for rule in before]
    for rule in after:
        if not waiting:
            return True
        if _decides(rule) == waiting[0]:
            waiting.pop(0)
        elif rule.deny is None and rule.warn is None:
            return False
    return not waiting


def _decides(rule: Rule) -> tuple[str | None, ...]:
    return (rule.deny, rule.allow, rule.ask, rule.warn, rule.message if rule.ask is not None else None)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        value = [one.model_dump(mode="json", exclude_defaults=True) if isinstance(one, Rule) else one for one in value]
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(value, sort_keys=True, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_defaults=True) if hasattr(value, "model_dump") else dict(value)


_AS_STRICT: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "match": _covers,
    "when": lambda _before, after: after == "both",
    "on_failure": lambda _before, after: after == "deny",
    "action": _stricter_action,
    "allow": _fewer,
    "unpinned": _fewer,
    "entropy": lambda _before, after: after is True,
    "sources": _more,
    "sinks": _more,
    "forbid": _more_said,
    "rules": _rules,
    "limit": _rarer,
    "arguments": _smaller,
    "result": _smaller,
    "remember": lambda _before, after: after == "call",
    "remove": _more,
}
"""Whether the second value of a key is as strict as the first; keys that are not here never are."""
