"""The slow paths of payloads: what orjson cannot do exactly."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import Any

import orjson

from ._errors import RealtimeError


def dumps_slowly(payload: object, error: BaseException) -> bytes:
    """JSON for what orjson has refused with `error`: integers of any size. Raises `invalid_payload` for all else."""
    if "Integer exceeds" in str(error):
        try:
            _check_keys(payload)
            text = json.dumps(payload, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_default)
            return text.encode()
        except (TypeError, ValueError, RecursionError) as other:
            error = other
    raise RealtimeError("invalid_payload", f"the payload cannot be sent as JSON: {error}") from error


def loads_exactly(text: bytes) -> Any:
    """Objects for JSON that orjson refuses or reads inexactly: integers of any size, lone surrogates."""
    return json.loads(text.decode(), parse_constant=_refuse_constant)


def parts(value: object) -> list[Any]:
    """What a value that orjson writes natively is made of, where that may hold floats."""
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    if isinstance(value, enum.Enum):
        return [value.value]
    return []


def _check_keys(value: object) -> None:
    # json.dumps would write other keys as strings, which the receiver could not tell from strings.
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError("Dict key must be str")
            _check_keys(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_keys(item)


def _default(value: object) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return orjson.loads(orjson.dumps(value))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
