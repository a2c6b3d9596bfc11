"""Properties: how bytes are cut into reads changes nothing; no bytes whatever break a connection.

Hypothesis prints the failing example and how to repeat it.
"""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
TOKENS = st.text("abcXYZ-_09", min_size=1, max_size=8).map(str.encode)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map(str.encode)
RESERVED = {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade", b"trailer"}


@st.composite
def requests(draw):
    """One legal request."""
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS"]))
    path = b"/" + draw(TOKENS) + draw(st.sampled_from([b"", b"?a=b", b"?x?y"]))
    lines = [b"%b %b HTTP/1.1" % (method, draw(st.sampled_from([path, b"http://h" + path]))), b"hOst: a"]
    headers = draw(st.lists(st.tuples(TOKENS, VALUES), max_size=5))
    lines += [b"%b: \t%b " % pair for pair in headers if pair[0].lower() not in RESERVED]
    lines += draw(st.sampled_from([[], [b"Connection: Upgrade", b"Upgrade: h2c"], [b"Connection: keep-alive"]]))
    lines += draw(st.sampled_from([[], [b"Expect: 100-Continue"]]))
    body = draw(st.binary(max_size=40))
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    rest = b""
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
        rest = body
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        size = draw(st.integers(1, 20))
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            rest += b"%X%b\r\n%b\r\n" % (len(piece), draw(st.sampled_from([b"", b";e=1"])), piece)
        rest += b"0\r\n" + draw(st.sampled_from([b"", b"secret: trailer\r\n"])) + b"\r\n"
    return b"\r\n".join(lines) + b"\r\n\r\n" + rest


def cut(data, places):
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def seen(exchange):
    return (exchange.method, exchange.path, exchange.query, exchange.version, exchange.headers, exchange.body)


def echo(exchange):
    return 200, b"x: y\r\n", repr(seen(exchange)).encode()


@settings(max_examples=150, deadline=None)
@given(
    stream=st.lists(requests(), min_size=1, max_size=4).map(b"".join),
    places=st.lists(st.integers(0, 2000), max_size=30),
)
def test_how_a_stream_is_cut_changes_nothing(kit, stream, places):
    ways = [[stream], cut(stream, places), [stream[i : i + 1] for i in range(len(stream))]]
    outcomes = []
    for pieces in ways:
        host = kit.Host(kit.Application(echo))
        transport = host.accept()
        transport.feed(*pieces)
        assert host.application.refused == []
        assert all(name != b"secret" for exchange in host.application.exchanges for name, _ in exchange.headers)
        outcomes.append(([seen(exchange) for exchange in host.application.exchanges], transport.sent))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(12)), depth=st.integers(1, 13), size=st.integers(1, 400))
def test_whatever_the_order_of_the_answers_they_leave_in_order(kit, order, depth, size):
    host = kit.Host(kit.Application(hold=True), pipeline_depth=depth)
    transport = host.accept()
    stream = b"".join(GET % number for number in range(12))
    transport.feed(*(stream[i : i + size] for i in range(0, len(stream), size)))
    answered = set()
    while len(answered) < 12:
        exchanges = host.application.exchanges
        assert len(exchanges) - len(answered) <= 2 * depth  # those that wait for their turn count as unanswered
        number = next(n for n in order if n not in answered and n < len(exchanges))
        exchanges[number].respond(200, b"", b"%d" % number)
        answered.add(number)
    assert [body for _, _, body in kit.split_answers(transport.sent)] == [b"%d" % n for n in range(12)]
    assert transport.reading


def survives(kit, pieces, eof):
    """No exception, and in the end either an answer or a closed transport, or the server waits for more: then its
    deadlines end it."""
    host = kit.Host(max_body_bytes=200, max_head_bytes=300, max_headers=8, max_target_bytes=50)
    transport = host.accept()
    transport.feed(*pieces)
    if eof and not transport.closing:
        transport.feed_eof()
        assert transport.closing
    for _ in range(3):
        host.after(1000.0, transport)
    assert transport.closing
    assert transport.lost
    assert host.server.connections == 0
    for exchange in host.application.exchanges:
        assert len(exchange.body) <= 200
        assert all(b"\n" not in value and b"\0" not in value for _, value in exchange.headers)
    assert len(host.application.refused) <= 1
    if len(host.application.refused) == 1 and not eof:
        assert b"connection: close\r\n" in transport.sent
    return transport


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), places=st.lists(st.integers(0, 300), max_size=5), eof=st.booleans())
def test_any_bytes_are_survived(kit, data, places, eof):
    survives(kit, cut(data, places), eof)


EDITS = st.lists(
    st.tuples(
        st.integers(0, 3000),
        st.sampled_from(["drop", "insert", "replace", "double"]),
        st.one_of(
            st.binary(min_size=1, max_size=2),
            st.sampled_from(
                [b"\r\n", b"\n", b"\0", b" ", b":", b"\r\n\r\n", b"0\r\n\r\n", b"Content-Length: 9\r\n", b"Host: b\r\n"]
            ),
        ),
    ),
    max_size=4,
)


def edit(data, edits):
    for place, kind, content in edits:
        at = place % (len(data) + 1)
        if kind == "drop":
            data = data[:at] + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + content + data[at:]
        elif kind == "replace":
            data = data[:at] + content + data[at + len(content) :]
        else:
            data = data[:at] + data[max(0, at - 10) :]
    return data


@settings(max_examples=300, deadline=None)
@given(
    stream=st.lists(requests(), min_size=1, max_size=3).map(b"".join),
    edits=EDITS,
    places=st.lists(st.integers(0, 2000), max_size=5),
    eof=st.booleans(),
)
def test_spoilt_requests_are_survived_and_cutting_changes_no_verdict(kit, stream, edits, places, eof):
    data = edit(stream, edits)
    survives(kit, cut(data, places), eof)
    outcomes = []
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        host = kit.Host(kit.Application(echo))
        transport = host.accept()
        transport.feed(*pieces)
        outcomes.append(([seen(exchange) for exchange in host.application.exchanges], transport.sent))
    assert outcomes[0] == outcomes[1]


ANSWERS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhe\r\n3\r\nllo\r\n0\r\nt: u\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 500 No\r\nContent-Length: 1\r\n\r\nx",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    data=st.one_of(st.binary(max_size=200), st.tuples(ANSWERS, EDITS).map(lambda pair: edit(*pair))),
    places=st.lists(st.integers(0, 200), max_size=5),
    head_only=st.booleans(),
    reset=st.booleans(),
)
def test_any_answer_ends_in_exactly_one_way(kit, data, places, head_only, reset):
    connection, transport = kit.client()
    receiver = kit.Receiver()
    connection.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"", receiver, head_only=head_only)
    transport.feed(*cut(data, places))
    if not transport.closing:
        if reset:
            transport.lose(ConnectionResetError())
        else:
            transport.feed_eof()
    assert len(receiver.answers) + len(receiver.losses) == 1
    assert connection.closed


@settings(max_examples=100, deadline=None)
@given(answers=st.lists(ANSWERS, min_size=1, max_size=1), places=st.lists(st.integers(0, 200), max_size=20))
def test_how_an_answer_is_cut_changes_nothing(kit, answers, places):
    [data] = answers
    ends = []
    for pieces in ([data], cut(data, places), [data[i : i + 1] for i in range(len(data))]):
        connection, transport = kit.client()
        receiver = kit.Receiver()
        connection.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"", receiver)
        transport.feed(*pieces)
        if not transport.closing:
            transport.feed_eof()
        ends.append((receiver.answers, receiver.interims, receiver.losses))
    assert ends[0] == ends[1] == ends[2]
    assert len(ends[0][0]) == 1
