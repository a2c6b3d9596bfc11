"""Protocols to and from `core`: HTTP/1.1 connections, Open Inference Protocol, KServe v1.

Only `http1` does I/O. The codecs turn bytes into `core` values and back; they never wait, log or decide. Nothing here
knows a queue, a replica or a policy.
"""
