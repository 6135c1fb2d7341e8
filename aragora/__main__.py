"""`aragora` and `python -m aragora`: the command line of the debate service."""

import sys


def main() -> int:
    """Run one command; returns the exit code. Where the service's libraries are missing, says what installs them."""
    try:
        from aragora.cli import main as run

        return run()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] in ("aragora", "proxy"):
            raise
        print(
            f"aragora: {missing.name} is missing: the debate service is an extra of the gateway; "
            "pip install 'aragora-gateway[debates]'",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
