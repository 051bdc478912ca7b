"""
Packages from the indexes: what may be asked for, how it is installed, and which of its programs is the server.

The requirement is never part of a shell command: it is one argument of the installer, and has to look like one.
"""

from __future__ import annotations

import json
import re
from typing import Final, Literal

from mcpcompose.errors import BuildFailed

Ecosystem = Literal["pypi", "npm"]

HOME: Final = "/opt/mcp-compose"
"""Where a package lives in its image: `env` is its environment, `server` the program to run."""

_PYPI: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[A-Za-z0-9._,-]+\])?"
    r"(?:(?:===|[=<>~!]=|[<>])[A-Za-z0-9.*+!_,=<>~-]+)?"
)
_NPM: Final = re.compile(
    r"(?P<name>(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*)(?:@[A-Za-z0-9.^~<>=*|+_-]+)?", re.IGNORECASE
)
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_USER: Final = re.compile(r"[A-Za-z0-9._-]+(?::[A-Za-z0-9._-]+)?")


def distribution(ecosystem: Ecosystem, requirement: str) -> str:
    """The package's name in *requirement*. Raises `BuildFailed` for what is not a name with a version."""
    match = (_PYPI if ecosystem == "pypi" else _NPM).fullmatch(requirement)
    if match is None or match["name"].startswith("-"):
        example = "name==1.2.3" if ecosystem == "pypi" else "@scope/name@1.2.3"
        raise BuildFailed(
            f"`{requirement}` is not a package that can be installed", hint=f"write it like `{ecosystem}:{example}`"
        )
    return match["name"]


def dockerfile(ecosystem: Ecosystem, requirement: str, runner: str, user: str, pinned: str = "") -> str:
    """
    The Dockerfile that installs *requirement* on *runner*; *user* is who the runner's image runs as.

    With *pinned*, the archive's file of that content (`pinned_name`) says exactly what, by hash, and nothing else is.
    """
    name = distribution(ecosystem, requirement)
    if not _IMAGE.fullmatch(runner):
        raise BuildFailed(f"`{runner}` is not the name of an image", hint="check `runner`")
    environment = f"{HOME}/env"
    asked = [*PIP_PINNED, f"{HOME}/{pinned_name(ecosystem)}"] if pinned else [requirement]
    copied = [f"COPY {pinned_name(ecosystem)} {HOME}/{pinned_name(ecosystem)}"] if pinned else []
    if ecosystem == "pypi":
        programs = f"{environment}/bin"
        steps = [
            ["python3", "-m", "venv", "--without-pip", environment],
            ["python3", "-m", "pip", "--python", environment, *PIP_INSTALL, "--no-cache-dir", *asked],
            [f"{programs}/python", "-c", LINK_PYPI, name, HOME],
        ]
    else:
        programs = f"{environment}/node_modules/.bin"
        steps = [
            ["node", "-e", INSTALL_NPM, "--", environment, f"{HOME}/{pinned_name('npm')}" if pinned else requirement],
            ["node", "-e", LINK_NPM, "--", name, HOME],
        ]
    return "\n".join(
        [
            f"FROM {runner}",
            "USER root",
            *copied,
            *(f"RUN {json.dumps(step)}" for step in steps),
            f"ENV PATH={programs}:$PATH",
            f'ENTRYPOINT ["{HOME}/server"]',
            "CMD []",
            *([f"USER {user}"] if _USER.fullmatch(user) else []),
            "",
        ]
    )


def pinned_name(ecosystem: Ecosystem) -> str:
    """The name of the file that says exactly what is installed."""
    return "requirements.txt" if ecosystem == "pypi" else "package-lock.json"


PIP_PINNED: Final = ("--require-hashes", "--only-binary", ":all:", "--requirement")
"""A dependency that is not in the file fails the installation, and so does a file of another hash."""
PIP_INSTALL: Final = ("install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off")
NPM_INSTALL: Final = ("install", "--no-audit", "--no-fund", "--no-update-notifier", "--omit=dev", "--loglevel=error")

LINK_PYPI: Final = """
import os, re, sys
from importlib.metadata import distribution
name, home = sys.argv[1:3]
plain = lambda text: re.sub(r"[-_.]+", "-", text).lower()
programs = sorted({e.name for e in distribution(name).entry_points if e.group == "console_scripts"})
chosen = [p for p in programs if plain(p) == plain(name)] or programs
if len(chosen) > 1:
    chosen = [p for p in chosen if "mcp" in p.lower()]
target = os.path.join(home, "server")
if len(chosen) == 1:
    os.symlink(os.path.join("env", "bin", chosen[0]), target)
else:
    module = name.replace("-", "_").replace(".", "_")
    said = f"package {name} has several programs ({', '.join(programs)}): name one with `command`"
    with open(target, "w") as file:
        file.write(f"#!{sys.executable}\\n")
        if programs:
            file.write(f"import sys\\nsys.exit({said!r})\\n")
        else:
            file.write(f"import runpy\\nrunpy.run_module({module!r}, run_name='__main__', alter_sys=True)\\n")
    os.chmod(target, 0o755)
"""
"""Links the console script of a distribution to `server`; one without any is run as a module."""

LINK_NPM: Final = """
const fs = require("fs"), path = require("path");
const [name, home] = process.argv.slice(-2);
const root = path.join(home, "env", "node_modules", name);
const made = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));
const plain = made.name.split("/").pop();
const bin = typeof made.bin === "string" ? { [plain]: made.bin } : made.bin || {};
const programs = Object.keys(bin).sort();
let chosen = programs.includes(plain) ? [plain] : programs;
if (chosen.length > 1) chosen = chosen.filter((p) => p.toLowerCase().includes("mcp"));
const target = path.join(home, "server");
if (chosen.length === 1) fs.symlinkSync(path.join("env", "node_modules", ".bin", chosen[0]), target);
else {
  const found = programs.length ? `several programs (${programs.join(", ")})` : "no program";
  const said = JSON.stringify(`package ${name} has ${found}: name one with \\`command\\``);
  const text = `#!${process.execPath}\\nconsole.error(${said}); process.exit(1);\\n`;
  fs.writeFileSync(target, text, { mode: 0o755 });
}
"""
"""Links the `bin` of a package to `server`."""

INSTALL_NPM: Final = """
const { spawnSync } = require("child_process"), fs = require("fs"), os = require("os"), path = require("path");
const [prefix, requirement] = process.argv.slice(-2);
const cache = fs.mkdtempSync(path.join(os.tmpdir(), "npm-"));
fs.mkdirSync(prefix, { recursive: true });
const pinned = path.isAbsolute(requirement);
if (pinned) {
  const text = fs.readFileSync(requirement, "utf8");
  fs.writeFileSync(path.join(prefix, "package-lock.json"), text);
  fs.writeFileSync(path.join(prefix, "package.json"), JSON.stringify(JSON.parse(text).packages[""]));
}
const asked = pinned ? ["ci", ...ARGS.slice(1)] : [...ARGS, requirement];
const done = spawnSync("npm", [...asked, "--cache", cache, "--prefix", prefix], { stdio: "inherit" });
fs.rmSync(cache, { recursive: true, force: true });
if (done.error) console.error(String(done.error));
process.exit(done.status === null ? 1 : done.status);
""".replace("ARGS", json.dumps(NPM_INSTALL))
"""Installs a package, or exactly what a lock at an absolute path says, and leaves no cache behind; no shell."""
