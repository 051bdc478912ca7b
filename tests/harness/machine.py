"""A second engine on this machine, with everything of its own: another developer's, as far as a project can tell."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.wait import until


@contextmanager
def another_engine(*, reaches_out: bool = False) -> Iterator[str]:
    """
    The `DOCKER_HOST` of a second `dockerd`; ended and removed afterwards.

    It has a bridge of its own: told to have none, it would remove that of the first engine. Without *reaches_out* it
    leads nowhere.
    """
    program = shutil.which("dockerd")
    if program is None or os.getuid() != 0:
        pytest.skip("a second engine needs `dockerd` and root; `scripts/engine up` brings the first one")
    folder = Path(tempfile.mkdtemp(prefix="mcd-", dir="/tmp"))
    (folder / "daemon.json").write_text("{}")
    host = f"unix://{folder / 's.sock'}"
    bridge = f"mcd{os.getpid()}"
    command = [
        program, "--config-file", str(folder / "daemon.json"), "-H", host, "--pidfile", str(folder / "pid"),
        "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
        "--bridge", bridge, "--iptables=false", "--ip6tables=false",
    ]  # fmt: skip
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", f"10.213.{os.getpid() % 250}.1/28", "dev", bridge], check=True)
    rules = _ways_out(bridge, f"10.213.{os.getpid() % 250}.0/28") if reaches_out else []
    for rule in rules:
        subprocess.run(["iptables", "-w", *rule], check=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        until(lambda: process.poll() is not None or _answers(host), "the second engine answers", 60)
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        yield host
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for rule in rules:
            subprocess.run(["iptables", "-w", *("-D" if word == "-I" else word for word in rule)], check=False)
        subprocess.run(["ip", "link", "delete", bridge], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _ways_out(bridge: str, subnet: str) -> list[list[str]]:
    """What the second engine would do by itself, without touching what the first one did."""
    return [
        ["-I", "FORWARD", "-i", bridge, "-j", "ACCEPT"],
        ["-I", "FORWARD", "-o", bridge, "-j", "ACCEPT"],
        ["-t", "nat", "-I", "POSTROUTING", "-s", subnet, "!", "-o", bridge, "-j", "MASQUERADE"],
    ]


def _answers(host: str) -> bool:
    asked = ["docker", "-H", host, "version"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0
