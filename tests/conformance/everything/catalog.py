"""What the server lists, in the form it has on the wire; the names are the conformance suite's."""

from __future__ import annotations

from typing import Any

Wire = dict[str, Any]

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a PNG, 1 x 1
)
SOUND = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="  # a WAV with one sample

NOTHING: Wire = {"type": "object", "properties": {}}


def words(**properties: str) -> Wire:
    """Give the schema of an object of required strings, each with its description."""
    described = {name: {"type": "string", "description": text} for name, text in properties.items()}
    return {"type": "object", "properties": described, "required": list(properties)}


SCHEMA_2020: Wire = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        },
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

HEADERS: Wire = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "priority": {"type": "integer", "x-mcp-header": "Priority"},
        "note": {"type": "string"},
    },
    "required": ["region"],
}

TOOL_SCHEMAS: dict[str, Wire] = {
    "test_simple_text": NOTHING,
    "test_image_content": NOTHING,
    "test_audio_content": NOTHING,
    "test_embedded_resource": NOTHING,
    "test_multiple_content_types": NOTHING,
    "test_tool_with_logging": NOTHING,
    "test_logging_tool": NOTHING,
    "test_tool_with_progress": NOTHING,
    "test_error_handling": NOTHING,
    "test_reconnection": NOTHING,
    "test_custom_headers": HEADERS,
    "json_schema_2020_12_tool": SCHEMA_2020,
    "test_trigger_tool_change": NOTHING,
    "test_trigger_prompt_change": NOTHING,
    "test_trigger_resource_update": words(uri="the resource that shall have changed"),
    "test_page_first": words(ticket="one that nobody used before"),
    "test_sampling": words(prompt="what to ask the model"),
    "test_elicitation": words(message="what to ask the person"),
}
COMES_AND_GOES = "test_comes_and_goes"


def tool(name: str, schema: Wire) -> Wire:
    """Describe a tool as `tools/list` does."""
    return {"name": name, "description": f"conformance: {name.replace('_', ' ')}", "inputSchema": schema}


PROMPTS: list[Wire] = [
    {"name": "test_simple_prompt", "description": "a prompt without arguments"},
    {
        "name": "test_prompt_with_arguments",
        "description": "a prompt with two arguments",
        "arguments": [
            {"name": "arg1", "description": "the first", "required": True},
            {"name": "arg2", "description": "the second", "required": True},
        ],
    },
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "a prompt that carries a resource",
        "arguments": [{"name": "resourceUri", "description": "which one", "required": True}],
    },
    {"name": "test_prompt_with_image", "description": "a prompt that carries an image"},
    {"name": "test_input_required_result_prompt", "description": "a prompt that asks first"},
]

RESOURCES: list[Wire] = [
    {"uri": "test://static-text", "name": "static-text", "description": "fixed text", "mimeType": "text/plain"},
    {"uri": "test://static-binary", "name": "static-binary", "description": "fixed bytes", "mimeType": "image/png"},
    {"uri": "test://watched-resource", "name": "watched-resource", "description": "watched", "mimeType": "text/plain"},
]

TEMPLATES: list[Wire] = [
    {
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "data of one id",
        "mimeType": "application/json",
    },
]


def text(words: str) -> Wire:
    """Give a text block."""
    return {"type": "text", "text": words}


def image() -> Wire:
    """Give the image block."""
    return {"type": "image", "data": PIXEL, "mimeType": "image/png"}


def resource(uri: str, mime: str, content: str) -> Wire:
    """Give a block that embeds a text resource."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": content}}


FIXED_RESULTS: dict[str, list[Wire]] = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [image()],
    "test_audio_content": [{"type": "audio", "data": SOUND, "mimeType": "audio/wav"}],
    "test_embedded_resource": [
        resource("test://embedded-resource", "text/plain", "This is an embedded resource content."),
    ],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        image(),
        resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
}
