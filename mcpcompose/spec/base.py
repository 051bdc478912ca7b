"""The base of all models of the compose file: frozen, closed, printable and hashable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer

Value = TypeVar("Value")


class Model(BaseModel):
    """
    One mapping of the file. Unknown keys are errors; `x-*` keys are dropped by the loader.

    The text below a field describes it in the JSON Schema (`config.schema`); no start-up pays for reading it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def canonical(self) -> str:
        """The model as JSON with sorted keys: the same model, the same text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def __hash__(self) -> int:
        return hash(self.canonical())


def _freeze(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


Names = Annotated[Mapping[str, Value], AfterValidator(_freeze), PlainSerializer(dict)]
"""A mapping from names that cannot be changed after it is made."""
