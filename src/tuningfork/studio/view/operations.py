"""What a server holds and does, ready to be shown: jobs in turn, work by the minute, errors, what is on the disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tuningfork.studio.texts.catalog import Texts
from tuningfork.studio.texts.formats import parse_time
from tuningfork.studio.view import job_words

Json = Mapping[str, Any]

MINUTES = 60
MEASURES = ("answers", "output_tokens", "prompt_tokens", "trained_tokens")
"""What is drawn of the work of a minute, by the names of its texts."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that waits or is at work. `done`: the share of its steps, 0 to 1; None: no steps are known yet."""

    id: str
    name: str
    owner: str
    badge: job_words.Badge
    sentence: str
    done: float | None
    may_cancel: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """One measure of the work, minute by minute. `heights` are shares of the largest, the oldest minute first."""

    name: str
    total: int
    heights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A kind of files on the disk, and its share of all that is kept."""

    kind: str
    size_bytes: float
    share: float


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, by what is known of it. `name` is what has to be typed to revoke it."""

    id: str
    name: str
    prefix: str
    email: str
    project: str
    made: str
    revoked: str
    sessions: int
    mine: bool


def queued_jobs(queue: Json, texts: Texts, now: datetime) -> tuple[QueuedJob, ...]:
    """The jobs of the API's queue, in its order."""
    return tuple(
        QueuedJob(
            id=(identity := job_words.model_id(str(job.get("tunedModel", "")))),
            name=str(job.get("displayName") or identity),
            owner=str(job.get("owner", "")),
            badge=job_words.badge(job, texts, now),
            sentence=job_words.sentence(job, texts, now),
            done=job_words.share_done(job),
            may_cancel=bool(job.get("mayCancel")),
        )
        for job in queue.get("jobs", ())
    )


def bars_of(minutes: Sequence[Json], now: datetime) -> tuple[Bars, ...]:
    """Each measure over the last hour. A minute that the API has left out had no work."""
    last = now.replace(second=0, microsecond=0)
    by_place: dict[int, Json] = {}
    for each in minutes:
        place = MINUTES - 1 - round((last - parse_time(str(each.get("time")))) / timedelta(minutes=1))
        if 0 <= place < MINUTES:
            by_place[place] = each
    return tuple(_bars(name, by_place) for name in MEASURES)


def _bars(name: str, by_place: Mapping[int, Json]) -> Bars:
    first, *rest = name.split("_")
    field = first + "".join(map(str.capitalize, rest))
    values = [int(by_place.get(place, {}).get(field, 0)) for place in range(MINUTES)]
    most = max(values)
    return Bars(name, sum(values), tuple(value / most if most else 0.0 for value in values))


def kept_of(disk: Json) -> tuple[Kept, ...]:
    """What is on the disk, the largest first; kinds of which there is nothing are left out."""
    found = [(str(each.get("kind", "")), float(each.get("sizeBytes", 0))) for each in disk.get("kept", ())]
    total = sum(size for _, size in found)
    return tuple(Kept(kind, size, size / total) for kind, size in sorted(found, key=lambda kept: -kept[1]) if size)


_BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))
_SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
"""In this order, since a browser also names those that it is like, and Android is also Linux."""


def browser_of(name: str) -> str:
    """What a person calls the browser of this `User-Agent`, such as `Firefox · Linux`; another name as it is."""
    if not name.startswith("Mozilla/"):
        return name
    browser = next((said for sign, said in _BROWSERS if f"{sign}/" in name), "")
    system = next((each for each in _SYSTEMS if each in name), "")
    return " · ".join(filter(None, (browser, system))) or name


def keys_of(found: Json, texts: Texts) -> tuple[Key, ...]:
    """The keys: those that are valid first, then revoked ones, each the newest first."""
    keys = [key_of(each, texts) for each in found.get("keys", ())]
    keys.sort(key=lambda key: key.made, reverse=True)
    return tuple(sorted(keys, key=lambda key: bool(key.revoked)))


def key_of(key: Json, texts: Texts) -> Key:
    """One key as the API writes it."""
    return Key(
        id=str(key.get("name", "")).removeprefix("keys/"),
        name=str(key.get("displayName") or texts("operations.keys.unnamed")),
        prefix=str(key.get("prefix", "")),
        email=str(key.get("email", "")),
        project=str(key.get("project", "")),
        made=str(key.get("createTime", "")),
        revoked=str(key.get("revokeTime", "")),
        sessions=int(key.get("sessionCount", 0)),
        mine=bool(key.get("mine")),
    )
