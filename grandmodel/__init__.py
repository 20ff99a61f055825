"""GrandModel: may this model trade, and can we prove why?"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__version__ = "0.1.0"


def _compiled_code_folder() -> str:
    """Return a folder for compiled kernels that belongs to exactly these sources.

    Numba looks only at the file of the outermost kernel, so a changed inner kernel would go on running as it was.
    """
    root = Path(__file__).parent
    compiled_core = ("core/philox.py", "core/vector.py")
    compiled_data = ("data/ticks/kernels*.py",)
    rooms = (*compiled_core, *compiled_data, "features/*.py", "marl/*.py", "market/*.py", "risk/*.py")
    sources = sorted(path for pattern in rooms for path in root.glob(pattern))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    return str(root / "__pycache__" / f"kernels-{digest}")


os.environ.setdefault("NUMBA_CACHE_DIR", _compiled_code_folder())
