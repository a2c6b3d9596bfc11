"""The open-loop load client and its report: the judge of budgets, so it never waits for the server it measures.

Arrivals come from a schedule (`insight.traffic`) whatever the answers do; a latency counts from the moment a request
should have been sent; each request ends with exactly one outcome; the client's own lag is measured and told. Memory
does not grow with the number of requests. Prints nothing, reads no files, knows no instance of ours: it gets a
`Target` and gives a `Report`.
"""

from plimsoll.load.client import LoadSettings, OpenLoopClient
from plimsoll.load.connect import client_tls
from plimsoll.load.html import render_html, report_line
from plimsoll.load.report import Budget, Report, apart_lines, beside_line, line_of, made_json, verdict
from plimsoll.load.run import Traffic, run_load
from plimsoll.load.tally import Progress, Record
from plimsoll.load.target import Target, body_of_zeros, http_target

__all__ = [
    "Budget",
    "LoadSettings",
    "OpenLoopClient",
    "Progress",
    "Record",
    "Report",
    "Target",
    "Traffic",
    "apart_lines",
    "beside_line",
    "body_of_zeros",
    "client_tls",
    "http_target",
    "line_of",
    "made_json",
    "render_html",
    "report_line",
    "run_load",
    "verdict",
]
