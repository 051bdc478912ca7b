from __future__ import annotations

import base64
import json
import random

import pytest

from interceptors.secret_services import NAMED, SERVICES, Service, filled
from mcpcompose.interceptors.scanning.scanner import Finding, Scanner

SCANNER = Scanner()


def found(text: str) -> list[Finding]:
    return SCANNER.scan(text.encode())


def holds(text: str, token: str) -> bool:
    """Whether *token* was found as a whole."""
    return any(token.encode() in one.text or one.text in token.encode() for one in found(text))


def in_json(text: str) -> str:
    return json.dumps({"content": [{"type": "text", "text": text}], "structuredContent": {"it": text}})


def test_there_are_more_than_sixty_services() -> None:
    assert len({service.name.split(",")[0] for service in SERVICES} | set(NAMED)) >= 60


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_tokens_are_found_in_plain_text_and_in_json(service: Service) -> None:
    for token in service.positives():
        assert holds(token, token)
        assert holds(f"use it:\n{token}\nand go", token)
        assert holds(f"export THING='{token}'; run", token)
        assert holds(in_json(f"first line\n{token}\n\tlast line"), token)
        assert holds(json.dumps({"x": json.dumps({"y": f"a\n{token}\nb"})}), token)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_what_nearly_is_a_token_is_left_alone(service: Service) -> None:
    for text in service.near_misses():
        assert found(f"see {text} there") == [], text
        assert found(in_json(f"see {text}")) == [], text


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_encoded_tokens_are_found_and_the_encoding_is_told(service: Service) -> None:
    token = service.positives(1)[0]
    middle = len(token) // 2
    encoded = {
        "base64": base64.b64encode(f"say: {token} .".encode()).decode(),
        "percent": "".join(f"%{byte:02X}" for byte in token.encode()),
        "hex": token.encode().hex(),
        "escaped": '"' + "".join(f"\\u{ord(letter):04x}" for letter in token) + '"',
        "lines": f"{token[:middle]}\n    {token[middle:]}",
    }
    forms = {name: {one.form for one in found(text)} for name, text in encoded.items()}
    missing = {name for name, said in forms.items() if name not in said}

    # Lines are put together where one of them has a digit there.
    assert missing <= ({"lines"} if found(encoded["lines"]) or token.isalpha() or not _has_digit(token) else set())


def _has_digit(token: str) -> bool:
    """Whether a line that ends or begins in the middle of *token* can be told from words."""
    return any(letter.isdigit() for letter in token)


@pytest.mark.parametrize("service", NAMED)
@pytest.mark.parametrize(
    "shape",
    [
        '{name}="{value}"',
        "{name}: {value}",
        '{{"{name}": "{value}"}}',
        "export {name}={value}",
        '"{name}", "value": "{value}"',
    ],
)
def test_values_without_a_shape_are_found_beside_their_name(service: str, shape: str) -> None:
    name, value = NAMED[service]
    for number in range(3):
        secret = filled(value, random.Random(f"{service} {number}"))
        text = shape.format(name=name, value=secret)
        assert holds(text, secret), text
        assert holds(in_json(text), secret), text


@pytest.mark.parametrize("service", NAMED)
def test_the_same_values_elsewhere_are_left_alone(service: str) -> None:
    secret = filled(NAMED[service][1], random.Random(f"{service} 1"))

    assert found(f"commit {secret}") == []
    assert found(json.dumps({"id": secret, "etag": secret})) == []


def test_private_keys_are_found_in_every_dress() -> None:
    body = "\n".join(filled("{B64}", random.Random(number)) for number in range(12))
    for kind in ("RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "PGP PRIVATE KEY BLOCK"):
        key = f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----"
        for text in (key, in_json(key), in_json(json.dumps({"private_key": key})), key.replace("\n", "\r\n")):
            assert next(one.rule for one in found(text)) == "private-key"
            assert all(len(one.text) > len(body) for one in found(text))
    assert found("-----BEGIN PUBLIC KEY-----\n" + body + "\n-----END PUBLIC KEY-----") == []


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql://app:Zk93kdP0xq@db.internal:5432/x", "Zk93kdP0xq"),
        ("mongodb+srv://root:k3-9aQz7pLm@cluster0.abc.mongodb.net", "k3-9aQz7pLm"),
        ("redis://:p4Zs9q2Lm8@cache:6379/0", "p4Zs9q2Lm8"),
        ("https://bot:s3cr3tW0rd9@git.corp/x.git", "s3cr3tW0rd9"),
        ("Authorization: Bearer Zx81mQp93LkdTz77aWqE", "Zx81mQp93LkdTz77aWqE"),
        ("curl -u admin:tR4!kd93mz https://x", "tR4!kd93mz"),
        ("machine api.corp login me password q9Zk3mTx", "q9Zk3mTx"),
        ('password = "kD93!mzQ4tR"', "kD93!mzQ4tR"),
        ("Server=db;User Id=sa;Password=kD93mzQ4tR;Encrypt=true", "kD93mzQ4tR"),
        ("mysqldump --password=kD93mzQ4tR app", "kD93mzQ4tR"),
    ],
)
def test_credentials_of_no_vendor_are_found(text: str, secret: str) -> None:
    assert secret.encode() in b" ".join(one.text for one in found(text))
    assert secret.encode() in b" ".join(one.text for one in found(in_json(text)))


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user:password@localhost/db",
        "https://user:${TOKEN}@host/x",
        'password = "changeme-please"',
        'api_key = "YOUR_API_KEY_HERE_12345"',
        "token: ${{ secrets.GITHUB_TOKEN }}",
        'password: "{{ vault_password_1 }}"',
        "AKIAIOSFODNN7EXAMPLE",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "integrity sha512-Zk93kdP0xqZx81mQp93LkdTz77aWqEk3x9aQz7pLmZk93kdP0xqZx81mQp93LkdTz77aWqEk3x9aQz7pLmZk93kdA==",
        "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
        "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "def test_secret_key_2_is_read_from_environment_variable_3(): pass",
        "the token_type_ids_tensor_v2_shape is [1, 512]",
        "secret_key: null, access_token: string, password: str",
        "msg_01XFDUDYJgAACzvnptvVoYEL toolu_01A09q90qw90lq917835lq9",
        "cus_NffrFeUfNV2Hib pi_3MtwBwLkdIwHu7ix28a3tqPa",
        "the key-value pairs and keyboard-shortcuts-2024-list",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert found(text) == []
    assert found(in_json(text)) == []


def test_nothing_in_the_text_switches_the_scanner_off() -> None:
    token = SERVICES[0].positives(1)[0]
    for text in (
        f"{token} # gitleaks:allow",
        f"pragma: allowlist secret {token}",
        f"\0{token}\0",
        f"nosec {token} \xff",
    ):
        assert SCANNER.scan(text.encode("latin-1"))
