"""Which server holds which running or preparing job, as columns of `tuning_jobs`.

Each time a server takes a job, the job gets a new claim number. A server that writes for a job checks its claim in the
same transaction, so a server that has lost the job writes nothing, however late. `lease_renewals` is a counter that the
holder increases; no server compares its clock with another's.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NewType

from sqlalchemy import ColumnElement, Connection, and_, select

from tuningfork.domain.tuning_job import JobId, JobState
from tuningfork.store.schema import tuning_jobs

ServerId = NewType("ServerId", str)
"""The id of a server among those on one database, stored in its data directory (`store/server_id.py`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on one running or preparing job. `number` counts how often servers have taken the job."""

    job_id: JobId
    server: ServerId | None
    """The server that has claimed the job. None: an earlier version did, which did not store its id."""
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A claim as it is in the database, and how often its holder has renewed it."""

    claim: Claim
    renewals: int


def take(connection: Connection, job_id: JobId, server: ServerId) -> Claim:
    """Make the server the holder of a job that this transaction has just set to running."""
    columns = tuning_jobs.c
    values = {"held_by": server, "claim_number": columns.claim_number + 1, "lease_renewals": 0}
    connection.execute(tuning_jobs.update().where(columns.id == job_id).values(values))
    number = connection.execute(select(columns.claim_number).where(columns.id == job_id)).scalar_one()
    return Claim(job_id=job_id, server=server, number=number)


def assign(connection: Connection, job_id: JobId, server: ServerId) -> None:
    """Record that the files of an ended job are this server's."""
    connection.execute(tuning_jobs.update().where(tuning_jobs.c.id == job_id).values(held_by=server))


def hold(connection: Connection, claim: Claim) -> bool:
    """Whether the claim is still valid; if so, lock the job until this transaction ends."""
    query = select(tuning_jobs.c.id).where(_is_held(claim)).with_for_update()
    return connection.execute(query).first() is not None


def still_held(connection: Connection, claims: Collection[Claim]) -> set[JobId]:
    """The jobs of those of these claims that are still valid."""
    held = {lease.claim for lease in running(connection)}
    return {claim.job_id for claim in claims if claim in held}


def renew(connection: Connection, claims: Collection[Claim]) -> None:
    """Renew the leases of these claims, to show other servers that the holder is alive; lost claims are ignored."""
    for claim in claims:
        change = tuning_jobs.update().where(_is_held(claim))
        connection.execute(change.values(lease_renewals=tuning_jobs.c.lease_renewals + 1))


def running(connection: Connection) -> list[Lease]:
    """The leases of all running jobs, in the order of the jobs' ids."""
    return _leases(connection, JobState.RUNNING)


def preparing(connection: Connection) -> list[Lease]:
    """The leases of all jobs whose examples are being read, in the order of the jobs' ids."""
    return [lease for lease in _leases(connection, JobState.PREPARING) if lease.claim.server is not None]


def _leases(connection: Connection, state: JobState) -> list[Lease]:
    columns = tuning_jobs.c
    query = select(columns.id, columns.held_by, columns.claim_number, columns.lease_renewals)
    query = query.where(columns.state == state.value).order_by(columns.id)
    return [
        Lease(
            claim=Claim(
                job_id=JobId(row.id),
                server=None if row.held_by is None else ServerId(row.held_by),
                number=row.claim_number,
            ),
            renewals=row.lease_renewals,
        )
        for row in connection.execute(query)
    ]


def _is_held(claim: Claim) -> ColumnElement[bool]:
    columns = tuning_jobs.c
    return and_(
        columns.id == claim.job_id,
        columns.state.in_([JobState.RUNNING.value, JobState.PREPARING.value]),
        columns.held_by.is_not_distinct_from(claim.server),
        columns.claim_number == claim.number,
    )
