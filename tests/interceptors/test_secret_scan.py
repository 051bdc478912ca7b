from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable
from inspect import isawaitable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from interceptors.secret_services import SERVICES
from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import TO_CLIENT, Around, Change, Decision, Exchange, Refuse, Warn
from mcpcompose.interceptors.scanning.scanner import Scanner
from mcpcompose.interceptors.secret_scan import _PROTOCOL, AT_ONCE, LONGEST_NOTE, SecretScan
from mcpcompose.interceptors.sessions import GovernedSession
from mcpcompose.redact import MASK, Redactor
from mcpcompose.spec.interceptor import Interceptor as Spec
from mcpcompose.spec.project import Project

TOKEN = SERVICES[0].positives(1)[0]
OURS = 'the own w0rd, "quoted"\nand ünusual'


async def as_it_is(_label: str, text: str) -> str:
    return text


def scan(*known: str, **keys: Any) -> SecretScan:
    around = Around(Project.model_construct(name="x"), Path("/"), Redactor(known), {}, as_it_is)
    return SecretScan(Spec.model_validate({"use": "secret-scan", **keys}), around)


def exchange(
    params: Any = None, *, result: Any = None, error: Any = None, method: str = "tools/call", **keys: Any
) -> Exchange:
    def raw(value: Any) -> bytes | None:
        return value if isinstance(value, bytes) or value is None else json.dumps(value).encode()

    session = GovernedSession("me", 0.0, lambda: None, tuple)
    return Exchange(
        "1",
        method,
        "files",
        "read",
        "read",
        params or {},
        "me",
        "default",
        session,
        result=raw(result),
        error=raw(error),
        **keys,
    )


async def settled(answer: Decision | Awaitable[Decision | None] | None) -> Decision | None:
    return await answer if isawaitable(answer) else answer


def changed(decision: object) -> Any:
    assert isinstance(decision, Change), decision
    if decision.params is not None:
        return decision.params
    return json.loads(decision.result if decision.result is not None else decision.error or b"null")


def test_a_token_in_a_result_is_hidden_and_the_rest_stays() -> None:
    decision = scan().after(exchange(result={"content": [{"type": "text", "text": f"a {TOKEN} b"}], "isError": False}))

    assert changed(decision) == {"content": [{"type": "text", "text": f"a {MASK} b"}], "isError": False}
    assert isinstance(decision, Change)
    assert decision.rule == "github-token"
    assert decision.note == "github-token at result.content.0.text"


def test_arguments_structured_content_errors_and_names_of_members_are_looked_at() -> None:
    scanner = scan()

    assert changed(scanner.before(exchange({"arguments": {"deep": [{"x": TOKEN}]}}))) == {
        "arguments": {"deep": [{"x": MASK}]}
    }
    assert changed(scanner.after(exchange(result={"structuredContent": {TOKEN: 1}}))) == {
        "structuredContent": {MASK: 1}
    }
    assert changed(scanner.after(exchange(error={"code": -1, "message": f"no {TOKEN}"}))) == {
        "code": -1,
        "message": f"no {MASK}",
    }


def test_a_prompt_a_resource_and_an_answer_to_a_question_are_looked_at() -> None:
    prompt = {"messages": [{"role": "user", "content": {"type": "text", "text": TOKEN}}]}
    resource = {"contents": [{"uri": "file:///x", "text": TOKEN}]}
    said = {"action": "accept", "content": {"key": TOKEN}}

    assert (
        changed(scan().after(exchange(result=prompt, method="prompts/get")))["messages"][0]["content"]["text"] == MASK
    )
    assert changed(scan().after(exchange(result=resource, method="resources/read")))["contents"][0]["text"] == MASK
    assert changed(scan().after(exchange(result=said, method="elicitation/create", direction=TO_CLIENT)))[
        "content"
    ] == {"key": MASK}


def test_a_secret_in_a_blob_is_hidden_and_the_blob_can_still_be_decoded() -> None:
    blob = base64.b64encode(b"\x00\x01 key: " + TOKEN.encode() + b" \xff end of it").decode()
    result = {"contents": [{"uri": "file:///x", "blob": blob}]}

    decision = scan().after(exchange(result=result, method="resources/read"))
    decoded = base64.b64decode(changed(decision)["contents"][0]["blob"], validate=True)

    assert TOKEN.encode() not in decoded
    assert MASK.encode() in decoded
    assert decoded.startswith(b"\x00\x01 key")
    assert decoded.endswith(b"end of it")
    assert isinstance(decision, Change)
    assert decision.note == "github-token (base64) at result.contents.0.blob"


def test_a_blob_in_lines_stays_a_blob() -> None:
    blob = base64.encodebytes(b"x" * 70 + b" " + TOKEN.encode() + b" " + b"y" * 100).decode()

    decoded = base64.b64decode(changed(scan().after(exchange(result={"blob": blob})))["blob"])

    assert TOKEN.encode() not in decoded
    assert decoded.endswith(b"y" * 40)


def test_block_refuses_with_words_that_help_and_without_the_secret() -> None:
    decision = scan(action="block").before(exchange({"arguments": {"text": TOKEN}}))

    assert isinstance(decision, Refuse)
    assert "github-token" in decision.message
    assert "arguments.text" in decision.message
    assert TOKEN[4:12] not in decision.message


def test_warn_lets_it_through_and_says_so() -> None:
    decision = scan(action="warn").after(exchange(result={"x": TOKEN}))

    assert isinstance(decision, Warn)
    assert decision.note == "github-token at result.x"


def test_a_secret_in_the_uri_of_a_request_refuses_it_since_it_cannot_be_hidden() -> None:
    decision = scan().before(exchange({"uri": f"https://x/{TOKEN}"}, method="resources/read"))

    assert isinstance(decision, Refuse)
    assert TOKEN not in decision.message


@pytest.mark.parametrize(
    ("allow", "is_left"),
    [
        ({"rule": "github-token"}, True),
        ({"rule": "git*"}, True),
        ({"rule": "npm-token"}, False),
        ({"server": "files"}, True),
        ({"server": "web"}, False),
        ({"path": "result.content.*.text"}, True),
        ({"path": "arguments.*"}, False),
        ({"matching": "ghp_[A-Za-z0-9]{36}"}, True),
        ({"matching": "ghp_"}, False),
        ({"rule": "github-token", "server": "web"}, False),
    ],
)
def test_the_allow_list_leaves_what_fits_everything_it_says(allow: dict[str, str], is_left: bool) -> None:
    decision = scan(allow=[allow]).after(exchange(result={"content": [{"type": "text", "text": TOKEN}]}))

    assert (decision is None) is is_left


def test_a_pattern_that_is_none_is_said_when_the_interceptor_is_made() -> None:
    with pytest.raises(McpComposeError, match="no regular expression"):
        scan(allow=[{"matching": "("}])


def test_without_entropy_only_shapes_and_names_of_services_count() -> None:
    text = {"x": 'password = "kD93!mzQ4tR"', "y": TOKEN}

    assert changed(scan(entropy=False).after(exchange(result=text))) == {"x": text["x"], "y": MASK}
    assert "kD93" not in json.dumps(changed(scan().after(exchange(result=text))))


def test_a_handed_out_value_is_hidden_as_a_number_too_and_never_where_it_is_a_word_of_the_protocol() -> None:
    result = {"content": [{"type": "text", "text": "the text content 73318822"}], "pin": 73318822}

    clean = changed(scan("73318822", "text", "content").after(exchange(result=result)))

    assert clean == {"content": [{"type": "text", "text": f"the {MASK} {MASK} {MASK}"}], "pin": MASK}


def test_definitions_show_no_handed_out_value_and_go_when_their_name_is_one() -> None:
    scanner = scan("w0rd-of-ours")

    assert scanner.item("s", "tool", {"name": "x", "description": "say w0rd-of-ours"}) == {
        "name": "x",
        "description": f"say {MASK}",
    }
    assert scanner.item("s", "tool", {"name": "w0rd-of-ours"}) is None
    same = {"name": "x", "description": f"like {TOKEN}"}
    assert scanner.item("s", "tool", same) is same
    assert scanner.item("s", "instructions", "use w0rd-of-ours") == f"use {MASK}"


async def test_large_messages_are_scanned_off_the_loop() -> None:
    large = {"x": "lorem ipsum " * (AT_ONCE // 10), "y": TOKEN}
    before, after = scan().before(exchange({"arguments": large})), scan().after(exchange(result=large))

    assert isawaitable(before)

    assert isawaitable(after)
    assert changed(await settled(before))["arguments"]["y"] == MASK
    assert changed(await settled(after))["y"] == MASK


def test_notifications_are_scanned_at_once_whatever_their_size_and_not_passed_on_when_too_large() -> None:
    note = {"data": "lorem ipsum " * (AT_ONCE // 10) + TOKEN}
    huge = {"data": "lorem ipsum " * (LONGEST_NOTE // 10)}

    said = scan().before(exchange(note, method="notifications/message", direction=TO_CLIENT))
    refused = scan().before(exchange(huge, method="notifications/message", direction=TO_CLIENT))

    assert TOKEN not in json.dumps(changed(said))
    assert isinstance(refused, Refuse)


async def test_a_message_in_another_thread_does_not_hold_up_the_loop() -> None:
    text = {"x": ("lorem ipsum dolor " * 60_000)[:1_000_000], "y": TOKEN}
    answer = scan().after(exchange(result=text))
    assert isawaitable(answer)
    loop = asyncio.get_running_loop()
    worst, task = 0.0, asyncio.ensure_future(answer)
    while not task.done():
        since = loop.time()
        await asyncio.sleep(0)
        worst = max(worst, loop.time() - since)

    assert changed(task.result())["y"] == MASK
    assert worst < 0.25


def test_a_member_that_is_there_twice_hides_nothing() -> None:
    raw = b'{"x":"' + TOKEN.encode() + b'","x":"nothing"}'

    decision = scan().after(exchange(result=raw))

    assert isinstance(decision, Change)

    assert decision.result is not None
    assert TOKEN.encode() not in decision.result


def test_everything_but_the_secret_stays_byte_for_byte() -> None:
    raw = b'{ "a" : 1.0e5, "b":"\\u00e9 \\/ ' + TOKEN.encode() + b' \\n", "n": 12345678901234567890123 }'

    decision = scan().after(exchange(result=raw))

    assert isinstance(decision, Change)
    assert decision.result == raw.replace(TOKEN.encode(), MASK.encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    json_values, st.text(alphabet=st.characters(codec="utf-8"), min_size=4, max_size=12), st.booleans(), st.booleans()
)
def test_whatever_is_hidden_json_stays_json_and_the_value_is_gone(
    value: Any, secret: str, ascii_only: bool, twice: bool
) -> None:
    assume(secret.encode() not in _PROTOCOL)  # such a word is left where it is one of the protocol's
    tree = {"value": value, "text": f"x\\{secret}n{secret}\n", "list": [secret, {"k": f"\\u00{secret}"}]}
    raw = json.dumps(tree, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if twice:
        raw = json.dumps({"nested": raw.decode("utf-8", "replace")}, ensure_ascii=ascii_only).encode()

    decision = scan(secret).after(exchange(result=raw))

    assert isinstance(decision, Change)

    assert decision.result is not None
    clean = msgspec.json.decode(decision.result)
    assert secret not in [clean.get("text"), *clean.get("list", [])[:1]]
    if len(secret.encode()) >= 6 and "\\" not in secret:
        assert secret not in texts(clean)


def texts(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{texts(key)}\n{texts(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(map(texts, value))
    return value if isinstance(value, str) else ""


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400) | st.text(max_size=300).map(str.encode))
def test_no_bytes_make_the_scanner_fail(data: bytes) -> None:
    for one in Scanner(known=Redactor([OURS])).scan(data + b" " + TOKEN.encode() + b" " + data):
        assert 0 <= one.start < one.end <= 2 * len(data) + len(TOKEN) + 2


def test_every_rule_compiles_has_one_group_and_words_to_be_found_by() -> None:
    from mcpcompose.interceptors.scanning.rules import RULES

    assert len({rule.name for rule in RULES}) >= 150
    for rule in RULES:
        assert rule.regex.groups == 1, rule
        assert rule.keywords or rule.prefixes, rule
        assert re.fullmatch(r"[a-z0-9-]+", rule.name), rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("MAILCHIMP_API_KEY=9a02b7cd13e84f56a7b8c9d0e1f2a3b4-us14", "mailchimp-key"),
        ("token=glpat-crTGU_XtPTzDtxYGAzdE", "gitlab-pat"),
        ("Authorization: Bearer xoxb-123456789012-1234567890123-Zk3vT9qLmW2xR7yB4nH8cD5f", "slack-bot-token"),
    ],
)
def test_a_token_that_says_itself_whose_it_is_is_not_called_after_the_name_before_it(text: str, rule: str) -> None:
    assert [one.rule for one in Scanner().scan(text.encode())] == [rule]


_SHOWN = (
    "TWILIO_ACCOUNT_SID=AC637db41e6e9c7cc7697a42dd954838ae",
    '{"sid": "AC637db41e6e9c7cc7697a42dd954838ae", "uri": "/Accounts/AC637db41e6e9c7cc7697a42dd954838ae/Calls"}',
    "posthog.init('phc_SRBpnYoLx5lWRll4an1Hh4WRXzk3iJ7Q3OJX0Cx4ROz')",
    "POSTHOG_API_KEY=phc_SRBpnYoLx5lWRll4an1Hh4WRXzk3iJ7Q3OJX0Cx4ROz",
    "NEXT_PUBLIC_STRIPE_KEY=pk_live_51nySGfcgCwBASDBXOeDormkxTR6URt3aLYK1XhlDvAz6vh3chKacfhbGjpsE5HPT7TaijgseCUtkzz",
    "stripe_key: 'pk_test_51nySGfcgCwBASDBXOeDormkxTR6URt3aLYK1XhlDvAz6vh3chKacfhbGjpsE5HPT7TaijgseCUtkzz'",
    "SUPABASE_KEY=sb_publishable_nySGfcgCwBASDBXOeDorm2_kxTR6URt",
    "CLERK_KEY=pk_test_Y2xlcmsuZXhhbXBsZS5jb20kMTIzNDU2Nzg5MA",
)


@pytest.mark.parametrize("text", _SHOWN)
def test_identifiers_that_vendors_show_in_the_open_are_left_alone(text: str) -> None:
    assert Scanner().scan(text.encode()) == []
    assert Scanner().scan(json.dumps({"content": [{"type": "text", "text": text}]}).encode()) == []


@pytest.mark.parametrize(
    "text",
    [
        "curl -H 'Authorization: Bearer my-secret-token' https://api.invoice.example/v1/session",
        "Authorization: Bearer some_access_token",
        'export DATABASE_PASSWORD="12345-abcde"',
        'password: "abcdef123456"',
        "Authorization: AWS4-HMAC-SHA256",
        "STS.AssumeRoleWithWebIdentity",
        "set_key(key=base64.b16encode(value))",
        "https://user:MyPassword@mail.example.org",
    ],
)
def test_words_and_rows_that_stand_for_a_secret_are_left_alone(text: str) -> None:
    assert Scanner().scan(text.encode()) == []


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: j9zsYvxBtryTJehSkX7YM", "j9zsYvxBtryTJehSkX7YM"),
        ("headers={'Authorization': '3HZe97EBjqnRhLWqQfrrEh'}", "3HZe97EBjqnRhLWqQfrrEh"),
        ("https://deploy:qATpWzLQowKXYx@artifacts.acme.internal/repo", "qATpWzLQowKXYx"),
        ("smtps://mailer%40acme.io:KmUYoUNzFPFC9j@smtp.acme.io:465", "KmUYoUNzFPFC9j"),
    ],
)
def test_a_token_without_a_scheme_and_a_password_that_is_a_jumble_of_letters_are_found(text: str, secret: str) -> None:
    assert [one.text.decode() for one in Scanner().scan(text.encode())] == [secret]
