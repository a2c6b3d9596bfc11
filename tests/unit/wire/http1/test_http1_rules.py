"""What is refused and why: each row is a known way to make two servers disagree about where a request ends."""

import pytest

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
BODY = b"3\r\nabc\r\n0\r\n\r\n"

REFUSED = {
    "length and chunked: which one counts?": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    "the same, the other way round": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + BODY,
    "two equal lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "a hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "an empty length": POST + b"Content-Length:\r\n\r\nabc",
    "a length with a gap": POST + b"Content-Length: 3 0\r\n\r\nabc",
    "a length beyond 64 bits wraps round": POST + b"Content-Length: 18446744073709551619\r\n\r\nabc",
    "chunked is not the last coding": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + BODY,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + BODY,
    "identity ended with RFC 2616": POST + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
    "a quoted coding": POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + BODY,
    "a coding with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + BODY,
    "a vertical tab hides the coding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + BODY,
    "an empty coding": POST + b"Transfer-Encoding:\r\n\r\n" + BODY,
    "HTTP/1.0 has no codings": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    "a header without a colon": GET + b"X\r\n\r\n",
    "whitespace before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "whitespace before the colon of a length": POST + b"Content-Length : 3\r\n\r\nabc",
    "a header name with a bracket": GET + b"X(: a\r\n\r\n",
    "no header name": GET + b": a\r\n\r\n",
    "a folded header": GET + b"X: a\r\n b\r\n\r\n",
    "a folded first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "lines that end in LF alone": b"GET / HTTP/1.1\nHost: a\n\n",
    "a header that ends in LF alone": b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    "a head that ends in LF alone": GET + b"\n",
    "CR alone in a value": GET + b"X: a\rb\r\n\r\n",
    "NUL in a value": GET + b"X: a\0b\r\n\r\n",
    "a control character in a value": GET + b"X: a\x01b\r\n\r\n",
    "DEL in a value": GET + b"X: a\x7fb\r\n\r\n",
    "NUL in a name": GET + b"X\0: a\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in the target": b"GET /\x1f HTTP/1.1\r\nHost: a\r\n\r\n",
    "a raw byte above ASCII in the target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment in the target": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target without a slash": b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "* is for OPTIONS": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a proxy's method": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a URL with another scheme": b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a URL without a host": b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a URL with credentials": b"GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts: which one routes?": GET + b"Host: b\r\n\r\n",
    "two equal Hosts": GET + b"Host: a\r\n\r\n",
    "two Hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with credentials": b"GET / HTTP/1.1\r\nHost: b@a\r\n\r\n",
    "a Host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a list of Hosts": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9 by name": b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2 by name": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space after the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "a space before the method": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
}

CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSED_CHUNKS = {
    "a size that ends in LF alone": b"3\nabc\r\n0\r\n\r\n",
    "more data than the size says": b"3\r\nabcd\r\n0\r\n\r\n",
    "a signed size": b"+3\r\nabc\r\n0\r\n\r\n",
    "a size with a prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a size with a space": b"3 \r\nabc\r\n0\r\n\r\n",
    "a size that overflows": b"fffffffffffffffff3\r\nabc\r\n0\r\n\r\n",
    "data that ends in LF alone": b"3\r\nabc\n0\r\n\r\n",
    "data without an end": b"3\r\nabc0\r\n\r\n",
    "an extension with LF": b"3;a\nX\r\nabc\r\n0\r\n\r\n",
    "an extension with NUL": b"3;a\0\r\nabc\r\n0\r\n\r\n",
    "a length in the trailers": b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a coding in the trailers": b"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailers that end in LF alone": b"3\r\nabc\r\n0\r\n\n",
    "no size": b"\r\nabc",
}


@pytest.mark.parametrize("reason", REFUSED)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_refused_with_400_and_closed(kit, reason, bytewise):
    host = kit.Host()
    transport = host.accept()
    data = REFUSED[reason]
    transport.feed(*([data[i : i + 1] for i in range(len(data))] if bytewise else [data]))
    [(status, headers, body)] = kit.split_answers(transport.sent)
    assert status == 400
    assert headers[b"connection"] == b"close"
    assert body
    assert transport.eof
    assert host.application.exchanges == []
    assert len(host.application.refused) == 1


@pytest.mark.parametrize("reason", REFUSED_CHUNKS)
def test_a_malformed_chunk_is_refused(kit, reason):
    host = kit.Host()
    transport = host.accept()
    transport.feed(CHUNKED + REFUSED_CHUNKS[reason])
    [(status, _, _)] = kit.split_answers(transport.sent)
    assert status == 400
    assert host.application.exchanges == []


def test_a_coding_that_could_be_but_is_not_understood_is_501(kit):
    host = kit.Host()
    transport = host.accept()
    transport.feed(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + BODY)
    assert [status for status, _, _ in kit.split_answers(transport.sent)] == [501]


@pytest.mark.parametrize("first", [b"\x16", b"P"])
def test_another_protocol_is_named_in_the_answer(kit, first):
    host = kit.Host()
    transport = host.accept()
    transport.feed(b"\x16\x03\x01" if first == b"\x16" else b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    [(_, _, body)] = kit.split_answers(transport.sent)
    assert (b"TLS" if first == b"\x16" else b"HTTP/2") in body


ACCEPTED = {
    "a path": (b"GET /a/b?x=1&y=%20 HTTP/1.1\r\nHost: a\r\n\r\n", "/a/b", "x=1&y=%20", b"a"),
    "percent-encoding stays": (b"GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", "/a%2fb", "", b"a"),
    "a second question mark is the query's": (b"GET /a?b?c HTTP/1.1\r\nHost: a\r\n\r\n", "/a", "b?c", b"a"),
    "an empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "/", "", b""),
    "an IPv6 Host": (b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "/", "", b"[::1]:8080"),
    "whitespace round a value": (b"GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n", "/", "", b"a"),
    "empty lines before the request": (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", "", b"a"),
    "a URL: its host wins over Host": (b"GET http://b:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "/x", "y", b"b:80"),
    "a URL without a path": (b"GET http://b HTTP/1.1\r\nHost: b\r\n\r\n", "/", "", b"b"),
    "a URL with only a query": (b"GET http://b?q HTTP/1.1\r\nHost: b\r\n\r\n", "/", "q", b"b"),
    "OPTIONS of the server": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", "", b"a"),
    "OPTIONS of the server by URL": (b"OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", "*", "", b"b"),
    "HTTP/1.0 without a Host": (b"GET / HTTP/1.0\r\n\r\n", "/", "", None),
}


@pytest.mark.parametrize("reason", ACCEPTED)
def test_accepted(kit, reason):
    data, path, query, host_header = ACCEPTED[reason]
    host = kit.Host()
    transport = host.accept()
    transport.feed(data)
    [exchange] = host.application.exchanges
    assert (exchange.path, exchange.query, exchange.header(b"host")) == (path, query, host_header)
    assert [status for status, _, _ in kit.split_answers(transport.sent)] == [200]


def test_the_caches_of_paths_and_hosts_stay_small(kit):
    host = kit.Host()
    transport = host.accept()
    for number in range(3000):
        transport.feed(b"GET /%d HTTP/1.1\r\nHost: h%d\r\n\r\n" % (number, number))
    cache = host.server.head_cache
    assert len(host.application.exchanges) == 3000
    assert len(cache.targets) <= 1024
    assert len(cache.hosts) <= 1024
