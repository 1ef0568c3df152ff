"""moto's S3, in memory, on a port of this machine."""

import os

from moto.server import main

main(["-H", "127.0.0.1", "-p", os.environ["PORT"]])
