"""
The approvals of one project on this machine, and the question what still needs one.

Kept outside the repository, in a file that only its user can read, written whole or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mcpcompose.errors import McpComposeError
from mcpcompose.orchestrator.forms import Form, Resolve, launch_forms
from mcpcompose.orchestrator.governed_rules import governing_forms
from mcpcompose.orchestrator.lock_rules import lock_rules
from mcpcompose.orchestrator.loosening import Baseline, door_forms, loosening_forms, rules
from mcpcompose.paths import ProjectPaths, private_folder
from mcpcompose.spec.identity import Owner
from mcpcompose.spec.lockfile import Lock
from mcpcompose.spec.project import Project

__all__ = ["Approvals", "Form", "approvals_of", "forms"]

_VERSION: Final = 1
_OF_GOVERNANCE: Final = frozenset(
    {
        "program", "Python function", "webhook", "container of an interceptor", "interceptor that may fail",
        "no audit log", "audit log with values", "wider gateway",
    }
)  # fmt: skip
"""Kinds whose approval ends when the project in force does without: what a person took back is asked for again."""


def forms(
    project: Project,
    *,
    variables: Mapping[str, str],
    digests: Mapping[str, str],
    home: Path,
    baseline: Baseline | None = None,
    resolve: Resolve = Path.resolve,
) -> tuple[Form, ...]:
    """
    Everything in *project* that needs approval: host commands, wider containers, interceptors that are not built in,
    rules looser than *baseline*.
    """
    launch = launch_forms(project, variables=variables, digests=digests, home=home, resolve=resolve)
    return (*launch, *_of_governance(project, variables), *loosening_forms(project, baseline))


def _of_governance(project: Project, variables: Mapping[str, str]) -> tuple[Form, ...]:
    return (*_interceptors(project, variables), *governing_forms(project), *door_forms(project))


def _interceptors(project: Project, variables: Mapping[str, str]) -> tuple[Form, ...]:
    if not project.interceptors:
        return ()
    from mcpcompose.orchestrator.interceptor_forms import interceptor_forms  # noqa: PLC0415  only where there are any

    return interceptor_forms(project, variables)


def approvals_of(paths: ProjectPaths, owner: Owner) -> Approvals:
    """The store of one owner's folder, whatever the file there calls the project: a new name must not forget rules."""
    return Approvals(private_folder(paths.state.parent / owner.id) / "approvals.json")


def accepted_file(paths: ProjectPaths, owner: Owner) -> Path:
    """Where the gateway keeps what servers offered when they were first seen: beside the approvals, for the reason."""
    return private_folder(paths.state.parent / owner.id) / "accepted.json"


class Approvals:
    """What a person approved on this machine, and the rules last in force (the baseline)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pending(self, needed: Iterable[Form]) -> tuple[Form, ...]:
        """The forms of *needed* that are not approved."""
        approved = self._read()["approved"]
        return tuple(form for form in needed if form.hash not in approved)

    def approve(self, chosen: Iterable[Form]) -> None:
        """Approve these exact forms."""
        content = self._read()
        for form in chosen:
            content["approved"][form.hash] = {
                "kind": form.kind,
                "subject": form.subject,
                "text": form.text,
                "once": form.once,
            }
        self._write(content)

    def approved(self) -> tuple[Form, ...]:
        """Everything that was approved."""
        return tuple(
            Form(entry["kind"], entry["subject"], entry["text"], digest, entry.get("once", False))
            for digest, entry in self._read()["approved"].items()
        )

    def baseline(self) -> Baseline | None:
        """The rules last in force; None before the first time."""
        baseline: Baseline | None = self._read()["baseline"]
        return baseline

    def record(self, project: Project, variables: Mapping[str, str]) -> None:
        """
        *project*, with *variables*, is in force now: its rules become the baseline. When they are others than before,
        approvals for one change are used up, and those of governance that it does without are over.

        While they stay the same nothing is used up: a person may approve the forms of one change one by one.
        """
        content = self._read()
        baseline = rules(project, content["baseline"])
        held = sorted(form.hash for form in _of_governance(project, variables))
        if baseline == content["baseline"] and held == content["held"]:
            return
        approved = {
            digest: entry
            for digest, entry in content["approved"].items()
            if not entry.get("once") and (digest in held or entry["kind"] not in _OF_GOVERNANCE)
        }
        self._write({**content, "baseline": baseline, "held": held, "approved": approved})

    def accept_lock(self, lock: Lock) -> None:
        """A person wrote *lock* here and now: what it accepts needs no approval any more."""
        content = self._read()
        if (baseline := content["baseline"]) is not None:
            accepted = lock_rules(lock, baseline.get("lock"))
            self._write({**content, "baseline": {**baseline, "lock": accepted}})

    def _read(self) -> dict[str, Any]:
        empty: dict[str, Any] = {"version": _VERSION, "approved": {}, "baseline": None, "held": []}
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return empty
        except (OSError, ValueError) as error:
            raise self._unusable() from error
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            raise self._unusable()
        if not isinstance(content.get("approved"), dict):
            raise self._unusable()
        return {**empty, **content}

    def _unusable(self) -> McpComposeError:
        return McpComposeError(
            f"the approvals in `{self._path}` cannot be read",
            hint="remove the file to start over; everything then needs approval again",
        )

    def _write(self, content: Mapping[str, Any]) -> None:
        folder = private_folder(self._path.parent)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".approvals-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(self._path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
