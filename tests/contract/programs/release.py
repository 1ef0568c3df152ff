"""Say which release of a package is here, and whether Tuningfork is."""

import importlib.metadata
import importlib.util
import json
import os

print(
    json.dumps(
        {
            "release": importlib.metadata.version(os.environ["PACKAGE"]),
            "tuningfork": importlib.util.find_spec("tuningfork") is not None,
        }
    )
)
