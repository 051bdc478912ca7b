from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcpcompose.errors import UsageError
from mcpcompose.orchestrator.forms import launch_forms
from mcpcompose.secrets.base import Absent, StoreUnusable
from mcpcompose.secrets.engine_secrets import DockerProvider, PodmanProvider
from orchestrator.stage import project

VALUE = b"planted-value-of-this-test"
NEWER = """\
#!/usr/bin/env python3
# What Podman 4.7 and later do with `secret create --replace`, `inspect [--showsecret]` and `rm`.
import json, os, sys
_, command, *words = sys.argv[1:]
name = next(word for word in words if not word.startswith("-"))
path = os.path.join(os.environ["HOME"], name)
assert sys.argv[1] == "secret"
if command == "create":
    if os.path.exists(path) and "--replace" not in words:
        sys.exit("Error: secret name in use")
    open(path, "wb").write(sys.stdin.buffer.read())
elif not os.path.exists(path):
    sys.exit(f'Error: inspecting secret: no secret with name or id "{name}": no such secret')
elif command == "rm":
    os.remove(path)
else:
    data = open(path, "rb").read().decode("utf-8", "replace")
    more = {"SecretData": data} if "--showsecret" in words else {}
    print(json.dumps([{"ID": "1", "Spec": {"Name": name}, **more}]))
"""
OLDER = '#!/bin/sh\necho "Error: unknown flag: --showsecret" >&2\nexit 125\n'


def podman(base: Path, script: str, name: str = "x") -> PodmanProvider:
    folder = base / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "podman").write_text(script)
    (folder / "podman").chmod(0o755)
    return PodmanProvider(name, {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(base)})


async def test_a_docker_secret_is_read_where_docker_mounts_it_and_elsewhere_the_error_says_why_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "x").write_bytes(VALUE + b"\n")

    assert await DockerProvider("x", tmp_path).read() == VALUE
    missing = await DockerProvider("y", tmp_path).read()
    assert missing == Absent(f"not mounted at `{tmp_path}/y` (no such file or directory)")
    assert "Docker tells nobody" in DockerProvider("y", tmp_path).next_step


async def test_a_podman_secret_is_set_read_and_removed(tmp_path: Path) -> None:
    asked = podman(tmp_path, NEWER)

    for value in (VALUE, b"another\n\n"):
        assert (await asked.write(value)).where == "Podman's secret `x`"
        assert await asked.read() == value.removesuffix(b"\n")
    assert await asked.remove() == ("Podman's secret `x`",)
    assert await asked.remove() == ()
    assert await asked.read() == Absent("no such secret")


async def test_what_podman_cannot_say_is_refused_and_not_delivered_spoilt(tmp_path: Path) -> None:
    asked = podman(tmp_path, NEWER)
    (tmp_path / "x").write_bytes(b"\xff\xfe" + VALUE)

    said = await asked.read()

    assert isinstance(said, Absent)
    assert "not text" in said.reason
    with pytest.raises(UsageError, match="only values that are text"):
        await asked.write(b"\xff" + VALUE)


async def test_an_older_podman_a_missing_one_and_one_that_breaks_are_told_apart(tmp_path: Path) -> None:
    older = podman(tmp_path, OLDER)

    said = await older.read()
    assert isinstance(said, Absent)
    assert "older than Podman 4.7" in said.reason
    with pytest.raises(StoreUnusable, match=r"older than Podman 4\.7"):
        await older.write(VALUE)
    none = PodmanProvider("x", {"PATH": "/nowhere"})
    assert await none.read() == Absent("`podman` cannot be run: no such file or directory")
    broken = podman(tmp_path, "#!/bin/sh\necho '[{}]'\n")
    assert "said no value" in str(await broken.read())
    assert await podman(tmp_path, "#!/bin/sh\nexit 3\n").read() == Absent("`podman` exited with 3")


def test_what_the_file_has_read_or_run_outside_the_project_needs_approval() -> None:
    sources = {"d": [{"docker": "x"}], "p": [{"podman": "y"}], "k": [{"keyring": "z"}]}
    what = project(servers={"a": {"image": "x", "secrets": ["d", "p", "k"]}}, secrets=sources)

    forms = launch_forms(what, variables={}, digests={}, home=Path("/home/me"))

    assert [(form.kind, form.subject, form.text) for form in forms] == [
        ("secret file", "d", "reads /run/secrets/x"),
        ("secret command", "p", "runs podman secret inspect --showsecret y"),
    ]
