"""
The process that speaks to the system's keyring: one JSON request on standard input, one answer on standard output.

A process of its own, because what is behind it (D-Bus, a prompt, a locked keychain) may stand still for ever and can
only be ended as a whole. The only importer of `keyring`. Its backends are named here one by one and nothing is
discovered: what else is installed (`keyrings.alt` keeps plain text) or configured is not even imported.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

SERVICE: Final = "mcp-compose"
"""Under which name the values lie in the keyring."""
ALLOWED: Final[Mapping[str, str]] = {
    "keyring.backends.macOS": "Keyring",
    "keyring.backends.Windows": "WinVaultKeyring",
    "keyring.backends.SecretService": "Keyring",
    "keyring.backends.libsecret": "Keyring",
    "keyring.backends.kwallet": "DBusKeyring",
}
"""The backends that keep values sealed by the operating system or the desktop, module and class."""
NAMES: Final[Mapping[str, str]] = {
    "keyring.backends.macOS": "macOS Keychain",
    "keyring.backends.Windows": "Windows Credential Manager",
    "keyring.backends.SecretService": "Secret Service",
    "keyring.backends.libsecret": "libsecret",
    "keyring.backends.kwallet": "KWallet",
}
_NOT_TEXT: Final = "mcp-compose:base64:"
_OFF: Final = ("keyring.backends.null.", "keyring.backends.fail.")


class Backend(Protocol):
    """The part of a keyring that is used."""

    def get_password(self, service: str, username: str) -> str | None: ...  # noqa: D102  the library's own
    def set_password(self, service: str, username: str, password: str) -> None: ...  # noqa: D102
    def delete_password(self, service: str, username: str) -> None: ...  # noqa: D102


Found = tuple[str, Backend]
"""The backend's name for people, and the backend."""


def best_backend(preferred: str | None, load: Callable[[str, str], Any] | None = None) -> Found | str:
    """
    The best allowed backend of this machine, or why there is none.

    *preferred* is what `PYTHON_KEYRING_BACKEND` says: it chooses among the allowed ones, or switches the keyring off.
    """
    load = load or _class
    modules = list(ALLOWED)
    if preferred:
        if preferred.startswith(_OFF):
            return "`PYTHON_KEYRING_BACKEND` switches it off"
        modules = [module for module in ALLOWED if preferred == f"{module}.{ALLOWED[module]}"]
        if not modules:
            return f"`{preferred}` (`PYTHON_KEYRING_BACKEND`) is not one that keeps values sealed"
    usable: list[tuple[float, str, Any]] = []
    for module in modules:
        try:
            kind = load(module, ALLOWED[module])
        except ImportError:
            continue
        if kind.viable:  # the library's way to ask for its priority: whatever is raised there means that it is not
            usable.append((float(kind.priority), module, kind))
    if not usable:
        return "no keyring service answers"
    _, module, kind = max(usable, key=lambda one: one[0])
    return NAMES[module], kind()


def answer(request: Mapping[str, Any], found: Found | str) -> dict[str, Any]:
    """
    Do what is asked: `get` and `has` of names, `set` of one, `remove` of one.

    An error of the library is `{"error": "none" | "locked" | "failed", "detail": …}` and never holds a value.
    """
    if isinstance(found, str):
        return {"error": "none", "detail": found}
    name, backend = found
    from keyring import errors  # noqa: PLC0415  costs as much as the rest

    try:
        return {"backend": name, **_done(request, backend, errors.PasswordDeleteError)}
    except errors.KeyringLocked:
        return {"error": "locked", "backend": name, "detail": "it is locked"}
    except errors.KeyringError as error:
        return {"error": "failed", "backend": name, "detail": type(error).__name__}


def _done(request: Mapping[str, Any], backend: Backend, gone: type[Exception]) -> dict[str, Any]:
    match request["do"]:
        case "get":
            return {"values": {name: _sent(backend.get_password(SERVICE, name)) for name in request["names"]}}
        case "has":
            return {"has": [name for name in request["names"] if backend.get_password(SERVICE, name) is not None]}
        case "set":
            backend.set_password(SERVICE, request["name"], _kept(base64.b64decode(request["value"])))
            return {}
        case _:
            if backend.get_password(SERVICE, request["name"]) is None:
                return {"removed": False}
            try:
                backend.delete_password(SERVICE, request["name"])
            except gone:
                return {"removed": backend.get_password(SERVICE, request["name"]) is None}
            return {"removed": True}


def _kept(value: bytes) -> str:
    """As text where it is text, so that other programs can show and change it."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or text.startswith(_NOT_TEXT):
        return _NOT_TEXT + base64.b64encode(value).decode()
    return text


def _sent(text: str | None) -> str | None:
    """*text* of the keyring as base64 of its bytes."""
    if text is None:
        return None
    if text.startswith(_NOT_TEXT):
        return text.removeprefix(_NOT_TEXT)
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _class(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def told(kind: type[BaseException], _error: BaseException, _trace: object) -> None:
    """An error that nobody foresaw, each backend has its own: only its kind is told, its text may hold anything."""
    sys.stdout.write(json.dumps({"error": "failed", "detail": kind.__name__}))


def main(arguments: Iterable[str]) -> int:
    """Answer one request."""
    sys.excepthook = told
    (preferred,) = arguments
    request = json.loads(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(answer(request, best_backend(preferred or None))))
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
