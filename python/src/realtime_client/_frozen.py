from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn


def freeze(value: Any) -> Any:
    """A JSON value that cannot be changed. What it is made of is taken over, not copied where nothing is in the way."""
    kind = type(value)
    if kind is dict:
        for name, item in value.items():
            if type(item) is dict or type(item) is list:
                value[name] = freeze(item)
        return FrozenDict(value)
    if kind is list:
        return FrozenList(map(freeze, value))
    return value


def _refuse(self: object, *_: Any, **__: Any) -> NoReturn:
    raise TypeError("this is a read-only snapshot: copy it with dict() or list(), or change what it shows by its owner")


class FrozenDict(dict[str, Any]):
    """A dictionary that cannot be changed; equal to, printed and written as JSON like any other."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies are to be changed.
        return dict, (dict(self),)


class FrozenList(list[Any]):
    """A list that cannot be changed; equal to, printed and written as JSON like any other."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = append = clear = extend = insert = _refuse
    pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


EMPTY: Mapping[str, Any] = FrozenDict()
