"""The tools and prompts that ask back: what each asks, and what it says in the end."""

from __future__ import annotations

import json
from typing import Any

from conformance.everything.catalog import Wire
from conformance.everything.flows import ROOTS, STRING, Asked, Flow, form, link, sample

NAME = form("What is your name?", {"name": STRING})
PRIMITIVES: Wire = {
    "name": {"type": "string", "description": "User name", "default": "John Doe"},
    "age": {"type": "integer", "description": "User age", "default": 30},
    "score": {"type": "number", "description": "User score", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "description": "Whether verified", "default": True},
}
TITLED = [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]
ENUMS: Wire = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {"type": "string", "oneOf": TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
}


def _once(asked: Asked) -> Any:
    return lambda _: [asked]


def _content(answer: Wire, key: str) -> Any:
    return (answer.get("content") or {}).get(key)


def _said(answer: Wire) -> str:
    return f"action={answer['action']}, content={json.dumps(answer.get('content') or {})}"


def _told(answer: Wire) -> str:
    return str(answer["content"]["text"])


def _uris(answer: Wire) -> str:
    return ", ".join(str(root["uri"]) for root in answer["roots"])


def _everything(answers: dict[str, Wire]) -> str:
    parts = [_content(answers["user_name"], "name"), _told(answers["greeting"]), _uris(answers["client_roots"])]
    return " | ".join(str(part) for part in parts)


MIXED: Asked = {"user_name": NAME, "greeting": sample("Generate a greeting", 50), "client_roots": ROOTS}
CONFIRM: Asked = {"confirm": form("Please confirm", {"ok": {"type": "boolean"}})}
STEPS: list[Asked] = [
    {"step1": form("Step 1: What is your name?", {"name": STRING})},
    {"step2": form("Step 2: What is your favorite color?", {"color": STRING})},
]
VISIT: Asked = {"visit": link("Please sign in", "https://sign-in.example/start", "sign-in-1")}

TOOLS: dict[str, Flow] = {
    "test_sampling": Flow(
        lambda arguments: [{"answer": sample(str(arguments["prompt"]), 100)}],
        lambda _, answers: f"LLM response: {_told(answers['answer'])}",
    ),
    "test_elicitation": Flow(
        lambda arguments: [
            {
                "user": form(
                    str(arguments["message"]),
                    {
                        "username": {"type": "string", "description": "User's response"},
                        "email": {"type": "string", "description": "User's email address"},
                    },
                ),
            },
        ],
        lambda _, answers: f"User response: {_said(answers['user'])}",
    ),
    "test_elicitation_sep1034_defaults": Flow(
        _once({"user": form("Please review these values", PRIMITIVES, [])}),
        lambda _, answers: f"Elicitation completed: {_said(answers['user'])}",
    ),
    "test_elicitation_sep1330_enums": Flow(
        _once({"user": form("Please choose", ENUMS, [])}),
        lambda _, answers: f"Elicitation completed: {_said(answers['user'])}",
    ),
    "test_elicitation_url": Flow(_once(VISIT), lambda _, answers: f"Visit: {answers['visit']['action']}"),
    "test_input_required_result_elicitation": Flow(
        _once({"user_name": NAME}),
        lambda _, answers: f"Hello, {_content(answers['user_name'], 'name')}!",
    ),
    "test_input_required_result_sampling": Flow(
        _once({"capital_question": sample("What is the capital of France?", 100)}),
        lambda _, answers: f"The model says: {_told(answers['capital_question'])}",
    ),
    "test_input_required_result_list_roots": Flow(
        _once({"client_roots": ROOTS}),
        lambda _, answers: f"Roots: {_uris(answers['client_roots'])}",
    ),
    "test_input_required_result_request_state": Flow(
        _once(CONFIRM), lambda _, answers: f"state-ok: {_content(answers['confirm'], 'ok')}", state=True
    ),
    "test_input_required_result_tampered_state": Flow(
        _once(CONFIRM), lambda _, answers: f"untouched: {_content(answers['confirm'], 'ok')}", state=True
    ),
    "test_input_required_result_multiple_inputs": Flow(
        _once(MIXED), lambda _, answers: _everything(answers), state=True
    ),
    "test_input_required_result_multi_round": Flow(
        lambda _: STEPS,
        lambda _, answers: f"{_content(answers['step1'], 'name')} likes {_content(answers['step2'], 'color')}",
    ),
    "test_input_required_result_capabilities": Flow(
        _once({"user_name": NAME, "greeting": sample("Generate a greeting", 50)}),
        lambda _, answers: f"answered: {', '.join(sorted(answers))}",
        only_declared=True,
    ),
    "test_missing_capability": Flow(
        _once({"answer": sample("Are you there?", 10)}), lambda _, answers: _told(answers["answer"])
    ),
    "test_streaming_elicitation": Flow(
        _once({"user_name": NAME}), lambda _, answers: f"Streamed: {_content(answers['user_name'], 'name')}"
    ),
}

PAGE_FIRST = Flow(_once(VISIT), lambda *_: "The page was visited")

PROMPT = Flow(
    _once({"user_context": form("What context should the prompt use?", {"context": STRING})}),
    lambda _, answers: f"Context: {_content(answers['user_context'], 'context')}",
)
