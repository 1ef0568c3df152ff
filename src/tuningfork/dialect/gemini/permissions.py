"""PermissionService's methods: who may use a tuned model, and who owns it."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.domain.permission import PermissionId
from tuningfork.service.sharing.sharing import Sharing
from tuningfork.wire.gemini import permissions as wire
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query, render_empty


@dataclass(frozen=True, slots=True)
class PermissionMethods:
    """Sharing tuned models."""

    sharing: Sharing

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Rows 16 and 18 to 22 of the route table."""
        model = "/tunedModels/{tuned_model:id}"
        all_of_them, one = f"{model}/permissions", f"{model}/permissions/{{permission:id}}"
        return (
            Binding("POST", f"{model}:transferOwnership", GeminiMethod.TRANSFER_OWNERSHIP, Direct(self.transfer)),
            Binding("POST", all_of_them, GeminiMethod.CREATE_PERMISSION, Direct(self.create)),
            Binding("GET", all_of_them, GeminiMethod.LIST_PERMISSIONS, Direct(self.list)),
            Binding("GET", one, GeminiMethod.GET_PERMISSION, Direct(self.get)),
            Binding("PATCH", one, GeminiMethod.UPDATE_PERMISSION, Direct(self.update)),
            Binding("DELETE", one, GeminiMethod.DELETE_PERMISSION, Direct(self.delete)),
        )

    def transfer(self, call: MethodCall) -> Typed:
        """tunedModels.transferOwnership."""
        refuse_query(call.query)
        address = wire.parse_transfer_ownership(call.body)
        with translated_errors(wire.TRANSFER):
            self.sharing.transfer_ownership(call.principal, call.tuned_model, address)
        return wire.render_ownership_transferred()

    def create(self, call: MethodCall) -> Typed:
        """permissions.create."""
        refuse_query(call.query)
        wanted = wire.parse_create_permission(call.body)
        with translated_errors(wire.CREATE):
            return wire.render_permission(self.sharing.create(call.principal, call.tuned_model, wanted))

    def list(self, call: MethodCall) -> Typed:
        """permissions.list."""
        wanted = wire.parse_list_permissions(call.query)
        with translated_errors(wire.LIST):
            page = self.sharing.list(
                call.principal, call.tuned_model, page_size=wanted.page_size, page_token=wanted.page_token
            )
        return wire.render_permissions(page.items, page.next_page_token)

    def get(self, call: MethodCall) -> Typed:
        """permissions.get."""
        refuse_query(call.query)
        return wire.render_permission(self.sharing.get(call.principal, call.tuned_model, _permission_id(call)))

    def update(self, call: MethodCall) -> Typed:
        """permissions.patch."""
        role = wire.parse_update_permission(call.body, call.query)
        with translated_errors(wire.UPDATE):
            changed = self.sharing.update(call.principal, call.tuned_model, _permission_id(call), role)
        return wire.render_permission(changed)

    def delete(self, call: MethodCall) -> Typed:
        """permissions.delete."""
        refuse_query(call.query)
        self.sharing.delete(call.principal, call.tuned_model, _permission_id(call))
        return render_empty()


def _permission_id(call: MethodCall) -> PermissionId:
    return PermissionId(call.path["permission"])
