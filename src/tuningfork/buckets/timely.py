"""Bounds the time in which a file must be looked at.

What reads a file may wait for long: an object store's library tries again by itself, and a file system of the network
hangs. A read that hangs cannot be broken off, so it goes on in a thread of its own, for which nobody waits.
"""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from tuningfork.buckets.errors import StoreUnreachable

_Result = TypeVar("_Result")

LOOK_SECONDS = 20.0
"""How long a look at a file may take. The libraries of object stores take some seconds to be imported."""
MOST_LOOKS = 16
"""The most looks at a time. A look for which nobody waits any more counts until it ends."""


class TimelyLooks:
    """Looks at files, each in a thread of its own, for so many seconds at most. Thread-safe."""

    def __init__(self, seconds: float = LOOK_SECONDS, most: int = MOST_LOOKS) -> None:
        self._seconds = seconds
        self._places = threading.BoundedSemaphore(most)

    def at(self, uri: str, look: Callable[[], _Result]) -> _Result:
        """What `look` returns, which looks at the file of this address.

        Raises:
            StoreUnreachable: it took too long, or so many others do at the moment.
            BaseException: what `look` raises.

        """
        if not self._places.acquire(timeout=self._seconds):
            raise StoreUnreachable(f"{uri} was not looked at: too many files wait for stores that do not answer.")
        ended: queue.SimpleQueue[tuple[_Result | None, BaseException | None]] = queue.SimpleQueue()

        def run() -> None:
            try:
                ended.put((look(), None))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                ended.put((None, error))
            finally:
                self._places.release()

        threading.Thread(target=run, name="looking at a file", daemon=True).start()
        try:
            result, error = ended.get(timeout=self._seconds)
        except queue.Empty:
            raise StoreUnreachable(
                f"{uri} could not be looked at within {self._seconds:g} seconds: its object store or file system does "
                "not answer at the moment."
            ) from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
