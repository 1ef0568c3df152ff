"""The names of Vertex AI's API as its clients know it."""

SERVICE = "aiplatform.googleapis.com"
"""The name of the service in errors and in access tokens."""

VERSION = "v1beta1"
PACKAGE = f"google.cloud.aiplatform.{VERSION}"
"""The package of the tables of messages. v1 has nothing that v1beta1 lacks."""

DEFAULT_LOCATION = "us-central1"
"""The location of requests that name none, as of vertexai (vertex-additions, section 1)."""
NO_LOCATION = "None"
"""What google-genai 1.46 sends in place of a location that its caller did not give."""
