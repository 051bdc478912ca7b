"""A real registry of Debian's `docker-registry` on loopback: open, with a password, or with tokens."""

from __future__ import annotations

import base64
import datetime as dt
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from harness.wait import until

USER = "robot"
PASSWORD = "s3cret-pw"
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuzSvhclVSvY9ufOheOOhcPviTPFJlqIC\n"


@dataclass
class Registry:
    """A running registry; *host* is `127.0.0.1:port`."""

    host: str
    folder: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Go away for good."""
        self.process.terminate()
        self.process.wait()

    def login(self, config: Path, *, password: str = PASSWORD) -> None:
        """What `docker login` writes into the folder *config*."""
        config.mkdir(parents=True, exist_ok=True)
        packed = base64.b64encode(f"{USER}:{password}".encode()).decode()
        (config / "config.json").write_text(json.dumps({"auths": {self.host: {"auth": packed}}}))

    def blob_file(self, digest: str) -> Path:
        """Where the registry keeps what *digest* names: for tests that tamper with it."""
        hexes = digest.removeprefix("sha256:")
        return self.folder / "docker/registry/v2/blobs/sha256" / hexes[:2] / hexes / "data"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def registry(folder: Path, auth: dict[str, Any] | None = None) -> Iterator[Registry]:
    """A registry that keeps its things in *folder*."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed; `scripts/engine up` brings it")
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder)}, "delete": {"enabled": True}},
        "http": {"addr": host},
    }
    if auth is not None:
        config["auth"] = auth
    file = folder / "config.yml"
    file.write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(file)], stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: process.poll() is not None or _answers(host), "the registry answers")
        assert process.poll() is None, (folder / "log").read_text()
        yield Registry(host, folder, process)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def private_registry(folder: Path) -> Iterator[Registry]:
    """One that wants a user and a password."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(_HTPASSWD)
    with registry(folder, {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}) as running:
        yield running


@dataclass
class Tokens:
    """Who gives out the tokens of a registry; *asked* holds each request's query and `Authorization`."""

    realm: str
    asked: list[tuple[dict[str, list[str]], str | None]] = field(default_factory=list)


@contextmanager
def token_registry(folder: Path) -> Iterator[tuple[Registry, Tokens]]:
    """One that wants a token of another server, which wants a user and a password (as large registries do)."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key)
    (folder / "root.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    tokens = Tokens("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            tokens.asked.append((query, self.headers.get("Authorization")))
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            _, repository, actions = query["scope"][0].split(":")
            body = json.dumps({"token": _token(key, der, repository, actions.split(","))}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tokens.realm = f"http://127.0.0.1:{server.server_address[1]}/token"
        auth = {
            "token": {
                "realm": tokens.realm,
                "service": "tests",
                "issuer": "tests",
                "rootcertbundle": str(folder / "root.pem"),
            }
        }
        try:
            with registry(folder, auth) as running:
                yield running, tokens
        finally:
            server.shutdown()


def self_signed(name: str) -> bytes:
    """A key and a certificate for *name*, as one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + _certificate(key, name).public_bytes(pem)


def _certificate(key: ec.EllipticCurvePrivateKey, host: str = "tests") -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False).sign(
        key, hashes.SHA256()
    )


def _token(key: ec.EllipticCurvePrivateKey, der: str, repository: str, actions: list[str]) -> str:
    now = int(time.time())
    claims = {
        "iss": "tests", "sub": USER, "aud": "tests", "exp": now + 300, "nbf": now - 60, "iat": now, "jti": "1",
        "access": [{"type": "repository", "name": repository, "actions": actions}],
    }  # fmt: skip
    head = _packed(json.dumps({"typ": "JWT", "alg": "ES256", "x5c": [der]}).encode())
    text = f"{head}.{_packed(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_packed(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _answers(host: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}/v2/", timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except OSError:
        return False
