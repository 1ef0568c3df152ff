"""The clients of the contract are the releases that are promised, and they cannot see the product."""

import json
import re

import pytest

from contract.environments import HERE, NodeEnvironment, PythonEnvironment

RELEASES = [
    (PythonEnvironment("google-generativeai-0.8.6"), "google-generativeai", "0.8.6"),
    (PythonEnvironment("google-genai-1.46.0"), "google-genai", "1.46.0"),
    (PythonEnvironment("google-genai-3.3.0"), "google-genai", "3.3.0"),
    (PythonEnvironment("google-genai-3.6.1"), "google-genai", "3.6.1"),
    (PythonEnvironment("vertexai-1.71.1"), "google-cloud-aiplatform", "1.71.1"),
    (PythonEnvironment("vertexai-2.7.0"), "google-cloud-aiplatform", "2.7.0"),
    (PythonEnvironment("gcsfs-2026.10.1"), "gcsfs", "2026.10.1"),
    (PythonEnvironment("gcsfs-2026.10.1"), "google-cloud-storage", "3.17.1"),
    (PythonEnvironment("google-cloud-storage-2.19.0"), "google-cloud-storage", "2.19.0"),
    (PythonEnvironment("langchain-google-genai-4.4.2"), "langchain-google-genai", "4.4.2"),
    (PythonEnvironment("litellm-1.106.2"), "litellm", "1.106.2"),
    (PythonEnvironment("moto-5.2.5"), "moto", "5.2.5"),
    (PythonEnvironment("requests-2.34.2"), "requests", "2.34.2"),
    (PythonEnvironment("s3fs-2026.9.0"), "s3fs", "2026.9.0"),
    (PythonEnvironment("s3fs-2026.9.0"), "gcsfs", "2026.10.1"),
    (PythonEnvironment("transformers-4.57.6"), "transformers", "4.57.6"),
    (NodeEnvironment("google-cloud-storage-js-8.4.0"), "@google-cloud/storage", "8.4.0"),
    (NodeEnvironment("google-genai-js-1.27.0"), "@google/genai", "1.27.0"),
    (NodeEnvironment("google-genai-js-3.1.0"), "@google/genai", "3.1.0"),
    (NodeEnvironment("google-genai-js-3.3.0"), "@google/genai", "3.3.0"),
    (NodeEnvironment("google-generative-ai-js-0.24.1"), "@google/generative-ai", "0.24.1"),
]


@pytest.mark.parametrize(
    ("environment", "package", "release"),
    RELEASES,
    ids=[f"{environment.name} {package}" for environment, package, _ in RELEASES],
)
def test_a_client_is_the_promised_release_and_cannot_see_the_product(told, environment, package, release):
    program = "release.mjs" if isinstance(environment, NodeEnvironment) else "release.py"

    found = told(environment, program, PACKAGE=package)

    assert found["release"] == release
    assert not found.get("tuningfork")


def test_all_that_the_clients_need_is_pinned_and_no_host_is_named():
    requirements = [
        line
        for file in (HERE / "requirements").iterdir()
        for line in file.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    locked = [
        package
        for file in (HERE / "node").glob("*/package-lock.json")
        for name, package in json.loads(file.read_text(encoding="utf-8"))["packages"].items()
        if name
    ]

    assert [line for line in requirements if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)] == []
    assert all({"version", "integrity"} <= package.keys() for package in locked)
    assert [package for package in locked if "resolved" in package] == []
