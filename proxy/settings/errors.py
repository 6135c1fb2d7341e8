"""What is raised when settings cannot be used."""


class SettingsError(Exception):
    """Settings that cannot be used; `mistakes` has one line for each, naming source, value and mend."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes
