"""nginx's variables in texts, as the placeholders of the gateway."""

import re

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_PLACEHOLDER = re.compile(r"(?<!\$)\{\w+\}")
_REQUEST = {
    "request_uri": "{path}{query}",
    "uri": "{path}",
    "document_uri": "{path}",
    "host": "{host}",
    "http_host": "{host}",
    "scheme": "{scheme}",
}
_FIELDS = _REQUEST | {
    "remote_addr": "{client}",
    "remote_user": "{user}",
    "request_method": "{method}",
    "request_id": "{request_id}",
    "proxy_host": "{upstream}",
}


class UnknownVariableError(ValueError):
    """A variable without a placeholder."""


def as_redirect(text: str, names: list[str], rest: str = "") -> str:
    """The address of a redirect; `rest` is what `$1` stands for. Raises `UnknownVariableError`."""
    text = text.replace("$is_args$args", "{query}").replace("?$args", "{query}").replace("?$query_string", "{query}")
    return _replaced(text, _REQUEST | ({"1": rest} if rest else {}) | _own(names))


def as_field(text: str, names: list[str]) -> str:
    """The value of a field, or a text. Raises `UnknownVariableError`, also for what would be a placeholder here."""
    if _PLACEHOLDER.search(text):
        raise UnknownVariableError("words in braces are placeholders here")
    return _replaced(text.replace("$is_args$args", "{query}"), _FIELDS | _own(names))


def has_variable(text: str) -> bool:
    return bool(_VARIABLE.search(text))


def _own(names: list[str]) -> dict[str, str]:
    return {"server_name": names[0]} if names else {}


def _replaced(text: str, placeholders: dict[str, str]) -> str:
    def replacement(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in placeholders:
            raise UnknownVariableError(f"${name} has no placeholder here")
        return placeholders[name]

    return _VARIABLE.sub(replacement, text)
