"""Heads that nobody can change once they are made."""

import sys
from collections.abc import Callable
from typing import Any

from proxy.form import form
from proxy.wire import request, response
from proxy.wire.h2 import request as request_head
from proxy.wire.request import RequestFields
from proxy.wire.response import ResponseHead


def _frozen(made: type) -> type:
    """The same class, whose objects raise if they are changed: once made, they may be shared."""

    def refuse(self: object, name: str, value: object) -> None:
        raise AttributeError(f"{name} of {made.__name__} that are finished")

    return type(f"Frozen{made.__name__}", (made,), {"__slots__": (), "__setattr__": refuse})


class Freezing:
    """Makes the makers of heads return them frozen, wherever they were imported to, until `take_away`.

    Compiled classes cannot be changed so. Nothing is frozen then: the source is the same.
    """

    def __init__(self) -> None:
        self._undone: list[tuple[object, str, object]] = []
        if form() == "compiled":
            return
        self._fields, self._head = _frozen(RequestFields), _frozen(ResponseHead)
        for maker in (request.parse_request_fields, request_head.parse_request_head):
            self._replace(maker, self._fields_frozen(maker))
        for maker in (response.parse_response_head, response.local_head):
            self._replace(maker, self._head_frozen(maker))
        with_lines = ResponseHead.with_lines
        self._set(ResponseHead, "with_lines", self._head_frozen(with_lines))

    def _replace(self, maker: Callable[..., Any], frozen: Callable[..., Any]) -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith("proxy.") and getattr(module, maker.__name__, None) is maker:
                self._set(module, maker.__name__, frozen)

    def _set(self, owner: object, name: str, value: object) -> None:
        self._undone.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def _fields_frozen(self, maker: Callable[..., Any]) -> Callable[..., Any]:
        def frozen(*arguments: Any, **options: Any) -> Any:
            made = maker(*arguments, **options)
            fields = made if isinstance(made, RequestFields) else made.fields
            object.__setattr__(fields, "__class__", self._fields)
            return made

        return frozen

    def _head_frozen(self, maker: Callable[..., Any]) -> Callable[..., Any]:
        def frozen(*arguments: Any, **options: Any) -> Any:
            made = maker(*arguments, **options)
            object.__setattr__(made, "__class__", self._head)
            return made

        return frozen

    def take_away(self) -> None:
        for owner, name, value in reversed(self._undone):
            setattr(owner, name, value)
