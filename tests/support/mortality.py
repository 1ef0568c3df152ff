"""Orders to the trainer of `toy_workers/mortal_trainer.py` to kill itself, each of which is obeyed once."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_VARIABLE = "DEATH_ORDER_FILE"
_TESTS = Path(__file__).parents[1]
MODULE = "mortal_trainer"


@dataclass(frozen=True, slots=True)
class Order:
    """Die once a job has reported this step; with `saved`, once a savepoint of the job is complete as well."""

    after_step: int
    saved: bool

    @classmethod
    def read(cls, file: Path) -> "Order | None":
        """The order that has not been obeyed yet, if there is one."""
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


class Deaths:
    """Gives the orders, in a file that exists for as long as its order has not been obeyed."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def variables(self) -> dict[str, str]:
        """What the trainer's environment needs."""
        paths = [str(_TESTS / "toy_workers"), str(_TESTS / "support"), os.environ.get("PYTHONPATH", "")]
        return {"PYTHONPATH": os.pathsep.join(paths), FILE_VARIABLE: str(self._file)}

    def order(self, *, after_step: int, saved: bool = False) -> None:
        """Let the trainer die once, as `Order` says."""
        aside = self._file.with_suffix(".aside")
        aside.write_text(json.dumps(asdict(Order(after_step, saved))), encoding="utf-8")
        aside.rename(self._file)
