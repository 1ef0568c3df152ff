"""The packages of Vertex AI's messages, one for each version of the API."""

from tuningfork.wire.google.packages import Package

VERSIONS = ("v1", "v1beta1")
"""The versions of the API, which have the same state."""

PACKAGES = {version: Package(f"google.cloud.aiplatform.{version}") for version in VERSIONS}
"""The package of each version, under whose name messages are printed."""
