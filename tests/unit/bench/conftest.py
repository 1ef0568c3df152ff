import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
# The benchmarks are scripts, which find each other in their own folder.
sys.path.insert(0, str(ROOT / "bench"))
