"""``python -m veilmatch`` is ``veilmatch``."""

from veilmatch.main import main

main()
