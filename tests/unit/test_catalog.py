"""Base models are described from a catalog file, the command line and their own files."""

import json
import shutil
from pathlib import Path

import pytest

from gguf_writing import small_llama
from tuningfork.catalog import CatalogError, build_catalog, without_fetched
from tuningfork.domain.base_model import OWN_LIMITS
from tuningfork.familiar import GEMINI_LIMITS
from tuningfork.pulling.kept import KeptBase


@pytest.fixture
def model_directory(tmp_path):
    directory = tmp_path / "my-model"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 4096}))
    return directory


def test_the_embedded_model_answers_to_its_own_name_and_to_the_tutorials(model_directory):
    catalog = build_catalog(catalog_file=None, named=[])

    names = {model.name for model in catalog.public_models(unlisted=False)}

    assert catalog.find("gemini-1.5-pro-002").base.name == "models/tuningfork-mini-001"
    assert names == {
        "models/tuningfork-mini-001",
        "models/gemini-1.0-pro-001",
        "models/gemini-1.5-flash-001-tuning",
        "models/text-bison-001",
    }
    assert catalog.find("gemini-1.0-pro-001").base is catalog.find("models/tuningfork-mini-001").base
    assert catalog.find("models/gemini-1.0-pro-001").input_tokens == 30_720
    assert catalog.find("models/nobody") is None


def test_what_somebody_named_is_listed_first_then_what_was_fetched_and_what_cannot_be_used_last(
    model_directory, tmp_path
):
    fetched = tmp_path / "fetched"
    shutil.copytree(model_directory, fetched)
    broken = tmp_path / "broken"
    shutil.copytree(model_directory, broken)
    (broken / "generation_config.json").write_text("{")

    catalog = build_catalog(
        catalog_file=None,
        named=[f"broken={broken}", f"mine={model_directory}"],
        kept={fetched: KeptBase(name="fetched")},
    )

    own_names = ["models/mine", "models/fetched", "models/tuningfork-mini-001", "models/broken"]
    assert [model.name for model in catalog.models] == own_names
    assert [model.name for model in catalog.public_models(unlisted=False)][:3] == own_names[:3]


def test_a_directory_named_on_the_command_line_describes_itself(model_directory):
    (model_directory / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "top_k": 20}))

    model = build_catalog(catalog_file=None, named=[f"mine={model_directory}"]).find("mine")

    assert model.name == "models/mine"
    assert model.input_tokens == 4096
    assert model.base.location == str(model_directory)
    assert (model.base.sampling.temperature, model.base.sampling.top_p, model.base.sampling.top_k) == (0.6, 1.0, 20)


def test_a_multimodal_config_keeps_its_context_length_in_its_text_part(model_directory):
    (model_directory / "config.json").write_text(json.dumps({"text_config": {"max_position_embeddings": 99}}))

    assert build_catalog(catalog_file=None, named=[f"mine={model_directory}"]).find("mine").input_tokens == 99


def test_a_catalog_file_overrides_what_the_model_says_of_itself(tmp_path, model_directory):
    file = tmp_path / "catalog.toml"
    file.write_text(
        f"""
        [[models]]
        name = "models/mine"
        location = "{model_directory}"
        aliases = ["gemini-1.5-flash-002", "gemini-1.5-flash-001"]
        context_tokens = 1000
        temperature = 0.1
        adapter_rank = 16
        max_adapter_rank = 64
        """
    )

    catalog = build_catalog(catalog_file=file, named=[])

    base = catalog.find("models/mine").base
    assert (base.context_tokens, base.sampling.temperature, base.adapter.rank) == (1000, 0.1, 16)
    assert base.max_adapter_rank == 64
    assert catalog.find("gemini-1.5-flash-001").limits.system_instruction is False
    assert catalog.find("gemini-1.5-flash-002").base is base
    assert catalog.find("gemini-1.5-flash-002").limits.adapter_ranks == (1, 4, 8, 16)
    assert catalog.find("models/mine").limits.system_instruction is True


def test_the_usual_rank_is_not_above_the_largest(tmp_path, model_directory):
    file = tmp_path / "catalog.toml"
    file.write_text(f'[[models]]\nname = "mine"\nlocation = "{model_directory}"\nmax_adapter_rank = 4\n')

    with pytest.raises(CatalogError, match="mine has adapter_rank 8 and max_adapter_rank 4; raise the latter or lower"):
        build_catalog(catalog_file=file, named=[])


def test_a_users_model_may_take_over_a_name_of_the_embedded_one(model_directory):
    catalog = build_catalog(catalog_file=None, named=[f"gemini-1.0-pro-001={model_directory}"])

    assert catalog.find("gemini-1.0-pro-001").base.location == str(model_directory)
    assert catalog.find("tuningfork-mini-001") is not None


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["no-location"], "NAME=LOCATION"),
        (["mine=/nowhere/at/all"], "neither a directory with a config.json, nor a GGUF file, nor a Hub id"),
        (["a={dir}", "a={dir}"], "models/a to two base models"),
        (["tuningfork-mini-001={dir}"], "models/tuningfork-mini-001 to two base models"),
        (["meta/llama={dir}"], "public name 'meta/llama': it has '/'; a public name has .* Name it meta-llama,"),
        (["ünï?x#y={dir}"], "it has 'üï\\?#'.* Name it uni-x-y,"),
        (["my model={dir}"], "it has ' '.* Name it my-model,"),
        ([" mine={dir}"], "it has ' '.* Name it mine,"),
        (["a:b={dir}"], "it has ':'.* Name it a-b,"),
        (["a%2Fb={dir}"], "it has '%'.* Name it a-2Fb,"),
        (["a,b={dir}"], "it has ','.* Name it a-b,"),
        (["models/models/x={dir}"], "it has '/'.* Name it models-x,"),
        (["tunedModels/x={dir}"], "it has '/'.* Name it tunedModels-x,"),
        (["tunedModels={dir}"], "it is a word of the API.* Name it my-model,"),
        (["models={dir}"], "it is a word of the API"),
        (["={dir}"], "public name '': it is empty.* Name it my-model,"),
        ([" ={dir}"], "it is empty"),
        (["models/={dir}"], "it is empty"),
        (["..={dir}"], "it begins or ends with"),
        (["-={dir}"], "it begins or ends with"),
        ([f"{'x' * 101}={{dir}}"], "it has 101 characters"),
    ],
)
def test_what_cannot_be_described_is_refused_with_the_cure(model_directory, named, said):
    with pytest.raises(CatalogError, match=said):
        build_catalog(catalog_file=None, named=[text.format(dir=model_directory) for text in named])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("models = 3", "models: Input should be a valid list"),
        ("[[models]]\nname = 'x'\nlocation = 'y'\ncolour = 'red'", "colour: Extra inputs are not permitted"),
        ("[[models]", "not valid TOML"),
    ],
)
def test_a_faulty_catalog_file_is_refused_with_the_place(tmp_path, content, said):
    file = tmp_path / "catalog.toml"
    file.write_text(content)

    with pytest.raises(CatalogError, match=said):
        build_catalog(catalog_file=file, named=[])


def test_a_missing_catalog_file_is_named(tmp_path):
    with pytest.raises(CatalogError, match=r"gone\.toml cannot be read: No such file"):
        build_catalog(catalog_file=tmp_path / "gone.toml", named=[])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("name = 'meta/llama'", "public name 'meta/llama'"),
        ("name = 'mine'\naliases = ['ok', 'gemini 1.5']", "alias 'gemini 1.5': it has ' '.* Name it gemini-1.5,"),
        ("name = 'mine'\naliases = ['models/mine']", "has the name models/mine twice"),
        ("name = 'mine'\naliases = ['x', 'models/x']", "has the name models/x twice"),
    ],
)
def test_names_in_a_catalog_file_are_checked_too(model_directory, tmp_path, fields, said):
    file = tmp_path / "catalog.toml"
    file.write_text(f"[[models]]\nlocation = '{model_directory}'\n{fields}")

    with pytest.raises(CatalogError, match=said):
        build_catalog(catalog_file=file, named=[])


def test_a_wrong_name_is_refused_before_its_files_are_read():
    with pytest.raises(CatalogError, match="it has '/'"):
        build_catalog(catalog_file=None, named=["meta/llama=/nowhere/at/all"])


@pytest.mark.parametrize("name", ["a", "Qwen3-0.6B", "models/my_model.v2", "gemini-1.5-flash-001-tuning", "x" * 100])
def test_names_that_can_be_called_are_taken(model_directory, name):
    assert build_catalog(catalog_file=None, named=[f"{name}={model_directory}"]).find(name) is not None


NESTED = '{"a":' * 100_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "config.json is not valid JSON"),
        ("[]", "config.json is no JSON object"),
        (NESTED, "config.json has values nested more deeply"),
        ('{"a": "' + "x" * 5_000_000 + '"}', "config.json has more than 4194304 bytes"),
        ('{"max_position_embeddings": "many"}', "config.json has max_position_embeddings = many"),
        ('{"max_position_embeddings": 1e308}', "config.json has max_position_embeddings = 1e+308"),
        ('{"text_config": 3}', "config.json does not give the context length"),
        ('{"max_position_embeddings": ' + "9" * 5_000 + "}", "config.json is not valid JSON"),
    ],
    ids=["cut", "list", "nested", "large", "text", "huge", "no-object", "digits"],
)
def test_a_model_whose_files_cannot_be_read_is_listed_with_its_fault_beside_the_others(model_directory, content, said):
    (model_directory / "config.json").write_text(content)

    catalog = build_catalog(catalog_file=None, named=[f"bad={model_directory}"])

    assert said in catalog.find("bad").base.fault
    assert "take the model out of the catalog" in catalog.find("bad").base.fault
    assert not catalog.find("tuningfork-mini-001").base.fault


def test_a_generation_config_that_cannot_be_read_is_a_fault_and_values_of_other_kinds_are_left_out(model_directory):
    (model_directory / "generation_config.json").write_text(NESTED)
    assert (
        "generation_config.json has values"
        in build_catalog(catalog_file=None, named=[f"a={model_directory}"]).find("a").base.fault
    )

    (model_directory / "generation_config.json").write_text('{"temperature": "hot", "top_k": [1], "top_p": NaN}')
    model = build_catalog(catalog_file=None, named=[f"a={model_directory}"]).find("a").base
    assert (model.sampling.temperature, model.sampling.top_p, model.sampling.top_k) == (0.9, 1.0, None)


def test_a_model_without_a_context_length_asks_for_one(model_directory):
    (model_directory / "config.json").write_text("{}")

    with pytest.raises(CatalogError, match="say context_tokens in a catalog file"):
        build_catalog(catalog_file=None, named=[f"mine={model_directory}"])


@pytest.fixture
def gguf_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    directory = tmp_path / "ggufs"
    directory.mkdir()
    return small_llama(directory)


@pytest.mark.parametrize("location", [lambda file: file, lambda file: file.parent], ids=["a file", "its directory"])
def test_a_gguf_file_is_described_by_what_it_is_converted_into(location, gguf_file, tmp_path, caplog):
    shutil.rmtree(gguf_file.parent / "tokenizer")

    with caplog.at_level("INFO"):
        base = build_catalog(catalog_file=None, named=[f"mine={location(gguf_file)}"]).find("mine").base

    assert base.fault == ""
    assert base.context_tokens == 64
    assert Path(base.location).parent == tmp_path / "cache" / "tuningfork" / "gguf"
    assert base.exported_name == "mine"
    assert "converting" in caplog.messages[0]
    assert caplog.messages[-1] == "converted small.gguf"


def test_a_gguf_file_that_is_refused_is_listed_with_its_fault(gguf_file, model_directory):
    gguf_file.write_bytes(gguf_file.read_bytes()[:-64])

    catalog = build_catalog(catalog_file=None, named=[f"broken={gguf_file}", f"mine={model_directory}"])

    assert "small.gguf cannot be a base model: it has" in catalog.find("broken").base.fault
    assert catalog.find("mine").base.fault == ""


def test_a_gguf_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CatalogError, match="base model mine: there is no file"):
        build_catalog(catalog_file=None, named=[f"mine={tmp_path}/missing.gguf"])


@pytest.fixture
def fetched(model_directory):
    """A fetched model, as `kept_bases` finds it."""
    toy = KeptBase(
        name="toy",
        display_name="Toy",
        description="A toy.",
        hub_id="makers/toy",
        aliases=("gemini-1.0-pro-001", "text-bison-001", "toy-latest"),
    )
    return {model_directory: toy}


def test_a_fetched_model_is_served_under_its_own_name_and_its_aliases(fetched):
    catalog = build_catalog(catalog_file=None, named=[], kept=fetched)

    own, familiar = catalog.find("toy"), catalog.find("gemini-1.0-pro-001")
    assert (own.base.exported_name, own.limits, own.description) == ("makers/toy", OWN_LIMITS, "A toy.")
    assert (familiar.base, familiar.limits) == (own.base, GEMINI_LIMITS)
    assert familiar.description == "The name that the tuning tutorial uses; answered by Toy."
    assert catalog.find("toy-latest").base is own.base
    # What it does not take stays with the embedded model.
    assert catalog.find("gemini-1.5-flash-001-tuning").base.name == "models/tuningfork-mini-001"


def test_a_familiar_name_has_its_own_limits_over_every_base(fetched):
    catalog = build_catalog(catalog_file=None, named=[], kept=fetched)
    assert catalog.find("text-bison-001").limits.completion is True
    assert catalog.find("text-bison-001").output_tokens == min(1_024, catalog.find("toy").output_tokens)


def test_models_that_somebody_names_take_the_names_of_fetched_ones(fetched, model_directory):
    catalog = build_catalog(catalog_file=None, named=[f"gemini-1.0-pro-001={model_directory}"], kept=fetched)
    assert catalog.find("gemini-1.0-pro-001").base.name == "models/gemini-1.0-pro-001"
    assert catalog.find("text-bison-001").base.name == "models/toy"

    catalog = build_catalog(catalog_file=None, named=[f"toy={model_directory}"], kept=fetched)
    assert catalog.find("toy").base.hub_id == ""
    assert catalog.find("gemini-1.0-pro-001").base.name == "models/tuningfork-mini-001"


def test_of_two_fetched_models_with_one_alias_the_first_has_it(fetched, model_directory, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(model_directory, other)
    both = {**fetched, other: KeptBase(name="zebra", aliases=("text-bison-001", "stripes"))}

    catalog = build_catalog(catalog_file=None, named=[], kept=both)

    assert catalog.find("text-bison-001").base.name == "models/toy"
    assert catalog.find("stripes").base.name == "models/zebra"


def test_a_fetched_model_whose_files_are_gone_is_left_out_with_a_word(tmp_path, caplog):
    (tmp_path / "toy").mkdir()

    catalog = build_catalog(catalog_file=None, named=[], kept={tmp_path / "toy": KeptBase(name="toy")})

    assert catalog.find("toy") is None
    assert "fetch it again with `tuningfork pull`" in caplog.text


def test_own_names_come_before_aliases_of_models_that_are_fetched_earlier(fetched, model_directory, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(model_directory, other)
    both = {**fetched, other: KeptBase(name="toy-latest")}

    catalog = build_catalog(catalog_file=None, named=[], kept=both)

    assert catalog.find("toy-latest").base.name == "models/toy-latest"
    assert catalog.find("toy").base.name == "models/toy"


def test_a_fetched_model_with_the_embedded_ones_name_or_alias_stops_no_start(model_directory, tmp_path, caplog):
    other = tmp_path / "other"
    shutil.copytree(model_directory, other)
    kept = {
        model_directory: KeptBase(name="tuningfork-mini-001"),
        other: KeptBase(name="b", aliases=("tuningfork-mini-001",)),
    }

    catalog = build_catalog(catalog_file=None, named=[], kept=kept)

    assert catalog.find("tuningfork-mini-001").base.location == "embedded"
    assert [model.name for model in catalog.models] == ["models/b", "models/tuningfork-mini-001"]
    assert "fetch it again under another name" in caplog.text


def test_a_fetched_model_whose_name_a_catalog_file_has_as_an_alias_is_left_out(fetched, model_directory, tmp_path):
    file = tmp_path / "catalog.toml"
    file.write_text(f'[[models]]\nname = "mine"\nlocation = "{model_directory}"\naliases = ["toy"]\n')

    catalog = build_catalog(catalog_file=file, named=[], kept=fetched)

    assert catalog.find("toy").base.name == "models/mine"
    assert catalog.find("text-bison-001").base.name == "models/tuningfork-mini-001"


def test_what_names_meant_before_models_were_fetched_can_be_told(fetched, model_directory):
    named = [f"gemini-1.5-flash-001-tuning={model_directory}"]
    before = without_fetched(build_catalog(catalog_file=None, named=named, kept=fetched), fetched)

    assert before.find("gemini-1.0-pro-001").base.name == "models/tuningfork-mini-001"
    assert before.find("gemini-1.5-flash-001-tuning").base.name == "models/gemini-1.5-flash-001-tuning"
    assert before.find("toy") is None
