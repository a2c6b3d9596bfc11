"""What the API server asks before a ModelService, a Tenant or the Platform is stored.

    review(BODY, context=…) -> answer      pure: an AdmissionReview in, an AdmissionReview out
    webhook_app(context)                   the ASGI page that the operator serves at WEBHOOK_PATH over TLS

A second line: the schema and its CEL rules refuse most of what is wrong even while nobody answers here, and the
operator repeats all checks in the status. It says what they can't, with the loader's own words.
"""

from plimsoll.backends.kubernetes.webhook.page import WEBHOOK_PATH, webhook_app
from plimsoll.backends.kubernetes.webhook.review import Context, NotAReview, review

__all__ = ["WEBHOOK_PATH", "Context", "NotAReview", "review", "webhook_app"]
