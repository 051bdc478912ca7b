"""
Programs of the host (`run`): JSON on standard input, the answer on standard output.

They run in the project's folder with `PATH`, `HOME`, and the variables that the file lists for them. Files of the
project that the command names are those that a person approved: one that was changed since is not run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Final

from mcpcompose.interceptors.base import Around
from mcpcompose.interceptors.host_process import HostProcesses, Log
from mcpcompose.interceptors.keeper import Keeper
from mcpcompose.interceptors.one_shot import OneShot
from mcpcompose.interceptors.outside import Outside, Variables, refuse_secrets
from mcpcompose.interceptors.pinned_files import PinnedFiles
from mcpcompose.interceptors.running import Running
from mcpcompose.spec.interceptor import Interceptor as Spec

_NO_COPIES: Final = {"PYTHONPYCACHEPREFIX": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
"""For `python -m`: who may write in the repository could put a compiled copy beside the module that was approved."""


class HostProgram(Outside):
    """A program of the host with the command *argv*; *keep*: one for many questions."""

    def __init__(self, spec: Spec, around: Around, argv: Sequence[str], *, keep: bool) -> None:
        super().__init__(spec, around)
        refuse_secrets(spec.kind, argv)
        self._argv = tuple(argv)
        self._variables = Variables(spec, lambda: self.around)
        self._files = PinnedFiles(spec, lambda: self.around.project)
        self._processes = HostProcesses(
            around.directory, around.directory / (spec.working_dir or ""), around.environ, numbered(around, spec.label)
        )
        self._teller = (
            Keeper(self._launch, spec.output, spec.timeout, self._made_of)
            if keep
            else OneShot(self._launch, spec.output)
        )

    async def ask(self, payload: bytes, id_: str) -> bytes:
        """Its answer to one question."""
        return await self._teller.ask(payload, id_)

    async def close(self) -> None:
        """End what runs."""
        await self._teller.close()
        await self._processes.close()

    def named(self, argv: Sequence[str]) -> Sequence[str]:
        """The words that may name files of the project, of the command *argv*."""
        return argv

    async def _launch(self) -> Running:
        argv = await self._variables.words(self._argv)
        await self._files.check(self.named(argv))
        ground = _NO_COPIES if "-m" in argv else {}
        return await self._processes.start(argv, {**ground, **await self._variables.values()})

    async def _made_of(self) -> object:
        return (await self._variables.words(self._argv), await self._variables.values())


class Program(HostProgram):
    """A `run` interceptor."""

    def __init__(self, spec: Spec, around: Around) -> None:
        super().__init__(spec, around, spec.run or (), keep=spec.keep)


def numbered(around: Around, label: str) -> Callable[[], Log]:
    """The log of one process after the other: what several say at once is not mixed up while secrets are hidden."""
    numbers = itertools.count(1)

    def another() -> Log:
        name = f"{around.project.name}-_{label}-{next(numbers)}"
        return lambda data: around.log(name, data)

    return another
