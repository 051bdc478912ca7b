"""
Secret files of instances: written to the runtime folder right before a start, removed with the instance.

The folders above are 0700, so nobody else on this machine gets to them; the files themselves can be read by
whatever user a container runs as.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcpcompose.errors import EngineError
from mcpcompose.paths import private_folder

if TYPE_CHECKING:
    from mcpcompose.engine.base import InstanceSpec
    from mcpcompose.engine.docker_host import Address

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")


def write(base: Path, instance: str, files: Mapping[str, bytes], *, mode: int = 0o444) -> Path:
    """Write *files* for *instance* below *base*, each replaced as a whole. Returns their folder."""
    folder = _folder(base, instance)
    for name, content in files.items():
        if not _NAME.fullmatch(name) or name in {".", ".."}:
            said = f"`{name}` cannot be the name of a secret file"
            raise EngineError(said, hint="use letters, digits, `_`, `.`, `-`")
        private_folder(base)
        private_folder(folder)
        temporary = folder / f".{name}.new"
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
        temporary.replace(folder / name)
    return folder


def remove(base: Path, instance: str) -> None:
    """Remove the secret files of *instance*."""
    shutil.rmtree(_folder(base, instance), ignore_errors=True)


def written(base: Path) -> frozenset[str]:
    """The instances that have secret files below *base*."""
    return frozenset(entry.name for entry in base.iterdir()) if base.is_dir() else frozenset()


def sweep(base: Path, candidates: Collection[str], keep: Collection[str]) -> None:
    """Remove the secret files of those of *candidates* that are not in *keep*: what a killed run left."""
    for name in candidates:
        if name not in keep and _NAME.fullmatch(name) and name not in {".", ".."}:
            shutil.rmtree(base / name, ignore_errors=True)


def _folder(base: Path, instance: str) -> Path:
    if not _NAME.fullmatch(instance) or instance in {".", ".."}:
        raise EngineError(f"`{instance}` cannot be the name of an instance")
    return base / instance


def refuse_elsewhere(address: Address, spec: InstanceSpec) -> None:
    """Raise `EngineError` for secret files of an instance on another machine: they would have to be there."""
    if not address.is_local and spec.secret_files:
        raise EngineError(
            f"the engine at `{address.url}` is on another machine,"
            f" so server `{spec.server}` cannot get secrets as files",
            hint="deliver them as variables: `secrets: [{source: NAME, env: VARIABLE}]`",
        )
