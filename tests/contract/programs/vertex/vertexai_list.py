"""List the tuning jobs of a project with the Vertex AI SDK and the credentials that it finds by itself."""

import json
import os

import vertexai
from vertexai.tuning import sft

project, location = os.environ["GOOGLE_CLOUD_PROJECT"], os.environ["GOOGLE_CLOUD_LOCATION"]
vertexai.init(project=project, location=location, api_endpoint=os.environ["URL"], api_transport="rest")
print(json.dumps({"jobs": [job.resource_name for job in sft.SupervisedTuningJob.list()]}))
