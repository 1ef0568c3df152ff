"""GenAiTuningService's methods of tuning jobs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.vertex.methods import VertexMethod
from tuningfork.dialect.vertex.places import PARENTS, checked_place, place_of, roles_named
from tuningfork.domain.errors import NotFound, TuningforkError, Unimplemented
from tuningfork.domain.refusals import JobRef, ResourceNotFound
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning.numbered_jobs import NumberedJob, NumberedJobs
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query, render_empty
from tuningfork.wire.vertex import tuning_jobs as wire
from tuningfork.wire.vertex.done_operations import render_no_operations
from tuningfork.wire.vertex.names import job_name, location_name, number_in
from tuningfork.wire.vertex.requests import translated

_UNSERVED = {
    "rebaseTunedModel": VertexMethod.REBASE_TUNED_MODEL,
    "optimizePrompt": VertexMethod.OPTIMIZE_PROMPT,
    "processData": VertexMethod.PROCESS_DATA,
    "validateReinforcementTuningReward": VertexMethod.VALIDATE_REWARD,
}


@dataclass(frozen=True, slots=True)
class TuningJobMethods:
    """Creates, gets, lists and cancels tuning jobs."""

    jobs: NumberedJobs

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """The methods of vertex-api section 2.1, below a project and location or below nothing."""
        return tuple(each for parent in PARENTS for each in self._below(f"{parent}/tuningJobs"))

    def _below(self, collection: str) -> Iterator[Binding[Typed]]:
        one = f"{collection}/{{tuning_job:id}}"
        yield Binding("POST", collection, VertexMethod.CREATE_TUNING_JOB, Direct(self.create))
        yield Binding("GET", collection, VertexMethod.LIST_TUNING_JOBS, Direct(self.list))
        yield Binding("GET", one, VertexMethod.GET_TUNING_JOB, Direct(self.get))
        yield Binding("POST", f"{one}:cancel", VertexMethod.CANCEL_TUNING_JOB, Direct(self.cancel))
        operations = f"{one}/operations"
        yield Binding("GET", operations, VertexMethod.LIST_TUNING_OPERATIONS, Direct(self.list_operations))
        yield Binding(
            "GET", f"{operations}/{{operation:id}}", VertexMethod.GET_TUNING_OPERATION, Direct(self.operation)
        )
        for name, method in _UNSERVED.items():
            yield Binding("POST", f"{collection}:{name}", method, Direct(self.unserved))

    def create(self, call: MethodCall) -> Typed:
        """tuningJobs.create."""
        refuse_query(call.query)
        place = place_of(call, "tuningJobs.create")
        wanted = wire.parse_create(call.body)
        if wanted.source is not None:
            source = checked_place(call, wanted.source.place, "models.get")
            wanted = replace(wanted, source=replace(wanted.source, place=source))
        with _about_request(), roles_named("models.get", location_name(place)):
            made = self.jobs.create(call.principal, place, wanted)
        return wire.render_job(_shown(made), call.version)

    def get(self, call: MethodCall) -> Typed:
        """tuningJobs.get."""
        refuse_query(call.query)
        return wire.render_job(_shown(self._found(call, "tuningJobs.get")), call.version)

    def list(self, call: MethodCall) -> Typed:
        """tuningJobs.list."""
        place = place_of(call, "tuningJobs.list")
        wanted = wire.parse_list(call.query)
        page = self.jobs.list(
            call.principal,
            place,
            page_size=wanted.page_size,
            page_token=wanted.page_token,
            filter=wanted.filter,
            matches=lambda each: wanted.holds(_shown(each)),
        )
        return wire.render_jobs(map(_shown, page.items), page.next_page_token, call.version)

    def cancel(self, call: MethodCall) -> Typed:
        """tuningJobs.cancel."""
        refuse_query(call.query)
        wire.parse_cancel(call.body)
        place, number = place_of(call, "tuningJobs.cancel"), _number_of(call)
        with roles_named("tuningJobs.cancel", job_name(place, number)):
            self.jobs.cancel(call.principal, place, number)
        return render_empty()

    def list_operations(self, call: MethodCall) -> Typed:
        """tuningJobs.operations.list: a job is no operation and has none."""
        self._found(call, "tuningJobs.get")
        return render_no_operations()

    def operation(self, call: MethodCall) -> Typed:
        """tuningJobs.operations.get."""
        self._found(call, "tuningJobs.get")
        raise NotFound("The Operation does not exist.")

    def unserved(self, call: MethodCall) -> Typed:
        """Methods of GenAiTuningService that this server does not have."""
        place_of(call, "tuningJobs.create")
        raise Unimplemented(f"{call.version} tuning on this server has the methods create, get, list and cancel only.")

    def _found(self, call: MethodCall, permission: str) -> NumberedJob:
        return self.jobs.get(call.principal, place_of(call, permission), _number_of(call))


@contextmanager
def _about_request() -> Iterator[None]:
    """Tell errors of the use case as errors about the request's fields, within the `with` block."""
    try:
        yield
    except TuningforkError as error:
        other = translated(error)
        if other is error:
            raise
        raise other from error


def _number_of(call: MethodCall) -> int:
    """The number of the job in the path.

    Raises:
        NotFound: it is not a number.

    """
    text = call.path["tuning_job"]
    number = number_in(text)
    if number is None:
        raise ResourceNotFound(JobRef(TunedModelId(""), JobId(text)))
    return number


def _shown(found: NumberedJob) -> wire.ShownJob:
    return wire.ShownJob(
        model=found.model, job=found.job, checkpoints=found.checkpoints, waits_for_quota=found.waits_for_quota
    )
