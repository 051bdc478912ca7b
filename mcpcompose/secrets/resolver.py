"""
Turn references into values, for one server at a time and only for what that server may have.

A `Resolver` lives for one round: it asks each provider once, tells the redactor every value it hands out, and
never shows one in a representation or an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mcpcompose.engine.base import InstanceSpec, Values
from mcpcompose.errors import McpComposeError, SecretMissing, UsageError
from mcpcompose.redact import Redactor
from mcpcompose.secrets.base import Absent, Provider, WritableProvider
from mcpcompose.secrets.providers import Surroundings, files_of, provider
from mcpcompose.secrets.system_keyring import SystemKeyring
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.project import Project
from mcpcompose.spec.secret import CommandSource, KeyringSource, PodmanSource, SecretSource
from mcpcompose.spec.server import Server
from mcpcompose.spec.template import TemplateError, expand, secret_names, variable_names

_SENSITIVE: Final = re.compile(
    r"key|token|secret|pass|pwd|credential|auth|private|dsn|cookie|session|bearer|_pat\b", re.IGNORECASE
)
_SENSITIVE_LENGTH: Final = 6
_SET: Final = "mcp-compose secret set"

Sources = Mapping[str, tuple[SecretSource, ...]]
Commands = MutableMapping[tuple[object, ...], bytes | Absent]
"""What was asked once and is not asked again before the next `up`: what commands printed and keyrings have."""


class User(NamedTuple):
    """Who gets values."""

    name: str
    kind: str = "server"

    def __str__(self) -> str:
        return f"{self.kind} `{self.name}`"


class Resolver:
    """
    The values of one loaded file.

    *environ* is what `environment` sources and `${VAR}` see; *host* what secret commands run with (default:
    *environ*). *commands* keeps, from one round to the next, what secret commands printed, and what the keyring had as
    long as nothing in it was set.
    """

    def __init__(
        self,
        sources: Sources,
        environ: Mapping[str, str],
        home: Path,
        redactor: Redactor,
        *,
        host: Mapping[str, str] | None = None,
        directory: Path | None = None,
        commands: Commands | None = None,
    ) -> None:
        self._sources = sources
        host = environ if host is None else host
        self._where = Surroundings(environ, host, home, directory or Path.cwd(), SystemKeyring(host))
        self._redactor = redactor
        self._commands: Commands = {} if commands is None else commands
        self._read: dict[str, bytes | Absent] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def __repr__(self) -> str:
        return f"Resolver({', '.join(self._sources)})"

    async def check(self, project: Project) -> None:
        """Ask for every secret that servers and interceptors use. Raises `SecretMissing` with all that are missing."""
        users: dict[str, list[User]] = {}
        for name, server in project.servers.items():
            for secret in server_secrets(server):
                users.setdefault(secret, []).append(User(name))
        for interceptor in project.interceptors:
            for secret in interceptor_secrets(interceptor):
                users.setdefault(secret, []).append(User(interceptor.label, "interceptor"))
        await asyncio.gather(*(self._value(secret) for secret in users))
        missing = [secret for secret in users if isinstance(self._read[secret], Absent)]
        if missing:
            self._raise_missing({secret: users[secret] for secret in missing})

    async def values(self, spec: InstanceSpec, variables: Mapping[str, str]) -> Values:
        """What the one engine call needs. Raises `SecretMissing`, or `UsageError` for a variable that must be set."""
        templates = dict(spec.environment)
        secrets = await self._secrets(
            User(spec.server), (*_used(templates.values()), *(f.source for f in spec.secret_files))
        )
        fill = _Fill(User(spec.server), variables, secrets, self._redactor)
        environment = {key: fill(text, key) for key, text in templates.items()}
        return Values(
            command=None if spec.command is None else tuple(fill(text) for text in spec.command),
            entrypoint=None if spec.entrypoint is None else tuple(fill(text) for text in spec.entrypoint),
            environment=environment,
            secret_files={file.target: secrets[file.source] for file in spec.secret_files},
        )

    async def headers(self, server_name: str, server: Server, variables: Mapping[str, str]) -> dict[str, str]:
        """The header values of a remote server."""
        templates = {name: f"${{{name}}}" if text is None else text for name, text in server.headers.items()}
        secrets = await self._secrets(User(server_name), _used(templates.values()))
        fill = _Fill(User(server_name), variables, secrets, self._redactor)
        values = {name: fill(text, name) for name, text in templates.items()}
        for name, value in values.items():
            if any(ord(character) < ord(" ") and character != "\t" for character in value):
                raise UsageError(f"the value of header `{name}` of server `{server_name}` has a line break in it")
            if not value.isascii():
                raise UsageError(
                    f"the value of header `{name}` of server `{server_name}` has a character that is not ASCII",
                    hint="headers carry ASCII only: encode it as the server's documentation says, or look for a typo",
                )
        return values

    async def url(self, server_name: str, server: Server, variables: Mapping[str, str]) -> str:
        """The URL of a remote server. Raises `UsageError` when a secret decides which host that is."""
        text = server.url or ""
        secrets = await self._secrets(User(server_name), _used([text]))
        url = _Fill(User(server_name), variables, secrets, self._redactor)(text)
        if secrets:
            judged = _Fill(User(server_name), variables, dict.fromkeys(secrets, b"0"), None)(text)
            if origin_of(url) != origin_of(judged):
                raise UsageError(
                    f"a secret in the `url` of server `{server_name}` decides which host it goes to",
                    hint="write the host itself, or a `${VARIABLE}`",
                )
        return url

    async def text(self, owner: str, text: str, variables: Mapping[str, str]) -> str:
        """One text of the interceptor *owner*. Raises as `values` does."""
        user = User(owner, "interceptor")
        return _Fill(user, variables, await self._secrets(user, _used([text])), self._redactor)(text)

    async def keyed(self, spec: InstanceSpec, variables: Mapping[str, str], key: bytes) -> tuple[str, str]:
        """
        Two keyed digests of the values that *spec* gets: of its variables, and of its secrets.

        HMAC-SHA256 with a key that never leaves this machine, so that a label with it gives nothing away.
        """
        templates = dict(spec.environment)
        used = (*_used(templates.values()), *(file.source for file in spec.secret_files))
        secrets = await self._secrets(User(spec.server), used)
        plain = _Fill(User(spec.server), variables, dict.fromkeys(secrets, b""), None)
        texts = (*templates.values(), *(spec.command or ()), *(spec.entrypoint or ()))
        variable_parts = [plain(text).encode("utf-8", "surrogateescape") for text in texts if "$" in text]
        secret_parts = [part for name in sorted(secrets) for part in (name.encode(), secrets[name])]
        return _digest(key, variable_parts), _digest(key, secret_parts)

    async def _secrets(self, user: User, names: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        missing: dict[str, list[User]] = {}
        for name in dict.fromkeys(names):
            value = await self._value(name)
            if isinstance(value, Absent):
                missing[name] = [user]
            else:
                found[name] = value
        if missing:
            self._raise_missing(missing)
        return found

    async def _value(self, name: str) -> bytes | Absent:
        async with self._locks.setdefault(name, asyncio.Lock()):
            if name not in self._read:
                self._read[name] = value = await self._first(name)
                if not isinstance(value, Absent):
                    self._redactor.add(value)
            return self._read[name]

    async def _first(self, name: str) -> bytes | Absent:
        reasons: list[str] = []
        steps: list[str] = []
        for source in self._sources.get(name, ()):
            asked = provider(source, self._where)
            value = await self._once(source, asked)
            if not isinstance(value, Absent):
                return value
            reasons.append(f"{asked.description}: {value.reason}")
            steps.append(value.next_step or _next_step(name, asked))
        settable = [step for step in steps if _SET in step]
        return Absent("; ".join(reasons) or "not declared under `secrets`", (settable or steps or [""])[0])

    async def _once(self, source: SecretSource, asked: Provider) -> bytes | Absent:
        """What *asked* says, or said before where it is not asked in every round."""
        key = self._kept_as(source)
        if key in self._commands:
            return self._commands[key]
        value = await asked.read()
        if isinstance(source, (KeyringSource, PodmanSource)) or (
            isinstance(source, CommandSource) and not isinstance(value, Absent)
        ):
            self._commands[key] = value
        return value

    def _kept_as(self, source: SecretSource) -> tuple[object, ...]:
        if isinstance(source, (KeyringSource, PodmanSource)):
            where = self._where
            files = files_of(source, where.home, where.directory, where.host)
            return (source, *map(_signature, files))
        return ("command", *source.command) if isinstance(source, CommandSource) else ()

    def _raise_missing(self, missing: Mapping[str, list[User]]) -> None:
        lines: list[str] = []
        steps: list[str] = []
        for name, users in missing.items():
            absent = self._read[name]
            reason = absent.reason if isinstance(absent, Absent) else ""
            lines.append(f"secret `{name}` of {_named(users)} is missing ({reason})")
            declare = f"declare `{name}` under `secrets`"
            steps.append((absent.next_step if isinstance(absent, Absent) else "") or declare)
        raise SecretMissing("\n".join(lines), hint="\n".join(dict.fromkeys(steps)))


def _named(users: Iterable[User]) -> str:
    """`servers `a`, `b` and interceptor `c``."""
    by_kind: dict[str, list[str]] = {}
    for user in users:
        by_kind.setdefault(user.kind, []).append(f"`{user.name}`")
    return " and ".join(f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names)}" for kind, names in by_kind.items())


class _Fill:
    """Fills the templates of one server or interceptor; tells the redactor of variables that look like secrets."""

    def __init__(
        self, user: User, variables: Mapping[str, str], secrets: Mapping[str, bytes], redactor: Redactor | None
    ) -> None:
        self._user, self._variables, self._secrets, self._redactor = user, variables, secrets, redactor

    def __call__(self, text: str, key: str = "") -> str:
        if "$" not in text:
            return text
        try:
            value = expand(text, self._variables.get, self._secret)
            names = variable_names(text)
        except TemplateError as error:
            raise UsageError(f"{self._user}: {error}") from error
        if self._redactor is not None:
            self._hide(names, key)
        return value

    def _secret(self, name: str) -> str:
        try:
            value = self._secrets[name].decode()
        except UnicodeDecodeError:
            raise McpComposeError(
                f"secret `{name}` of {self._user} is not text", hint="deliver it as a file, without `env`"
            ) from None
        if "\0" in value:
            raise McpComposeError(
                f"secret `{name}` of {self._user} holds a NUL byte",
                hint="deliver it as a file, without `env`",
            )
        return value

    def _hide(self, names: Iterable[str], key: str) -> None:
        for name in names:
            value = self._variables.get(name, "")
            if self._redactor is not None and len(value) >= _SENSITIVE_LENGTH and any(map(looks_secret, (name, key))):
                self._redactor.add(value)


def _next_step(name: str, asked: Provider) -> str:
    return f"run `{_SET} {name}`" if isinstance(asked, WritableProvider) else asked.next_step


def _signature(file: Path) -> tuple[int, int, int] | None:
    try:
        info = file.stat()
    except OSError:
        return None
    return (info.st_ino, info.st_mtime_ns, info.st_size)


def looks_secret(name: str) -> bool:
    """Whether a variable of this name probably holds a secret."""
    return _SENSITIVE.search(name) is not None


def origin_of(url: str) -> str:
    """Scheme, host and port of *url*, without who asks; all of it before the path when it makes no sense."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return url
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def server_secrets(server: Server) -> Iterator[str]:
    """The names of the secrets that *server* may have: those it lists, and those its own templates name."""
    named = [use.source for use in server.secrets]
    texts = (*server.environment.values(), *server.headers.values(), server.url)
    yield from dict.fromkeys((*named, *_used(text for text in texts if text is not None)))


def interceptor_secrets(interceptor: Interceptor) -> Iterator[str]:
    """The names of the secrets that *interceptor* may have: those it lists, and those its own templates name."""
    named = [use.source for use in interceptor.secrets]
    texts = (*interceptor.environment.values(), *interceptor.headers.values())
    yield from dict.fromkeys((*named, *_used(text for text in texts if text is not None)))


def _used(texts: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for text in texts:
        if "${secret:" in text:
            found += sorted(secret_names(text))
    return tuple(found)


def _digest(key: bytes, parts: Iterable[bytes]) -> str:
    code = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        code.update(len(part).to_bytes(8, "big"))
        code.update(part)
    return code.hexdigest()
