"""
Complete a bound file: absolute paths, `env_file` contents, values taken from the environment, profiles.

Reads the files that `env_file` names, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from mcpcompose.config.include import absolute
from mcpcompose.config.tree import Map, value_position
from mcpcompose.config.tree import Path as TreePath
from mcpcompose.config.variables import read_dotenv, reserved_name
from mcpcompose.errors import FileProblems, Problem
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.project import ComposeFile, Profile
from mcpcompose.spec.secret import DotenvSource, FileSource, SecretSource
from mcpcompose.spec.server import Server, Volume


class Completion:
    """
    Completes servers, secrets and interceptors; *values* holds what `env_file` brought, *files* what was read.

    *real* says where mounted host paths lead now: what is judged is this, and what is launched has to be the same.
    """

    def __init__(
        self,
        tree: Map,
        variables: Mapping[str, str],
        home: Path,
        made_of: Mapping[str, tuple[str, ...]],
        base_of: Callable[[Path], Path] = lambda file: file.parent,
    ) -> None:
        self.values: dict[str, str] = {}
        self.made_of = dict(made_of)
        self.real: dict[str, str] = {}
        self.files: dict[Path, None] = {}
        self.problems: list[Problem] = []
        self._tree = tree
        self._variables = variables
        self._home = home
        self._base_of = base_of
        self._dotenvs: dict[Path, dict[str, str]] = {}
        self._made: dict[Path, dict[str, tuple[str, ...]]] = {}

    def server(self, name: str, server: Server) -> Server:
        """*server* with absolute host paths and a whole `environment`."""
        path: TreePath = ("servers", name)
        changes: dict[str, object] = {}
        if server.build:
            context = self._absolute((*path, "build", "context"), server.build.context)
            changes["build"] = server.build.model_copy(update={"context": context})
        if server.volumes:
            changes["volumes"] = tuple(self._volume((*path, "volumes", i), v) for i, v in enumerate(server.volumes))
        if server.working_dir and server.process:
            changes["working_dir"] = self._absolute((*path, "working_dir"), server.working_dir)
        if server.env_file:
            names = [self._absolute((*path, "env_file", i), text) for i, text in enumerate(server.env_file)]
            self.files.update(dict.fromkeys(map(Path, names)))
            changes["env_file"] = tuple(os.path.realpath(name) for name in names)
        if server.environment or server.env_file:
            changes["environment"] = self._environment(name, server, changes.get("env_file", ()))
        return server.model_copy(update=changes) if changes else server

    def secret(self, name: str, sources: tuple[SecretSource, ...]) -> tuple[SecretSource, ...]:
        """*sources* with absolute paths."""
        return tuple(self._source(("secrets", name, index), source) for index, source in enumerate(sources))

    def interceptor(self, index: int, interceptor: Interceptor) -> Interceptor:
        """*interceptor* with the folder it runs in: by default that of the file which holds it."""
        if interceptor.run is None and interceptor.python is None:
            return interceptor
        folder = self._absolute(("interceptors", index, "working_dir"), interceptor.working_dir or ".")
        return interceptor.model_copy(update={"working_dir": folder})

    def _source(self, path: TreePath, source: SecretSource) -> SecretSource:
        match source:
            case FileSource(file=file):
                return FileSource(file=self._absolute((*path, "file"), file))
            case DotenvSource(dotenv=dotenv):
                file = self._absolute((*path, "dotenv", "file"), dotenv.file)
                return DotenvSource(dotenv=dotenv.model_copy(update={"file": file}))
            case _:
                return source

    def _volume(self, path: TreePath, volume: Volume) -> Volume:
        if volume.type == "volume":
            return volume
        source = self._absolute((*path, "source"), volume.source)
        self.real[source] = os.path.realpath(source)
        return volume.model_copy(update={"source": source})

    def _absolute(self, path: TreePath, text: str) -> str:
        """*text* relative to the file that holds it."""
        position = value_position(self._tree, path)
        directory = self._base_of(position.file) if position else Path.cwd()
        return str(absolute(text, directory, self._home))

    def _environment(self, name: str, server: Server, files: object) -> Mapping[str, str | None]:
        environment: dict[str, str | None] = {}
        for index, file in enumerate(files if isinstance(files, tuple) else ()):
            for key, value in self._dotenv(name, index, Path(file)).items():
                reserved = reserved_name(name, key)
                self.values[reserved] = value
                if made_of := self._made[Path(file)].get(key):
                    self.made_of[reserved] = made_of
                environment[key] = f"${{{reserved}}}"
        for key, text in server.environment.items():
            if text is not None:
                environment[key] = text
            elif key in self._variables:
                environment[key] = f"${{{key}}}"
            else:
                environment.pop(key, None)
        return Server.model_validate({"url": "-", "environment": environment}).environment

    def _dotenv(self, name: str, index: int, file: Path) -> dict[str, str]:
        if file in self._dotenvs:
            return self._dotenvs[file]
        self.files[file] = None
        path = ("servers", name, "env_file", index)
        made = self._made[file] = {key: names for key, names in self.made_of.items() if key not in self.values}
        try:
            self._dotenvs[file] = read_dotenv(file, self._variables, made)
        except FileProblems as error:
            self._dotenvs[file] = {}
            for problem in error.problems:
                at_start = problem.position is not None and (problem.position.line, problem.position.column) == (1, 1)
                if at_start and "the file" in problem.message:
                    message = problem.message.replace("the file", f"`{file}`", 1)
                    self.problems.append(Problem(message, value_position(self._tree, path), problem.hint))
                else:
                    self.problems.append(problem)
        return self._dotenvs[file]


def with_default(file: ComposeFile) -> dict[str, Profile]:
    """The profiles, `default` always among them: everything without any profiles, nothing otherwise."""
    profiles = dict(file.profiles)
    if not profiles:
        return {"default": Profile(servers=tuple(file.servers))}
    profiles.setdefault("default", Profile(servers=()))
    return profiles


def narrowed(
    servers: Mapping[str, Server], profiles: Mapping[str, Profile], name: str
) -> tuple[dict[str, Server], dict[str, Profile]]:
    """Only what the profile *name* needs: its servers, and those they depend on (which are started, not served)."""
    served = profiles[name].servers
    wanted: dict[str, None] = {}
    waiting = list(served)
    while waiting:
        one = waiting.pop(0)
        if one in servers and one not in wanted:
            wanted[one] = None
            waiting.extend(servers[one].depends_on)
    kept = {one: server for one, server in servers.items() if one in wanted}
    limited = {
        key: Profile(
            servers=tuple(s for s in profile.servers if s in served),
            tools={s: globs for s, globs in profile.tools.items() if s in served},
        )
        for key, profile in profiles.items()
    }
    return kept, limited
