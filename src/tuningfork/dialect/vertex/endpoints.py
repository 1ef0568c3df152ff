"""Endpoints, at which checkpoints of tuned models are called; and operations, which are done when they are answered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.vertex.places import PARENTS, place_of, roles_named
from tuningfork.dialect.vertex.serving_methods import ServingMethod
from tuningfork.domain.errors import NotFound, Unimplemented
from tuningfork.domain.tuned_model import ProjectLocation
from tuningfork.service.tuning.endpoints import Endpoints
from tuningfork.service.tuning.registered import NoSuchEndpoint, Served
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query, render_empty
from tuningfork.wire.google.requests import RequestWords
from tuningfork.wire.vertex import registry as wire
from tuningfork.wire.vertex import registry_messages as messages
from tuningfork.wire.vertex.done_operations import (
    Deed,
    DoneOperation,
    operation_of,
    render_done,
    render_no_operations,
)
from tuningfork.wire.vertex.filters import all_hold
from tuningfork.wire.vertex.names import location_name, number_in, version_name
from tuningfork.wire.vertex.packages import PACKAGES

_LIST = RequestWords("ListEndpointsRequest")
_UNDEPLOY = RequestWords("UndeployModelRequest")
_DELETE = RequestWords("DeleteEndpointRequest")


@dataclass(frozen=True, slots=True)
class EndpointMethods:
    """The methods of EndpointService and of google.longrunning.Operations. `clock` gives the time of an operation."""

    endpoints: Endpoints
    clock: Callable[[], datetime]

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Below projects alone."""
        [parent, *_] = PARENTS
        one = f"{parent}/endpoints/{{endpoint:id}}"
        operation = f"{parent}/operations/{{operation:id}}"
        return (
            Binding("GET", f"{parent}/endpoints", ServingMethod.LIST_ENDPOINTS, Direct(self.list)),
            Binding("POST", f"{parent}/endpoints", ServingMethod.CREATE_ENDPOINT, Direct(self.create)),
            Binding("GET", one, ServingMethod.GET_ENDPOINT, Direct(self.get)),
            Binding("PATCH", one, ServingMethod.UPDATE_ENDPOINT, Direct(self.patch)),
            Binding("DELETE", one, ServingMethod.DELETE_ENDPOINT, Direct(self.delete)),
            Binding("POST", f"{one}:undeployModel", ServingMethod.UNDEPLOY_MODEL, Direct(self.undeploy)),
            Binding("POST", f"{one}:deployModel", ServingMethod.DEPLOY_MODEL, Direct(self.deploy)),
            Binding("GET", f"{parent}/operations", ServingMethod.LIST_OPERATIONS, Direct(self.list_operations)),
            Binding("GET", operation, ServingMethod.GET_OPERATION, Direct(self.get_operation)),
            Binding("DELETE", operation, ServingMethod.DELETE_OPERATION, Direct(self.pass_over_operation)),
            Binding("POST", f"{operation}:cancel", ServingMethod.CANCEL_OPERATION, Direct(self.pass_over_operation)),
            Binding("POST", f"{operation}:wait", ServingMethod.WAIT_OPERATION, Direct(self.get_operation)),
        )

    def get(self, call: MethodCall) -> Typed:
        """endpoints.get."""
        refuse_query(call.query)
        place = place_of(call, "endpoints.get")
        return _rendered(self.endpoints.get(call.principal, place, _number(call)), call.version)

    def list(self, call: MethodCall) -> Typed:
        """endpoints.list."""
        wanted = wire.parse_list_endpoints(call.query, call.repeated)
        with translated_errors(_LIST):
            page = self.endpoints.list(
                call.principal,
                place_of(call, "endpoints.list"),
                page_size=wanted.page_size,
                page_token=wanted.page_token,
                wanted=lambda each: all_hold(
                    wanted.conditions,
                    wire.endpoint_values(each.registered.tuned.model, each.registered.tuned.job, each.checkpoint),
                ),
                constant=wanted.constant,
            )
        rendered = [_rendered(each, call.version) for each in page.items]
        return wire.render_endpoints(rendered, page.next_page_token, call.version)

    def create(self, call: MethodCall) -> Typed:
        """endpoints.create, which is refused."""
        raise Unimplemented(
            "This server makes no endpoints on request: each checkpoint of a tuned model has one of its own, which "
            f"TuningJob.tunedModel tells. Nothing was created in {place_of(call).location}."
        )

    def patch(self, call: MethodCall) -> Typed:
        """endpoints.patch, which is refused."""
        served = self.endpoints.get(call.principal, place_of(call), _number(call))
        raise Unimplemented(
            "An endpoint has the names and labels of its model, and all of its traffic goes to one checkpoint. Change "
            f"the model instead: PATCH {version_name(served.registered.tuned.model)}"
        )

    def delete(self, call: MethodCall) -> Typed:
        """endpoints.delete. It is done when it is answered."""
        refuse_query(call.query)
        with _asking(call, "endpoints.delete") as place, translated_errors(_DELETE):
            self.endpoints.delete(call.principal, place, _number(call))
        return render_done(place_of(call), DoneOperation(deed=Deed.DELETE, time=self.clock()), call.version)

    def undeploy(self, call: MethodCall) -> Typed:
        """endpoints.undeployModel. It is done when it is answered."""
        refuse_query(call.query)
        deployed = wire.parse_undeploy(call.body)
        with _asking(call, "endpoints.undeploy") as place, translated_errors(_UNDEPLOY):
            self.endpoints.undeploy(call.principal, place, _number(call), deployed)
        return render_done(place_of(call), DoneOperation(deed=Deed.UNDEPLOY, time=self.clock()), call.version)

    def deploy(self, call: MethodCall) -> Typed:
        """endpoints.deployModel: an endpoint's own checkpoint again. Every other deployment is refused."""
        refuse_query(call.query)
        wanted = wire.parse_deploy(call.body)
        place, number = place_of(call, "endpoints.deploy"), _number(call)
        served = self.endpoints.get(call.principal, place, number)
        model, checkpoint = served.registered.tuned.model, served.checkpoint
        own = version_name(model)
        named = wanted["model"] in (own, own.rpartition("@")[0])
        if not named or wanted.get("checkpoint_id", str(checkpoint.number)) != str(checkpoint.number):
            raise Unimplemented(
                f"Only {own} with checkpoint {checkpoint.number} can be deployed at this endpoint, which belongs to it."
            )
        with _asking(call, "endpoints.deploy"):
            deployed = self.endpoints.deploy(call.principal, place, number)
        answer = Typed(
            PACKAGES[call.version].message(messages.DEPLOY_RESPONSE),
            {"deployed_model": wire.render_deployed(model, deployed.checkpoint)},
        )
        return render_done(place, DoneOperation(deed=Deed.DEPLOY, time=self.clock()), call.version, answer)

    def get_operation(self, call: MethodCall) -> Typed:
        """operations.get and operations.wait, for operations that were answered before."""
        return render_done(place_of(call), self._operation(call), call.version)

    def pass_over_operation(self, call: MethodCall) -> Typed:
        """operations.cancel and operations.delete, which change nothing: what was done stays done."""
        self._operation(call)
        return render_empty()

    def list_operations(self, call: MethodCall) -> Typed:
        """operations.list: of those that are not done, of which there are none."""
        place_of(call)
        return render_no_operations()

    def _operation(self, call: MethodCall) -> DoneOperation:
        place_of(call)
        found = operation_of(call.path["operation"], self.clock())
        if found is None:
            raise NotFound("The Operation does not exist.")
        return found


@contextmanager
def _asking(call: MethodCall, permission: str) -> Iterator[ProjectLocation]:
    """The place of a call that needs this permission; a role that does not suffice is told as a lack of it."""
    place = place_of(call, permission)
    with roles_named(permission, f"{location_name(place)}/endpoints/{call.path['endpoint']}"):
        yield place


def _number(call: MethodCall) -> int:
    """The endpoint's number in the path.

    Raises:
        NotFound: no endpoint has such an id.

    """
    number = number_in(call.path["endpoint"])
    if number is None:
        raise NoSuchEndpoint
    return number


def _rendered(served: Served, version: str) -> Typed:
    tuned = served.registered.tuned
    return wire.render_endpoint(tuned.model, tuned.job, served.checkpoint, version)
