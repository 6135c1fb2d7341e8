"""Heads that nobody can change once they are made."""

import sys
from collections.abc import Callable
from typing import Any

from proxy.wire import request, response
from proxy.wire.h2 import request as request_head
from proxy.wire.request import RequestFields
from proxy.wire.response import ResponseHead


class FrozenFields(RequestFields):
    """Fields that their maker has returned: they may be shared, and are never changed."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} of fields that are finished")


class FrozenHead(ResponseHead):
    """The same of a response's head."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} of a head that is finished")


class Freezing:
    """Makes the makers of heads return them frozen, wherever they were imported to, until `take_away`."""

    def __init__(self) -> None:
        self._undone: list[tuple[object, str, object]] = []
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
            object.__setattr__(fields, "__class__", FrozenFields)
            return made

        return frozen

    def _head_frozen(self, maker: Callable[..., Any]) -> Callable[..., Any]:
        def frozen(*arguments: Any, **options: Any) -> Any:
            made = maker(*arguments, **options)
            object.__setattr__(made, "__class__", FrozenHead)
            return made

        return frozen

    def take_away(self) -> None:
        for owner, name, value in reversed(self._undone):
            setattr(owner, name, value)
