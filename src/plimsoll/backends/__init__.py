"""Where replicas run: `fake` (in memory, virtual time), `local` (processes on this machine), later `kubernetes`.

The only home of subprocesses and of Kubernetes clients. Decides nothing: it carries out `apply(desired)` and tells
`observe()`. Never reads a request, never imports a server, a gateway or the controller: the entry points of the
processes it starts are dotted names that its caller passes in.
"""
