"""Parses requests for pages of the library, and renders the pages."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.library import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    MAX_SEARCH_CHARACTERS,
    LibraryOrder,
    LibraryPage,
    LibraryQuery,
    LibraryRow,
)
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobState
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.requests import refused
from tuningfork.wire.own.jobs import PLACE, shared_fields

_PACKAGE = "tuningfork.v1"
_REQUEST = "ListLibraryRequest"
_MOST_PAGE = 1_000_000

LIBRARY_QUERY = Message(
    f"{_PACKAGE}.{_REQUEST}",
    (
        Field(1, "page_size", Kind.INT32),
        Field(2, "page", Kind.INT32),
        Field(3, "search", Kind.STRING),
        # Names of states, separated by commas.
        Field(4, "state", Kind.STRING),
        Field(5, "base", Kind.STRING),
        # An address, or `me`.
        Field(6, "owner", Kind.STRING),
        # `createTime`, `displayName` or `loss`, with ` desc` behind it for the other direction.
        Field(7, "order_by", Kind.STRING),
    ),
)
ROW = Message(
    f"{_PACKAGE}.LibraryRow",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "base_model", Kind.STRING),
        Field(4, "owner", Kind.STRING),
        Field(5, "role", Kind.STRING),
        Field(6, "state", Kind.STRING),
        Field(7, "phase", Kind.STRING),
        Field(8, "callable", Kind.BOOL),
        Field(9, "cancel_requested", Kind.BOOL),
        Field(10, "imported", Kind.BOOL),
        Field(11, "create_time", Kind.TIMESTAMP),
        Field(12, "complete_time", Kind.TIMESTAMP),
        Field(13, "queue", PLACE),
        Field(14, "estimated_start_time", Kind.TIMESTAMP),
        Field(15, "estimated_end_time", Kind.TIMESTAMP),
        Field(16, "seconds_left", Kind.DOUBLE, presence=True),
        Field(17, "step", Kind.INT32, presence=True),
        Field(18, "total_steps", Kind.INT32, presence=True),
        Field(19, "epoch", Kind.INT32, presence=True),
        Field(20, "epoch_count", Kind.INT32, presence=True),
        Field(21, "last_training_loss", Kind.DOUBLE, presence=True),
        Field(22, "best_validation_loss", Kind.DOUBLE, presence=True),
        Field(23, "loss", Kind.DOUBLE, presence=True),
        Field(24, "loss_kind", Kind.STRING),
        Field(25, "example_count", Kind.INT32, presence=True),
        Field(26, "findings", Kind.STRING, repeated=True),
        Field(27, "failure_message", Kind.STRING),
    ),
)
STATE_COUNT = Message(f"{_PACKAGE}.StateCount", (Field(1, "state", Kind.STRING), Field(2, "count", Kind.INT32)))
BASE_COUNT = Message(f"{_PACKAGE}.BaseCount", (Field(1, "base_model", Kind.STRING), Field(2, "count", Kind.INT32)))
LIBRARY = Message(
    f"{_PACKAGE}.LibraryPage",
    (
        Field(1, "tuned_models", ROW, repeated=True),
        Field(2, "total_size", Kind.INT32, presence=True),
        Field(3, "page", Kind.INT32),
        Field(4, "page_count", Kind.INT32),
        Field(5, "states", STATE_COUNT, repeated=True),
        Field(6, "bases", BASE_COUNT, repeated=True),
    ),
)


def parse_library(query: Mapping[str, str], principal: Principal) -> LibraryQuery:
    """The page that a query asks for. `principal` is who is meant by `owner=me`.

    Raises:
        InvalidArgument: a parameter is unknown or malformed; the error names each.

    """
    fields = decode_query(LIBRARY_QUERY, query)
    if found := tuple(_violations(fields)):
        raise refused(_REQUEST, found)
    owner, base = fields.get("owner", ""), fields.get("base", "")
    order, _, direction = fields.get("order_by", "createTime desc").strip().partition(" ")
    return LibraryQuery(
        words=tuple(fields.get("search", "").split()),
        states=frozenset(JobState[name] for name in _names(fields)),
        base=BaseModelName(base) if base else None,
        owner=(principal.email if owner == "me" else Email(owner.strip().lower())) if owner else None,
        order=LibraryOrder(order),
        descending=direction.strip() == "desc",
        page=fields.get("page") or 1,
        page_size=fields.get("page_size") or DEFAULT_PAGE_SIZE,
    )


def render_library(found: LibraryPage, now: datetime) -> Typed:
    """The page, with estimates as times from `now` on."""
    fields = {
        "tuned_models": [_row(each, now) for each in found.rows],
        "total_size": found.total,
        "page": found.query.page,
        "page_count": found.page_count,
        "states": [{"state": state.name, "count": found.states[state]} for state in JobState if state in found.states],
        "bases": [{"base_model": base, "count": found.bases[base]} for base in sorted(found.bases)],
    }
    return Typed(LIBRARY, fields)


def _row(row: LibraryRow, now: datetime) -> dict[str, Any]:
    model, job = row.entry.model, row.entry.job
    best, last = job.best_validation_loss, job.last_loss
    failed = job.state is JobState.FAILED and job.error is not None
    return {
        **shared_fields(row.staged, row.place, now),
        "display_name": model.display_name,
        "owner": row.entry.owner,
        "role": row.entry.role.value,
        "callable": model.state is ModelState.ACTIVE,
        "complete_time": job.complete_time,
        "best_validation_loss": best,
        "loss": last if best is None else best,
        "loss_kind": "VALIDATION" if best is not None else "TRAINING" if last is not None else "",
        "example_count": None if job.imported or not job.is_prepared else job.example_count,
        "findings": [kind.value for kind in job.findings or ()],
        "failure_message": job.error.message if failed and job.error is not None else "",
    }


def _names(fields: Mapping[str, Any]) -> list[str]:
    return [name.strip().upper() for name in fields.get("state", "").split(",") if name.strip()]


def _violations(fields: Mapping[str, Any]) -> Iterator[FieldViolation]:
    for name, most in (("page_size", MAX_PAGE_SIZE), ("page", _MOST_PAGE)):
        given = fields.get(name) or 1
        if not 1 <= given <= most:
            described = f"{name} must be a whole number from 1 to {most}; {given} was given"
            yield FieldViolation(field=name, description=described, reason=Reason.OUT_OF_RANGE)
    states = [state.name for state in JobState]
    if unknown := [name for name in _names(fields) if name not in states]:
        described = f"state must be some of {', '.join(states)}, separated by commas; {unknown[0][:40]!a} was given"
        yield FieldViolation(field="state", description=described, reason=Reason.NOT_ALLOWED)
    orders = [f"{order.value}{direction}" for order in LibraryOrder for direction in ("", " desc")]
    given_order = " ".join(fields.get("order_by", orders[0]).split())
    if given_order not in orders:
        described = f"order_by must be one of {', '.join(orders)}; {given_order[:40]!a} was given"
        yield FieldViolation(field="order_by", description=described, reason=Reason.NOT_ALLOWED)
    search = fields.get("search", "")
    if len(search) > MAX_SEARCH_CHARACTERS or not search.isprintable():
        described = f"search must be at most {MAX_SEARCH_CHARACTERS} printable characters; it has {len(search)}"
        yield FieldViolation(field="search", description=described, reason=Reason.TOO_LONG)
