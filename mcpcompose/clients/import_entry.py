"""
One server as any client application writes it, read into one form.

Clients spell the same things differently (`url`, `serverUrl`, `httpUrl`; `env`, `environment`, `envs`); all spellings
are read, whoever's file it is. Nothing here decides what becomes of an entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

_URLS: Final = ("httpUrl", "serverUrl", "baseUrl", "url", "uri", "endpoint")
_ENVIRONMENTS: Final = ("env", "environment", "envs")
_HEADERS: Final = ("headers", "http_headers", "httpHeaders")
_ALLOWED: Final = ("includeTools", "enabledTools", "enabled_tools", "allowedTools", "available_tools", "tools")
_DENIED: Final = ("excludeTools", "disabledTools", "disabled_tools")
_IGNORED: Final = frozenset(
    {
        "name", "type", "transport", "transportType", "transport_type", "description", "title", "icon", "iconPath",
        "gallery", "version", "command", "cmd", "args", "argv", "cwd", "workingDirectory", "working_directory",
        "envFile", "env_file", "disabled", "enabled", "isActive", "disable", "timeout", "$schema", "source", "id",
        "baseUrl", "registryUrl", "tags", "provider", "providerUrl", "logoUrl", "installSource", "isTrusted",
        "bundled", "display_name", "requestOptions", "requestInit", "bearer_token_env_var", "env_http_headers",
        "env_vars", "env_keys", "startup_timeout_sec", "tool_timeout_sec", "fromGalleryId", "dev", "settings",
        "autoApprove", "alwaysAllow", "trust", "watchPaths", "alwaysLoad", "remote", "connectionTimeout", "server_id",
        *_URLS, *_ENVIRONMENTS, *_HEADERS, *_ALLOWED, *_DENIED,
    }
)  # fmt: skip
"""Keys that are read, and those that only matter to the client itself (approvals, icons, where it was found)."""
_SSE: Final = frozenset({"sse"})
_SECONDS_FROM: Final = 1000
"""A timeout of at least so much is in milliseconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One server of a client's file; texts are as they stand there.

    *unread* names the keys that mean something and are not read; *inherited* the variables taken from the client's own
    environment; *bearer* and *env_headers* the variables that hold a token and the values of headers.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    inherited: tuple[str, ...] = ()
    env_file: str | None = None
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    bearer: str | None = None
    env_headers: Mapping[str, str] = field(default_factory=dict)
    transport: Literal["stdio", "http", "sse"] | None = None
    cwd: str | None = None
    is_disabled: bool = False
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    timeout: float | None = None
    unread: tuple[str, ...] = ()


def read_entry(name: str, raw: object) -> Entry | str:
    """*raw* as an `Entry`, or the reason why it is none."""
    if not isinstance(raw, Mapping):
        return "its entry is no mapping"
    flat = {str(key): value for key, value in raw.items()}
    for nested in ("transport", "remote", "command"):  # what some clients keep one level deeper
        if isinstance(inner := flat.get(nested), Mapping):
            del flat[nested]
            renamed = {"path": "command"} if nested == "command" else {"type": "type", "transport_type": "type"}
            flat = {**{renamed.get(str(k), str(k)): v for k, v in inner.items()}, **flat}
    if isinstance(flat.get("image"), str) and flat["image"]:
        flat = _as_run(flat)
    url = next((str(flat[key]) for key in _URLS if isinstance(flat.get(key), str) and flat[key]), None)
    command, args = _command(flat)
    if url is None and not command:
        return "its entry has neither a command nor a URL"
    if url is not None and not url.startswith(("http://", "https://", "$", "{")):
        return "its URL is not one of HTTP"
    return Entry(
        name=name,
        command=None if url else command,
        args=() if url else args,
        environment=_texts(_first(flat, _ENVIRONMENTS)),
        inherited=(*_names(flat.get("env_vars")), *_names(flat.get("env_keys"))),
        env_file=_text(flat.get("envFile", flat.get("env_file"))),
        url=url,
        headers=_headers(flat),
        bearer=_text(flat.get("bearer_token_env_var")),
        env_headers=_texts(flat.get("env_http_headers")),
        transport=_transport(flat, url),
        cwd=_text(flat.get("cwd") or flat.get("workingDirectory") or flat.get("working_directory")),
        is_disabled=_is_disabled(flat),
        allow=_globs(_first(flat, _ALLOWED)),
        deny=_globs(_first(flat, _DENIED)) or (),
        timeout=_timeout(flat),
        unread=tuple(sorted(key for key, value in flat.items() if key not in _IGNORED and value not in (None, {}, []))),
    )


def _as_run(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A service of a Compose file, as the `docker run` that it stands for."""
    names = [word for name in _texts(_first(flat, _ENVIRONMENTS)) for word in ("-e", name)]
    volumes = [word for volume in _strings(flat.get("volumes")) for word in ("-v", volume)]
    said = flat.get("command")
    command = said.split() if isinstance(said, str) else _strings(said)
    rest = {key: value for key, value in flat.items() if key not in {"image", "volumes", "command"}}
    args = ["run", "-i", "--rm", *names, *volumes, flat["image"], *command]
    return {**rest, "command": "docker", "args": args}


def _command(flat: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    said = flat.get("command", flat.get("cmd"))
    args = tuple(_strings(flat.get("args", flat.get("argv"))))
    if isinstance(said, list):
        words = (*_strings(said), *args)
        return (words[0], words[1:]) if words else (None, ())
    return (_text(said) or None), args


def _headers(flat: Mapping[str, Any]) -> dict[str, str]:
    found = _texts(_first(flat, _HEADERS))
    for key in ("requestOptions", "requestInit"):
        inner = flat.get(key)
        if isinstance(inner, Mapping):
            found |= _texts(inner.get("headers"))
    return found


def _transport(flat: Mapping[str, Any], url: str | None) -> Literal["stdio", "http", "sse"] | None:
    said = next((flat[k] for k in ("type", "transport", "transportType", "transport_type") if flat.get(k)), "")
    word = str(said).lower().replace("_", "-")
    if url is None:
        return "stdio"
    if word in _SSE:
        return "sse"
    is_old = not word and "httpUrl" not in flat and url.split("?", 1)[0].rstrip("/").endswith("/sse")
    return "sse" if is_old else "http"


def _is_disabled(flat: Mapping[str, Any]) -> bool:
    off = any(flat.get(key) is True for key in ("disabled", "disable"))
    return off or any(flat.get(key) is False for key in ("enabled", "isActive"))


def _timeout(flat: Mapping[str, Any]) -> float | None:
    for key in ("tool_timeout_sec", "timeout"):
        value: object = flat.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:  # noqa: PLR2004  sane
            return value / 1000 if key == "timeout" and value >= _SECONDS_FROM else float(value)
    return None


def _globs(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    words = tuple(dict.fromkeys(word for word in _strings(value) if word))
    return None if "*" in words else words


def _first(flat: Mapping[str, Any], keys: Iterable[str]) -> object:
    return next((flat[key] for key in keys if flat.get(key)), None)


def _texts(value: object) -> dict[str, str]:
    if isinstance(value, list):  # `[KEY=value]`, or `[{key: …, value: …}]`
        pairs = dict(_pairs(value))
    elif isinstance(value, Mapping):
        pairs = {str(key): one for key, one in value.items()}
    else:
        return {}
    return {key: _scalar(one) for key, one in pairs.items() if key and isinstance(one, str | int | float | bool)}


def _pairs(items: list[Any]) -> Iterator[tuple[str, Any]]:
    for item in items:
        if isinstance(item, str) and "=" in item:
            key, _, text = item.partition("=")
            yield key, text
        elif isinstance(item, Mapping) and (named := item.get("key") or item.get("name")):
            yield str(named), item.get("value")


def _names(value: object) -> tuple[str, ...]:
    return tuple(_strings(value)) if isinstance(value, list) else ()


def _strings(value: object) -> list[str]:
    items = value if isinstance(value, list) else []
    return [_scalar(item) for item in items if isinstance(item, str | int | float | bool)]


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
