"""Follows a tuning run until it ends, and says how to go on with one that nobody follows any longer."""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain

import typer
from rich.console import Console

from tuningfork.cli import output
from tuningfork.cli.connection import INTERRUPTED, LOCAL_URL, is_named_on_command_line
from tuningfork.client import Client, ClientError, ServerUnreachable, findings, progress, results
from tuningfork.client.dialect import Operation
from tuningfork.client.login import LoginFile, credentials_file
from tuningfork.client.terminal import harmless
from tuningfork.domain.user_directories import NoHomeDirectory


class Follower:
    """Shows one run, and prints what becomes of it: its model's name, or its Operation as JSON.

    Args:
        client: a client of the server where the run is.
        context: of the command; it tells whether the key was on the command line.
        as_json: whether the Operation is printed.

    """

    def __init__(self, client: Client, context: typer.Context, *, as_json: bool) -> None:
        self._client = client
        self._as_json = as_json
        self._key_is_typed = is_named_on_command_line(context, "api_key")
        self._newest: Operation | None = None

    def follow(self, begin: Callable[[], Operation]) -> None:
        """Begin or find the run, and show it until it ends.

        Raises:
            ClientError: the run failed or was cancelled, or the server is away for too long.
            typer.Exit: the person interrupts after the run has begun; the run is printed then too.
            KeyboardInterrupt: the person interrupts before the answer to `begin` is there.

        """
        try:
            self._newest = begin()
            known = f"{self._newest.total_steps} steps" if self._newest.total_steps else "its steps are not known yet"
            steps = "imported, not tuned here" if self._newest.is_import else known
            output.say(f"{self._newest.tuned_model}: {steps}{_examples(self._newest)}")
            states = chain([self._newest], self._client.watch(self._newest))
            done = progress.follow(Console(stderr=True, highlight=False, markup=False), self._noted(states))
        except KeyboardInterrupt:
            if self._newest is None:
                raise
            self.leave(self._newest)
            raise typer.Exit(INTERRUPTED) from None
        except ClientError as error:
            if self._newest is not None and isinstance(error, ServerUnreachable):
                output.say(self._advice(self._newest))
            elif self._newest is not None and self._newest.done and self._as_json:
                output.result_json(self._newest.answer)
            raise
        # The result first: the person may interrupt, or standard error may fail, while the rest is written.
        self._print(done)
        self._warn(done)
        self._tell_results(done)
        if done.losses:
            output.say(
                f"Done. Mean loss {done.losses[0]:.3f} at first, {done.losses[-1]:.3f} at last. Ask it:",
                f'  tuningfork generate {shlex.quote(done.tuned_model)} "..."{url_option(self._client.url)}',
            )

    def leave(self, run: Operation) -> None:
        """Print a run, and say how to go on with it."""
        self._print(run)
        output.say(self._advice(run))

    def _warn(self, done: Operation) -> None:
        """Say what the losses give reason to warn of. Where the server cannot tell, the steps do."""
        try:
            found = self._client.diagnosis(done.tuned_model)
        except ClientError:
            found = findings.of_steps(done.snapshots)
        output.say(*(harmless(f"Warning: {each.description} {each.advice}") for each in found))

    def _tell_results(self, done: Operation) -> None:
        """Say what the validation set has shown, and with which checkpoint the model answers, if it is not the last."""
        found = done.results
        if found is None or not found.evaluations:
            return
        output.say(*results.table(found, {each.step: each.mean_loss for each in done.snapshots}))
        if found.stopped_early:
            output.say(found.stopped_early)
        with suppress(ClientError):
            kept = self._client.checkpoints(done.tuned_model)
            default = next((each for each in kept if each.is_default), None)
            if default is not None and default != kept[-1]:
                others = f"`tuningfork checkpoints {shlex.quote(done.tuned_model)}` lists the others."
                output.say(f"The model answers with checkpoint {default.number}, of step {default.step:,}. {others}")

    def _print(self, run: Operation) -> None:
        if self._as_json:
            found = run.results.answer() if run.results and run.results.validation_count else None
            output.result_json(run.answer if found is None else {**run.answer, "validation": found})
        else:
            output.result(run.tuned_model)

    def _noted(self, states: Iterable[Operation]) -> Iterator[Operation]:
        for self._newest in states:
            yield self._newest

    def _advice(self, run: Operation) -> str:
        """The commands for a run that goes on without its watcher, as they can be pasted."""
        rest = f"{shlex.quote(run.tuned_model)}{url_option(self._client.url)}"
        log_in = f"tuningfork auth login{url_option(self._client.url)}"
        key = f"\nAdd --api-key as before, or log in once with the key:\n  {log_in}" if self._key_is_typed else ""
        return (
            "\nThe tuning goes on at the server, also after a restart. To watch it again:\n"
            f"  tuningfork watch {rest}\n"
            "To stop it and keep what it has learned so far:\n"
            f"  tuningfork cancel {rest}\n"
            "To stop it and remove it:\n"
            f"  tuningfork delete {rest}{key}"
        )


def _examples(run: Operation) -> str:
    """How many examples a run that has just been created learns from, where others are held out."""
    if not run.validation_count:
        return ""
    return f", {run.example_count:,} examples to learn from and {run.validation_count:,} to validate with"


def url_option(url: str) -> str:
    """` --url URL` for a command to paste; "" for the server that commands call without it."""
    return "" if url == _usual_url() else f" --url {shlex.quote(url)}"


def _usual_url() -> str | None:
    """The server that commands call without `--url`, if that is the usual one; None: another, or it is not known."""
    if os.environ.get("TUNINGFORK_URL"):
        return None
    try:
        return LOCAL_URL if LoginFile(credentials_file()).login() is None else None
    except (ClientError, NoHomeDirectory):
        # Advice must not fail because of a file that the command itself does not need.
        return None
