from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpcompose.gateway.tasks import TaskIds, task_id, with_task_id

KEY = b"k" * 32


@given(st.text(max_size=200))
def test_an_id_leads_back_to_its_server_for_its_client_alone(id_: str) -> None:
    ids = TaskIds(KEY)

    exposed = ids.exposed("db", "me", id_)

    assert exposed.startswith("db.")
    assert exposed.isascii()
    assert ids.opened(exposed, "me") == ("db", id_)
    assert ids.opened(exposed, "you") is None
    assert ids.opened("x" + exposed, "me") is None
    assert TaskIds(b"o" * 32).opened(exposed, "me") is None


@pytest.mark.parametrize("id_", [None, 7, "", "db", "db.", "db.!", "db.AAAA", "." * 9000, "db.\ud800"])
def test_ids_that_were_not_given_out_here_are_refused(id_: object) -> None:
    assert TaskIds(KEY).opened(id_, "me") is None


def test_only_the_id_of_a_task_changes() -> None:
    raw = b'{"resultType":"task","taskId":"t","ttlMs":null,"pollIntervalMs":1.50,"vendor":{"taskId":"t"}}'

    assert task_id(raw) == "t"
    changed = with_task_id(raw, "db.x")
    assert json.loads(changed) == {**json.loads(raw), "taskId": "db.x"}
    assert b"1.50" in changed
    assert task_id(b'{"taskId":7}') is None
    assert task_id(b"[]") is None
