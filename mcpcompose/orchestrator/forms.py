"""
What in a project needs a person's approval on this machine, in its exact form.

Pure, except that *resolve* says where a path really leads. The same thing has the same hash; whatever changes what
would happen changes the hash.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mcpcompose.secrets.engine_secrets import MOUNTED
from mcpcompose.secrets.providers import source_path
from mcpcompose.secrets.resolver import looks_secret, origin_of
from mcpcompose.spec.project import Project
from mcpcompose.spec.secret import (
    CommandSource,
    DockerSource,
    DotenvSource,
    EnvironmentSource,
    FileSource,
    PodmanSource,
)
from mcpcompose.spec.server import NetworkAllow, Server
from mcpcompose.spec.template import TemplateError, expand, references, secret_names, variable_names
from mcpcompose.visible import visible

Resolve = Callable[[Path], Path]

LOADER: Final = re.compile(
    r"^(PATH|SHELL|ENV|IFS|HOME|TMPDIR|BASH_.*|LD_.*|DYLD_.*|PYTHON.*|NODE_.*|NPM_.*|npm_.*|PIP_.*|UV_.*|RUBY.*|GEM_.*|PERL.*"
    r"|JAVA_.*|_JAVA_OPTIONS|JDK_.*|CLASSPATH|GIT_.*|GCONV_PATH|EDITOR|PAGER|BROWSER|.*_PROXY|.*_proxy|SSL_.*"
    r"|REQUESTS_.*|CURL_.*|DOTNET_.*|XDG_.*|DENO_.*|BUN_.*|YARN_.*|COREPACK_.*|TS_NODE_.*|GO.*|CARGO_.*|RUST.*|LUA_.*"
    r"|PHP.*|R_.*|OPENSSL_.*|GLIBC_.*|LOCPATH|DOCKER_.*|KUBECONFIG|AWS_CONFIG_FILE|LESS.*|VISUAL|VIRTUAL_ENV|CONDA_.*"
    r"|CORECLR_.*|COR_.*|MONO_.*|ERL_.*|MAVEN_.*|GRADLE_.*)$"
)
"""Variables that decide which code a program loads; their values are part of the form."""


HASH_LENGTH: Final = 40
"""Hex digits of a form's hash: whoever writes the file chooses both forms, so half of its bits are what counts."""

_OURS: Final = frozenset({"MCP_COMPOSE_PYPI_RUNNER", "MCP_COMPOSE_NPM_RUNNER"})
"""Variables that are there to name images, and hold nothing else."""


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
    """A form whose hash covers its lines as they are and *identity*; its text cannot show less or other than that."""
    raw = list(lines)
    whole = json.dumps(["2", kind, subject, raw, identity], sort_keys=True, ensure_ascii=True)
    text = "\n".join(map(visible, raw))
    return Form(kind, subject, text, hashlib.sha256(whole.encode()).hexdigest()[:HASH_LENGTH], once)


def as_text(value: Any) -> str:
    """*value* as JSON on one line of a form, its letters as they are."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


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
        found += _asking(project, name, server, variables)
        found += _widening(project, name, server, resolve)
    for name, server in project.servers.items():
        found += _remote(project, name, server, variables)
    found += _secrets(project, home, resolve)
    for path in project.provenance.include_env:
        found.append(form("environment file", "include", [f"reads {path} for the variables of an included file"]))
    if project.provenance.dotenv is not None:
        lines = [f"reads {project.provenance.dotenv} for the variables of the file"]
        found.append(form("environment file", ".env", lines))
    return tuple(found)


def _host(project: Project, name: str, server: Server, variables: Mapping[str, str]) -> Iterator[Form]:
    """Commands of the host, and packages that would run there."""
    if server.process is not None:
        argv = [expanded(word, variables) for word in server.process]
        yield form("process", name, [argv_text(argv), *_host_details(project, server, variables)], argv)
    elif server.package is not None and project.engine == "process":
        argv = [expanded(word, variables) for word in server.args]
        lines = [f"installs and runs {_as_written(project, name, 'package', server.package)}"]
        if server.command:
            lines.append(f"its program is {argv_text(expanded(word, variables) for word in server.command)}")
        lines += [f"with {argv_text(argv)}"] if argv else []
        yield form("package on the host", name, [*lines, *_host_details(project, server, variables)], server.package)


def _host_details(project: Project, server: Server, variables: Mapping[str, str]) -> Iterator[str]:
    yield f"in {server.working_dir or project.directory}"
    for key, text in sorted(server.environment.items()):
        template = f"${{{key}}}" if text is None else text
        if LOADER.match(key) and not secret_names(template):
            yield f"environment {key}={as_text(expanded(template, variables))}"
        else:
            yield f"environment {key}={template}"
    for use in server.secrets:
        yield f"secret {secret_text(project, use.source)} as {use.env or use.target or use.source}"


def _build(project: Project, name: str, server: Server, digest: str) -> Iterator[Form]:
    if (build := server.build) is not None:
        yield form(
            "build",
            name,
            [
                f"builds {project.directory / build.context} with {build.dockerfile}",
                *(
                    f"argument {key}={_as_written(project, name, f'build.args.{key}', value)}"
                    for key, value in sorted(build.args.items())
                ),
                *([f"stage {build.target}"] if build.target else []),
                f"content {digest}",
            ],
            sorted(build.args.items()),
        )


def _asking(project: Project, name: str, server: Server, variables: Mapping[str, str]) -> Iterator[Form]:
    """Variables in what a registry or an index is asked for: the question itself carries them away."""
    places = {f"servers.{name}.{key}": key for key in ("image", "package", "runner", "platform")}
    if server.package is not None and server.runner is None:
        kind = server.package.partition(":")[0]
        places[f"runners.{kind}"] = "runner"
    written = project.provenance.written
    lines = [
        f"asks for {key} {written[place]}{made_of(project, variable_names(written[place]))}"
        for place, key in places.items()
        if place in written and any(variables.get(v) and v not in _OURS for v in variable_names(written[place]))
    ]
    if lines and server.process is None:
        yield form("sending", name, lines)


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
        lines += [f"{key}: {as_text(value)}" for key, value in settings.items() if value]
        yield form("unsafe settings", name, [*lines, *_runs(server)])
    for volume in server.volumes:
        if volume.type == "bind":
            path = project.directory / volume.source
            real = Path(project.provenance.real.get(str(path)) or resolve(path))
            if not _inside(real, resolve(project.directory)):
                mode = "read-only" if volume.read_only else "writable"
                shown = f"{_plain(path)} (which is {real})" if _plain(path) != real else f"{real}"
                yield form("mount", name, [f"mounts {shown} at {volume.target}, {mode}", *_runs(server)])
    for file in server.env_file:
        path = resolve(project.directory / file)
        if not _inside(path, resolve(project.directory)):
            yield form("environment file", name, [f"reads {path}"])
    if project.engine != "process" and (gets := _network_text(server)) is not None:
        lines = [f"gets {gets}", *_runs(server)]
        if isinstance(server.network, NetworkAllow):
            lines.append(f"through a program of mcp-compose on image {project.runners.pypi}")
        volumes = [[volume.source, volume.target] for volume in server.volumes]
        yield form("network", name, [*lines, *_could_leave(project, name, server)], volumes or None)


def _network_text(server: Server) -> str | None:
    """The network of a server that is more than its own, in words."""
    if isinstance(server.network, NetworkAllow):
        return f"a way out to {', '.join(sorted(server.network.allow))} (`network: {{allow: …}}`)"
    if server.network not in {"open", "host"}:
        return None
    what = "the host's network" if server.network == "host" else "a network with a way out"
    return f"{what} (`network: {server.network}`)"


def _could_leave(project: Project, name: str, server: Server) -> Iterator[str]:
    """What of this machine a server with a way out is given, and could carry away: references, never values."""
    for use in sorted(server.secrets, key=lambda use: use.source):
        yield f"gets secret {secret_text(project, use.source)}"
    written = {key.removeprefix(f"servers.{name}."): text for key, text in project.provenance.written.items()}
    for index, volume in enumerate(server.volumes):
        if not any(f"{key}.".startswith(f"volumes.{index}.") for key in written):
            what = f"volume {volume.source}" if volume.type == "volume" else f"files of {volume.source}"
            yield f"gets {what} at {volume.target}, {'read-only' if volume.read_only else 'writable'}"
    for key, reference in sorted(written.items()):
        if key.partition(".")[0] not in {"servers", "runners", "image", "package", "runner", "platform", "build"}:
            yield f"gets {key} {reference}{made_of(project, variable_names(reference))}"
    for key, text in sorted(server.environment.items()):
        template = f"${{{key}}}" if text is None else text
        if _refers(template):
            yield f"gets environment {key}={template}{details(project, template)}"
    for word in (*(server.entrypoint or ()), *(server.command or ()), *server.args):
        if _refers(word):
            yield f"gets argument {word}{details(project, word)}"


def _runs(server: Server) -> Iterator[str]:
    """What a server with more than the defaults runs: the same image does other things with another command."""
    yield f"source {source_of(server)}"
    for key, words in (("entrypoint", server.entrypoint), ("command", server.command), ("args", server.args)):
        if words:
            yield f"{key} {argv_text(words)}"
    if server.healthcheck is not None and server.healthcheck.command is not None:
        yield f"health check {argv_text(server.healthcheck.command)}"
    if plain := {key: text for key, text in server.environment.items() if text is not None and not _refers(text)}:
        yield f"environment {as_text(plain)}"


def _remote(project: Project, name: str, server: Server, variables: Mapping[str, str]) -> Iterator[Form]:
    """What of this machine goes to a remote server; an address alone is nothing."""
    if server.url is None:
        return
    if is_unencrypted(there := expanded(server.url, variables)):
        line = f"speaks to {origin_of(there)} without TLS: who is on the way reads and changes it"
        yield form("unencrypted server", name, [line])
    headers = {key: text or "" for key, text in sorted(server.headers.items()) if _refers(text or "")}
    if headers or _refers(server.url):
        origin = origin_of(expanded(server.url, variables))
        lines = [f"sends to {server.url}{details(project, server.url)}"]
        if origin != origin_of(server.url) and not any(map(looks_secret, variable_names(server.url))):
            lines.append(f"which is at {origin}")
        lines += [f"header {key}={as_text(text)}{details(project, text)}" for key, text in headers.items()]
        yield form("sending", name, lines, origin)


def is_unencrypted(url: str) -> bool:
    """Whether *url* is HTTP without TLS to somewhere else than this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "http" and not is_here


def details(project: Project, template: str) -> str:
    """Where secrets of *template* come from, and what its variables are made of: names may stay and these change."""
    secrets = [secret_text(project, one) for one in sorted(secret_names(template))]
    found = f" (secret {', '.join(secrets)})" if secrets else ""
    return found + made_of(project, variable_names(template))


def made_of(project: Project, names: Iterable[str]) -> str:
    """Which other variables those of *names* are made of that `.env` makes."""
    made = project.provenance.made_of
    lines = [f"{name} is made of {', '.join(made[name])}" for name in sorted(names) if name in made]
    return f" ({'; '.join(lines)})" if lines else ""


def secret_text(project: Project, name: str) -> str:
    """A secret's name and source."""
    sources = []
    for source in project.secrets.get(name, ()):
        kept = source.model_dump(mode="json")
        more = made_of(project, [source.environment]) if isinstance(source, EnvironmentSource) else ""
        sources.append(as_text(kept) + more)
    return f"{name} from {' or '.join(sources)}"


def _as_written(project: Project, name: str, key: str, value: str) -> str:
    return project.provenance.written.get(f"servers.{name}.{key}", value)


def _refers(text: str) -> bool:
    return any(True for _ in references(text))


def _secrets(project: Project, home: Path, resolve: Resolve) -> Iterator[Form]:
    used = {use.source for server in project.servers.values() for use in server.secrets}
    for name, sources in project.secrets.items():
        for source in sources:
            if isinstance(source, CommandSource):
                yield form("secret command", name, [f"runs {argv_text(source.command)}", f"in {project.directory}"])
            elif isinstance(source, PodmanSource):
                yield form("secret command", name, [f"runs podman secret inspect --showsecret {source.podman}"])
            elif isinstance(source, DockerSource):
                yield form("secret file", name, [f"reads {MOUNTED / source.docker}"])
            elif isinstance(source, (FileSource, DotenvSource)):
                text = source.file if isinstance(source, FileSource) else source.dotenv.file
                path = resolve(source_path(text, home, project.directory))
                if not _inside(path, resolve(project.directory)):
                    key = f", key {source.dotenv.key}" if isinstance(source, DotenvSource) else ""
                    yield form("secret file", name, [f"reads {path}{key}"], sorted(used & {name}))


def source_of(server: Server) -> str:
    """What the server is, without its tag or version: those may change without another approval."""
    if server.image is not None:
        head, slash, tail = server.image.rpartition("/")
        return f"image {head}{slash}{tail.partition('@')[0].partition(':')[0]}"
    if server.package is not None:
        kind, _, requirement = server.package.partition(":")
        name = re.split(r"(?<=.)[@=<>!~\[ ]", requirement, maxsplit=1)[0]
        return f"package {kind}:{name}"
    if server.url is not None:
        return f"url {server.url}"
    if server.build is not None:
        return f"build {server.build.context}"
    return f"process {argv_text(server.process or ())}"


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """*text* with its variables, its secrets as references."""

    def hidden(name: str) -> str:
        return f"${{secret:{name}}}"

    try:
        return expand(text, variables.get, hidden)
    except TemplateError:
        return text


def argv_text(words: Iterable[str]) -> str:
    """A command line on one line."""
    return as_text(list(words))


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _inside(path: Path, directory: Path) -> bool:
    return path == directory or directory in path.parents
