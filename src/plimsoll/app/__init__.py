"""The composition root: reads the environment and the configuration, wires hosts to backends, owns the run folder.

The only package that knows which implementation stands behind a port. Decides nothing about requests, replicas or
revisions; prints nothing (`cli` does).
"""
