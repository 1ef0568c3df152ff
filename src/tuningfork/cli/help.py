"""How `--help` is written: in words and without types of Python, for a terminal of any width from 50 columns on."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])

MAX_COLUMNS = 120
"""The most columns that a help text takes: longer lines are hard to read."""

_TWO_COLUMNS_FROM = 78
"""On narrower terminals the explanation of an option begins on a line of its own."""
_INDENT = 6

Parameter = Any
"""An option or an argument of typer, which has no public name for both."""
Formatter = Any
"""Writes a help text; typer has no public name for it."""


class Commands(typer.Typer):
    """Commands whose help is written as this module says.

    Args:
        name: of the program; None for commands within another one's.
        description: in a sentence.
        settings: what else typer takes.

    """

    def __init__(self, name: str | None, description: str, **settings: Any) -> None:
        super().__init__(
            name=name,
            cls=Group,
            help=description,
            no_args_is_help=True,
            add_completion=False,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
            **settings,
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[CommandFunction], CommandFunction]:
        """Add a command: a decorator, as in typer."""
        return super().command(name, **{"cls": Command, **settings})


class Command(TyperCommand):
    """A command. Every parameter that takes a value has a `metavar`, which a test checks."""

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override] # noqa: ARG002
        """What stands behind the command's name in the usage line: `[OPTIONS] FILE...`."""
        return ["[OPTIONS]", *(str(each.metavar) for each in self.params if isinstance(each, TyperArgument))]

    def format_options(self, ctx: typer.Context, formatter: Formatter) -> None:  # type: ignore[override]
        """Write the arguments and the options."""
        _write_parameters(self.get_params(ctx), ctx, formatter)


class Group(TyperGroup):
    """A group of commands, which are listed with their whole first sentence."""

    command_class = Command

    def format_options(self, ctx: typer.Context, formatter: Formatter) -> None:  # type: ignore[override]
        """Write the options and the commands."""
        _write_parameters(self.get_params(ctx), ctx, formatter)
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [(name, (command.help or "").partition("\n\n")[0]) for name, command in commands if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, " ".join(text.split())) for name, text in rows])


def _write_parameters(parameters: list[Any], ctx: typer.Context, formatter: Formatter) -> None:
    shown = [each for each in parameters if not each.hidden]
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        if rows := [
            (_spelling(each), _explanation(each, ctx.auto_envvar_prefix))
            for each in shown
            if each.param_type_name == kind
        ]:
            with formatter.section(title):
                _write_rows(rows, formatter)


def _write_rows(rows: list[tuple[str, str]], formatter: Formatter) -> None:
    if formatter.width >= _TWO_COLUMNS_FROM:
        formatter.write_dl(rows)
        return
    for spelling, explanation in rows:
        formatter.write(f"{'':>{formatter.current_indent}}{spelling}\n")
        formatter.current_indent += _INDENT - 2
        formatter.write_text(explanation)
        formatter.current_indent -= _INDENT - 2


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    opts = sorted(parameter.opts, key=lambda each: each.startswith("--"))
    names = "/".join([", ".join(opts), *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.metavar}"


def _explanation(parameter: Parameter, prefix: str | None) -> str:
    remarks = "; ".join(_remarks(parameter, prefix)) if parameter.param_type_name == "option" else ""
    return f"{parameter.help}  [{remarks}]" if remarks else str(parameter.help)


def _remarks(option: Parameter, prefix: str | None) -> Iterator[str]:
    if default := default_in_words(option):
        yield f"default: {default}"
    if variable := variable_of(option, prefix):
        yield f"variable: {variable}"


def default_in_words(option: Parameter) -> str:
    """What holds if an option is not given; "": nothing that needs to be said."""
    if isinstance(option.show_default, str):
        return option.show_default
    if option.show_default is False or option.default in (None, "", False):
        return ""
    return str(option.default)


def variable_of(option: Parameter, prefix: str | None) -> str:
    """The environment variable that sets an option; "": there is none.

    Args:
        option: an option.
        prefix: the beginning of the variables of its command, such as `TUNINGFORK_TUNE`.

    """
    if option.envvar:
        return str(option.envvar)
    return f"{prefix}_{option.name.upper()}" if prefix and option.allow_from_autoenv and option.show_envvar else ""
