"""
What in a project needs a person's approval on this machine, in its exact form.

Pure, except that *resolve* says where a path really leads. The same thing has the same hash; whatever changes what
would happen changes the hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcpcompose.secrets.providers import source_path
from mcpcompose.spec.project import Project
from mcpcompose.spec.secret import CommandSource, DotenvSource, FileSource
from mcpcompose.spec.server import Server
from mcpcompose.spec.template import TemplateError, expand, references, secret_names

Resolve = Callable[[Path], Path]

_LOADER: Final = re.compile(
    r"^(PATH|SHELL|ENV|IFS|HOME|BASH_.*|LD_.*|DYLD_.*|PYTHON.*|NODE_.*|NPM_.*|npm_.*|PIP_.*|UV_.*|RUBY.*|GEM_.*|PERL.*"
    r"|JAVA_.*|_JAVA_OPTIONS|JDK_.*|CLASSPATH|GIT_.*|GCONV_PATH|EDITOR|PAGER|BROWSER|.*_PROXY|.*_proxy|SSL_.*"
    r"|REQUESTS_.*|CURL_.*|DOTNET_.*|XDG_.*)$"
)
"""Variables that decide which code a program loads; their values are part of the form."""


@dataclass(frozen=True, slots=True)
class Form:
    """
    One thing to approve: *subject* is the server or secret, *text* what exactly would happen, *hash* stands for both.

    *once* forms are approved for one change and not for the next one like it.
    """

    kind: str
    subject: str
    text: str
    hash: str
    once: bool = False

    @property
    def title(self) -> str:
        """The thing in a few words."""
        return f"{self.kind} of `{self.subject}`"


def form(kind: str, subject: str, lines: Iterable[str], identity: Any = None, *, once: bool = False) -> Form:
    """A form whose hash covers its text and *identity*."""
    text = "\n".join(lines)
    whole = json.dumps(["1", kind, subject, text, identity], sort_keys=True, ensure_ascii=True)
    return Form(kind, subject, text, hashlib.sha256(whole.encode()).hexdigest()[:24], once)


def launch_forms(
    project: Project,
    *,
    variables: Mapping[str, str],
    digests: Mapping[str, str],
    home: Path,
    resolve: Resolve = Path.resolve,
) -> tuple[Form, ...]:
    """
    The forms of everything that runs on the host or widens a container.

    *digests* holds the digest of each built server's context.
    """
    found: list[Form] = []
    for name, server in project.launched.items():
        found += _host(project, name, server, variables)
        found += _build(project, name, server, digests.get(name, ""))
        found += _widening(project, name, server, resolve)
    for name, server in project.servers.items():
        found += _remote(name, server)
    found += _secrets(project, home, resolve)
    return tuple(found)


def _host(project: Project, name: str, server: Server, variables: Mapping[str, str]) -> Iterator[Form]:
    """Commands of the host, and packages that would run there."""
    if server.process is not None:
        argv = [_expanded(word, variables) for word in server.process]
        yield form("process", name, [_argv(argv), *_host_details(project, server, variables)], argv)
    elif server.package is not None and project.engine == "process":
        argv = [_expanded(word, variables) for word in (*(server.command or ()), *server.args)]
        lines = [f"installs and runs {server.package}", *([f"with {_argv(argv)}"] if argv else [])]
        yield form("package on the host", name, [*lines, *_host_details(project, server, variables)], argv)


def _host_details(project: Project, server: Server, variables: Mapping[str, str]) -> Iterator[str]:
    yield f"in {server.working_dir or project.directory}"
    for key, text in sorted(server.environment.items()):
        template = f"${{{key}}}" if text is None else text
        if _LOADER.match(key) and not secret_names(template):
            yield f"environment {key}={json.dumps(_expanded(template, variables))}"
        else:
            yield f"environment {key}={template}"
    for use in server.secrets:
        yield f"secret {use.source} as {use.env or use.target or use.source}"


def _build(project: Project, name: str, server: Server, digest: str) -> Iterator[Form]:
    if (build := server.build) is not None:
        yield form(
            "build",
            name,
            [
                f"builds {project.directory / build.context} with {build.dockerfile}",
                *(f"argument {key}={value}" for key, value in sorted(build.args.items())),
                *([f"stage {build.target}"] if build.target else []),
                f"content {digest}",
            ],
        )


def _widening(project: Project, name: str, server: Server, resolve: Resolve) -> Iterator[Form]:
    """What takes a container beyond the hardened defaults."""
    if server.unsafe:
        settings = {
            "privileged": server.privileged,
            "cap_add": server.cap_add,
            "devices": server.devices,
            "security_opt": server.security_opt,
            "pid": server.pid,
            "ipc": server.ipc,
            "userns_mode": server.userns_mode,
        }
        lines = [f"unsafe {entry}" for entry in sorted(server.unsafe)]
        lines += [f"{key}: {json.dumps(value)}" for key, value in settings.items() if value]
        yield form("unsafe settings", name, [*lines, f"source {_source(server)}"])
    for volume in server.volumes:
        if volume.type == "bind":
            path = project.directory / volume.source
            real = resolve(path)
            if not _inside(real, resolve(project.directory)):
                mode = "read-only" if volume.read_only else "writable"
                shown = f"{_plain(path)} (which is {real})" if _plain(path) != real else f"{real}"
                yield form("mount", name, [f"mounts {shown} at {volume.target}, {mode}", f"source {_source(server)}"])
    for file in server.env_file:
        path = resolve(project.directory / file)
        if not _inside(path, resolve(project.directory)):
            yield form("environment file", name, [f"reads {path}"])
    if project.engine != "process" and server.network in {"open", "host"}:
        what = "the host's network" if server.network == "host" else "a network with a way out"
        lines = [f"gets {what} (`network: {server.network}`)", f"source {_source(server)}"]
        yield form("network", name, [*lines, *_could_leave(server)])


def _could_leave(server: Server) -> Iterator[str]:
    """What of this machine a server with a way out is given, and could carry away: references, never values."""
    for use in sorted(server.secrets, key=lambda use: use.source):
        yield f"gets secret {use.source}"
    for key, text in sorted(server.environment.items()):
        template = f"${{{key}}}" if text is None else text
        if _refers(template):
            yield f"gets environment {key}={template}"
    for word in (*(server.entrypoint or ()), *(server.command or ()), *server.args):
        if _refers(word):
            yield f"gets argument {word}"


def _remote(name: str, server: Server) -> Iterator[Form]:
    """What of this machine goes to a remote server; an address alone is nothing."""
    if server.url is None:
        return
    headers = {key: text or "" for key, text in sorted(server.headers.items()) if _refers(text or "")}
    if headers or _refers(server.url):
        lines = [f"header {key}={json.dumps(text)}" for key, text in headers.items()]
        yield form("sending", name, [f"sends to {server.url}", *lines])


def _refers(text: str) -> bool:
    return any(True for _ in references(text))


def _secrets(project: Project, home: Path, resolve: Resolve) -> Iterator[Form]:
    used = {use.source for server in project.servers.values() for use in server.secrets}
    for name, sources in project.secrets.items():
        for source in sources:
            if isinstance(source, CommandSource):
                yield form("secret command", name, [f"runs {_argv(source.command)}", f"in {project.directory}"])
            elif isinstance(source, (FileSource, DotenvSource)):
                text = source.file if isinstance(source, FileSource) else source.dotenv.file
                path = resolve(source_path(text, home, project.directory))
                if not _inside(path, resolve(project.directory)):
                    key = f", key {source.dotenv.key}" if isinstance(source, DotenvSource) else ""
                    yield form("secret file", name, [f"reads {path}{key}"], sorted(used & {name}))


def _source(server: Server) -> str:
    """What the server is, without its tag or version: those may change without another approval."""
    if server.image is not None:
        head, slash, tail = server.image.rpartition("/")
        return f"image {head}{slash}{tail.partition('@')[0].partition(':')[0]}"
    if server.package is not None:
        kind, _, requirement = server.package.partition(":")
        name = re.split(r"(?<=.)[@=<>!~\[ ]", requirement, maxsplit=1)[0]
        return f"package {kind}:{name}"
    return "build" if server.build is not None else "process"


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    def hidden(name: str) -> str:
        return f"${{secret:{name}}}"

    try:
        return expand(text, variables.get, hidden)
    except TemplateError:
        return text


def _argv(words: Iterable[str]) -> str:
    return json.dumps(list(words), ensure_ascii=True)


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _inside(path: Path, directory: Path) -> bool:
    return path == directory or directory in path.parents
