"""The files of an adapter for callers."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fakes import ECHO_BASE
from tuningfork.domain.base_model import Catalog
from tuningfork.service.tuning.exporting import Exporting


@pytest.mark.parametrize("template", [None, "{{ 'of the catalog' }}"])
def test_a_chat_template_of_the_catalog_comes_with_the_adapter(template, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    model = SimpleNamespace(base_model=ECHO_BASE.name, resolved_base=ECHO_BASE.name)
    tuning = SimpleNamespace(
        adapter_directory=lambda _principal, _model: tmp_path,
        get=lambda _principal, _model, *, snapshots: SimpleNamespace(model=model),
    )
    exporting = Exporting(tuning, Catalog((replace(ECHO_BASE, chat_template=template),)))

    files = exporting.adapter(None, "mine")

    assert files.replaced.get("chat_template.jinja") == (template.encode() if template else None)
    assert "adapter_config.json" in files.replaced
