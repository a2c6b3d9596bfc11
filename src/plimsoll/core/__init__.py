"""The words everybody uses: ids, units, outcomes, requests, errors.

Standard library only. Never does I/O, reads a clock, logs or draws a random number.
"""
