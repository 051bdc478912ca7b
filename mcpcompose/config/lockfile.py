"""
Read `mcp-compose.lock`, and write it: JSON in one stable order, so that a difference is a few lines.

Whatever the bytes are, the outcome is a lock or problems with their places; half a file is never half a lock.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from mcpcompose.errors import FileProblems, LockedStateDiffers, McpComposeError, Position, Problem
from mcpcompose.spec.lockfile import FILE_NAME, VERSION, Lock

MAX_BYTES: Final = 32 << 20
_AGAIN: Final = "put back the committed file; without one, `mcp-compose lock` accepts everything as it is now"
_MERGE: Final = "take one side of the merge, then run `mcp-compose lock`"
_MARKERS: Final = ("<<<<<<<", "=======", ">>>>>>>")


def lock_path(directory: Path) -> Path:
    """Where the lock of the project in *directory* is."""
    return directory / FILE_NAME


def read_lock(file: Path) -> Lock | None:
    """The lock in *file*; None when there is none. Raises `FileProblems`."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _problem(file, f"the lock file cannot be read: {(error.strerror or '').lower()}") from error
    with open(descriptor, "rb") as stream:  # noqa: PTH123  opened without waiting for a pipe
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _problem(file, "the lock file is not a regular file")
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _problem(file, f"the lock file is larger than {MAX_BYTES >> 20} MiB")
    return parse_lock(content, file)


def parse_lock(content: bytes, file: Path) -> Lock:
    """The lock that *content* is; *file* is for problems. Raises `FileProblems`."""
    text = _text(content, file)
    try:
        data = json.loads(text, object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        raise _not_json(file, text, error) from error
    except _RepeatedError as error:
        raise _problem(file, f"the lock file has `{error.key}` twice", hint=_MERGE) from error
    except (ValueError, RecursionError) as error:
        raise _problem(file, "the lock file is not JSON that can be read") from error
    if not isinstance(data, dict):
        raise _problem(file, "the lock file is not an object")
    if (version := data.get("version")) != VERSION or isinstance(version, bool):
        raise _problem(file, f"the lock file has version `{version}`, and this program knows {VERSION}", hint=_NEWER)
    data.pop("//", None)
    if unknown := next((key for key in ("is_strict", "is_provisional") if key in data), None):
        raise _problem(file, f"the lock file has an unknown key `{unknown}`")
    try:
        lock = Lock.model_validate(data)
    except ValidationError as error:
        raise _invalid(file, text, error) from error
    if wrong := next(lock.wrong(), None):
        at = _place(text, ("servers", wrong, "fingerprint"))
        message = f"the entry of `{wrong}` was changed by hand or by a merge: its fingerprint is another one"
        raise FileProblems((Problem(message, Position(file, *at), _AGAIN),), files=(file,))
    return lock


_NEWER: Final = "use the version of `mcp-compose` that wrote it, or a newer one"
_NOTE: Final = "written by `mcp-compose lock`; commit it, and change it only with that command"


def lock_text(lock: Lock) -> str:
    """*lock* as a file."""
    data = lock.model_dump(mode="json", exclude_none=True)
    servers = {name: _compact(data["servers"][name]) for name in sorted(data["servers"])}
    whole: dict[str, Any] = {"//": _NOTE, "version": data["version"]}
    if data["catalogs"]:
        whole["catalogs"] = dict(sorted(data["catalogs"].items()))
    return json.dumps({**whole, "servers": servers}, indent=2, ensure_ascii=True) + "\n"


def write_lock(file: Path, lock: Lock) -> None:
    """Replace *file* in one step; it keeps its mode, and a link stays a link. Raises `McpComposeError`."""
    target = Path(os.path.realpath(file))
    content = lock_text(lock)
    name = ""
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_mask()
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{FILE_NAME}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise McpComposeError(f"cannot write `{file}`: {(error.strerror or str(error)).lower()}") from error


def _mask() -> int:
    before = os.umask(0o077)
    os.umask(before)
    return before


def _compact(server: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is empty; names in order, whatever the order they were offered in."""
    kept = {key: value for key, value in server.items() if value not in ({}, [], None)}
    for key in ("tools", "prompts", "templates"):
        if key in kept:
            kept[key] = dict(sorted(kept[key].items()))
    if "package" in kept:
        package = {key: value for key, value in kept["package"].items() if value not in ({}, [])}
        for key in ("distributions", "modules"):
            if key in package:
                package[key] = dict(sorted(package[key].items()))
        kept["package"] = package
    return kept


class _RepeatedError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RepeatedError(key)
        found[key] = value
    return found


def _text(content: bytes, file: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _problem(file, "the lock file is not UTF-8") from error


def _problem(file: Path, message: str, line: int = 1, column: int = 1, *, hint: str = _AGAIN) -> FileProblems:
    return FileProblems((Problem(message, Position(file, line, column), hint),), files=(file,))


def _not_json(file: Path, text: str, error: json.JSONDecodeError) -> FileProblems:
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_MARKERS):
            return _problem(file, "the lock file has an unfinished merge in it", number, hint=_MERGE)
    ended = not text.strip() or error.pos >= len(text.rstrip())
    message = "the lock file ends in the middle" if ended else "the lock file is not JSON"
    return _problem(file, message, error.lineno, error.colno)


def _invalid(file: Path, text: str, error: ValidationError) -> FileProblems:
    problems = []
    for one in error.errors(include_url=False, include_context=False, include_input=False)[:20]:
        path = tuple(str(part) for part in one["loc"])
        what = ".".join(path)
        message = f"unknown key `{what}` in the lock file" if one["type"] == "extra_forbidden" else None
        message = message or f"`{what}` in the lock file is wrong: {one['msg'][:1].lower()}{one['msg'][1:]}"
        problems.append(Problem(message, Position(file, *_place(text, path)), _AGAIN))
    return FileProblems(tuple(problems), files=(file,))


def _place(text: str, path: tuple[str, ...]) -> tuple[int, int]:
    """Line and column of the key at *path*, or of the nearest one above that is there."""
    at = 0
    for key in path:
        found = text.find(f"{json.dumps(key)}:", at)
        if found < 0:
            break
        at = found
    line = text.count("\n", 0, at) + 1
    return line, at - text.rfind("\n", 0, at)


def _provisional(text: str, file: Path) -> Lock:
    return parse_lock(text.encode(), file).model_copy(update={"is_provisional": True})


def lock_of(
    directory: Path, text: str | None, seen: dict[Path, None], problems: list[Problem], *, strict: bool
) -> Lock | None:
    """
    The lock of the project in *directory*, or the one that *text* is; adds to *seen* what is to be watched.

    Adds to *problems* what is wrong with it. *strict*: nothing may differ from it, and without it
    `LockedStateDiffers` is raised.
    """
    file = lock_path(directory)
    seen[file] = None
    try:
        lock = read_lock(file) if text is None else _provisional(text, file)
    except FileProblems as error:
        problems.extend(error.problems)
        return None
    if strict and lock is None:
        raise LockedStateDiffers(f"there is no `{FILE_NAME}` in `{directory}`", hint="write it with `mcp-compose lock`")
    return lock.model_copy(update={"is_strict": True}) if lock is not None and strict else lock
