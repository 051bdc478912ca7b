"""
Launch settings that are refused unless `unsafe` on that server names them one by one.

The rules are pure; what touches the disk (where a path really leads) comes in as *resolve*. Every engine
calls `refuse` before it makes an instance, so nothing depends on who called it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from mcpcompose.engine.base import InstanceSpec, Mount
from mcpcompose.errors import DangerRefused

Resolve = Callable[[Path], Path]


@dataclass(frozen=True, slots=True)
class Danger:
    """One dangerous setting: *id* is what `unsafe` has to name, *message* says what it does."""

    id: str
    message: str


TREES: Final = {
    "/proc": "the kernel's view of every process",
    "/sys": "the kernel's settings",
    "/dev": "the machine's devices",
    "/etc": "the machine's configuration",
    "/boot": "what the machine boots from",
    "/run": "the machine's sockets, engine sockets among them",
    "/var/run": "the machine's sockets, engine sockets among them",
    "/var/lib/docker": "the engine's own files",
    "/var/lib/containerd": "the engine's own files",
    "/var/lib/containers": "the engine's own files",
    "/var/lib/kubelet": "the secrets of every pod",
    "/var/spool/cron": "what the machine runs by itself",
    "/lib/modules": "kernel modules",
    "/usr/lib/modules": "kernel modules",
}
"""Host folders that are dangerous with everything below them, and with everything above them."""

WRITABLE_TREES: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
"""Host folders that are dangerous unless mounted read-only."""

PRIVATE: Final = (
    ".ssh", ".aws", ".azure", ".docker", ".gnupg", ".kube", ".netrc", ".pypirc", ".npmrc", ".git-credentials",
    ".gitconfig", ".pgpass", ".password-store", ".mozilla", ".thunderbird", ".bash_history", ".zsh_history",
    ".bashrc", ".bash_profile", ".profile", ".zshrc", ".config", ".local/share/keyrings",
    ".local/share/containers", ".local/state/mcp-compose", ".cache/mcp-compose", ".cache/mcp-compose-run",
    ".claude", ".claude.json", ".cursor", ".codex", ".gemini", ".terraform.d", ".vault-token",
    ".cargo/credentials.toml", "Library/Keychains", "Library/Application Support",
)  # fmt: skip
"""What a home folder keeps to itself."""

SOCKETS: Final = frozenset(
    f"{name}.sock" for name in ("docker", "docker.raw", "podman", "containerd", "crio", "cri-dockerd", "buildkitd")
)
"""Names of engine sockets, wherever they are: who can write to one owns the machine."""

HARMLESS_OPTIONS: Final = frozenset({"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"})


def resolve_path(path: Path) -> Path:
    """Where *path* really leads; what does not exist is followed as far as it does."""
    return path.resolve()


def dangers(
    spec: InstanceSpec, *, home: Path, resolve: Resolve = resolve_path, protected: Iterable[Path] = ()
) -> tuple[Danger, ...]:
    """
    Every dangerous setting of *spec*, whether `unsafe` names it or not.

    *protected* are more host paths that nobody may mount: this program's own folders, the engine's socket.
    """
    rules = _Rules(home, resolve, tuple(protected))
    return (*_privileges(spec), *(found for mount in spec.mounts if (found := rules.mount(mount)) is not None))


def unnamed(
    spec: InstanceSpec, *, home: Path, resolve: Resolve = resolve_path, protected: Iterable[Path] = ()
) -> tuple[Danger, ...]:
    """The dangers of *spec* that its `unsafe` does not name."""
    named = {form for entry in spec.unsafe for form in _forms(entry, home, resolve)}
    return tuple(d for d in dangers(spec, home=home, resolve=resolve, protected=protected) if d.id not in named)


def refuse(spec: InstanceSpec, *, home: Path, resolve: Resolve = resolve_path, protected: Iterable[Path] = ()) -> None:
    """Raise `DangerRefused` when *spec* has a danger that its `unsafe` does not name."""
    if found := unnamed(spec, home=home, resolve=resolve, protected=protected):
        names = ", ".join(f'"{danger.id}"' for danger in found)
        raise DangerRefused(
            f"server `{spec.server}` {' and '.join(danger.message for danger in found)}",
            hint=f"if it really needs this, say so on the server: `unsafe: [{names}]`",
        )


def launchable(
    spec: InstanceSpec, *, home: Path, resolve: Resolve = resolve_path, protected: Iterable[Path] = ()
) -> InstanceSpec:
    """
    *spec* with every bind mount at the path that was judged, symlinks already followed.

    Raises `DangerRefused`, also when a path leads elsewhere than it did when it was approved.
    """
    refuse(spec, home=home, resolve=resolve, protected=protected)
    mounts = (replace(m, source=str(resolve(Path(m.source)))) if m.type == "bind" else m for m in spec.mounts)
    made = replace(spec, mounts=tuple(mounts))
    for mount in made.mounts:
        if mount.type == "bind" and mount.real not in {"", mount.source}:
            raise _moved(spec.server, mount.real, mount.source)
    return made


def refuse_moved(server: str, sources: Iterable[str], *, resolve: Resolve = resolve_path) -> None:
    """Raise `DangerRefused` when one of *sources*, real paths once, is or is reached through a symbolic link now."""
    for source in sources:
        if str(real := resolve(Path(source))) != source:
            raise _moved(server, source, str(real))


def _moved(server: str, source: str, real: str) -> DangerRefused:
    return DangerRefused(
        f"server `{server}` mounts `{source}`, which leads to `{real}` now", hint="run `mcp-compose up` again"
    )


def _privileges(spec: InstanceSpec) -> Iterator[Danger]:
    hardening = spec.hardening
    if hardening.privileged:
        yield Danger("privileged", "asks to be `privileged`, which is root on the host")
    for name in hardening.cap_add:
        yield Danger(f"cap_add:{_capability(name)}", f"asks for the capability `{_capability(name)}`")
    for device in hardening.devices:
        yield Danger(f"device:{_device(device)}", f"asks for the host device `{_device(device)}`")
    for option in hardening.security_opt:
        if option.replace(" ", "").lower() not in HARMLESS_OPTIONS:
            yield Danger(f"security_opt:{option}", f"asks for the security option `{option}`")
    if hardening.pid_host:
        yield Danger("pid:host", "asks for the host's process namespace (`pid: host`)")
    if hardening.ipc_host:
        yield Danger("ipc:host", "asks for the host's IPC namespace (`ipc: host`)")
    if hardening.userns_host:
        yield Danger("userns_mode:host", "asks for the host's user namespace (`userns_mode: host`)")
    if spec.network == "host" or ":" in spec.network:
        yield Danger(f"network:{spec.network}", f"asks for another network namespace (`network: {spec.network}`)")


class _Rules:
    """Judges mounts: by the path as written and by where it really leads."""

    def __init__(self, home: Path, resolve: Resolve, protected: tuple[Path, ...]) -> None:
        self._resolve = resolve
        self._homes = tuple({home, resolve(home), Path("/root")})
        self._protected = tuple({path for one in protected for path in (one, resolve(one))})

    def mount(self, mount: Mount) -> Danger | None:
        """The danger of one mount, or None."""
        if mount.type == "volume":
            if "/" in mount.source or mount.source in {"", ".", ".."}:
                return Danger(f"mount:{mount.source}", f"mounts `{mount.source}`, which is not a volume's name")
            return None
        written = Path(os.path.normpath(mount.source))
        if not written.is_absolute():
            return Danger(f"mount:{mount.source}", f"mounts `{mount.source}`, which is not an absolute path")
        real = self._resolve(Path(mount.source))
        for path in dict.fromkeys((real, _plain(real), written, _plain(written))):
            if why := self._why(path, read_only=mount.read_only):
                led = f"`{mount.source}`" if real == written else f"`{mount.source}` (which is `{real}`)"
                return Danger(f"mount:{_plain(real)}", f"mounts {led}: {why}")
        return None

    def _why(self, path: Path, *, read_only: bool) -> str | None:
        if path == Path("/"):
            return "the whole machine"
        if path.name in SOCKETS:
            return "an engine's socket, which is root on the host"
        text = str(path)
        for tree, why in TREES.items():
            if _within(text, tree) or _within(tree, text):
                return why
        if not read_only and any(_within(text, tree) for tree in WRITABLE_TREES):
            return "the machine's programs, and not read-only"
        if any(_within(path, own) or _within(own, path) for own in self._protected):
            return "files that belong to `mcp-compose` or the engine"
        return self._why_home(path)

    def _why_home(self, path: Path) -> str | None:
        if path in {Path("/home"), Path("/Users")}:
            return "everybody's home folder"
        for home in (*self._homes, *_other_homes(path)):
            if _within(home, path):
                return "a whole home folder, keys and tokens included"
            if not _within(path, home):
                continue
            for name in PRIVATE:
                private = home / name
                if _within(path, private) or _within(private, path):
                    return f"`~/{name}`, which a home folder keeps to itself"
        return None


def _within(path: Path | str, folder: Path | str) -> bool:
    text, base = str(path), str(folder)
    return base in {text, "/"} or text.startswith(f"{base}/")


def _other_homes(path: Path) -> Iterator[Path]:
    parts = path.parts
    if len(parts) > 2 and parts[1] in {"home", "Users"}:  # noqa: PLR2004  /home/NAME
        yield Path(*parts[:3])


def _plain(path: Path) -> Path:
    """`/var/run` is `/run`, and `/private` is where macOS keeps `/etc` and `/var`, on every machine."""
    text = str(path)
    for prefix, instead in (("/private/etc", "/etc"), ("/private/var", "/var"), ("/var/run", "/run")):
        if text == prefix or text.startswith(prefix + "/"):
            text = instead + text[len(prefix) :]
    return Path(text)


def _forms(entry: str, home: Path, resolve: Resolve) -> Iterator[str]:
    """What an entry of `unsafe` names; never by following links, which could be changed after it was approved."""
    kind, _, rest = entry.partition(":")
    match kind:
        case "cap_add":
            yield f"cap_add:{_capability(rest)}"
        case "device":
            yield f"device:{_device(rest)}"
        case "mount":
            yield entry
            homes = (home, resolve(home)) if rest == "~" or rest.startswith("~/") else (None,)
            for one in homes:
                text = rest if one is None else str(one) + rest[1:]
                yield f"mount:{_plain(Path(os.path.normpath(text)))}"
        case _:
            yield entry


def _capability(name: str) -> str:
    return name.strip().upper().removeprefix("CAP_")


def _device(device: str) -> str:
    """The host's part of `/dev/x:/dev/y:rwm`; other forms (CDI names) as they are."""
    return str(PurePosixPath(os.path.normpath(device.partition(":")[0]))) if device.startswith("/") else device
