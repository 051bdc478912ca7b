"""Which keys of an interceptor belong to which kind or built-in, and the words that `match` knows. Tables only."""

from __future__ import annotations

from typing import Final

from mcpcompose.spec.interceptor import ACTIONS

_OUTSIDE: Final = ("run", "url", "image", "python")
_PROGRAMS: Final = ("run", "image", "python")

FITS: Final[dict[str, tuple[str, ...]]] = {
    "when": (*_OUTSIDE, "secret-scan"),
    "format": ("run", "url", "image"),
    "keep": ("run", "image"),
    "working_dir": ("run", "python"),
    "environment": _PROGRAMS,
    "secrets": _PROGRAMS,
    "headers": ("url",),
    "network": ("image",),
    "command": ("image",),
    "output": _OUTSIDE,
    "action": ("secret-scan", "session-pin", "flow", "rate-limit", "size-limit", "sanitize", "check-arguments",
               "injection-scan"),
    "allow": ("secret-scan",),
    "entropy": ("secret-scan",),
    "key": ("session-pin",),
    "unpinned": ("session-pin",),
    "sources": ("flow",),
    "sinks": ("flow",),
    "forbid": ("flow",),
    "rules": ("rules",),
    "limit": ("rate-limit",),
    "per": ("rate-limit",),
    "arguments": ("size-limit",),
    "result": ("size-limit",),
    "remember": ("approve",),
    "message": ("session-pin", "flow", "rate-limit", "size-limit", "approve", "sanitize",
                "check-arguments", "injection-scan"),
    "remove": ("sanitize",),
    "annotations": ("annotate",),
    "note": ("annotate",),
}  # fmt: skip
"""The kinds and built-ins that a key belongs to; keys that are not here are everybody's."""

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "session-pin": ("key",),
    "rules": ("rules",),
    "rate-limit": ("limit",),
    "size-limit": ("arguments", "result"),
    "annotate": ("annotations", "note"),
}
"""Of which keys a built-in needs one: without them it would do nothing."""

KNOWN: Final = frozenset((*_OUTSIDE, *ACTIONS, *NEEDS, "approve"))
"""Every kind and built-in."""

HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
"""The hints of a tool's annotations that the protocol knows."""

BY_HINTS: Final = frozenset({"run", "url", "image", "python", "approve", "flow", "rules"})
"""Kinds and built-ins that decide by a tool's hints, or are told them."""

METHODS: Final = (
    "tools/call", "tools/list", "prompts/get", "prompts/list", "resources/read", "resources/list",
    "resources/templates/list", "resources/subscribe", "resources/unsubscribe", "completion/complete",
    "logging/setLevel", "subscriptions/listen", "tasks/get", "tasks/list", "tasks/result", "tasks/cancel",
    "tasks/update", "elicitation/create", "sampling/createMessage", "roots/list", "notifications/message",
    "notifications/progress", "notifications/cancelled", "notifications/tasks", "notifications/tasks/status",
    "notifications/resources/updated", "notifications/resources/list_changed", "notifications/tools/list_changed",
    "notifications/prompts/list_changed", "notifications/roots/list_changed", "notifications/elicitation/complete",
)  # fmt: skip
"""The methods that `match.methods` may mean; a glob has to fit one of them."""

DEFERRED: Final = frozenset({"run", "command", "url", "environment", "headers"})
"""Keys whose texts stay templates until the interceptor is made."""
WITH_SECRETS: Final = frozenset({"environment", "headers"})
"""Those of them that may hold `${secret:name}`."""
