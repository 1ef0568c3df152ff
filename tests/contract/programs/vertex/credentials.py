"""Call a server with the credentials that Google's libraries find by themselves."""

import json
import os

import google.auth
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
session = AuthorizedSession(credentials)
try:
    answer = session.get(os.environ["URL"] + "/v1beta/tunedModels")
    told = {"status": answer.status_code, "expires": credentials.expiry is not None}
except GoogleAuthError as error:
    told = {"refused": str(error)}
print(json.dumps({"quota_project": credentials.quota_project_id, **told}))
