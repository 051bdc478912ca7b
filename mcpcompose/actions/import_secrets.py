"""
Where the values that an import found are kept: the keyring, a dotenv file of their own, or the environment.

A value is kept before the file that refers to it is written, and taken back when that fails.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.errors import UsageError

if TYPE_CHECKING:
    from mcpcompose.clients.import_vault import Found
    from mcpcompose.secrets.providers import Surroundings

DOTENV: Final = ".env.secrets"
"""Beside the compose file; not `.env`, whose variables every reference can see."""


class Keeper(StrEnum):
    """Where values go."""

    KEYRING = "keyring"
    DOTENV = "dotenv"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Placed:
    """
    One secret: its *source* for the file, and the *value* to be kept there (None: nothing to keep).

    *is_there*: it is kept there already.
    """

    name: str
    source: dict[str, Any]
    value: str | None = field(default=None, repr=False)
    is_there: bool = False


async def existing(secrets: Mapping[str, Any], where: Surroundings) -> dict[str, list[Found]]:
    """The secrets that a file declares already, each in the forms in which an import would find it again."""
    from mcpcompose.clients.import_vault import Found
    from mcpcompose.secrets.base import Absent
    from mcpcompose.secrets.providers import provider
    from mcpcompose.spec.secret import DotenvKey, DotenvSource, KeyringSource

    async def look(name: str, source: Any) -> list[Found]:
        forms = [Found(name), *([Found(name, source=source)] if isinstance(source, dict) else [])]
        match source:
            case {"keyring": str(entry)}:
                model: Any = KeyringSource(keyring=entry)
            case {"dotenv": {"file": str(file), "key": str(key)}}:
                model = DotenvSource(dotenv=DotenvKey(file=file, key=key))
            case _:
                return forms
        value = await provider(model, where).read()
        return forms if isinstance(value, Absent) else [*forms, Found(name, value=value.decode("utf-8", "replace"))]

    looked = await asyncio.gather(*(look(name, source) for name, source in secrets.items()))
    return dict(zip(secrets, looked, strict=True))


async def placed(found: Iterable[Found], keeper: Keeper, project: str, where: Surroundings) -> list[Placed]:
    """The source of each secret; a keyring entry that holds something else is never taken."""
    from mcpcompose.clients.import_text import variable

    async def place(one: Found) -> Placed:
        if one.source is not None:
            return Placed(one.name, one.source)
        if keeper is Keeper.ENVIRONMENT:
            return Placed(one.name, {"environment": variable(one.name)})
        if keeper is Keeper.DOTENV:
            return Placed(one.name, {"dotenv": {"file": DOTENV, "key": variable(one.name)}}, one.value)
        entry, is_there = await _entry(one, project, where)
        return Placed(one.name, {"keyring": entry}, one.value, is_there)

    return list(await asyncio.gather(*map(place, found)))


async def _entry(one: Found, project: str, where: Surroundings) -> tuple[str, bool]:
    """The keyring entry for *one*: `project/secret`, as long as that is free or holds the same; whether it does."""
    from mcpcompose.secrets.base import Absent
    from mcpcompose.secrets.providers import provider
    from mcpcompose.spec.secret import KeyringSource

    base = f"{project}/{one.name}"
    for number in range(1, 1000):
        name = base if number == 1 else f"{base}-{number}"
        value = await provider(KeyringSource(keyring=name), where).read()
        if isinstance(value, Absent):
            return name, False
        if one.value is None or value == one.value.encode("utf-8", "replace"):
            return name, True
    raise UsageError(f"the keyring has a thousand entries like `{base}`")


@dataclass(slots=True)
class KeptValues:
    """
    What was kept: the keyring *entries* that are new, and what the dotenv file held before (None: it was not there).

    *remarks* say where it is.
    """

    remarks: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    dotenv: Path | None = None
    before: str | None = field(default=None, repr=False)


async def keep(secrets: Sequence[Placed], folder: Path, where: Surroundings) -> KeptValues:
    """Keep all values. Raises what keeping one raises, after taking the others back."""
    from mcpcompose.secrets.store import set_value
    from mcpcompose.spec.secret import KeyringSource

    done = KeptValues()
    said: dict[str, None] = {}
    lines: dict[str, str] = {}
    try:
        for one in secrets:
            match one.source:
                case {"keyring": str(entry)} if one.value is not None and not one.is_there:
                    kept = await set_value(KeyringSource(keyring=entry), one.value.encode("utf-8", "replace"), where)
                    done.entries.append(entry)
                    said |= dict.fromkeys(filter(None, (f"secrets are kept in {kept.where}", kept.remark)))
                case {"dotenv": {"key": str(key)}} if one.value is not None:
                    lines[key] = one.value
                case _:
                    pass
        if lines:
            said |= dict.fromkeys(_to_dotenv(folder / DOTENV, lines, done))
    except BaseException:
        await forget(done, where)
        raise
    done.remarks = list(said)
    return done


async def forget(kept: KeptValues, where: Surroundings) -> None:
    """Take back what was kept."""
    from mcpcompose.errors import McpComposeError
    from mcpcompose.secrets.store import remove
    from mcpcompose.spec.secret import KeyringSource

    if kept.dotenv is not None:
        with suppress(McpComposeError, OSError):
            if kept.before is None:
                kept.dotenv.unlink()
            else:
                replace_file(kept.dotenv, kept.before, 0o600)
    for entry in kept.entries:
        with suppress(McpComposeError):
            await remove(KeyringSource(keyring=entry), where)


def _to_dotenv(file: Path, lines: Mapping[str, str], done: KeptValues) -> list[str]:
    """Add *lines* to *file*, readable by its owner only. Raises `UsageError` where a key has another value."""
    from mcpcompose.config.variables import read_dotenv

    before: str | None = None
    if file.is_symlink():
        raise UsageError(f"`{file.name}` is a symbolic link: secrets are not written through it")
    if os.path.lexists(file):
        there = read_dotenv(file, {})
        if clash := sorted(key for key, value in lines.items() if there.get(key, value) != value):
            raise UsageError(f"`{file.name}` has another value for `{clash[0]}` already", hint="rename it there first")
        before = file.read_text(encoding="utf-8")
        lines = {key: value for key, value in lines.items() if key not in there}
    gap = "\n" if before and not before.endswith("\n") else ""
    content = (before or "") + gap + "".join(f"{key}={_quoted(value)}\n" for key, value in lines.items())
    replace_file(file, content, 0o600)
    done.dotenv, done.before = file, before
    said = [f"secrets are kept in `{file}`, unencrypted"]
    if not _is_ignored(file):
        said.append(f"`{file.name}` must not be committed: add it to `.gitignore`")
    return said


def _quoted(value: str) -> str:
    if "'" not in value and "\n" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", "\\n")
    return '"' + escaped.replace("\r", "\\r") + '"'


def _is_ignored(file: Path) -> bool:
    """Whether `.gitignore` beside it names it, in one of the usual ways."""
    try:
        lines = (file.parent / ".gitignore").read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return False
    return any(line.strip("/") in {file.name, ".env*", ".env.*", "*.secrets"} for line in lines)


def replace_file(file: Path, content: str, mode: int) -> None:
    """Replace *file* in one step and make it last; a link leads to what is replaced. Raises `UsageError`."""
    target = Path(os.path.realpath(file))
    try:
        if target.exists():
            mode = target.stat().st_mode & 0o7777 & (0o600 if mode == 0o600 else 0o7777)  # noqa: PLR2004  private stays
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
                stream.write(content)
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"cannot write `{file}`: {error.strerror}") from error
