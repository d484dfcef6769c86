"""The verbs of the command `kairos`, one module each; `kairos.py` names them, none is imported before it is called.

**The contract of a verb.** `cli/<verb>.py` (or a package; a verb that is a Python keyword gets a trailing underscore:
`import_.py`) defines one of

- ``def run(...) -> None``: the verb is one command; its parameters carry Typer annotations
  (``Annotated[int, typer.Option(help="…")]``), its docstring is the help;
- ``app = typer.Typer()``: the verb has subcommands, each an ``@app.command()`` with a docstring.
  ``@app.callback(invoke_without_command=True)`` makes the bare verb do something, too.

**Docstrings are the help.** First a sentence, then what one must know, then examples as indented lines, which are shown
as they stand; sections `Args:`, `Raises:` and `Returns:` are not shown::

    def run(problem: Annotated[str, typer.Argument(help="Which question.")], as_json: JsonOption = False) -> None:
        '''Train one problem and promote it if the gates let it.

        Example:

            kairos train churn --trials 20
            kairos train churn --json
        '''

**Inside a verb.** Settings come from `Settings.from_env()` (`kairos` has checked them already). Results go to stdout:
`console.out.print`, `console.table(...)`, or `console.print_json(...)` and nothing else when `--json` was given; steps
and progress go to stderr through `console.step(...)`. Never catch a `KairosError`: `kairos` prints it in one red line.

**Exit codes.** 0 done · 1 it could not be done now, or not with these data (`Unavailable`, `Busy`, `NotEnoughData`,
`GateRefused`, `QualityBreach`) · 2 what was asked cannot be right (`InvalidInput`, `NotFound`, `Conflict`, a wrong
option) · 130 Ctrl-C. An exit code of your own (a failed check, say) is `raise typer.Exit(1)`.

Top-level imports of a verb are paid by its `--help`: import heavy parts of Kairos (`features.store`,
`training.pipeline`, …) freely if they keep to the doors, which import Feast, MLflow and LightGBM inside functions.
"""
