"""The command `kairos`: one line per verb, each imported only when it is called. `cli/__init__.py` has the contract."""

from __future__ import annotations

import importlib
import inspect
import signal
import sys
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_command

from features.kernel.errors import Busy, GateRefused, KairosError, NotEnoughData, QualityBreach, Unavailable

__all__ = ["VERBS", "app", "load", "main"]

VERBS = {
    "demo": "Run the whole loop once, from raw events to measured actions.",
    "up": "Start Redis, the service, the follower and the learner until Ctrl-C.",
    "import": "Read a foreign table through a recipe.",
    "ingest": "Keep online features fresh; take events from a Redis Stream.",
    "quarantine": "Look at what was set aside at the door; release or discard it.",
    "features": "Define, compute, look up and materialise features.",
    "train": "Train a problem; promote the model if the gates let it.",
    "models": "List the served models, with how far to trust each.",
    "serve": "Serve scores, reasons and decisions over HTTP.",
    "decide": "Ask for a customer's next best action.",
    "learn": "Learn from what came of decisions; say what worked.",
    "explain": "Say what drives a served model; write the SHAP values of every row.",
    "report": "Report how far customers have drifted since training.",
    "consent": "Show whether a customer may be contacted, by channel and since when.",
    "forget": "Remove a person from everything; name the models that learnt from them.",
    "bench": "Measure Kairos side by side with its peers.",
    "results": "Hold Kairos against known results on public data.",
}
"""Every verb and its one line; the module is `cli.<verb>`, with an underscore after a Python keyword."""

_NOT_NOW = (Busy, GateRefused, NotEnoughData, QualityBreach, Unavailable)
_NOT_HELP = ("Args:", "Raises:", "Returns:", "Yields:")


class _Verbs(TyperGroup):
    """Knows every verb by its line alone; the module behind it is imported when the verb is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, stub, rest = super().resolve_command(ctx, args)
        return name, stub and load(str(name)), rest


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Each verb explains itself with an example: kairos train --help",
)


@app.callback()
def _kairos() -> None:
    """Kairos, the right moment: learn who will convert, buy, leave or open, and what to do next.

    Settings are environment variables with the prefix KAIROS_; KAIROS_HOME is where everything is kept.
    """
    # Not a plain import: reading the settings starts the clock, which a bad KAIROS_NOW stops with an error to be shown.
    importlib.import_module("features.kernel.settings").Settings.from_env()


def _stub() -> None:
    """Stand for a verb that has not been imported."""


for _name, _line in VERBS.items():
    app.command(_name, help=_line)(_stub)


def load(verb: str) -> Any:
    """The command behind a verb: its module's `app`, or its function `run`."""
    module = importlib.import_module(f"cli.{verb}_" if verb == "import" else f"cli.{verb}")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Importing Polars puts a handler before Python's that restarts system calls: Ctrl-C would not end a wait.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False)
        group.command(verb)(module.run)
    group._add_completion = False
    command = get_command(group)
    command.name = verb
    _teach(command)
    return command


def _teach(command: Any) -> None:
    """Show indented lines of a docstring (the examples) as they stand, and leave out the sections for programmers."""
    text = inspect.cleandoc(command.help or "").replace("Example:\n\n", "Example:\n")
    shown = [each for each in text.split("\n\n") if not each.startswith(_NOT_HELP)]
    command.help = "\n\n".join(f"\b\n{escape(each)}" if "\n " in f"\n{each}" else each for each in shown)
    for each in getattr(command, "commands", {}).values():
        _teach(each)


def main() -> None:
    """Run the command; see `cli/__init__.py` for its exit codes."""
    try:
        app()
    except KairosError as error:
        Console(stderr=True, highlight=False).print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        sys.exit(1 if isinstance(error, _NOT_NOW) else 2)


if __name__ == "__main__":
    main()
