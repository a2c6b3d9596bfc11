"""The seams, as Protocols: what a host needs of a clock, a model, a backend, a process spawner.

Implementations live elsewhere (`models`, `backends`, `app`), each passing the contract suite of its port in
`tests/contracts`. Never does I/O itself.
"""
