"""What a result of one of several servers looks like to a client: URIs that lead back to it, ids of tasks. Pure."""

from __future__ import annotations

import msgspec

from mcpcompose.gateway.capabilities import has_tasks
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.gateway.tasks import METHODS, TaskIds, task_id, with_task_id
from mcpcompose.gateway.uris import Links, Rewriting, is_rewritable, may_have_links, rewritten_result
from mcpcompose.upstream.wire import members

_TASK = b'"task"'


class Outward(msgspec.Struct, frozen=True):
    """Of one call of *client* to *server*, one of several of *endpoint*."""

    endpoint: EndpointTable
    server: str
    client: str
    links: Links
    task_ids: TaskIds

    def __call__(self, raw: bytes, method: str) -> bytes:
        """The result *raw* of *method*; the very same bytes where nothing in it leads elsewhere."""
        if self.server in self.endpoint.rewriting or may_have_links(raw):
            raw = rewritten_result(raw, self.uri)
        if has_tasks(self.endpoint.said.get(self.server)) and (method in METHODS or (_TASK in raw and _is_task(raw))):
            raw = self.task(raw)
        return raw

    def uri(self, uri: str) -> str:
        """What the client can ask us for to get the server's own *uri*."""
        marked = self.endpoint.rewriting.get(self.server)
        if marked is not None:
            return marked.out(uri)
        place = self.endpoint.known(uri)
        if place is None or not is_rewritable(uri):
            self.links.saw(self.client, self.endpoint.profile, uri, self.server)
            return uri
        return uri if place.server == self.server else Rewriting(self.server).out(uri)

    def task(self, raw: bytes) -> bytes:
        """A task, with an id that leads back."""
        id_ = task_id(raw)
        return raw if id_ is None else with_task_id(raw, self.task_ids.exposed(self.server, self.client, id_))


def _is_task(raw: bytes) -> bool:
    found = members(raw)
    return found is not None and bytes(found.get("resultType", b"")) == _TASK
