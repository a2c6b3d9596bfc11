"""The tokens that an answer cost: `usage.total_tokens` of its JSON, as OpenAI's API has it."""

import msgspec


class _Usage(msgspec.Struct):
    total_tokens: float = 0.0


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def tokens_in(body: bytes) -> float:
    """0 where the answer doesn't say."""
    try:
        usage = _decode(body).usage
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0.0
    return 0.0 if usage is None else max(usage.total_tokens, 0.0)
