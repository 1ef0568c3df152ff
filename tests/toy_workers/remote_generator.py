"""The generator over an artifact store that it reaches through a loopback socket, with a cache of its own."""

import os
from pathlib import Path

from loopback_objects import LoopbackObjects
from tuningfork.artifacts.cached import CachedArtifactStore
from tuningfork.execution.base import AdapterLimits
from tuningfork.execution.local import worker
from tuningfork.execution.local.generator_process import GeneratorWorker

if __name__ == "__main__":
    objects = LoopbackObjects(int(os.environ["REMOTE_PORT"]))
    store = CachedArtifactStore(objects, Path(os.environ["REMOTE_CACHE"]) / "generator", 10**8)
    worker.run(GeneratorWorker(store, AdapterLimits()))
