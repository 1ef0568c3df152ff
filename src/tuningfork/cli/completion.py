"""`tuningfork completion`: lets shells complete commands and options, by typer's own completion."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from tuningfork.cli import output

PROGRAM = "tuningfork"
_ASKED_BY = "_TUNINGFORK_COMPLETE"
"""The variable with which the script of a shell calls this program to ask for completions."""


class Shell(StrEnum):
    """The shells for which there is a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", show_choices=False, help="bash, zsh or fish.")],
) -> None:
    """Print a script with which a shell completes commands and options.

    For bash: eval "$(tuningfork completion bash)" in ~/.bashrc. For zsh the same with zsh in ~/.zshrc, after compinit.
    For fish: tuningfork completion fish > ~/.config/fish/completions/tuningfork.fish
    """
    from typer import completion as of_typer  # noqa: PLC0415 - only this needs it

    script: str = of_typer.get_completion_script(  # type: ignore[attr-defined]
        prog_name=PROGRAM, complete_var=_ASKED_BY, shell=shell.value
    )
    output.result(script)


def prepare() -> None:
    """Let typer answer the shell, where the shell asks."""
    if _ASKED_BY in os.environ:
        from typer import completion as of_typer  # noqa: PLC0415 - only this needs it

        of_typer.completion_init()  # type: ignore[attr-defined]
