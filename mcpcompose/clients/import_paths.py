"""Host paths that a program is given, as mounts of its container; nothing dangerous and nothing that is not there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpcompose.clients.import_text import Marks, plain
from mcpcompose.engine.base import InstanceSpec, Mount, RegistryImage, Stdio
from mcpcompose.engine.danger import dangers

_INSIDE: Final = ("/usr", "/bin", "/dev", "/proc", "/sys")
"""Paths that programs name without meaning a folder of the user."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_UNSEEN: Final = re.compile(r"[\0\n\r:]")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine that is imported on. *exists* and *resolve* are the only looks at its disk."""

    home: Path
    directory: Path
    exists: Callable[[Path], bool] = os.path.exists
    resolve: Callable[[Path], Path] = Path.resolve
    on_host: bool = False
    """The servers become processes of this machine: the engine is `process`."""


class Mounts:
    """The volumes of one server, and what is to be said about them."""

    def __init__(self, where: Surroundings, marks: Marks) -> None:
        self.volumes: list[str] = []
        self.remarks: list[str] = []
        self._where = where
        self._marks = marks

    def argument(self, text: str) -> str:
        """An argument as it is inside the container: where it begins with a host path, that is mounted there."""
        for head, tail in _split(text):
            if (inside := self._mounted(tail)) is not None:
                return head + inside
        return text

    def bind(self, source: str, target: str, *, read_only: bool) -> None:
        """`-v source:target`, where that is allowed."""
        mode = ":ro" if read_only else ""
        target_text = self._marks.finished(target)
        if not plain(source):
            host = self._host(source)
        elif _NAME.fullmatch(source) and not source.startswith("."):
            self._add(f"{source}:{target_text}{mode}")
            return
        else:
            host = self._host(source)
        if host is None:
            self.remarks.append(f"the volume at `{_shown(target)}` is not carried over: its source is no path here")
        elif why := self._danger(host, read_only=read_only):
            self.remarks.append(f"the volume at `{_shown(target)}` is not carried over: it is {why}")
        elif not self._where.exists(host):
            self.remarks.append(f"the volume at `{_shown(target)}` is not carried over: there is no such path here")
        else:
            self._add(f"{self._written(host)}:{target_text}{mode}")

    def file(self, text: str) -> str | None:
        """A file of this machine as it stands in the compose file; None when it is not there."""
        host = self._host(text)
        return self._written(host) if host is not None and self._where.exists(host) else None

    def _mounted(self, text: str) -> str | None:
        """The path inside for the host path *text*; None when it is none."""
        host = self._host(text)
        if host is None or (not text.startswith("~") and _is_inside(host)):
            return None
        refers_to_project = any(one.kind == "project" for one in self._marks.all(text))
        target = Path("/workspace") / os.path.relpath(host, self._where.directory) if refers_to_project else host
        if not self._where.exists(host):
            if len(host.parts) > 2:  # noqa: PLR2004  `/x` may be anything
                self.remarks.append("a path in its arguments does not exist here, so it is not mounted")
            return None
        if why := self._danger(host, read_only=False):
            self.remarks.append(f"a path in its arguments is not mounted: it is {why}")
            return None
        self._add(f"{self._written(host)}:{str(target).replace('$', '$$')}")
        return str(target)

    def _add(self, volume: str) -> None:
        target = volume.removesuffix(":ro").rsplit(":", 1)[-1]
        if all(one.removesuffix(":ro").rsplit(":", 1)[-1] != target for one in self.volumes):
            self.volumes.append(volume)

    def _host(self, text: str) -> Path | None:
        """The absolute host path that *text* is; None for anything else."""
        full = text
        for number, one in enumerate(self._marks.all(text)):
            del number
            value = {"project": str(self._where.directory), "home": str(self._where.home)}.get(one.kind)
            if one.kind == "variable" and one.name in {"HOME", "USERPROFILE"}:
                value = str(self._where.home)
            if one.kind == "variable" and one.name == "PWD":
                value = str(self._where.directory)
            if value is None:
                return None
            full = full.replace(self._marks.mark(one), value)
        full = re.sub(r"^\$\(pwd\)|^`pwd`|^\$PWD\b", str(self._where.directory), full)
        full = re.sub(r"^\$HOME\b", str(self._where.home), full)
        if full == "~" or full.startswith("~/"):
            full = str(self._where.home) + full[1:]
        if full.startswith(("./", "../")) or full in {".", ".."}:
            full = os.path.join(self._where.directory, full)  # noqa: PTH118  `..` is resolved below
        if not full.startswith("/") or _UNSEEN.search(full):
            return None
        return Path(os.path.normpath(full))

    def _written(self, host: Path) -> str:
        """*host* as it stands in a file that others use too: below the project, below the home folder, or absolute."""
        for folder, prefix in ((self._where.directory, "."), (self._where.home, "~")):
            if host.is_relative_to(folder) and host != folder:
                return f"{prefix}/{host.relative_to(folder)}".replace("$", "$$")
        return "." if host == self._where.directory else str(host).replace("$", "$$")

    def _danger(self, host: Path, *, read_only: bool) -> str | None:
        spec = InstanceSpec(
            name="",
            server="",
            source=RegistryImage(""),
            transport=Stdio(),
            labels=(),
            mounts=(Mount("bind", str(host), "/x", read_only=read_only),),
        )
        found = dangers(spec, home=self._where.home, resolve=self._where.resolve)
        return found[0].message.rpartition(": ")[2] if found else None


def _split(text: str) -> list[tuple[str, str]]:
    """The places in an argument where a path may begin: at its start, after `--flag=`."""
    found = [("", text)]
    if text.startswith("-") and "=" in text:
        head, _, tail = text.partition("=")
        found = [(f"{head}=", tail)]
    return found


def _is_inside(host: Path) -> bool:
    return any(host.is_relative_to(folder) for folder in _INSIDE) or host in {Path("/"), Path("/tmp")}  # noqa: S108  no file is made


def _shown(target: str) -> str:
    return re.sub(r"[^A-Za-z0-9_./-]", "", plain(target))[:80]
