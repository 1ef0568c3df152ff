"""The files of a tuned model's adapter, for callers: they name their base, and not where this server has it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.domain.base_model import Catalog
from tuningfork.domain.permission import Principal
from tuningfork.domain.tuned_model import TunedModel, TunedModelId
from tuningfork.service.tuning.tuning import Tuning

_CONFIG = "adapter_config.json"
_CHAT_TEMPLATE = "chat_template.jinja"
_NAME, _REVISION = "base_model_name_or_path", "revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFiles:
    """The files of an adapter: those in `directory`, with the contents of `replaced`, by file name, in their place or
    besides.
    """

    directory: Path
    replaced: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Exporting:
    """The use case of fetching an adapter."""

    tuning: Tuning
    catalog: Catalog

    def adapter(self, principal: Principal, model_id: TunedModelId, base_name: str = "") -> AdapterFiles:
        """The files of the model's adapter, and its base's chat template where the catalog has one of its own.

        Args:
            principal: the caller.
            model_id: the model.
            base_name: what the adapter is to call its base; "": its Hub id, or without one its public name.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.
            FailedPrecondition: it has no adapter, or none yet; or its adapter is missing or damaged.

        """
        directory = self.tuning.adapter_directory(principal, model_id)
        model = self.tuning.get(principal, model_id, snapshots=False).model
        found = self.catalog.find(model.base_model, model.resolved_base)
        template = found.base.chat_template if found else None
        beside = {} if template is None else {_CHAT_TEMPLATE: template.encode()}
        try:
            config = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            config = None
        if not isinstance(config, dict):
            return AdapterFiles(directory=directory, replaced=beside)
        named = config | self._base(model, base_name, config)
        text = json.dumps(named, indent=2, sort_keys=True) + "\n"
        return AdapterFiles(directory=directory, replaced=beside | {_CONFIG: text.encode()})

    def _base(self, model: TunedModel, wanted: str, config: Mapping[str, Any]) -> dict[str, str | None]:
        """The fields that say what the base is. The adapters of earlier versions have the server's path there."""
        found = self.catalog.find(model.base_model, model.resolved_base)
        if wanted:
            return {_NAME: wanted, _REVISION: None}
        if found is not None:
            return {_NAME: found.base.exported_name, _REVISION: found.base.revision if found.base.is_on_hub else None}
        written = str(config.get(_NAME, ""))
        # The base has left the catalog. A Hub id has at most one slash, and not in front.
        is_path = written.startswith(("/", ".", "~")) or written.count("/") > 1
        name = model.resolved_base or model.base_model
        return {_NAME: name.removeprefix("models/"), _REVISION: None} if is_path else {}
