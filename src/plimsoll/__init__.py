"""Plimsoll serves AI models inside a budget.

Nothing is imported here, so that `import plimsoll` costs nothing. docs/architecture.md says what lives where.
"""

__version__ = "0.1.0"
