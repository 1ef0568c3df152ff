"""Share a model with a person, a group and everybody, and take it back."""

import json
import os

import google.generativeai as genai
from google.api_core import exceptions

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)


def shown(permission):
    return [
        permission.role.name,
        permission.grantee_type.name if permission.grantee_type else None,
        permission.email_address or None,
    ]


model = genai.create_tuned_model(
    "models/gemini-1.5-flash-001-tuning", [("1", "2")], id=os.environ["MODEL_ID"], epoch_count=1
).result()

at_first = [shown(permission) for permission in model.permissions.list()]
person = model.permissions.create("READER", "USER", os.environ["PERSON"])
group = model.permissions.create("WRITER", email_address=os.environ["GROUP"])
everyone = model.permissions.create("READER", "EVERYONE")
shared = [shown(permission) for permission in model.permissions]

fetched = model.permissions.get(person.name)
as_fetched = shown(fetched)
fetched.update({"role": "WRITER"})
promoted = model.permissions.get(person.name)
everyone.delete()
try:
    model.permissions.get(everyone.name)
    after = "still there"
except exceptions.NotFound:
    after = "gone"

print(
    json.dumps(
        {
            "at_first": at_first,
            "made": [shown(person), shown(group), shown(everyone)],
            "names": [person.name, group.name, everyone.name],
            "shared": shared,
            "fetched": as_fetched,
            "promoted": shown(promoted),
            "after": after,
            "left": [shown(permission) for permission in model.permissions.list()],
        }
    )
)
