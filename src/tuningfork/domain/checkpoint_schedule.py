"""At which steps a job keeps checkpoints, besides the checkpoint of its last step."""

from dataclasses import dataclass

from tuningfork.domain.hyperparameters import Hyperparameters


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSchedule:
    """When a job keeps checkpoints: after every `steps_every` steps, and after every `epochs_every` completed epochs.

    0 turns either off. The weights of the last step are always kept.
    """

    steps_every: int = 0
    epochs_every: int = 0

    def is_due(self, step: int, hyperparameters: Hyperparameters, example_count: int) -> bool:
        """Whether a checkpoint is kept after this 1-based step, which is not the last one."""
        if step >= hyperparameters.total_steps(example_count):
            return False
        if self.steps_every and step % self.steps_every == 0:
            return True
        if not self.epochs_every:
            return False
        before, now = (hyperparameters.completed_epochs(each, example_count) for each in (step - 1, step))
        # A large batch may complete several epochs at once.
        return now // self.epochs_every > before // self.epochs_every
