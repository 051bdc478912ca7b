"""Images on a container engine: looked up, pulled, built from a Dockerfile, or made of a package on a runner image."""

from __future__ import annotations

import asyncio
import json
import re
import secrets as randomness
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final
from urllib.parse import urlencode

from mcpcompose.engine import build, packages, resolving
from mcpcompose.engine.base import BuiltImage, ImageSource, PackageImage, Progress, RegistryImage, Resolved
from mcpcompose.engine.docker_client import DockerClient, all_credentials, credentials
from mcpcompose.engine.docker_http import lines
from mcpcompose.errors import BuildFailed, EngineError, ImageMissing, InstanceMissing
from mcpcompose.spec.lockfile import repository

KEPT_LINES: Final = 20
FEW: Final = 4
_REGISTRY_WORDS: Final = (
    "denied",
    "unauthorized",
    "manifest",
    "no such host",
    "connection refused",
    "not found",
    "timeout",
    "no basic auth",
    "http response to https client",
    "server gave",
    "dial tcp",
    "registry",
)


class DockerImages:
    """Makes images be there."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self._under_way: dict[str, asyncio.Lock] = {}

    async def present(self, references: frozenset[str]) -> tuple[tuple[str, str], ...]:
        """The id of every reference that exists locally."""
        known: dict[str, str] = {}
        if len(references) > FEW:
            listed = await self._client.call("list images", lambda api: api.images())
            named = ((image, (*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ()))) for image in listed)
            known = {name: image["Id"] for image, names in named for name in names}
        rest = sorted(references - known.keys())
        found = await asyncio.gather(*(self.inspect(reference) for reference in rest))
        known |= {reference: image["Id"] for reference, image in zip(rest, found, strict=True) if image is not None}
        return tuple((reference, known[reference]) for reference in sorted(references) if reference in known)

    async def inspect(self, reference: str) -> dict[str, Any] | None:
        """What the engine knows of an image, or None."""
        try:
            found: dict[str, Any] = await self._client.call(
                f"look up image `{reference}`", lambda api: api.inspect_image(reference)
            )
        except (ImageMissing, InstanceMissing):
            return None
        return found

    async def digest_of(self, reference: str) -> str | None:
        """The digest that a registry has a local image under: of its own repository, the registry's word if several."""
        found = await self.inspect(reference)
        wanted = familiar(repository(reference))
        digests = sorted(
            digest
            for name, _, digest in (one.partition("@") for one in (found or {}).get("RepoDigests") or ())
            if familiar(name) == wanted
        )
        if len(digests) > 1:
            with suppress(EngineError):
                if (digest := await self.registry_digest(reference)) in digests:
                    return digest
        return digests[0] if digests else None

    async def registry_digest(self, reference: str) -> str:
        """The digest that the registry has *reference* under now."""
        doing = f"look up `{reference}` in its registry"
        try:
            said = await self._client.call(doing, lambda api: api.inspect_distribution(reference))
        except (ImageMissing, InstanceMissing) as error:
            raise ImageMissing(error.message, hint=_PULL_HINT) from error
        return str(said["Descriptor"]["digest"])

    async def resolve(self, source: PackageImage, progress: Progress) -> Resolved:
        """What installing a package on its runner would bring."""
        packages.distribution(source.ecosystem, source.requirement)
        await self.ensure(runner_of(source), refresh=False, progress=progress)
        progress(f"looking up what `{source.requirement}` needs")
        said, tag = resolving.Answer(), f"mcp-compose/resolving:{randomness.token_hex(8)}"
        settings = {"nocache": "1", "platform": source.platform}
        try:
            archive = build.archive(resolving.files(source))
            await self._run_build(tag, archive, progress, settings, aside=said.takes)
        except BuildFailed as error:
            raise BuildFailed(
                str(error).replace(f"build `{tag}`", f"look up `{source.requirement}`"), hint=error.hint
            ) from error
        finally:
            await self.remove(tag)
        return said.of(source)

    async def remove(self, reference: str) -> None:
        """Remove an image; one that is not there is fine."""
        with suppress(ImageMissing, InstanceMissing):
            await self._client.call(f"remove image `{reference}`", lambda api: api.remove_image(reference))

    async def ensure(self, source: ImageSource, *, refresh: bool, progress: Progress) -> str:
        """Make the image be there; the same image is made once, however many ask at the same time."""
        reference = source.reference if isinstance(source, RegistryImage) else source.tag
        async with self._under_way.setdefault(reference, asyncio.Lock()):
            found = await self.inspect(reference)
            if found is not None and not refresh and _fits(found, source.platform):
                return str(found["Id"])
            match source:
                case RegistryImage():
                    await self._pull(source, progress)
                case BuiltImage():
                    await self._build(source, progress)
                case PackageImage():
                    await self._install(source, progress, refresh=refresh)
            made = await self.inspect(reference)
            if made is None:
                raise ImageMissing(f"image `{reference}` does not exist after it was made")
            return str(made["Id"])

    async def _pull(self, source: RegistryImage, progress: Progress) -> None:
        """On a connection of its own and without a thread: a registry may take forever to answer."""
        if source.pin and "@" not in source.pin:
            raise ImageMissing(
                f"image `{source.ref}` is locked as `{source.pin}`, which is not here and in no registry"
            )
        progress(f"pulling `{source.reference}`")
        doing, layers = f"pull `{source.reference}`", _Layers()
        repository, tag = _pull_arguments(source.reference)
        headers = await self._client.call(doing, lambda api: credentials(api, repository))
        asked = {"fromImage": repository, "tag": tag} | ({"platform": source.platform} if source.platform else {})
        try:
            async with aclosing(lines(self._client, f"/images/create?{urlencode(asked)}", doing, headers)) as told:
                async for line in told:
                    if text := layers.told(line, doing):
                        progress(text)
        except ImageMissing as error:
            error.hint = error.hint or _PULL_HINT
            raise
        except EngineError as error:
            if any(word in str(error).lower() for word in _REGISTRY_WORDS):
                raise ImageMissing(str(error), hint=_PULL_HINT) from error
            raise

    async def _build(self, source: BuiltImage, progress: Progress) -> None:
        await asyncio.to_thread(build.entries, source.context, source.dockerfile)
        await self._run_build(
            source.tag,
            build.context_tar(source.context, source.dockerfile, expected=source.digest),
            progress,
            {
                "dockerfile": source.dockerfile,
                "buildargs": json.dumps(dict(source.args)),
                "target": source.target,
                "platform": source.platform,
            },
        )

    async def _install(self, source: PackageImage, progress: Progress, *, refresh: bool) -> None:
        packages.distribution(source.ecosystem, source.requirement)
        await self.ensure(runner_of(source), refresh=False, progress=progress)
        runner = await self.inspect(source.runner) or {}
        user = (runner.get("Config") or {}).get("User") or ""
        text = packages.dockerfile(source.ecosystem, source.requirement, source.runner, user, source.pinned)
        files = {"Dockerfile": text.encode()}
        if source.pinned:
            files[packages.pinned_name(source.ecosystem)] = source.pinned.encode()
        progress(f"installing `{source.requirement}` on `{source.runner}`")
        await self._run_build(
            source.tag,
            build.archive(files),
            progress,
            {"nocache": "1" if refresh else None, "platform": source.platform},
        )

    async def _run_build(
        self,
        tag: str,
        archive: Iterator[bytes],
        progress: Progress,
        asked: Mapping[str, str | None],
        aside: Callable[[str], bool] = lambda _line: False,
    ) -> None:
        """
        On a connection of its own as well: a build may say nothing for hours, and ends when the connection does.

        Lines that *aside* takes are told to nobody else.
        """
        doing, last = f"build `{tag}`", deque[str](maxlen=KEPT_LINES)
        fields = {"t": tag, "rm": "1", "forcerm": "1", **{name: value for name, value in asked.items() if value}}
        headers = {"Content-Type": "application/tar", **await self._client.call(doing, all_credentials)}
        said = lines(self._client, f"/build?{urlencode(fields)}", doing, headers, body=archive)
        try:
            async with aclosing(said) as told:
                async for line in told:
                    if not aside(line.get("stream") or ""):
                        _take(line, tag, last, progress)
        except ImageMissing as error:
            raise BuildFailed(str(error), hint="check the image after `FROM`") from error
        except BuildFailed:
            raise
        except EngineError as error:
            raise BuildFailed(str(error), hint=error.hint) from error


_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PULL_HINT: Final = "check the image's name and your network; `docker login` if its registry is private"
_BUILD_HINT: Final = "this engine's builder does not know it; build the image yourself and use `image`"


class _Layers:
    """A pull's progress as one figure."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, int]] = {}
        self._percent = -1

    def told(self, line: dict[str, Any], doing: str) -> str | None:
        """A line for people when the figure has changed. Raises `ImageMissing` for one that says why not."""
        if said := line.get("error"):
            raise ImageMissing(f"cannot {doing}: {said}", hint=_PULL_HINT)
        detail = line.get("progressDetail") or {}
        if line.get("status") == "Downloading" and detail.get("total"):
            self._sizes[line.get("id", "")] = (detail.get("current", 0), detail["total"])
        elif line.get("status") == "Download complete" and (size := self._sizes.get(line.get("id", ""))):
            self._sizes[line.get("id", "")] = (size[1], size[1])
        else:
            return None
        percent = 100 * sum(done for done, _ in self._sizes.values()) // sum(total for _, total in self._sizes.values())
        if percent == self._percent:
            return None
        self._percent = percent
        return f"pulling {percent} %"


def runner_of(source: PackageImage) -> RegistryImage:
    """The image that a package is installed on; one that is named by its digest or id stands for itself."""
    pin = source.runner if "@" in source.runner or source.runner.startswith("sha256:") else ""
    return RegistryImage(source.runner, source.platform, pin)


def familiar(name: str) -> str:
    """A repository's name as people write it, whatever an engine adds."""
    return name.removeprefix("docker.io/").removeprefix("library/")


def _pull_arguments(reference: str) -> tuple[str, str]:
    """Repository and tag (or digest), as the pull call wants them."""
    if "@" in reference:
        repository, digest = reference.split("@", 1)
        return repository, digest
    repository, colon, tag = reference.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (reference, "latest")


def _fits(image: dict[str, Any], platform: str | None) -> bool:
    if platform is None:
        return True
    wanted = platform.split("/")
    return [image.get("Os"), image.get("Architecture")] == wanted[:2]


def _take(line: dict[str, Any], tag: str, last: deque[str], progress: Progress) -> None:
    """Tell what a build says; raise `BuildFailed` when it says that it failed."""
    if text := _worth_telling(line):
        last.append(text)
        progress(text.splitlines()[-1][:200])
    if why := line.get("error"):
        raise BuildFailed(_failure(tag, why, last), hint=_BUILD_HINT if "BuildKit" in why else None)


def _worth_telling(line: dict[str, Any]) -> str:
    """What a build says, without colours and without the builder's own bookkeeping."""
    text = _COLOURS.sub("", line.get("stream") or line.get("status") or "").strip()
    return "" if text.startswith(("--->", "Removing intermediate", "sha256:")) else text


def _failure(tag: str, said: str, last: deque[str]) -> str:
    return "\n".join([f"cannot build `{tag}`: {said.strip()}", *last])
