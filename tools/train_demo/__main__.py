"""`python -m tools.train_demo`."""

import sys

from tools.train_demo.train import main

sys.exit(main())
