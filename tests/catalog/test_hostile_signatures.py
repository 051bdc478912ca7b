"""Whatever a registry says is a signature: it is believed or it is not, and nothing breaks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cosign import Signer, bundle, payload, statement
from mcpcompose.catalog.reference import parse
from mcpcompose.catalog.signature import SIGNATURE_ANNOTATION, of_bundle, of_layer, public_keys, verify

ACME = Signer()
KEYS = public_keys(ACME.pem)
IMAGE = parse(f"registry.example/acme/echo@sha256:{'1' * 64}")
DIGEST = str(IMAGE.digest)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> Any:
    """*whole* with something else in one place."""
    if isinstance(whole, dict) and whole and draw(st.booleans() | st.just(value=True)):
        key = draw(st.sampled_from(sorted(whole)))
        return {**whole, key: draw(changed(whole[key]))}
    if isinstance(whole, list) and whole:
        return [draw(changed(whole[0])), *whole[1:]]
    return draw(junk)


@settings(max_examples=300)
@given(changed(json.loads(bundle(ACME, statement(DIGEST)))))
def test_a_changed_bundle_is_believed_only_for_what_was_signed(found: Any) -> None:
    for one in of_bundle(json.dumps(found).encode()):
        is_believed, _ = verify([one], IMAGE, KEYS)
        assert not is_believed or one.payload == statement(DIGEST)


@settings(max_examples=300)
@given(changed(json.loads(statement(DIGEST))))
def test_a_signed_statement_counts_only_when_it_names_the_image(found: Any) -> None:
    is_believed, _ = verify(of_bundle(bundle(ACME, json.dumps(found).encode())), IMAGE, KEYS)

    assert not is_believed or DIGEST.removeprefix("sha256:") in json.dumps(found)


@settings(max_examples=300)
@given(changed(json.loads(payload(IMAGE.name, DIGEST))))
def test_a_signed_payload_counts_only_when_it_names_the_image(found: Any) -> None:
    content = json.dumps(found).encode()
    signed = of_layer({"annotations": {SIGNATURE_ANNOTATION: ACME.signature(content)}}, content)
    assert signed is not None

    is_believed, _ = verify([signed], IMAGE, KEYS)

    assert not is_believed or DIGEST in json.dumps(found)


@given(st.binary(max_size=200), st.binary(max_size=80))
def test_bytes_are_no_signature(content: bytes, signature: bytes) -> None:
    assert of_bundle(content) == ()
    layer = {"annotations": {SIGNATURE_ANNOTATION: signature.hex()}}
    if (signed := of_layer(layer, content)) is not None:
        assert not verify([signed], IMAGE, KEYS)[0]
