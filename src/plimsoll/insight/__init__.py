"""Conclusions from data: the service-time model, quantile sketches, windows, rates.

Plain synchronous objects of constant memory; `now` is an argument. Never sleeps, logs, does I/O or decides anything:
deciding is `policy`'s, which gets the conclusions as values of `core`.
"""
