"""Dangerous launch settings: sixty and more of them, each refused unless `unsafe` names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mcpcompose.engine.base import Hardening, InstanceSpec, Mount, RegistryImage, Stdio
from mcpcompose.engine.danger import dangers, launchable, refuse
from mcpcompose.errors import DangerRefused

HOME = Path("/home/ann")
OWN = (Path("/home/ann/.local/state/mcp/x"), Path("/srv/engine/engine.sock"))


def spec(*, mounts: tuple[Mount, ...] = (), network: str = "none", **hardening: object) -> InstanceSpec:
    return InstanceSpec(
        name="p-a-1",
        server="a",
        source=RegistryImage("a"),
        transport=Stdio(),
        labels=(),
        mounts=mounts,
        network=network,
        hardening=replace(Hardening(), **hardening),  # type: ignore[arg-type]
    )


def plain(path: Path) -> Path:
    return path


PATHS = {
    path: path
    for path in (
        "/", "/proc", "/proc/1/root", "/sys", "/sys/fs/cgroup", "/dev", "/dev/shm", "/etc", "/etc/shadow",
        "/etc/ssl/certs", "/boot", "/run", "/run/docker.sock", "/run/podman/podman.sock",
        "/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/user/1000", "/var", "/var/lib",
        "/var/lib/docker",
        "/var/lib/docker/volumes",
        "/var/lib/containers", "/var/lib/kubelet", "/var/spool/cron", "/usr", "/usr/local/bin", "/bin", "/lib/modules",
        "/opt/other/docker.sock", "/home", "/home/ann", "/home/ann/.ssh", "/home/ann/.ssh/id_ed25519", "/home/ann/.aws",
        "/home/ann/.docker/config.json", "/home/ann/.gnupg", "/home/ann/.kube", "/home/ann/.config/gcloud",
        "/home/ann/.config", "/home/ann/.netrc", "/home/ann/.npmrc", "/home/ann/.git-credentials", "/home/ann/.azure",
        "/home/ann/.bashrc", "/home/bob", "/home/bob/.ssh", "/root", "/root/.ssh", "/Users/eve/.aws",
        "/home/ann/.local", "/home/ann/.local/state/mcp/x", "/home/ann/.local/state/mcp/x/tokens",
        "/home/ann/.local/state/mcp", "/srv/engine", "/srv/engine/engine.sock",
    )
}  # fmt: skip
ALIASES = {
    "/var/run": "/run",
    "/var/run/docker.sock": "/run/docker.sock",
    "//etc": "/etc",
    "/etc/": "/etc",
    "/home/ann/project/../.ssh": "/home/ann/.ssh",
    "/home/ann/project/../../../etc": "/etc",
    "/private/etc": "/etc",
    "/private/var/run/docker.sock": "/run/docker.sock",
}
SETTINGS: list[tuple[str, InstanceSpec]] = [
    ("privileged", spec(privileged=True)),
    ("cap_add:SYS_ADMIN", spec(cap_add=("SYS_ADMIN",))),
    ("cap_add:NET_ADMIN", spec(cap_add=("cap_net_admin",))),
    ("cap_add:ALL", spec(cap_add=("all",))),
    ("device:/dev/kmsg", spec(devices=("/dev/kmsg",))),
    ("device:/dev/sda", spec(devices=("/dev/../dev/sda:/dev/x:rwm",))),
    ("device:nvidia.com/gpu=all", spec(devices=("nvidia.com/gpu=all",))),
    ("security_opt:seccomp=unconfined", spec(security_opt=("seccomp=unconfined",))),
    ("security_opt:apparmor=unconfined", spec(security_opt=("apparmor=unconfined",))),
    ("security_opt:no-new-privileges:false", spec(security_opt=("no-new-privileges:false",))),
    ("pid:host", spec(pid_host=True)),
    ("ipc:host", spec(ipc_host=True)),
    ("userns_mode:host", spec(userns_host=True)),
    ("network:host", spec(network="host")),
    ("network:container:other", spec(network="container:other")),
    ("mount:../../etc", spec(mounts=(Mount("bind", "../../etc", "/x"),))),
    ("mount:/etc", spec(mounts=(Mount("volume", "/etc", "/x"),))),
    ("mount:../x", spec(mounts=(Mount("volume", "../x", "/x"),))),
]
CASES = [
    *SETTINGS,
    *((f"mount:{real}", spec(mounts=(Mount("bind", path, "/x"),))) for path, real in (PATHS | ALIASES).items()),
]


def test_there_are_sixty_cases_and_more():
    assert len(CASES) >= 60


@pytest.mark.parametrize(("name", "dangerous"), CASES, ids=[f"{i}-{name}" for i, (name, _) in enumerate(CASES)])
def test_it_is_refused_unless_named(name: str, dangerous: InstanceSpec):
    with pytest.raises(DangerRefused) as refused:
        refuse(dangerous, home=HOME, resolve=lambda p: Path(_normal(p)), protected=OWN)

    assert refused.value.exit_code == 2
    assert f'"{name}"' in (refused.value.hint or "")
    refuse(replace(dangerous, unsafe=(name,)), home=HOME, resolve=lambda p: Path(_normal(p)), protected=OWN)


def _normal(path: Path) -> str:
    import os

    return os.path.normpath(path).replace("//", "/")


ORDINARY = ("/home/ann/project", "/home/ann/project/data", "/srv/data", "/data", "/mnt/disk", "/tmp/x")


@pytest.mark.parametrize("path", ORDINARY)
def test_ordinary_folders_are_no_danger(path: str):
    assert dangers(spec(mounts=(Mount("bind", path, "/x"),)), home=HOME, resolve=plain, protected=OWN) == ()


def test_the_defaults_are_no_danger():
    assert dangers(spec(security_opt=("no-new-privileges:true",)), home=HOME, resolve=plain) == ()


def test_programs_of_the_machine_may_be_mounted_read_only():
    assert dangers(spec(mounts=(Mount("bind", "/usr/share", "/x", read_only=True),)), home=HOME, resolve=plain) == ()


def test_a_symlink_is_judged_by_where_it_leads(tmp_path: Path):
    (tmp_path / "data").symlink_to("/etc")

    found = dangers(spec(mounts=(Mount("bind", str(tmp_path / "data"), "/x"),)), home=HOME)

    assert [danger.id for danger in found] == ["mount:/etc"]


def test_naming_the_symlink_does_not_allow_what_it_leads_to(tmp_path: Path):
    (tmp_path / "data").symlink_to("/etc")
    link = str(tmp_path / "data")

    with pytest.raises(DangerRefused):
        refuse(replace(spec(mounts=(Mount("bind", link, "/x"),)), unsafe=(f"mount:{link}",)), home=HOME)


def test_a_symlink_in_the_middle_of_a_path_is_followed(tmp_path: Path):
    (tmp_path / "data").symlink_to("/etc")

    with pytest.raises(DangerRefused):
        refuse(spec(mounts=(Mount("bind", str(tmp_path / "data" / "ssl"), "/x"),)), home=HOME)


def test_what_is_launched_is_the_path_that_was_judged(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    made = launchable(spec(mounts=(Mount("bind", str(tmp_path / "link"), "/x"),)), home=HOME)

    assert made.mounts[0].source == str(tmp_path / "real")


def test_home_may_be_written_as_a_tilde_in_unsafe():
    ssh = spec(mounts=(Mount("bind", "/home/ann/.ssh", "/x"),))

    refuse(replace(ssh, unsafe=("mount:~/.ssh",)), home=HOME, resolve=plain)


def test_naming_one_danger_does_not_allow_another():
    both = replace(spec(privileged=True, cap_add=("SYS_ADMIN",)), unsafe=("privileged",))

    with pytest.raises(DangerRefused, match="SYS_ADMIN") as refused:
        refuse(both, home=HOME, resolve=plain)

    assert "`privileged`" not in str(refused.value)
