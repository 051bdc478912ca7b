"""
What of a project is not as its lock says, as far as nothing has to be started to know it.

Pure. Each difference names the server, and how to accept it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mcpcompose.errors import LockedStateDiffers
from mcpcompose.orchestrator.lock_pins import image_pin, package_pin, runner_of, runner_pin
from mcpcompose.spec.lockfile import FILE_NAME, LockedServer, accept_command
from mcpcompose.spec.project import Project


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs: of *server* (empty: of the project), *what* in a word, *text* for people."""

    server: str
    what: str
    text: str

    @property
    def command(self) -> str:
        """What a person runs to accept it."""
        return accept_command(self.server) if self.what not in {"new", "gone", "catalog"} else "mcp-compose lock"


def differences(project: Project, launches: Mapping[str, str], *, whole: bool = True) -> tuple[Difference, ...]:
    """
    What differs. *launches* are the identities of now (see `lock_identity`); not *whole*: only what would run counts.

    A project without a lock differs in nothing.
    """
    lock = project.lock
    if lock is None:
        return ()
    found: list[Difference] = []
    for name in project.servers:
        entry = lock.servers.get(name)
        if entry is None:
            found.append(Difference(name, "new", "is not in the lock"))
        else:
            found += _of_server(project, name, entry, launches.get(name, ""))
    if whole:
        gone = (name for name in lock.servers if name not in project.servers)
        found += [Difference(name, "gone", "is in the lock and not declared any more") for name in gone]
    return (*found, *_catalogs(project))


def raise_differences(found: tuple[Difference, ...]) -> None:
    """Raise `LockedStateDiffers` with all of *found*; nothing when there is none."""
    if found:
        commands = dict.fromkeys(one.command for one in found)
        raise LockedStateDiffers(
            "\n".join(sentence(one) for one in found),
            hint="look at what changed, then accept it: " + ", ".join(f"`{command}`" for command in commands),
        )


def sentence(one: Difference) -> str:
    """One difference as a sentence about its server."""
    return f"server `{one.server}` {one.text}" if one.server else one.text


def _of_server(project: Project, name: str, entry: LockedServer, launch: str) -> Iterator[Difference]:
    said = list(_source(project, name, entry))
    if not said and launch != entry.launch:
        what = "arguments, names of variables and secrets, mounts, network, URL or user"
        said = [f"is launched in another way than the lock holds ({what})"]
    yield from (Difference(name, "launch", text) for text in said)


def _source(project: Project, name: str, entry: LockedServer) -> Iterator[str]:
    server = project.servers[name]
    if server.image is not None and image_pin(project, name) is None:
        held = f"`{entry.image.ref}`" if entry.image is not None else "no image"
        yield f"runs image `{server.image}`, the lock holds {held}"
    elif server.package is not None and package_pin(project, name) is None:
        held = f"`{entry.package.requirement}`" if entry.package is not None else "no package"
        yield f"runs package `{server.package}`, the lock holds {held}"
    elif server.package is not None and project.engine != "process" and runner_pin(project, name) is None:
        runner = entry.package.runner if entry.package is not None else None
        held = f"`{runner.ref}`" if runner is not None else "none"
        yield f"is installed on `{runner_of(project, name)}`, the lock holds {held}"


def _catalogs(project: Project) -> Iterator[Difference]:
    held = project.lock.catalogs if project.lock is not None else {}
    now = catalog_digests(project)
    for name in sorted({*held, *now}):
        if held.get(name) != now.get(name):
            state = "changed" if name in held and name in now else "is not in the lock" if name in now else "is gone"
            yield Difference("", "catalog", f"catalog `{name}` {state} (`{FILE_NAME}`)")


def catalog_digests(project: Project) -> Mapping[str, str]:
    """The digests of the catalogs that the project's servers come from."""
    return project.provenance.catalog_digests
