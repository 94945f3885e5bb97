"""``python -m fmnotes.report``."""

import sys

from fmnotes.report import main

sys.exit(main())
