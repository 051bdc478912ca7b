"""What was preserved on the way through the gateway, and what was lost."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from conformance.suite import Check, Checks, Key

_DATA = Path(__file__).parent / "cannot_apply.json"


@dataclass(frozen=True)
class Entry:
    """One run through the gateway, held against the direct one."""

    title: str
    wire: str
    upstream: str
    direct: int
    preserved: int
    lost: dict[Key, Check | None] = field(default_factory=dict)
    excused: dict[Key, str] = field(default_factory=dict)
    besides: dict[Key, Check] = field(default_factory=dict)
    """What failed through the gateway and was not among the direct successes, in scenarios that lost something."""

    @property
    def whole(self) -> bool:
        """Tell whether nothing was lost that could have been kept."""
        return not self.lost


def compare(title: str, wire: str, upstream: str, direct: Checks, through: Checks) -> Entry:
    """Hold *through* against *direct*: preserved is what succeeds in both."""
    expected = {key for key, check in direct.items() if check.passed}
    kept = {key for key in expected if key in through and through[key].passed}
    reasons = _cannot_apply(upstream, wire)
    missing = {key: through.get(key) for key in sorted(expected - kept)}
    excused = {
        key: reasons[f"{key.scenario}/{key.check}"] for key in missing if f"{key.scenario}/{key.check}" in reasons
    }
    lost = {key: check for key, check in missing.items() if key not in excused}
    hit = {key.scenario for key in lost}
    besides = {k: c for k, c in through.items() if k.scenario in hit and k not in expected and not c.passed}
    return Entry(title, wire, upstream, len(expected), len(kept), lost, excused, besides)


def _cannot_apply(upstream: str, wire: str) -> dict[str, str]:
    """Give the checks that cannot hold over an upstream of this kind, with the reason for each."""
    rows = json.loads(_DATA.read_text())
    return {row["check"]: row["reason"] for row in rows if row["upstream"] == upstream and row["wire"] == wire}


def table(entries: list[Entry]) -> str:
    """Give one line per run, then every lost check with what the suite said of it."""
    width = max(len(entry.title) for entry in entries)
    lines = [f"{'run':<{width}}  wire        preserved  cannot apply  lost"]
    lines += [
        f"{e.title:<{width}}  {e.wire}  {f'{e.preserved}/{e.direct}':>9}  {len(e.excused):>12}  {len(e.lost):>4}"
        for e in entries
    ]
    for entry in entries:
        if entry.lost or entry.excused:
            lines += ["", f"--- {entry.title}, {entry.wire}"]
        lines += [f"lost: {key}\n{_said(check)}" for key, check in entry.lost.items()]
        lines += [f"besides: {key}\n{_said(check)}" for key, check in entry.besides.items()]
        lines += [f"cannot apply: {key}\n    {reason}" for key, reason in entry.excused.items()]
    return "\n".join(lines)


def _said(check: Check | None) -> str:
    if check is None:
        return "    not reached: the scenario ended before it"
    details = json.dumps(check.details, ensure_ascii=False)[:600]
    return f"    {check.status}: {check.message}\n    {details}"
