"""Requests as interceptors see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mcpcompose.interceptors.base import Around, Decision, Exchange, Interceptor
from mcpcompose.interceptors.registry import make
from mcpcompose.interceptors.sessions import GovernedSession
from mcpcompose.redact import Redactor
from mcpcompose.spec.interceptor import Interceptor as Spec


async def _as_written(_owner: str, text: str) -> str:
    return text


def around(*secrets: str) -> Around:
    """What an interceptor is given, with these secret values handed out."""
    return Around(None, Path("/work"), Redactor(secrets), {}, _as_written)  # type: ignore[arg-type]


def built_in(use: str, *secrets: str, **keys: Any) -> Any:
    """The built-in *use* with these keys of the file."""
    return make(Spec.model_validate({"use": use, **keys}), around(*secrets))


def session(client: str = "cursor") -> GovernedSession:
    """A new one."""
    return GovernedSession(client, 0.0)


def call(name: str = "get_issue", arguments: dict[str, Any] | None = None, **changes: Any) -> Exchange:
    """A tool call on `github`."""
    params = changes.pop("params", {"name": name, "arguments": arguments or {}})
    whole: dict[str, Any] = {
        "id": "1", "method": "tools/call", "server": "github", "name": name, "exposed": f"github__{name}",
        "params": params, "client": "cursor", "profile": "default",
        "session": changes.pop("session", None) or session(),
    }  # fmt: skip
    return Exchange(**(whole | changes))


def before(interceptor: Interceptor, exchange: Exchange) -> Decision | None:
    """What it says at once."""
    found = interceptor.before(exchange)
    assert not hasattr(found, "__await__")
    return found  # type: ignore[return-value]


def with_result(exchange: Exchange, result: Any) -> Exchange:
    """The same after the server answered."""
    exchange.result = result if isinstance(result, bytes) else json.dumps(result).encode()
    return exchange


def texts(*parts: str) -> dict[str, Any]:
    """A tool's result."""
    return {"content": [{"type": "text", "text": part} for part in parts]}
