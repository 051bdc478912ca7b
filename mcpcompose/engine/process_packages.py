"""
Packages in private environments on this machine, for the process engine.

An environment is made under a name of its own and becomes visible by renaming a link, so there is never half a one.
The installer sees no server's variables and no secrets: only where its index is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import signal
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from mcpcompose.engine import packages, resolving
from mcpcompose.engine.base import PackageImage, Progress, Resolved
from mcpcompose.errors import BuildFailed
from mcpcompose.paths import private_folder

KEPT_LINES: Final = 20
INSTALLER_VARIABLES: Final = frozenset(
    {
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "ALL_PROXY",
        "all_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    }
)
INSTALLER_PREFIXES: Final = ("PIP_", "npm_config_", "NPM_CONFIG_")


class PackageEnvironments:
    """The private environments below *folder*."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._under_way: dict[str, asyncio.Lock] = {}

    def home(self, tag: str) -> Path | None:
        """The environment of *tag*, when it is there: `server` in it is the program, `bin` its programs' folder."""
        link = self._link(tag)
        return link.resolve() if (link / "id").is_file() else None

    def identity(self, tag: str) -> str | None:
        """What is installed for *tag*, as a digest."""
        home = self.home(tag)
        return (home / "id").read_text().strip() if home is not None else None

    async def ensure(self, source: PackageImage, in_use: frozenset[Path], *, refresh: bool, progress: Progress) -> str:
        """Install *source* unless it is there; environments *in_use* stay. Returns its identity."""
        async with self._under_way.setdefault(source.tag, asyncio.Lock()):
            found = self.identity(source.tag)
            if found is not None and not refresh:
                return found
            name = packages.distribution(source.ecosystem, source.requirement)
            private_folder(self._folder)
            self._clean(source.tag, in_use)
            home = self._folder / f"{self._link(source.tag).name}-{secrets.token_hex(4)}"
            home.mkdir(mode=0o700)
            try:
                identity = await self._install(source, name, home, lambda line: progress(line[:200]))
            except BaseException:
                await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
                raise
            (home / "id").write_text(identity)
            self._show(source.tag, home)
            return identity

    async def resolve(self, source: PackageImage, progress: Progress) -> Resolved:
        """What installing *source* would bring. Raises `BuildFailed`."""
        packages.distribution(source.ecosystem, source.requirement)
        private_folder(self._folder)
        progress(f"looking up what `{source.requirement}` needs")
        said = resolving.Answer()
        text = resolving.program(source.ecosystem)[1]
        if source.ecosystem == "pypi":
            words = [sys.executable, "-c", text]
        else:
            self._program("npm", source)
            words = [self._program("node", source), "-e", text, "--"]

        def tell(line: str) -> None:
            if not said.takes(f"{line}\n"):
                progress(line[:200])

        await self._run([*words, source.requirement], source, tell)
        return said.of(source)

    async def _install(self, source: PackageImage, name: str, home: Path, progress: Progress) -> str:
        progress(f"installing `{source.requirement}`")
        environment = home / "env"
        if source.ecosystem == "pypi":
            python = environment / "bin" / "python"
            await self._run([sys.executable, "-m", "venv", str(environment)], source, progress)
            exactly = self._exactly(source, home)
            asked = [*packages.PIP_PINNED, str(exactly)] if exactly is not None else [source.requirement]
            await self._run([str(python), "-m", "pip", *packages.PIP_INSTALL, *asked], source, progress)
            await self._run([str(python), "-c", packages.LINK_PYPI, name, str(home)], source, progress)
            (home / "bin").symlink_to("env/bin")
            content = await self._run([str(python), "-m", "pip", "freeze", "--all"], source, lambda _line: None)
        else:
            npm, node = (self._program(one, source) for one in ("npm", "node"))
            environment.mkdir()
            asked = [*packages.NPM_INSTALL, source.requirement]
            if (exactly := self._exactly(source, environment)) is not None:
                root = json.loads(source.pinned)["packages"][""]
                (exactly.parent / "package.json").write_text(json.dumps(root))
                asked = ["ci", *packages.NPM_INSTALL[1:]]
            await self._run([npm, *asked, "--prefix", str(environment)], source, progress)
            await self._run([node, "-e", packages.LINK_NPM, "--", name, str(home)], source, progress)
            (home / "bin").symlink_to("env/node_modules/.bin")
            content = (environment / "node_modules" / ".package-lock.json").read_text()
        return "sha256:" + hashlib.sha256(content.encode()).hexdigest()

    @staticmethod
    def _exactly(source: PackageImage, folder: Path) -> Path | None:
        """The file in *folder* that says exactly what to install, by hash; None when nothing is pinned."""
        if not source.pinned:
            return None
        file = folder / packages.pinned_name(source.ecosystem)
        file.write_text(source.pinned)
        return file

    def _program(self, name: str, source: PackageImage) -> str:
        found = shutil.which(name, path=self._environ.get("PATH"))
        if found is None:
            raise BuildFailed(
                f"cannot install `{source.requirement}`: there is no `{name}` on this machine",
                hint="install Node.js, or use a container engine: `--engine docker`",
            )
        return found

    async def _run(self, command: list[str], source: PackageImage, progress: Progress) -> str:
        """Run one installer step; a step that is cancelled leaves no process. Returns what it printed."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=installer_environment(self._environ),
            cwd=self._folder,
            start_new_session=True,
        )
        printed: deque[str] = deque(maxlen=2000)
        output = cast("asyncio.StreamReader", process.stdout)
        try:
            async for line in output:
                if text := line.decode(errors="replace").strip():
                    printed.append(text)
                    progress(text)
            code = await process.wait()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        if code != 0:
            last = list(printed)[-KEPT_LINES:]
            raise BuildFailed("\n".join([f"cannot install `{source.requirement}`", *last]))
        return "\n".join(printed)

    def _link(self, tag: str) -> Path:
        return self._folder / hashlib.sha256(tag.encode()).hexdigest()[:24]

    def _show(self, tag: str, home: Path) -> None:
        link = self._link(tag)
        temporary = link.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(home.name)
        temporary.replace(link)

    def _clean(self, tag: str, in_use: frozenset[Path]) -> None:
        """Remove what an interrupted installation or an earlier refresh left."""
        current = self._link(tag)
        keep = {*in_use, current.resolve()}
        for left in self._folder.glob(f"{current.name}-*"):
            if left.resolve() not in keep:
                shutil.rmtree(left, ignore_errors=True)


def installer_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What an installer gets of our environment: how to reach its index, and nothing else."""
    return {
        name: value
        for name, value in environ.items()
        if name in INSTALLER_VARIABLES or name.startswith(INSTALLER_PREFIXES)
    }
