"""The command `kairos`: one line per verb, each imported only when it is called."""

from __future__ import annotations


def main() -> None:
    """Run the command."""
    raise SystemExit("not built yet")
