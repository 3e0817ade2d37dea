from __future__ import annotations

import sys

from tests.compatibility.document import document

sys.stdout.write(document())
