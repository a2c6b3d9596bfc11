"""Metrics, logs and timing of the live hosts. The hot path keeps plain numbers; exposition happens when asked.

Never decides, never waits, never sends anything anywhere by itself, and never sees a payload.
"""
