"""Set, list and remove the values of a project's secrets; what is listed never holds one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mcpcompose.actions.locate import Place
from mcpcompose.actions.memory import without_core_files
from mcpcompose.actions.spawn import running_gateway
from mcpcompose.errors import GatewayNotRunning, UsageError

if TYPE_CHECKING:
    from mcpcompose.config.load import Loaded
    from mcpcompose.secrets.base import Kept
    from mcpcompose.secrets.providers import Surroundings
    from mcpcompose.secrets.store import Look
    from mcpcompose.spec.secret import SecretSource


@dataclass(frozen=True, slots=True)
class WasSet:
    """Where a value is now, who gets it, and the sources before it that have one of their own."""

    kept: Kept
    used_by: tuple[str, ...]
    hidden_by: tuple[str, ...]
    is_running: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """One secret of the file: its sources in order with what looking found, and who gets it."""

    name: str
    sources: tuple[tuple[SecretSource, str, bool, Look], ...]
    used_by: tuple[str, ...]

    @property
    def found(self) -> Look | None:
        """The first source that surely counts; None when none does, or one that is not asked comes first."""
        from mcpcompose.secrets.store import State

        first = next((look for *_, look in self.sources if look.state is not State.MISSING), None)
        return first if first is not None and first.state is State.PRESENT else None

    @property
    def value(self) -> str:
        """Whether there is a value: `present`, `missing`, or `unknown` where only running a command would tell."""
        from mcpcompose.secrets.store import State

        states = {look.state for *_, look in self.sources}
        if State.PRESENT in states:
            return "present"
        return "unknown" if State.NOT_ASKED in states else "missing"


def listed(place: Place) -> list[Listed]:
    """Every secret that the file declares."""
    from mcpcompose.secrets.providers import provider
    from mcpcompose.secrets.store import has, is_writable

    loaded = _load(place)
    where = _surroundings(place, loaded)

    async def look() -> list[Listed]:
        secrets = loaded.project.secrets
        every = [(name, source) for name, sources in secrets.items() for source in sources]
        looks = await asyncio.gather(*(has(source, where) for _, source in every))
        found = list(zip(every, looks, strict=True))
        return [
            Listed(
                name,
                tuple(
                    (source, provider(source, where).description, is_writable(source, where), one)
                    for (owner, source), one in found
                    if owner == name
                ),
                _users(loaded, name),
            )
            for name in secrets
        ]

    return asyncio.run(look())


def set_value(place: Place, name: str, value: bytes) -> WasSet:
    """Keep *value* in the first source of *name* that can be written. Raises `UsageError` when there is none."""
    from mcpcompose.secrets.store import State, has
    from mcpcompose.secrets.store import set_value as keep

    without_core_files()
    loaded = _load(place)
    where = _surroundings(place, loaded)
    index, source = _writable(loaded, name, where)

    async def act() -> tuple[Kept, list[Look]]:
        before = await asyncio.gather(*(has(one, where) for one in loaded.project.secrets[name][:index]))
        return await keep(source, value, where), list(before)

    kept, before = asyncio.run(act())
    hidden = tuple(look.where for look in before if look.state is State.PRESENT)
    return WasSet(kept, _users(loaded, name), hidden, _tell(place))


def writable(place: Place, name: str) -> None:
    """Raise `UsageError`, with the next step, when *name* cannot be set: before anybody is asked for its value."""
    loaded = _load(place)
    _writable(loaded, name, _surroundings(place, loaded))


def remove(place: Place, name: str) -> list[str]:
    """Forget the value of *name* in every source that can be written; where it was."""
    from mcpcompose.secrets.store import is_writable
    from mcpcompose.secrets.store import remove as forget

    loaded = _load(place)
    where = _surroundings(place, loaded)
    _writable(loaded, name, where)

    async def act() -> list[str]:
        sources = [source for source in loaded.project.secrets[name] if is_writable(source, where)]
        return [one for source in sources for one in await forget(source, where)]

    removed = asyncio.run(act())
    _tell(place)
    return removed


def as_json(one: Listed) -> dict[str, Any]:
    """A secret as `--format json` prints it."""
    from mcpcompose.spec.secret import provider_of

    return {
        "name": one.name,
        "value": one.value,
        "from": one.found.where if one.found else None,
        "used_by": list(one.used_by),
        "sources": [
            {
                "provider": provider_of(source),
                "description": description,
                "writable": is_writable,
                "state": str(look.state),
                "reason": look.reason or None,
            }
            for source, description, is_writable, look in one.sources
        ],
    }


def _load(place: Place) -> Loaded:
    from mcpcompose.actions.config import load

    return load(place)


def _surroundings(place: Place, loaded: Loaded) -> Surroundings:
    from mcpcompose.secrets.providers import Surroundings
    from mcpcompose.secrets.system_keyring import SystemKeyring

    environ = place.options.environ
    return Surroundings(loaded.variables, environ, place.options.home, loaded.project.directory, SystemKeyring(environ))


def _users(loaded: Loaded, name: str) -> tuple[str, ...]:
    from mcpcompose.secrets.resolver import interceptor_secrets, server_secrets

    project = loaded.project
    servers = (server for server, declared in project.servers.items() if name in server_secrets(declared))
    others = (one.label for one in project.interceptors if name in interceptor_secrets(one))
    return (*servers, *(f"interceptor {label}" for label in others))


def _writable(loaded: Loaded, name: str, where: Surroundings) -> tuple[int, SecretSource]:
    from mcpcompose.secrets.providers import provider
    from mcpcompose.secrets.store import is_writable

    sources: Sequence[SecretSource] = loaded.project.secrets.get(name, ())
    if not sources:
        raise _undeclared(name, loaded)
    for index, source in enumerate(sources):
        if is_writable(source, where):
            return index, source
    asked = [provider(source, where) for source in sources]
    only = " and ".join(one.description for one in asked)
    raise UsageError(
        f"secret `{name}` cannot be changed here: {only} {'is' if len(asked) == 1 else 'are'} only read",
        hint=f"{asked[0].next_step}, or add the source `{{keyring: {name}}}`",
    )


def _undeclared(name: str, loaded: Loaded) -> UsageError:
    near = get_close_matches(name, list(loaded.project.secrets), n=1)
    meant = f", did you mean `{near[0]}`?" if near else ""
    return UsageError(
        f"there is no secret `{name}`{meant}", hint=f"declare it under `secrets`: `{name}: {{keyring: {name}}}`"
    )


def _tell(place: Place) -> bool:
    """A running gateway looks again; whether one runs."""
    gateway = running_gateway(place)
    if gateway is None:
        return False
    try:
        gateway.wake()
    except GatewayNotRunning:
        return False
    return True
