"""Plimsoll itself on a cluster, as plain objects: pure functions of `Values`, the same for `install` and the chart.

values        what an installation can be told; one YAML file, validated
pieces        the list of all that is made, in order: `system_objects(values)`
components, surroundings, nodes     the objects; `roles`: who of ours may do what, and why; `people`: who may serve
chart         the Helm chart from the same functions: `chart_files(crds)`
preflight     facts about a cluster to lines of ok, warn and fail
upgrading     what differs between what is there and what would be
leaving       uninstall, also so that models go on
adopting/     a ModelService from what a tutorial made
"""

from plimsoll.backends.kubernetes.install.pieces import system_objects
from plimsoll.backends.kubernetes.install.values import Values, values_of

__all__ = ["Values", "system_objects", "values_of"]
