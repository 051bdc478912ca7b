"""
What the lock says of a server, where it is about the server as the file declares it now.

Pure. A pin of another image or package than the declared one is no pin.
"""

from __future__ import annotations

import json

from mcpcompose.spec.lockfile import LockedImage, LockedPackage, LockedServer
from mcpcompose.spec.project import Project
from mcpcompose.spec.server import Server


def entry_of(project: Project, name: str) -> LockedServer | None:
    """What the lock has of the server *name*."""
    return project.lock.servers.get(name) if project.lock is not None else None


def image_pin(project: Project, name: str) -> LockedImage | None:
    """The locked image of a server with `image`."""
    entry = entry_of(project, name)
    image = entry.image if entry is not None else None
    return image if image is not None and image.ref == project.servers[name].image and image.pin else None


def package_pin(project: Project, name: str) -> LockedPackage | None:
    """The locked package of a server with `package`."""
    entry = entry_of(project, name)
    package = entry.package if entry is not None else None
    same = package is not None and package.requirement == project.servers[name].package and package.is_whole
    return package if same else None


def runner_pin(project: Project, name: str) -> LockedImage | None:
    """The locked image that the package is installed on."""
    package = package_pin(project, name)
    runner = package.runner if package is not None else None
    return runner if runner is not None and runner.ref == runner_of(project, name) and runner.pin else None


def runner_of(project: Project, name: str) -> str:
    """The image that the package of the server *name* is installed on."""
    server = project.servers[name]
    return server.runner or (project.runners.pypi if ecosystem(server) == "pypi" else project.runners.npm)


def ecosystem(server: Server) -> str:
    """`pypi` or `npm`."""
    return (server.package or "").partition(":")[0]


def pinned_text(ecosystem: str, requirement: str, package: LockedPackage) -> str:
    """What an installer is given: a file of requirements with hashes, or a `package-lock.json`."""
    if ecosystem == "pypi":
        lines = [
            " ".join([one, *(f"--hash={found}" for found in hashes)])
            for one, hashes in sorted(package.distributions.items())
        ]
        return "\n".join(lines) + "\n"
    modules = {path: dict(module) for path, module in sorted(package.modules.items())}
    name = requirement[: requirement.find("@", 1)] if "@" in requirement[1:] else requirement
    root = {"dependencies": {name: str(modules.get(f"node_modules/{name}", {}).get("version", "*"))}}
    return json.dumps({"lockfileVersion": 3, "requires": True, "packages": {"": root, **modules}}, indent=1)
