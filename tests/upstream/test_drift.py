"""The rules that we restate are the SDK's."""

from __future__ import annotations

from typing import Any

import mcp.shared.inbound as sdk
import mcp_types.jsonrpc as codes
import mcp_types.version as versions
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY

from mcpcompose.gateway import envelope
from mcpcompose.gateway.envelope import Request
from mcpcompose.gateway.modern import envelope_problem
from mcpcompose.upstream import headers as ours
from mcpcompose.upstream import wire

MODERN = "2026-07-28"


def test_the_versions_are_the_sdks() -> None:
    assert wire.HANDSHAKE_VERSIONS == versions.HANDSHAKE_PROTOCOL_VERSIONS
    assert wire.MODERN_VERSIONS == versions.MODERN_PROTOCOL_VERSIONS


def test_the_codes_and_their_statuses_are_the_sdks() -> None:
    assert dict(sdk.ERROR_CODE_HTTP_STATUS) == envelope.ERROR_STATUS
    assert envelope.HEADER_MISMATCH == codes.HEADER_MISMATCH
    assert envelope.UNSUPPORTED_VERSION == codes.UNSUPPORTED_PROTOCOL_VERSION
    assert envelope.MISSING_CAPABILITY == codes.MISSING_REQUIRED_CLIENT_CAPABILITY


def test_the_names_are_the_sdks() -> None:
    tasks = {"tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}  # SEP-2663, not in the SDK yet
    assert {**sdk.NAME_BEARING_METHODS, **tasks} == ours.NAMED
    assert sdk.MCP_PARAM_HEADER_PREFIX.lower() == ours.PARAM_PREFIX
    assert (sdk.MCP_METHOD_HEADER, sdk.MCP_NAME_HEADER) == (ours.METHOD, ours.NAME)
    assert sdk.MCP_PROTOCOL_VERSION_HEADER == ours.PROTOCOL_VERSION
    assert wire.META_VERSION == PROTOCOL_VERSION_META_KEY
    assert wire.META_CAPABILITIES == CLIENT_CAPABILITIES_META_KEY
    assert wire.META_CLIENT == CLIENT_INFO_META_KEY


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_values_are_encoded_as_the_sdk_does(text: str) -> None:
    assert ours.encode_value(text) == sdk.encode_header_value(text)
    assert ours.decode_value(ours.encode_value(text)) == text


@given(st.text(st.sampled_from("=?base64ABC /+ ")).map(lambda t: f"=?base64?{t}?="))
def test_values_are_decoded_as_the_sdk_does(text: str) -> None:
    assert ours.decode_value(text) == sdk.decode_header_value(text)


annotated = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "boolean", "number", ["string"]])},
    optional={"x-mcp-header": st.sampled_from(["A", "a", "B", "", "not token", 1])},
)
schemas = st.recursive(
    annotated,
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
            "items": inner,
            "allOf": st.lists(inner, max_size=2),
            "$defs": st.dictionaries(st.sampled_from("pq"), inner, max_size=2),
            "default": inner,
        },
    ),
    max_leaves=8,
)
values = st.recursive(
    st.sampled_from(["", "x", "42", "ü", " y", 42, 42.0, 4.5, True, False, None]) | st.integers(),
    lambda inner: st.dictionaries(st.sampled_from("pqr"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)


@given(schemas, values)
def test_annotations_and_param_headers_are_the_sdks(schema: Any, arguments: Any) -> None:
    found = ours.header_arguments(schema)
    assert (found is None) == (sdk.find_invalid_x_mcp_header(schema) is not None)
    if found is not None and isinstance(arguments, dict):
        theirs = sdk.mcp_param_headers(sdk.x_mcp_header_map(schema), arguments)
        assert ours.param_headers(found, arguments) == {k.lower(): v for k, v in theirs.items()}


@given(
    schemas,
    values,
    st.dictionaries(
        st.sampled_from(["mcp-param-a", "mcp-param-b"]), st.sampled_from(["x", "42", "42.0", "true", "=?base64?w7w=?="])
    ),
)
def test_param_headers_match_when_the_sdk_says_so(schema: Any, arguments: Any, headers: dict[str, str]) -> None:
    found = ours.header_arguments(schema)
    if found is None or not isinstance(arguments, dict):
        return
    theirs = sdk.validate_mcp_param_headers(schema, arguments, headers)
    assert (ours.param_mismatch(found, arguments, headers) is None) == (theirs is None)


GOOD_META = {PROTOCOL_VERSION_META_KEY: MODERN, CLIENT_CAPABILITIES_META_KEY: {}}
GOOD_HEADERS = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "x"}


@pytest.mark.parametrize(
    ("meta", "headers", "name"),
    [
        (GOOD_META, GOOD_HEADERS, "x"),
        (None, GOOD_HEADERS, "x"),
        ({}, GOOD_HEADERS, "x"),
        ({PROTOCOL_VERSION_META_KEY: MODERN}, GOOD_HEADERS, "x"),
        (GOOD_META | {PROTOCOL_VERSION_META_KEY: "2031-01-01"}, GOOD_HEADERS, "x"),
        (GOOD_META | {PROTOCOL_VERSION_META_KEY: "z"}, GOOD_HEADERS | {"mcp-protocol-version": "z"}, "x"),
        (GOOD_META | {PROTOCOL_VERSION_META_KEY: None}, GOOD_HEADERS, "x"),
        (GOOD_META, GOOD_HEADERS | {"mcp-method": "tools/list"}, "x"),
        (GOOD_META, {k: v for k, v in GOOD_HEADERS.items() if k != "mcp-method"}, "x"),
        (GOOD_META, GOOD_HEADERS | {"mcp-name": "y"}, "x"),
        (GOOD_META, {k: v for k, v in GOOD_HEADERS.items() if k != "mcp-name"}, "x"),
        (GOOD_META, GOOD_HEADERS | {"mcp-name": "=?base64?eA==?="}, "x"),
        (GOOD_META, GOOD_HEADERS | {"mcp-name": "=?base64?eA=?="}, "x"),
        (GOOD_META, GOOD_HEADERS | {"mcp-name": "=?base64?c8O8w58=?="}, "süß"),
        (GOOD_META, {}, "x"),
    ],
)
def test_the_envelope_ladder_is_the_sdks(meta: Any, headers: dict[str, str], name: str) -> None:
    params: dict[str, Any] = {"name": name} | ({} if meta is None else {"_meta": meta})
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

    mine = envelope_problem(Request(1, "tools/call", params), headers)
    theirs = sdk.classify_inbound_request(body, headers=headers)

    assert (mine.code if mine else None) == getattr(theirs, "code", None)
