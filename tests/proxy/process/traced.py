"""The gateway as it is, noting which settings are read: run as `python -m tests.proxy.process.traced`.

Each first reading is a line of the file that $TRACE names: process id, the value of `retry_wait` in the settings that
were read (which tells one configuration from the next), name of the setting. What compares, copies or checks whole
settings is no use of them.
"""

import os
import sys
from typing import Any

from proxy.cli import main
from proxy.settings import Settings, table

_NAMES = {row.name for row in table()}
_NO_USE = ("/dataclasses.py", "/pickle.py", "/copyreg.py", "/proxy/settings/", "/proxy/cli.py")


def trace() -> None:
    file = os.open(os.environ["TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    seen: set[tuple[int, float, str]] = set()

    def read(settings: Settings, name: str) -> Any:
        value = object.__getattribute__(settings, name)
        if name in _NAMES:
            code = sys._getframe(1).f_code
            entry = os.getpid(), object.__getattribute__(settings, "retry_wait"), name
            uses = code.co_name not in ("__eq__", "_fixed", "_out_of_reach")
            if uses and entry not in seen and not any(part in code.co_filename for part in _NO_USE):
                seen.add(entry)
                os.write(file, f"{entry[0]} {entry[1]:g} {name}\n".encode())
        return value

    Settings.__getattribute__ = read  # type: ignore[method-assign]


if __name__ == "__main__":
    trace()
    sys.exit(main())
