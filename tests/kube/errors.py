"""What the server refuses with: metav1.Status objects."""

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class ApiError(Exception):
    """`reason`: that of the status code unless another is given (AlreadyExists is a 409 as well)."""

    def __init__(self, code, message, reason=None, **details):
        super().__init__(message)
        self.code, self.message = code, message
        self.reason = reason or REASONS.get(code, "Unknown")
        self.details = details

    def status(self):
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            body["details"] = self.details
        return body


def not_found(kind, name):
    text = f'{kind.qualified} "{name}" not found'
    return ApiError(404, text, name=name, group=kind.group, kind=kind.plural)


def conflict(kind, name, why):
    text = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return ApiError(409, text, name=name, group=kind.group, kind=kind.plural)


def invalid(kind, name, causes):
    """`causes`: (field, message)."""
    told = ", ".join(f"{field}: {message}" for field, message in causes)
    listed = [{"reason": "FieldValueInvalid", "field": field, "message": message} for field, message in causes]
    text = f'{kind.kind}{"." + kind.group if kind.group else ""} "{name}" is invalid: {told}'
    return ApiError(422, text, name=name, group=kind.group, kind=kind.kind, causes=listed)
