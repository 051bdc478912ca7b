"""
From a client's entry to a server of ours: its keys, what is to be said about it, and its secrets in a vault.

Nothing is started, read from the disk (but whether a path is there) or printed; no value of a secret is in a remark.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcpcompose.clients.import_docker_run import docker_run
from mcpcompose.clients.import_entry import Entry
from mcpcompose.clients.import_paths import Mounts, Surroundings
from mcpcompose.clients.import_shell import arguments
from mcpcompose.clients.import_sort import Sorter
from mcpcompose.clients.import_text import Marks, plain
from mcpcompose.clients.import_vault import Vault
from mcpcompose.clients.import_words import Bridge, Gateway, Host, Launch, Package, Run, launch

NETWORK: Final = "it had the network before; `none` is safer where it needs none"
_NO_NETWORK: Final = frozenset(
    {"@modelcontextprotocol/server-filesystem", "@modelcontextprotocol/server-memory", "mcp-server-time",
     "@modelcontextprotocol/server-sequential-thinking", "@modelcontextprotocol/server-everything"}
)  # fmt: skip
"""Packages known to work on this machine alone."""
_FIRST: Final = ("image", "package", "process", "url")


@dataclass(frozen=True, slots=True)
class Draft:
    """One server as it will stand in the file; *notes* are remarks beside a key."""

    name: str
    keys: Mapping[str, Any]
    was: str
    remarks: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What it became: `image`, `package`, `process` or `url`."""
        return next(key for key in _FIRST if key in self.keys)


def draft(entry: Entry, name: str, vault: Vault, where: Surroundings, marks: Marks) -> Draft | str:
    """*entry* as the server *name*; or why there is nothing to import in it. *marks* are for this server alone."""
    making = _Making(entry, name, marks, vault, where)
    if (problem := making.run()) is not None:
        return problem
    return Draft(name, making.ordered(), entry.name, tuple(dict.fromkeys(making.all_remarks())), making.notes)


class _Making:
    """One server while it is made."""

    def __init__(self, entry: Entry, name: str, marks: Marks, vault: Vault, where: Surroundings) -> None:
        self.keys: dict[str, Any] = {}
        self.remarks: list[str] = []
        self.notes: dict[str, str] = {}
        self._entry = entry
        self._name = name
        self._marks = marks
        self._sorter = Sorter(name, marks, vault)
        self._mounts = Mounts(where, marks)
        self._where = where

    def run(self) -> str | None:
        """Fill *keys*; the reason when nothing can be imported."""
        entry = self._entry
        if entry.url is not None:
            headers = {key: self._marks.read(value) for key, value in entry.headers.items()}
            self._remote(self._marks.read(entry.url), headers, is_sse=entry.transport == "sse")
        else:
            environment = {key: self._marks.read(value) for key, value in entry.environment.items()}
            args = tuple(map(self._marks.read, entry.args))
            found = launch(self._marks.read(entry.command or ""), args, environment)
            if problem := self._launched(found, environment):
                return problem
        self._tools()
        self._said()
        return None

    def ordered(self) -> dict[str, Any]:
        """The keys in the order of the documentation: what it is, then what it gets."""
        order = (*_FIRST, "entrypoint", "command", "args", "transport", "headers", "environment", "env_file", "secrets",
                 "network", "volumes")  # fmt: skip
        ranks = {key: rank for rank, key in enumerate(order)}
        return dict(sorted(self.keys.items(), key=lambda item: ranks.get(item[0], len(ranks))))

    def all_remarks(self) -> list[str]:
        """Everything there is to say, in order."""
        return [*self.remarks, *self._sorter.remarks, *self._mounts.remarks]

    # --- remote -------------------------------------------------------------------------------------------------------

    def _remote(self, url: str, headers: Mapping[str, str], *, is_sse: bool) -> None:
        entry = self._entry
        self.keys["url"] = self._marks.finished(self._sorter.url(url))
        if is_sse:
            self.keys["transport"] = "sse"
        found = {key: self._sorter.header(key, value) for key, value in headers.items() if _is_header(key, value)}
        if len(found) < len(headers):
            self.remarks.append("a header without a proper name or value is not carried over")
        if entry.bearer:
            secret = self._sorter.of_variable(entry.bearer)
            found.setdefault("Authorization", f"Bearer {secret}")
        for key, variable in entry.env_headers.items():
            found.setdefault(key, self._sorter.of_variable(variable))
        if found:
            self.keys["headers"] = {key: self._marks.finished(value) for key, value in found.items()}
        if "oauth" in entry.unread or "auth" in entry.unread:
            self.remarks.append("its sign-in (OAuth) is not carried over")

    # --- launched -----------------------------------------------------------------------------------------------------

    def _launched(self, found: Launch, environment: dict[str, str]) -> str | None:
        match found:
            case Bridge():
                texts = (found.url, *(value for _, value in found.headers))
                headers = {name: self._with_own(value, environment) for name, value in found.headers}
                self._remote(self._with_own(found.url, environment), headers, is_sse=found.is_sse)
                if not headers:
                    self.remarks.append("where it needs a sign-in (OAuth), that is not carried over")
                if unread := sorted(set(environment) - _variables(texts, self._marks)):
                    self.remarks.append(f"its environment is not carried over: {', '.join(map(_word, unread))}")
            case Package():
                self._package(found, environment)
            case Run():
                return self._image(found, environment)
            case Host():
                self._process(found, environment)
            case Gateway(what=what):
                return f"it is {what}"
        return None

    def _with_own(self, text: str, environment: Mapping[str, str]) -> str:
        """*text* with the entry's own variables in the place of references to them."""
        for one in self._marks.all(text):
            if one.kind == "variable" and one.name in environment:
                text = text.replace(self._marks.mark(one), environment[one.name])
        return text

    def _package(self, found: Package, environment: dict[str, str]) -> None:
        self.keys["package"] = found.requirement
        args = list(found.args) if self._where.on_host else [self._mounts.argument(word) for word in found.args]
        program = found.program or "/opt/mcp-compose/server"
        said = arguments(args, self._sorter, fallback=self._where.on_host and not found.program)
        if said.script:
            self.keys["command"] = ["sh", "-c", f"exec {shlex.quote(program)} {said.script}", self._name]
        elif found.program:
            self.keys["command"] = [self._marks.finished(program)]
        self._environment(environment, said.environment)
        if said.args:
            self.keys["args"] = [self._marks.finished(word) for word in said.args]
        self._secrets(said.secrets)
        self._contained(has_network=_plain_package(found.requirement) not in _NO_NETWORK)
        if self._entry.cwd and not self._where.on_host:
            self.remarks.append("its working directory is not carried over: it runs in a container of its own")

    def _image(self, found: Run, environment: dict[str, str]) -> str | None:
        run = docker_run(found.words)
        if run.image is None:
            return "its `docker run` names no image"
        self.keys["image"] = self._marks.finished(run.image)
        self.remarks += run.remarks
        said = arguments(run.command, self._sorter, fallback=True)
        if said.args:
            self.keys["command"] = [self._marks.finished(word) for word in said.args]
        self.keys |= {key: value if key == "env_file" else self._finished(value) for key, value in run.keys.items()}
        inside = {name: environment.get(name, value) for name, value in run.variables.items()}
        if unread := sorted(set(environment) - set(inside)):
            self.remarks.append(f"not handed to the container before, so not carried over: {', '.join(unread)}")
        self._environment({k: v for k, v in inside.items() if v is not None}, {})
        for name in (name for name, value in inside.items() if value is None):
            self._sorter.inherited(name)
        self._secrets({})
        for source, target, read_only in run.mounts:
            self._mounts.bind(source, target, read_only=read_only)
        self._contained(has_network=run.has_network)
        return None

    def _process(self, found: Host, environment: dict[str, str]) -> None:
        said = arguments(list(found.words), self._sorter)
        words = ["sh", "-c", f"exec {said.script}", self._name, *said.args] if said.script else list(said.args)
        self.keys["process"] = [self._marks.finished(word) for word in words]
        if said.script:
            self.keys["process"][2] = words[2]
        if self._entry.cwd:
            self.keys["working_dir"] = self._marks.finished(self._marks.read(self._entry.cwd))
        self._environment(environment, said.environment)
        self._secrets(said.secrets)
        why = f" ({found.why})" if found.why else ""
        self.remarks.append(f"it runs on this machine without isolation{why}, and needs approval: `mcp-compose trust`")

    def _environment(self, environment: Mapping[str, str], more: Mapping[str, str]) -> None:
        for key, value in environment.items():
            if not _is_variable(key):
                self.remarks.append("a variable without a proper name is not carried over")
            else:
                self._sorter.variable(key, value)
        for name in self._entry.inherited:
            if _is_variable(name):
                self._sorter.inherited(name)
        for key, value in more.items():
            self._sorter.environment[key] = value

    def _secrets(self, more: Mapping[str, str]) -> None:
        environment = {
            key: None if value is None else self._marks.finished(value)
            for key, value in self._sorter.environment.items()
        }
        if environment:
            self.keys["environment"] = environment
        uses = {**self._sorter.secrets, **more}
        if uses:
            self.keys["secrets"] = [{"source": source, "env": name} for name, source in uses.items()]
        files = [self._entry.env_file] if self._entry.env_file else []
        files += self.keys.pop("env_file", [])
        written = [self._mounts.file(self._marks.read(one)) for one in files]
        if None in written:
            self.remarks.append("its environment file is not carried over: it is not here")
        if kept := [one for one in written if one]:
            self.keys["env_file"] = kept

    def _contained(self, *, has_network: bool) -> None:
        if self._where.on_host:
            return
        if has_network:
            self.keys["network"] = "open"
            self.notes["network"] = NETWORK
        if self._mounts.volumes:
            self.keys["volumes"] = self._mounts.volumes

    def _finished(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._marks.finished(value)
        if isinstance(value, list):
            return [self._finished(item) for item in value]
        if isinstance(value, dict):
            return {key: self._finished(item) for key, item in value.items()}
        return value

    # --- both ---------------------------------------------------------------------------------------------------------

    def _tools(self) -> None:
        tools: dict[str, Any] = {}
        if self._entry.allow is not None:
            tools["allow"] = [_glob(word) for word in self._entry.allow]
        if self._entry.deny:
            tools["deny"] = [_glob(word) for word in self._entry.deny]
        if tools:
            self.keys["tools"] = tools
        if self._entry.timeout and self._entry.timeout > 60:  # noqa: PLR2004  our own default
            self.keys["timeouts"] = {"call": f"{int(self._entry.timeout)}s"}

    def _said(self) -> None:
        if "allowHosts" in self._entry.unread:
            self.remarks.append("its list of hosts that it may reach (`allowHosts`) is not carried over")
        if "oauth" in self._entry.unread and "url" not in self.keys:
            self.remarks.append("its sign-in (OAuth) is not carried over")
        unread = [key for key in self._entry.unread if key not in {"oauth", "auth", "allowHosts"}]
        if unread:
            self.remarks.append(f"not carried over: {', '.join(map(_word, unread))}")


def _variables(texts: Iterable[str], marks: Marks) -> set[str]:
    return {one.name for text in texts for one in marks.all(text) if one.kind == "variable"}


def _plain_package(requirement: str) -> str:
    name = requirement.partition(":")[2]
    return re.sub(r"(?<=.)(?:@|==|>=|<=|~=|\[).*", "", name)


def _is_header(name: str, value: str) -> bool:
    return bool(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)) and not re.search(r"[\r\n\0]", value)


def _is_variable(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name))


def _glob(word: str) -> str:
    return plain(word).replace("$", "$$")


def _word(key: str) -> str:
    return "`" + re.sub(r"[^A-Za-z0-9_.-]", "", key)[:40] + "`"
