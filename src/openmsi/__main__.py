"""python -m openmsi"""

from openmsi.cli import main

main()
