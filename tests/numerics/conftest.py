"""Models of every family, for the proofs that run over all of them."""

import pytest

from families import FAMILIES
from family_models import FamilyModels, save_family

VARIANTS = [(name, variant) for name, family in FAMILIES.items() for variant in family.variants]


@pytest.fixture(scope="session")
def saved_families(tmp_path_factory) -> dict[str, FamilyModels]:
    """Each family's model, filled in as tests ask for them."""
    return {}


@pytest.fixture(params=list(FAMILIES))
def family(request, saved_families, tmp_path_factory) -> FamilyModels:
    """Each family in turn."""
    name = request.param
    if name not in saved_families:
        directory = save_family(name, tmp_path_factory.mktemp("families") / name)
        saved_families[name] = FamilyModels(name, directory)
    return saved_families[name]


@pytest.fixture(params=VARIANTS, ids=lambda pair: "-".join(pair).replace(" ", "_").replace("/", "_"))
def variant(request, tmp_path) -> FamilyModels:
    """Each family once with each setting that its configurations allow, though its best known models do not use it."""
    name, which = request.param
    return FamilyModels(name, save_family(name, tmp_path / "model", variant=which))
