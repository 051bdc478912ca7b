"""
A registry as the OCI distribution specification (1.1) describes it: manifests and blobs of one repository.

What a digest names is checked against it before anybody sees it. Credentials go to the registry they belong to and to
where that registry says that tokens are given out, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from mcpcompose.catalog.credentials import Credentials, DockerLogins
from mcpcompose.catalog.https import MAX_BYTES, Answer, Egress, Progress, is_loopback, quiet, shown
from mcpcompose.catalog.reference import DIGEST, Reference
from mcpcompose.errors import FetchFailed

MAX_MANIFEST: Final = 4 << 20
_MAX_TOKEN: Final = 1 << 20
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPTED: Final = f"{MANIFEST}, {INDEX}, {DOCKER_MANIFEST}, {DOCKER_INDEX}"
_CHALLENGE: Final = re.compile(r'([a-zA-Z_]+)="([^"]*)"|([a-zA-Z_]+)=([^\s,"]+)')
_OK: Final = 200
_CREATED: Final = (201, 202, 204)
_UNAUTHORISED: Final = 401
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as its registry keeps it; *content* is parsed, *data* the bytes that *digest* names."""

    digest: str
    media_type: str
    data: bytes = field(repr=False)
    content: Mapping[str, Any]


def digest_of(data: bytes) -> str:
    """What content-addressed storage calls *data*."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Repository:
    """One repository of one registry. Raises `FetchFailed` for everything that goes wrong."""

    def __init__(self, reference: Reference, egress: Egress, logins: DockerLogins) -> None:
        self.reference = reference
        self._egress, self._logins = egress, logins
        scheme = "http" if _is_local(reference.host) else "https"
        self._base = f"{scheme}://{reference.host}/v2/{reference.repository}/"
        self._authorization: dict[str, str] = {}

    async def manifest(self, wanted: str) -> Manifest | None:
        """The manifest with the tag or digest *wanted*, or None. One whose bytes are not its digest's is refused."""
        url = f"{self._base}manifests/{wanted}"
        answer = await self._ask("GET", url, "pull", headers={"accept": _ACCEPTED}, limit=MAX_MANIFEST)
        if answer.status == _NOT_FOUND:
            return None
        self._expect(answer, (_OK,), f"the manifest `{wanted}`")
        digest = digest_of(answer.body)
        said = answer.headers.get("docker-content-digest", digest)
        expected = wanted if DIGEST.fullmatch(wanted) else said
        if digest != expected:
            raise FetchFailed(
                f"`{self.reference.name}` answered with something else than `{expected}`: its digest is `{digest}`",
                hint="the registry, or what stands before it, is broken or hostile",
            )
        content = _object(answer.body, f"the manifest `{wanted}` of `{self.reference.name}`")
        media_type = str(content.get("mediaType") or answer.headers.get("content-type", "")).partition(";")[0]
        return Manifest(digest, media_type, answer.body, content)

    async def blob(self, digest: str, size: int, *, limit: int = MAX_BYTES, progress: Progress = quiet) -> bytes:
        """The bytes that *digest* names, *size* of them."""
        if not DIGEST.fullmatch(digest):
            raise FetchFailed(f"`{self.reference.name}` names a part by `{digest}`, which is no sha256 digest")
        if not 0 <= size <= limit:
            raise FetchFailed(f"`{self.reference.name}` has a part of {size} bytes; at most {limit} are taken")
        answer = await self._ask("GET", f"{self._base}blobs/{digest}", "pull", limit=size, progress=progress)
        self._expect(answer, (_OK,), f"the part `{digest}`")
        if len(answer.body) != size or digest_of(answer.body) != digest:
            raise FetchFailed(
                f"`{self.reference.name}` answered with something else than `{digest}`",
                hint="nothing of it was kept; the registry, or what stands before it, is broken or hostile",
            )
        return answer.body

    async def referrers(self, digest: str) -> tuple[Mapping[str, Any], ...]:
        """The descriptors of what refers to *digest*: by the API, else by the tag that stands for it."""
        answer = await self._ask("GET", f"{self._base}referrers/{digest}", "pull", limit=MAX_MANIFEST)
        if answer.status == _OK and answer.headers.get("content-type", "").startswith(INDEX):
            found: Mapping[str, Any] = _object(answer.body, f"what refers to `{digest}`")
        else:
            tagged = await self.manifest(digest.replace(":", "-"))
            found = tagged.content if tagged is not None else {}
        listed = found.get("manifests")
        return tuple(one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else ()

    async def put_blob(self, data: bytes) -> str:
        """Store *data* unless it is there already; its digest."""
        digest = digest_of(data)
        there = await self._ask("HEAD", f"{self._base}blobs/{digest}", "pull,push")
        if there.status == _OK:
            return digest
        started = await self._ask("POST", f"{self._base}blobs/uploads/", "pull,push", content=b"")
        self._expect(started, _CREATED, "an upload")
        location = started.headers.get("location")
        if not location:
            raise FetchFailed(f"`{self.reference.name}` does not say where to upload to")
        target = urljoin(started.url, location)
        target += ("&" if "?" in target else "?") + urlencode({"digest": digest})
        if _is_local(urlsplit(target).netloc) and not _is_local(self.reference.host):
            raise FetchFailed(f"`{self.reference.registry}` sends for its uploads to this machine")
        headers = {"content-type": "application/octet-stream"}
        stored = await self._ask("PUT", target, "pull,push", headers=headers, content=data)
        self._expect(stored, _CREATED, "the upload")
        return digest

    async def put_manifest(self, data: bytes, wanted: str, media_type: str = MANIFEST) -> str:
        """Store the manifest *data* under the tag or digest *wanted*; its digest."""
        url = f"{self._base}manifests/{wanted}"
        answer = await self._ask("PUT", url, "pull,push", headers={"content-type": media_type}, content=data)
        self._expect(answer, _CREATED, f"the manifest `{wanted}`")
        return digest_of(data)

    # --- who we are ---------------------------------------------------------------------------------------------------

    async def _ask(
        self,
        method: str,
        url: str,
        actions: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limit: int = MAX_BYTES,
        progress: Progress = quiet,
    ) -> Answer:
        """One exchange, as who we are where that is asked for."""
        for is_again in (False, True):
            known = self._authorization.get(actions) if self._is_ours(url) else None
            sent = {**(headers or {}), **({"authorization": known} if known else {})}
            answer = await self._egress.ask(
                method, url, headers=sent, content=content, limit=max(limit, _MAX_TOKEN), progress=progress
            )
            if answer.status != _UNAUTHORISED or is_again or not self._is_ours(url):
                break
            self._authorization[actions] = await self._authorized(answer, actions)
        if answer.status == _UNAUTHORISED:
            raise self._refused()
        return answer

    def _is_ours(self, url: str) -> bool:
        """Credentials are for the registry alone, not for where it sends an upload."""
        return urlsplit(url)[:2] == urlsplit(self._base)[:2]

    async def _authorized(self, answer: Answer, actions: str) -> str:
        """The header that the registry's challenge asks for."""
        scheme, _, rest = answer.headers.get("www-authenticate", "").partition(" ")
        credentials = await self._logins.of(self.reference.registry)
        match scheme.lower():
            case "basic":
                if credentials is None or not credentials.user:
                    raise self._refused()
                return credentials.basic()
            case "bearer":
                return f"Bearer {await self._token(_challenge(rest), credentials, actions)}"
            case _:
                raise FetchFailed(f"`{self.reference.registry}` asks for credentials in a way that is not known")

    async def _token(self, challenge: Mapping[str, str], credentials: Credentials | None, actions: str) -> str:
        realm = challenge.get("realm", "")
        fields = {
            "service": challenge.get("service", ""),
            "scope": f"repository:{self.reference.repository}:{actions}",
        }
        if _is_local(urlsplit(realm).netloc) and not _is_local(self.reference.host):
            raise FetchFailed(f"`{self.reference.registry}` sends for its tokens to this machine")
        if credentials is not None and credentials.identity:
            form = {**fields, "grant_type": "refresh_token", "client_id": "mcp-compose"}
            content = urlencode({**form, "refresh_token": credentials.identity}).encode()
            headers = {"content-type": "application/x-www-form-urlencoded"}
            answer = await self._egress.ask("POST", realm, headers=headers, content=content, limit=_MAX_TOKEN)
        else:
            headers = {"authorization": credentials.basic()} if credentials is not None else {}
            url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(fields)}"
            answer = await self._egress.ask("GET", url, headers=headers, limit=_MAX_TOKEN)
        if answer.status != _OK:
            raise self._refused()
        given = _object(answer.body, f"the token of `{self.reference.registry}`")
        token = given.get("token") or given.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise FetchFailed(f"`{shown(realm)}` gives out no token")
        return token

    def _refused(self) -> FetchFailed:
        name = self.reference.name
        return FetchFailed(f"`{name}` wants other credentials", hint=f"`docker login {self.reference.registry}`")

    def _expect(self, answer: Answer, statuses: tuple[int, ...], what: str) -> None:
        if answer.status not in statuses:
            name = self.reference.name
            why = _said(answer.body)
            raise FetchFailed(f"`{name}` answered {answer.status} for {what}" + (f": {why}" if why else ""))


def _challenge(text: str) -> dict[str, str]:
    return {(m[1] or m[3]).lower(): m[2] if m[1] else m[4] for m in _CHALLENGE.finditer(text)}


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise FetchFailed(f"{what} cannot be read")
    return content


def _said(body: bytes) -> str:
    """What a registry says of its own refusal, on one line."""
    try:
        first = json.loads(body)["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""
    return "".join(character for character in text if character.isprintable())[:200]


def _is_local(host: str) -> bool:
    """Whether *host*, perhaps with a port, is written as a loopback address."""
    return is_loopback(urlsplit(f"//{host}").hostname or "")
