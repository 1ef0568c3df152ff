"""Extraction: the booking that a guest's message asks for, as JSON."""

import json
import re
from collections.abc import Sequence
from typing import Any

import metrics
import service

TRAINING = service.read("table_bookings.training.jsonl")
HELD_OUT = service.read("table_bookings.held-out.jsonl")
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
SEATINGS = ["inside", "outside", "any"]
FIELDS = ["surname", "day", "time", "guests", "seating"]

SETTINGS = {"epochCount": 2, "batchSize": 4, "learningRate": 0.001}
MAX_TOKENS = 80
# The base model is told what to do. The tuned one has learned it and gets the message alone.
INSTRUCTION = (
    "Extract the booking from a guest's message to a restaurant that is open in the evening only. "
    "Answer with one JSON object and nothing else. Its fields are surname, day (a weekday), time (24 hours, HH:MM), "
    'guests (a number) and seating ("inside", "outside", or "any" if the guest does not mind).\n\nMessage: '
)
PROMPTS = [row["text_input"] for row in HELD_OUT]
BASE_PROMPTS = [INSTRUCTION + prompt for prompt in PROMPTS]


def booking_in(answer: str) -> dict[str, Any] | None:
    """The object that the answer is; None if it is anything but one JSON object."""
    try:
        found = json.loads(answer)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def is_booking(found: dict[str, Any] | None) -> bool:
    """Whether it has the fields of a booking and no others, each with a value of its kind."""
    return (
        found is not None
        and sorted(found) == sorted(FIELDS)
        and isinstance(found["surname"], str)
        and found["day"] in DAYS
        and re.fullmatch(r"\d\d:\d\d", str(found["time"])) is not None
        and type(found["guests"]) is int
        and found["guests"] > 0
        and found["seating"] in SEATINGS
    )


def score(answers: Sequence[str]) -> dict[str, float]:
    """How many answers are a JSON object, how many a booking, how many values are right, how many bookings."""
    expected = [json.loads(row["output"]) for row in HELD_OUT]
    found = [booking_in(answer) for answer in answers]
    pairs = list(zip(found, expected, strict=True))
    return {
        "valid JSON": metrics.share(each is not None for each in found),
        "the fields of a booking": metrics.share(is_booking(each) for each in found),
        "right values": metrics.share(
            (each or {}).get(field) == right[field] for each, right in pairs for field in FIELDS
        ),
        "right bookings": metrics.share(each == right for each, right in pairs),
    }


def main() -> None:
    """Tune, ask the base and the tuned model, compare."""
    with service.connect() as client:
        base = service.BASE_MODEL
        tuned = service.tune(client, base, "table bookings", TRAINING, SETTINGS)
        before = service.ask(client, base, BASE_PROMPTS, max_tokens=MAX_TOKENS)
        after = service.ask(client, tuned, PROMPTS, max_tokens=MAX_TOKENS)
    service.show({"base": score(before), "tuned": score(after)})


if __name__ == "__main__":
    main()
