"""
What interceptors need a person's approval for: code that runs on the host, and whoever is told what clients say.

Pure. Those of the machine's own policy are root's, and need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mcpcompose.interceptors.pinned_files import named_by, words_of
from mcpcompose.orchestrator.forms import LOADER, Form, argv_text, as_text, details, expanded, form, secret_text
from mcpcompose.secrets.resolver import looks_secret, origin_of
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.project import Project
from mcpcompose.spec.template import secret_names, variable_names


def interceptor_forms(project: Project, variables: Mapping[str, str]) -> tuple[Form, ...]:
    """One form for each interceptor that is not built in."""
    own = project.interceptors[project.provenance.imposed :]
    return tuple(_form(project, one, variables) for one in own if one.use is None)


def _form(project: Project, one: Interceptor, variables: Mapping[str, str]) -> Form:
    kind, lines = _what(project, one, variables)
    return form(kind, one.label, [*lines, *_details(project, one, variables), *_values(one, variables), *_sees(one)])


def _what(project: Project, one: Interceptor, variables: Mapping[str, str]) -> tuple[str, list[str]]:
    if one.url is not None:
        lines = [f"posts requests and results to {one.url}{details(project, one.url)}"]
        if not any(map(looks_secret, variable_names(one.url))):
            lines.append(f"which is at {origin_of(expanded(one.url, variables))}")
        return "webhook", lines
    if one.image is not None:
        return "container of an interceptor", [
            f"tells requests and results to image {one.image}",
            *([f"command {argv_text(one.command)}"] if one.command is not None else []),
        ]
    folder = one.working_dir or str(project.directory)
    contents = [
        f"content {path} {project.provenance.programs[path]}"
        for path in sorted(named_by(one, project.directory, [expanded(word, variables) for word in words_of(one)]))
        if path in project.provenance.programs
    ]
    if one.python is not None:
        return "Python function", [f"runs {one.python} on the host", f"in {folder}", *contents]
    argv = [expanded(word, variables) for word in one.run or ()]
    return "program", [f"runs {argv_text(argv)} on the host", f"in {folder}", *contents]


def _details(project: Project, one: Interceptor, variables: Mapping[str, str]) -> Iterator[str]:
    """What it is given beside what it is told: references, never values."""
    for key, text in sorted(one.environment.items()):
        template = f"${{{key}}}" if text is None else text
        if LOADER.match(key) and not secret_names(template) and one.image is None:
            yield f"environment {key}={as_text(expanded(template, variables))}"
        else:
            yield f"environment {key}={template}{details(project, template)}"
    for key, text in sorted(one.headers.items()):
        template = f"${{{key}}}" if text is None else text
        yield f"header {key}={as_text(template)}{details(project, template)}"
    for use in one.secrets:
        yield f"secret {secret_text(project, use.source)} as {use.env or use.target or use.source}"


def _values(one: Interceptor, variables: Mapping[str, str]) -> Iterator[str]:
    """
    What the variables of its address, headers and environment are now: who edits `.env` would change what it does.

    Those that probably hold secrets are not shown, and may change.
    """
    items = (*one.environment.items(), *one.headers.items())
    texts = (one.url or "", *(f"${{{key}}}" if text is None else text for key, text in items))
    for name in sorted({name for text in texts for name in variable_names(text) if not looks_secret(name)}):
        yield f"{name} is {as_text(variables[name])}" if name in variables else f"{name} is not set"


def _sees(one: Interceptor) -> Iterator[str]:
    """What it is told: more of it is something else."""
    match = one.match.model_dump(mode="json", exclude_defaults=True)
    yield f"sees {as_text(match)}" if match else "sees every request and result"
