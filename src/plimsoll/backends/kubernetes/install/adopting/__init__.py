"""From what a tutorial made (a Deployment, a Service, an autoscaler) to a ModelService that serves the same.

    choosing     which objects belong together
    converting   the ModelService, and notes on what needs a person
    pods         what of a pod has a key of its own, and what goes into podTemplate
    autoscaling  an HPA of v1 or v2 as `spec.scaling`
    apps         a FastAPI module's endpoint, found without importing it, and the model class around it
    writing      the files

A container that brings its own web server can't be run as it is: Plimsoll's server must be the process, so that
batches, deadlines and budgets work. So the function behind the endpoint becomes a model class, and the image gets
Plimsoll in it.
"""

from plimsoll.backends.kubernetes.install.adopting.choosing import Found, choose
from plimsoll.backends.kubernetes.install.adopting.converting import Adopted, adopt
from plimsoll.backends.kubernetes.install.adopting.writing import files_of

__all__ = ["Adopted", "Found", "adopt", "choose", "files_of"]
