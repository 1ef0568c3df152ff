"""A sweep: several settings of one tuning, trained beside one another and compared by their validation losses."""

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tuningfork.client.dialect import Operation
from tuningfork.client.errors import ClientError, ServiceRefusal
from tuningfork.client.gemini import Client
from tuningfork.domain.errors import Code
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuned_model import MAX_DISPLAY_NAME_CHARACTERS, Changeable, ModelChange
from tuningfork.domain.tuning_job import TuningRequest

MOST_SETTINGS = 16
_POLL_SECONDS = 0.5
_PAUSES = 9.0
"""It waits so many times longer than it has asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The hyperparameters of one run. What is None is left to the server."""

    learning_rate: float | None = None
    rank: int | None = None
    epochs: int | None = None

    @property
    def in_words(self) -> str:
        """What the setting says, such as "learning rate 0.001, rank 8"."""
        rate = "" if self.learning_rate is None else f"learning rate {self.learning_rate:g}"
        rank = "" if self.rank is None else f"rank {self.rank}"
        return ", ".join(filter(None, (rate, rank, "" if self.epochs is None else f"epochs {self.epochs}")))

    def of(self, request: TuningRequest) -> TuningRequest:
        """The request with this setting, under an id and a name that follow from what is asked.

        Whoever asks the same again finds the run that was begun.
        """
        used = request.hyperparameters
        if self.learning_rate is not None:
            used = replace(used, learning_rate=self.learning_rate)
        if self.epochs is not None:
            used = replace(used, epoch_count=self.epochs)
        rank = request.adapter_rank if self.rank is None else self.rank
        asked = replace(request, hyperparameters=used, adapter_rank=rank, keep_best=True, display_name="")
        digest = hashlib.sha256(repr(asked).encode("utf-8", "surrogatepass")).hexdigest()
        name = f"sweep: {self.in_words}"[:MAX_DISPLAY_NAME_CHARACTERS]
        return replace(asked, tuned_model_id=f"sweep-{digest[:16]}", display_name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The values of each hyperparameter; every combination is a setting. No values: the server chooses."""

    learning_rates: tuple[float, ...] = ()
    ranks: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()

    def settings(self) -> tuple[Setting, ...]:
        """Every combination, the first learning rate first."""
        return tuple(
            Setting(learning_rate=rate, rank=rank, epochs=epochs)
            for rate, rank, epochs in itertools.product(
                self.learning_rates or (None,), self.ranks or (None,), self.epochs or (None,)
            )
        )

    def edges(self, best: Setting) -> Iterator[str]:
        """A sentence for each hyperparameter whose best value is the lowest or the highest of those tried."""
        for name, values, value in (
            ("learning rate", self.learning_rates, best.learning_rate),
            ("rank", self.ranks, best.rank),
            ("number of epochs", self.epochs, best.epochs),
        ):
            tried = sorted(set(values))
            is_least = name != "learning rate" and value == 1
            if len(tried) < 2 or value not in (tried[0], tried[-1]) or is_least:
                continue
            is_lowest = value == tried[0]
            end, further = ("lowest", "lower") if is_lowest else ("highest", "higher")
            beyond = tried[0] ** 2 / tried[1] if is_lowest else tried[-1] ** 2 / tried[-2]
            such_as = f", such as {beyond if name == 'learning rate' else max(1, round(beyond)):g}"
            has_beyond = name == "learning rate" or round(beyond) not in (0, value)
            yield (
                f"The best {name}, {value:g}, is the {end} of those tried: {further} ones may be better"
                f"{such_as if has_beyond else ''}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of a sweep. `run` None: the server has not taken it yet, since too many jobs wait."""

    setting: Setting
    request: TuningRequest = field(repr=False)
    run: Operation | None = None

    @property
    def name(self) -> str:
        """The name of the model that it makes."""
        return f"tunedModels/{self.request.tuned_model_id}" if self.run is None else self.run.tuned_model

    @property
    def is_done(self) -> bool:
        """Whether the run has ended."""
        return self.run is not None and self.run.done

    @property
    def best(self) -> Evaluation | None:
        """Its best evaluation so far; None: there is none, or it has failed."""
        if self.run is None or self.run.error is not None or self.run.results is None:
            return None
        best = self.run.results.best
        return best if best is not None and math.isfinite(best.mean_loss) else None


class Sweep:
    """Runs the settings of a grid over one base. Goes on with runs that the same sweep began before.

    Those of them that have failed are tried again. Another sweep of the same person over the same examples may share
    runs with this one, and deletes them when it ends; such a run is begun again.

    Args:
        client: of the server.
        request: what all runs have in common; it has a validation set or holds out a share.
        grid: the settings.
        sleep: how it waits, in seconds.

    """

    def __init__(
        self, client: Client, request: TuningRequest, grid: Grid, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._sleep = sleep
        self.trials = tuple(Trial(setting=each, request=each.of(request)) for each in grid.settings())

    def states(self) -> Iterator[tuple[Trial, ...]]:
        """Begin all runs, and yield how they stand again and again until all have ended.

        Where the server takes no more runs at a time, the others are begun when earlier ones have ended.

        Raises:
            ClientError: the server refuses a run, or is away for too long.

        """
        while True:
            self._begin_further()
            yield self.trials
            if all(trial.is_done for trial in self.trials):
                return
            asked = time.monotonic()
            self.trials = tuple(map(self._newest, self.trials))
            self._sleep(max(_POLL_SECONDS, _PAUSES * (time.monotonic() - asked)))

    def _begin_further(self) -> None:
        """Begin the runs that wait, in their order, as far as the server takes them."""
        for place, trial in enumerate(self.trials):
            if trial.run is not None:
                continue
            try:
                begun = replace(trial, run=self._begun(trial))
            except ServiceRefusal as refusal:
                if refusal.status == Code.RESOURCE_EXHAUSTED and any(map(_is_under_way, self.trials)):
                    return
                raise
            # Noted at once: whatever happens to the next, this one is known.
            self.trials = (*self.trials[:place], begun, *self.trials[place + 1 :])

    def _begun(self, trial: Trial) -> Operation:
        try:
            return self._client.create_tuned_model(trial.request)
        except ServiceRefusal as refusal:
            if refusal.status != Code.ALREADY_EXISTS:
                raise
        try:
            run = self._client.operations(trial.name)[-1]
            if run.error is None:
                return self._client.with_results(run)
        except ServiceRefusal as refusal:
            if refusal.status != Code.PERMISSION_DENIED:
                raise
            # Somebody else tries the same on this server. Theirs cannot be looked at.
            return self._client.create_tuned_model(replace(trial.request, tuned_model_id=None))
        # What an earlier try failed of, such as a full disk, may be gone; a failed run says nothing about its setting.
        anew = trial.request if self._is_deleted(trial) else replace(trial.request, tuned_model_id=None)
        return self._client.create_tuned_model(anew)

    def _newest(self, trial: Trial) -> Trial:
        if trial.run is None or trial.run.done:
            return trial
        try:
            now = replace(self._client.state(trial.run.name), results=trial.run.results)
            return replace(trial, run=self._client.with_results(now))
        except ServiceRefusal as refusal:
            if refusal.status != Code.NOT_FOUND:
                raise
        return replace(trial, run=None)

    def publish(self, best: Trial, display_name: str, *, keeps_others: bool) -> list[str]:
        """Give the best run's model its name, and delete the models of the others.

        A model that has been given another name meanwhile is somebody's, and stays.

        Returns:
            The models that stay.

        Raises:
            ClientError: the best model is not there any more. Nothing was deleted.

        """
        change = ModelChange(fields=frozenset({Changeable.DISPLAY_NAME}), display_name=display_name)
        try:
            self._client.update_tuned_model(best.name, change)
        except ServiceRefusal as refusal:
            if refusal.status != Code.NOT_FOUND:
                raise
            raise ClientError(
                f"The best model, {best.name}, was deleted meanwhile, such as by another sweep over the same examples. "
                "The same command trains it again."
            ) from refusal
        stays = [best.name]
        for trial in self.trials:
            if trial.name == best.name or trial.run is None:
                continue
            if keeps_others or not self._is_deleted(trial):
                stays.append(trial.name)
        return stays

    def _is_deleted(self, trial: Trial) -> bool:
        """Delete the model of a trial, unless it has another name now or the server refuses; whether it is gone."""
        try:
            if self._client.tuned_model(trial.name).display_name != trial.request.display_name:
                return False
            self._client.delete_tuned_model(trial.name)
        except ServiceRefusal as refusal:
            return refusal.status == Code.NOT_FOUND
        return True


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with a validation loss, the lowest first, then the others; equal ones in their order."""
    return sorted(trials, key=lambda trial: math.inf if trial.best is None else trial.best.mean_loss)


def winner(trials: Sequence[Trial]) -> Trial:
    """The trial with the lowest validation loss.

    Raises:
        ClientError: none has one.

    """
    first = ranked(trials)[0]
    if first.best is None:
        why = next((trial.run.error for trial in trials if trial.run is not None and trial.run.error), "")
        raise ClientError(f"No setting came to a validation loss{f': {why}' if why else ''}.")
    return first


def verdict(trials: Sequence[Trial]) -> str:
    """Which setting is best, and by how much, as a sentence."""
    best, *others = [trial for trial in ranked(trials) if trial.best is not None]
    assert best.best is not None  # noqa: S101 - as was just looked for
    said = f"Best: {best.setting.in_words}, with a validation loss of {best.best.mean_loss:.4f} after step "
    said += f"{best.best.step:,}"
    if not others or others[0].best is None:
        return f"{said}."
    ahead = others[0].best.mean_loss - best.best.mean_loss
    share = f" ({ahead / others[0].best.mean_loss:.1%})" if others[0].best.mean_loss > 0 else ""
    return f"{said}: {ahead:.4f}{share} below the next best, {others[0].setting.in_words}."


def _is_under_way(trial: Trial) -> bool:
    return trial.run is not None and not trial.run.done
