"""The compiled parts are built when there is a compiler, and the package does without when there is none."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tuningfork.modeling.compiled import building
from tuningfork.modeling.compiled.library import load

ROOT = Path(__file__).parents[4]
NEEDS_COMPILER = pytest.mark.skipif(
    all(shutil.which(name) is None for name in building._COMPILERS), reason="there is no C++ compiler"
)


@pytest.fixture
def folder(tmp_path):
    """A folder with two small sources of its own, one for another instruction set."""
    place = tmp_path / "sources"
    place.mkdir()
    (place / "given.h").write_text("#pragma once\nint twice(int);\n")
    (place / "sources.cpp").write_text(
        '#include "given.h"\nint twice(int n) { return 2 * n; }\n'
        'extern "C" __attribute__((visibility("default"))) int four() { return twice(2); }\n'
        'extern "C" __attribute__((visibility("default"))) const char* tf_sources() '
        '{ return "TF_SOURCES=" TF_SOURCES; }\n'
    )
    (place / "wide_avx2.cpp").write_text(
        "#if !defined(__AVX2__)\n#error no AVX2\n#endif\nint of_no_use_elsewhere() { return 1; }\n"
    )
    return place


@NEEDS_COMPILER
def test_sources_become_one_library_that_knows_what_it_was_made_of(folder, tmp_path):
    library = tmp_path / "made.so"

    building.build(folder, library)

    assert ctypes.CDLL(str(library)).four() == 4
    assert building.is_current(library, folder)
    (folder / "given.h").write_text("#pragma once\nint twice(int);  // changed\n")
    assert not building.is_current(library, folder)


@NEEDS_COMPILER
def test_where_nothing_can_be_written_there_is_no_library_and_no_other_error(folder, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(building.NotCompiled, match="cannot be written"):
        building.build(folder, tmp_path / "file" / "made.so")


@NEEDS_COMPILER
def test_a_library_is_made_anew_only_where_the_sources_have_changed(folder, tmp_path):
    library = tmp_path / "made.so"
    building.build(folder, library)
    first = library.stat().st_ino

    building.build(folder, library)
    assert library.stat().st_ino == first

    (folder / "sources.cpp").write_text((folder / "sources.cpp").read_text().replace("2 * n", "3 * n"))
    building.build(folder, library)
    assert ctypes.CDLL(str(library)).four() == 6


@NEEDS_COMPILER
def test_a_fault_in_the_sources_is_told_and_leaves_no_library(folder, tmp_path):
    library = tmp_path / "made.so"
    library.write_bytes(b"of other sources")
    (folder / "sources.cpp").write_text("int twice(int n) { return n +; }\n")

    with pytest.raises(building.NotCompiled, match=r"ended with 1: .*error"):
        building.build(folder, library)

    assert not library.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["given.h", "sources.cpp", "wide_avx2.cpp"]


@pytest.mark.parametrize("compiler", ["/nowhere/c++", "false"])
def test_a_compiler_that_is_absent_or_fails_is_named(folder, tmp_path, compiler):
    with pytest.raises(building.NotCompiled, match=compiler):
        building.build(folder, tmp_path / "made.so", [compiler])


def test_a_compiler_is_given_processor_time_and_not_time_by_the_clock(folder, tmp_path, monkeypatch):
    # Why: the real limit is ten minutes.
    monkeypatch.setattr(building, "_PROCESSOR_SECONDS", 1)

    # It fails after two seconds, of which it has computed none.
    with pytest.raises(building.NotCompiled, match="ended with 3"):
        building.build(folder, tmp_path / "made.so", ["sh", "-c", "sleep 2; exit 3"])
    with pytest.raises(building.NotCompiled, match="after 1 seconds of processor time"):
        building.build(folder, tmp_path / "made.so", ["sh", "-c", "while :; do :; done"])


def test_the_hook_says_in_one_line_that_nothing_was_compiled_and_goes_on(tmp_path):
    root = tmp_path / "checkout"
    compiled = building.FOLDER.relative_to(ROOT)
    shutil.copytree(ROOT / compiled, root / compiled, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(ROOT / "hatch_build.py", root)

    done = subprocess.run(
        [sys.executable, root / "hatch_build.py"],
        env={**os.environ, "CXX": "/nowhere/c++ -v"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )

    [line] = done.stderr.splitlines()
    assert line.startswith("tuningfork is built without its compiled parts")
    assert "/nowhere/c++" in line
    assert not list((root / compiled).glob("*.so"))


@NEEDS_COMPILER
def test_a_library_of_other_sources_is_not_used_and_the_log_says_so(folder, tmp_path, caplog):
    library = tmp_path / "made.so"
    building.build(folder, library)

    assert load(library) is None
    # This one lacks a function that every library has.
    assert "cannot be loaded" in caplog.text
    caplog.clear()

    with (folder / "sources.cpp").open("a") as source:
        source.write('extern "C" __attribute__((visibility("default"))) int tf_processor_level() { return 0; }\n')
    # Under another name, since the system keeps what it has loaded.
    building.build(folder, tmp_path / "second.so")
    assert load(tmp_path / "second.so") is None
    assert "of other sources" in caplog.text


def test_a_file_that_is_no_library_is_not_used(tmp_path, caplog):
    (tmp_path / "made.so").write_bytes(b"no library")

    assert load(tmp_path / "made.so") is None
    assert "cannot be loaded" in caplog.text
    assert load(tmp_path / "absent.so") is None
