"""What a model thinks aloud before it answers, in every form that models and servers have published: never an answer.

Chat templates of DeepSeek-R1 and Qwen open the thinking in the prompt, so that only its end is seen; those of gpt-oss
(harmony) put it into channels, whose marks some servers take out of the text without the text between them.
"""

import re

# How thinking begins and ends. Anything after a quotation mark or in code is talk about such a mark.
_FORMS = (
    (r"<think(?:ing)?>", r"</think(?:ing)?>"),
    (r"<thoughts?>", r"</thoughts?>"),
    (r"<reasoning>", r"</reasoning>"),
    (r"<seed:think>", r"</seed:think>"),
    (r"\[THINK\]", r"\[/THINK\]"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"<\|channel>thought", r"<channel\|>"),
    (r"<unused94>thought", r"<unused95>"),
    (
        r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<\n]{0,80}(?:<\|constrain\|>[^<\n]{0,40})?<\|message\|>",
        r"(?:<\|end\|>|<\|call\|>)?(?:<\|start\|>assistant)?<\|channel\|>final[^<\n]{0,80}(?:<\|constrain\|>[^<\n]{0,40})?<\|message\|>",
    ),
)
_SPOKEN = r"(?<![`\"'\u201c\u2018])"
_OPENS = re.compile(_SPOKEN + "(?:" + "|".join(form[0] for form in _FORMS) + ")", re.IGNORECASE)
_CLOSES = re.compile(_SPOKEN + "(?:" + "|".join(form[1] for form in _FORMS) + ")", re.IGNORECASE)
# What a template leaves around an answer.
_MARKS = re.compile(r"<\|(?:return|end|call|START_RESPONSE|END_RESPONSE|begin_of_solution|end_of_solution)\|>")
_STRIPPED = re.compile(r"\A\s*analysis(?=[A-Z\W]).*assistant\s?final", re.DOTALL)
_LONGEST = 200  # characters of a mark
# What may become a mark with what comes next: a bracket and a few letters, or a channel whose message has not begun.
_BEGUN = re.compile(
    r"(?:<\|(?:start|channel)\|>[^\n]{0,180}|[<\[◁][^\s>\]▷]{0,30}|<unused94>[a-z]{0,7}|<\|channel>[a-z]{0,7})\Z"
)


def answer(text: str) -> str:
    """`text` without the thinking: the part after its last end, or before a beginning that has no end."""
    closed = list(_CLOSES.finditer(text))
    if closed:
        text = text[closed[-1].end() :]
    else:
        text = _STRIPPED.sub("", text, count=1)
    opened = _OPENS.search(text)
    if opened:
        text = text[: opened.start()]
    return _MARKS.sub("", text)


def unopened(text: str) -> bool:
    """Whether thinking ends in `text` that never began: it began in the prompt."""
    closed = _CLOSES.search(text)
    opened = _OPENS.search(text)
    return closed is not None and (opened is None or opened.start() > closed.start())


class Visible:
    """Takes an answer piece by piece and gives what may be shown of it at once.

    `thinking` says that it begins in thought, as learnt from an earlier answer of the model.
    """

    def __init__(self, *, thinking: bool = False) -> None:
        self._thinking = thinking
        self._held = ""
        self._last = ""  # the character before what is held: behind a quotation mark there is no mark

    def add(self, text: str) -> str:
        """What may be shown now: no thought, and no beginning of what may become a mark."""
        self._held += text
        shown = []
        while (found := self._mark()) is not None:
            if not self._thinking:
                shown.append(self._held[: found[0]])
            self._let_go(found[1])
            self._thinking = not self._thinking
        if self._thinking:
            self._let_go(max(0, len(self._held) - _LONGEST))
        else:
            end = self._safe()
            shown.append(self._held[:end])
            self._let_go(end)
        return _MARKS.sub("", "".join(shown))

    def rest(self) -> str:
        """What was held back for a mark that did not come."""
        held, self._held = self._held, ""
        return "" if self._thinking else _MARKS.sub("", held)

    def _mark(self) -> tuple[int, int] | None:
        """Where in what is held the next mark begins and ends."""
        before = len(self._last)
        found = (_CLOSES if self._thinking else _OPENS).search(self._last + self._held, before)
        return None if found is None else (found.start() - before, found.end() - before)

    def _let_go(self, end: int) -> None:
        self._last = self._held[end - 1 : end] or self._last
        self._held = self._held[end:]

    def _safe(self) -> int:
        """Up to where no mark can have begun."""
        begun = _BEGUN.search(self._held)
        return len(self._held) if begun is None else begun.start()
