"""``python -m vocaffect.cli``, which is also what torchrun starts: ``torchrun -m vocaffect.cli train ...``."""

from vocaffect.cli import main

main()
