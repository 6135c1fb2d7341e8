"""The error raised for invalid settings."""


class SettingsError(Exception):
    """Invalid settings; `mistakes` has one line for each, with source, value and fix."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes
