"""`python -m kerasdeconv`."""

import sys

from kerasdeconv.cli import main

sys.exit(main())
