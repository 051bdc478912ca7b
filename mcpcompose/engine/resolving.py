"""
What installing a package would bring, by hash: asked of the ecosystem's own installer where the package will run.

The installer reaches its index as it is configured there. What it says comes back as marked lines among its other
output, and hosts are left out: only names, versions and hashes.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final

from mcpcompose.engine.base import PackageImage, Resolved
from mcpcompose.engine.packages import PIP_INSTALL
from mcpcompose.errors import BuildFailed
from mcpcompose.spec.lockfile import DISTRIBUTION, INTEGRITY, MODULE_KEYS, MODULE_VERSION, PLACE

MARK: Final = "@mcp-compose-resolved@"
_LONGEST: Final = 64 << 20
_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")
_SCRIPT: Final = "/opt/mcp-compose-resolve.js"  # what follows the dot only matters to Node


def program(ecosystem: str) -> tuple[str, str]:
    """The interpreter that says it, and the program; its argument is the requirement."""
    return ("python3", RESOLVE_PYPI) if ecosystem == "pypi" else ("node", RESOLVE_NPM)


def files(source: PackageImage) -> dict[str, bytes]:
    """The build that says it on the runner of *source*, which has `python3` and `pip`, or `node` and `npm`."""
    interpreter, text = program(source.ecosystem)
    words = json.dumps([interpreter, _SCRIPT, source.requirement])
    lines = [f"FROM {source.runner}", "USER root", f"COPY resolve {_SCRIPT}", f"RUN {words}", ""]
    return {"Dockerfile": "\n".join(lines).encode(), "resolve": text.encode()}


class Answer:
    """Collects what the program prints, in pieces as they come, and finds the marked lines in it."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._length = 0
        self._has_begun = False

    def takes(self, piece: str) -> bool:
        """Whether *piece* is part of the answer, and nothing for people."""
        self._has_begun = self._has_begun or MARK in piece
        self._length += len(piece)
        if self._length <= _LONGEST:
            self._said.append(piece)
        return self._has_begun

    def of(self, source: PackageImage) -> Resolved:
        """What was said. Raises `BuildFailed` when it cannot be pinned by hash."""
        try:
            parts = re.findall(f"{MARK}([A-Za-z0-9+/=]+)", "".join(self._said))
            said = json.loads(base64.b64decode("".join(parts), validate=True))
        except (binascii.Error, ValueError) as error:
            raise _unpinnable(source, "its installer gave no answer") from error
        if source.ecosystem == "pypi":
            return Resolved(distributions=_distributions(source, said))
        return Resolved(modules=_modules(source, said))


def _distributions(source: PackageImage, said: Any) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, hashes in sorted(dict(said).items()):
        right = sorted({one for one in hashes if isinstance(one, str) and _SHA256.fullmatch(one)})
        if not DISTRIBUTION.fullmatch(name) or not right:
            raise _unpinnable(source, f"`{name}` has no SHA-256 hash, or comes from somewhere else than the index")
        found[name] = tuple(right)
    if not found:
        raise _unpinnable(source, "its installer found nothing to install")
    return found


def _modules(source: PackageImage, said: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for place, module in sorted(dict(said).items()):
        entry = {key: module[key] for key in MODULE_KEYS if key in module}
        if not PLACE.fullmatch(place):
            raise _unpinnable(source, f"`{place}` is no place for a module")
        if not MODULE_VERSION.fullmatch(str(entry.get("version"))):
            raise _unpinnable(source, f"`{place}` has no plain version")
        if not entry.get("inBundle") and not INTEGRITY.fullmatch(str(entry.get("integrity"))):
            raise _unpinnable(source, f"`{place}` has no SHA-512 hash, or comes from somewhere else than the index")
        found[place] = entry
    if not found:
        raise _unpinnable(source, "its installer found nothing to install")
    return found


def _unpinnable(source: PackageImage, why: str) -> BuildFailed:
    return BuildFailed(
        f"`{source.requirement}` cannot be pinned by hash: {why}",
        hint="use another version, or build an image of it with `build`",
    )


RESOLVE_PYPI: Final = """
import base64, json, os, subprocess, sys, tempfile
requirement = sys.argv[1]
report = os.path.join(tempfile.mkdtemp(), "report.json")
asked = [ARGS, "--dry-run", "--ignore-installed", "--quiet", "--only-binary", ":all:", "--report", report, requirement]
done = subprocess.run([sys.executable, "-m", "pip", *asked])
if done.returncode:
    print("every package it needs has to be there as a wheel for this Python", flush=True)
    sys.exit(done.returncode)
found = {}
for item in json.load(open(report))["install"]:
    info, about = item.get("download_info", {}), item["metadata"]
    key = f"{about['name'].lower().replace('_', '-').replace('.', '-')}=={about['version']}"
    archive = info.get("archive_info", {})
    own = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").partition("sha256=")[2]
    direct = item.get("is_direct") or "archive_info" not in info
    found[key] = [] if direct or not own else ["sha256:" + own]

def every_file():
    # The hashes of all files of these versions, so that another processor finds its own there.
    from pip._internal.commands import create_command
    from pip._internal.index.collector import parse_links
    from pip._vendor.packaging.utils import canonicalize_name, parse_wheel_filename
    from pip._vendor.packaging.version import Version
    command = create_command("download")
    with command.main_context():
        options, _ = command.parse_args(["--quiet", "nothing"])
        session = command.get_default_session(options)
        collector = command._build_package_finder(options=options, session=session)._link_collector
        def links(page):
            content = collector.fetch_response(page)
            return list(parse_links(content)) if content is not None else []
        for key in found:
            name, _, version = key.partition("==")
            sources = collector.collect_sources(name, candidates_from_page=links)
            for source in (one for group in sources for one in group if one is not None):
                for link in (*source.page_candidates(), *source.file_links()):
                    if not link.filename.endswith(".whl"):
                        continue
                    try:
                        parsed = parse_wheel_filename(link.filename)
                    except ValueError:
                        continue
                    if parsed[0] != canonicalize_name(name) or parsed[1] != Version(version):
                        continue
                    known = getattr(link, "_hashes", None) or {}
                    digest = known.get("sha256") or (link.hash if link.hash_name == "sha256" else None)
                    if digest and found[key]:
                        found[key].append("sha256:" + digest)

try:
    every_file()
except Exception as error:
    print(f"only the files for this machine are pinned: {type(error).__name__}: {error}", flush=True)
text = base64.b64encode(json.dumps(found).encode()).decode()
for start in range(0, len(text), 900):
    print("MARK" + text[start:start + 900], flush=True)
""".replace("ARGS", json.dumps(PIP_INSTALL)[1:-1]).replace("MARK", MARK)
"""Asks pip what it would install, wheels only: building one would run code and fetch what has no hash."""

RESOLVE_NPM: Final = """
const { spawnSync } = require("child_process"), fs = require("fs"), os = require("os"), path = require("path");
const requirement = process.argv[process.argv.length - 1];
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "npm-"));
const asked = ["install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier",
  "--omit=dev", "--lockfile-version=3", "--loglevel=error", "--cache", path.join(folder, "cache"),
  "--prefix", folder, requirement];
const done = spawnSync("npm", asked, { stdio: "inherit" });
if (done.error) console.error(String(done.error));
if (done.status !== 0) process.exit(done.status === null ? 1 : done.status);
const lock = JSON.parse(fs.readFileSync(path.join(folder, "package-lock.json"), "utf8"));
const found = Object.fromEntries(Object.entries(lock.packages).filter(([place]) => place !== ""));
fs.rmSync(folder, { recursive: true, force: true });
const text = Buffer.from(JSON.stringify(found)).toString("base64");
for (let start = 0; start < text.length; start += 900) console.log("MARK" + text.slice(start, start + 900));
""".replace("MARK", MARK)
"""Asks npm for the tree that it would install, for every platform."""
