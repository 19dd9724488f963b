"""python -m tfser: the command `tfser`."""

import sys

from tfser.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
