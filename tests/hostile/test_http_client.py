"""Bad addresses, bad names and bad servers (U1-U4, U7) against the real client on real sockets of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hub.clock import SystemClock
from hub.errors import Cause, ConnectionDown, NotSent, OutcomeUnknown, SettingsError, TryAgain
from hub.sdk.http import HttpClient, Outbound, PrivateEntry, json
from hub.sdk.net import check_address, check_url, parse_url
from hub.sdk.secret import Secret

PUBLIC = "https://erp.example.com/k3cloud/"

U1 = [
    # numbers in any base, short forms, other digits
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7F.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.0.0.1/",
    "https://127.0.0.01/",
    "https://8.8.8.8/",
    "https://①②⑦.⓪.⓪.①/",
    "https://１２７.0.0.1/",
    "https://127。0。0。1/",
    "https://127.0.0.1./",
    "https://1.2.3.4.5/",
    "https://0x/",
    "https://0/",
    "https://999999999999999999999/",
    # addresses that is_global calls public
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[::127.0.0.1]/",
    "https://[fec0::1]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    # addresses
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[2606:4700:4700::1111]/",
    "https://[::1/",
    "https://::1/",
    "https://[v1.fe80]/",
    # user-info, fragments, separators
    "http://a@127.0.0.1",
    "https://a@erp.example.com/",
    "https://a:b@erp.example.com/",
    "https://erp.example.com:443@evil.example/",
    "https://@erp.example.com/",
    "http://127.0.0.1#@ok",
    "https://127.0.0.1#@erp.example.com/",
    "https://erp.example.com#x",
    "https://erp.example.com\\@evil.example/",
    "https:\\\\erp.example.com/",
    "https://evil.example\\.erp.example.com/",
    "https://erp.exa\tmple.com/",
    "https://erp.example.com\r\nX: y/",
    "https://erp.example.com/a b",
    "https://erp.example.com/\x00",
    " https://erp.example.com/",
    "https://erp.example.com/\u2028",
    "https://erp%2eexample.com/",
    "https://127.0.0.1%2f@x/",
    # names
    "https://erp.example.com./",
    "https://erp..example.com/",
    "https://.example.com/",
    "https://-erp.example.com/",
    "https://аpi.kingdee.com/",  # Cyrillic а
    "https://api.kıngdee.com/",  # dotless i
    "https://аррӏе.com/",
    "https://xn--80ak6aa92e.com/",  # the same, encoded
    "https://xn--a/",
    "https://ＡＰＩ.example.com/",
    "https://erp\u00ad.example.com/",
    "https://erp\u200b.example.com/",
    "https://\u212aingdee.com/",  # Kelvin sign
    f"https://{'a' * 64}.example.com/",
    f"https://{'a.' * 130}com/",
    "https:///path",
    "https://",
    "https:erp.example.com",
    "//erp.example.com/",
    "",
    f"https://erp.example.com/{'a' * 9000}",
    # schemes and ports
    "http://erp.example.com/",
    "ftp://erp.example.com/",
    "file:///etc/passwd",
    "gopher://erp.example.com/",
    "https://erp.example.com:22/",
    "https://erp.example.com:8443/",
    "https://erp.example.com:0/",
    "https://erp.example.com:65536/",
    "https://erp.example.com:/",
    "https://erp.example.com:４４３/",
    "https://erp.example.com:+443/",
]

BLOCKED_ADDRESSES = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip

PUBLIC_ADDRESSES = [
    "8.8.8.8",
    "47.92.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "240e::1",
]


@pytest.mark.parametrize("url", U1)
def test_an_address_that_could_mean_another_place_is_refused(url):
    with pytest.raises(SettingsError):
        check_url(url, Outbound())


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://erp.example.com", "https://erp.example.com/"),
        ("HTTPS://ERP.Example.COM:443/K3Cloud/?a=1", "https://erp.example.com/K3Cloud/?a=1"),
        ("https://erp.公司.cn/路径", "https://erp.xn--55qx5d.cn/路径"),
        ("https://a_b.example.com/x?", "https://a_b.example.com/x?"),
    ],
)
def test_an_ordinary_address_is_sent_as_it_was_checked(url, sent):
    assert check_url(url, Outbound()).url == sent
    assert parse_url(sent).url == sent


@pytest.mark.parametrize("address", BLOCKED_ADDRESSES)
def test_an_address_that_is_not_public_is_refused(address):
    with pytest.raises(SettingsError):
        check_address(address, Outbound(), host="erp.example.com", port=443)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_allowed(address):
    check_address(address, Outbound(), host="erp.example.com", port=443)


def test_a_private_entry_opens_exactly_its_host_port_and_range():
    rules = Outbound(
        private=(PrivateEntry.parse("erp.intra:8080", "10.1.0.0/16"), PrivateEntry.parse("10.9.9.9:443"))
    )
    assert check_url("https://erp.intra:8080/", rules).port == 8080
    assert check_url("https://10.9.9.9/", rules).host == "10.9.9.9"
    check_address("10.1.2.3", rules, host="erp.intra", port=8080)
    for url in (
        "https://erp.intra:8081/",
        "https://crm.intra:8080/",
        "http://erp.intra:8080/",
        "https://10.9.9.8/",
    ):
        with pytest.raises(SettingsError):
            check_url(url, rules)
    for address, host, port in (
        ("10.2.0.1", "erp.intra", 8080),
        ("10.1.2.3", "erp.intra", 443),
        ("127.0.0.1", "erp.intra", 8080),
    ):
        with pytest.raises(SettingsError):
            check_address(address, rules, host=host, port=port)


def test_plain_http_is_spoken_only_inside_the_range_of_an_entry_that_says_so():
    rules = Outbound(private=(PrivateEntry.parse("erp.intra:80", "192.168.0.0/16", plain_http=True),))
    assert check_url("http://erp.intra/k3cloud/", rules).url == "http://erp.intra/k3cloud/"
    check_address("192.168.1.1", rules, host="erp.intra", port=80, plain=True)
    with pytest.raises(SettingsError):
        check_address("8.8.8.8", rules, host="erp.intra", port=80, plain=True)


@pytest.mark.parametrize(
    "network",
    ["0.0.0.0/0", "10.0.0.0/7", "169.254.0.0/16", "8.8.8.0/24", "::/0", "fe80::/10", "::ffff:0:0/96", "x"],
)
def test_no_entry_opens_more_than_a_private_range(network):
    with pytest.raises(SettingsError):
        PrivateEntry.parse("erp.intra:443", network)


@pytest.mark.parametrize(
    "place", ["erp.intra", "erp.intra:0", "a@erp.intra:443", "erp.intra:443/x", "erp.intra:443"]
)
def test_an_entry_needs_a_host_a_port_and_a_range(place):
    with pytest.raises(SettingsError):
        PrivateEntry.parse(place)


@pytest.mark.parametrize("place", ["100.100.100.200:443", "[fd00:ec2::254]:443"])
def test_no_entry_opens_a_metadata_address(place):
    rules = Outbound(private=(PrivateEntry.parse(place),))
    with pytest.raises(SettingsError):
        check_url(f"https://{place}/", rules)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"idle_limit": float("nan")},
        {"pauses": (0.1, 0.1, 0.1)},
        {"pauses": (3.0,)},
        {"max_bytes": -1},
    ],
)
def test_limits_that_cannot_work_are_refused(wrong):
    with pytest.raises(SettingsError):
        Outbound(**wrong)


@pytest.mark.parametrize(
    "proxy", ["socks5://u:pw9@127.0.0.1:1", "u:pw9@127.0.0.1:3128", "http://u:pw9@", "http://u:pw9@p:1/path"]
)
def test_a_proxy_that_is_no_http_address_is_refused(proxy):
    with pytest.raises(SettingsError) as caught:
        HttpClient(Outbound(proxy=Secret(proxy)), clock=SystemClock())
    assert "pw9" not in str(caught.value)


def test_a_ca_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.pem"):
        HttpClient(Outbound(ca_file=tmp_path / "none.pem"), clock=SystemClock())


# Part: names (U2).


class Resolver:
    """Answers names from a list, one answer per look-up."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextlib.asynccontextmanager
async def client_for(*entries, lookup=None, clock=None, **limits):
    limits = {"pauses": (), "timeout": 5.0, **limits}
    rules = Outbound(private=entries, **limits)
    more = {} if lookup is None else {"lookup": lookup}
    client = HttpClient(rules, clock=clock or SystemClock(), **more)
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize(
    "answer",
    [
        ["8.8.8.8", "127.0.0.1"],
        ["8.8.8.8", "::1"],
        ["8.8.8.8", "fd00::1"],
        ["2606:4700:4700::1111", "10.0.0.1"],
        ["100.100.100.200"],
        ["64:ff9b::7f00:1"],
        ["::ffff:127.0.0.1"],
    ],
)
async def test_a_name_is_refused_when_any_of_its_addresses_is(answer):
    resolver = Resolver(answer)
    async with client_for(lookup=resolver) as client:
        with pytest.raises(ConnectionDown, match=r"not public|never allowed") as caught:
            await client.request("GET", PUBLIC, read_only=True)
    assert caught.value.cause is Cause.SETTINGS
    assert resolver.asked == [("erp.example.com", 443)]


async def test_the_address_connected_to_is_the_one_that_was_checked():
    async with serving(ok) as server:
        # The second answer would lead elsewhere: if anybody asked again between check and connect, it would be used.
        resolver = Resolver(["127.0.0.1"], ["127.0.0.2"])
        entry = PrivateEntry.parse(f"erp.intra:{server.port}", "127.0.0.1/32", plain_http=True)
        async with client_for(entry, lookup=resolver) as client:
            await client.request("GET", f"http://erp.intra:{server.port}/x", read_only=True)
        assert len(resolver.asked) == 1
    assert b"host: erp.intra:" in server.requests[0].lower()


async def test_every_new_connection_asks_and_checks_again():
    async with serving(ok_then_close) as server:
        resolver = Resolver(["127.0.0.1"], ["127.0.0.2"])
        entry = PrivateEntry.parse(f"erp.intra:{server.port}", "127.0.0.1/32", plain_http=True)
        async with client_for(entry, lookup=resolver) as client:
            url = f"http://erp.intra:{server.port}/x"
            await client.request("GET", url, read_only=True)
            with pytest.raises(ConnectionDown, match=r"127\.0\.0\.2"):
                await client.request("GET", url, read_only=True)
        assert len(server.requests) == 1


async def test_a_name_nobody_knows_was_not_sent():
    async with client_for(lookup=Resolver(OSError(-2, "Name or service not known"))) as client:
        with pytest.raises(TryAgain, match="nothing was sent") as caught:
            await client.request("POST", PUBLIC)
    assert caught.value.cause is Cause.UNREACHABLE


async def test_a_resolver_that_never_answers_is_given_up():
    async def never(host, port):
        await asyncio.Event().wait()

    async with client_for(lookup=never, connect_timeout=0.05) as client:
        with pytest.raises(TryAgain, match="nothing was sent"):
            await client.request("POST", PUBLIC)


async def test_no_proxy_is_taken_from_the_environment(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(ok) as server, server.client() as client:
        assert (await client.request("GET", server.url, read_only=True)).status == 200


async def test_an_explicit_proxy_carries_the_request_with_its_own_credentials():
    async with serving(ok) as proxy:
        entry = PrivateEntry.parse("erp.intra:80", "10.0.0.0/8", plain_http=True)
        address = Secret(f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        async with client_for(entry, proxy=address) as client:
            await client.request("GET", "http://erp.intra/x", read_only=True)
    head = proxy.requests[0]
    assert head.startswith(b"GET http://erp.intra/x HTTP/1.1")
    assert b"proxy-authorization: basic dxnlcjpwqhnz" in head.lower()


# Part: servers (U3, U7).


class Server:
    """A raw socket server: one behaviour, all requests kept."""

    def __init__(self, behave):
        self.behave = behave
        self.requests = []
        self.sent = 0
        self.connections = 0
        self.port = 0
        self.open = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/k3cloud/x?key=s3cr3t"

    def client(self, **limits):
        entry = PrivateEntry.parse(f"127.0.0.1:{self.port}", plain_http=True)
        return client_for(entry, **limits)

    async def serve(self, reader, writer):
        self.connections += 1
        self.open[asyncio.current_task()] = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await self.take(reader):
                if not await self.behave(self, writer):
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        del self.open[asyncio.current_task()]

    async def stop(self):
        for task, writer in self.open.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self.open, return_exceptions=True)

    async def take(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        self.requests.append(head + await reader.readexactly(length))
        return True

    async def put(self, writer, data):
        writer.write(data)
        await writer.drain()
        self.sent += len(data)


@contextlib.asynccontextmanager
async def serving(behave, context=None):
    server = Server(behave)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server.stop()
        await listener.wait_closed()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def ok(server, writer):
    await server.put(writer, OK)
    return True


async def ok_then_close(server, writer):
    await server.put(writer, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    return False


async def cut_before_an_answer(server, writer):
    return False


async def cut_in_the_middle(server, writer):
    await server.put(writer, b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half":')
    return False


async def cut_between_chunks(server, writer):
    await server.put(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    return False


async def silence(server, writer):
    await asyncio.sleep(30)
    return False


async def redirect_to_metadata(server, writer):
    await server.put(
        writer, b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    )
    return True


async def redirect_with_body(server, writer):
    other = f"http://127.0.0.1:{server.port}/other".encode()
    await server.put(writer, b"HTTP/1.1 307 Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % other)
    return True


async def a_gigabyte_announced(server, writer):
    await server.put(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    while True:
        await server.put(writer, b"x" * 65536)


async def a_gigabyte_unannounced(server, writer):
    await server.put(writer, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while server.sent < 1 << 30:
        await server.put(writer, b"x" * 65536)
    return False


async def chunks_without_end(server, writer):
    await server.put(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await server.put(writer, b"10000\r\n" + b"x" * 65536 + b"\r\n")


async def a_drip_without_end(server, writer):
    await server.put(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await server.put(writer, b"1\r\nx\r\n")
        await asyncio.sleep(0.01)


async def a_megabyte_of_header(server, writer):
    await server.put(
        writer, b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 1_000_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
    )
    return False


async def headers_without_end(server, writer):
    await server.put(writer, b"HTTP/1.1 200 OK\r\n")
    while True:
        await server.put(writer, b"X-More: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 100)


async def no_http_at_all(server, writer):
    await server.put(writer, b"SSH-2.0-OpenSSH_9.6\r\n\r\n\r\n")
    return False


async def broken_chunk(server, writer):
    await server.put(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nx\r\n0\r\n\r\n")
    return False


async def html(server, writer):
    page = "<html><body>系统繁忙</body></html>".encode()
    await server.put(
        writer,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page),
    )
    return True


@pytest.mark.parametrize(
    ("behave", "cause"),
    [
        (cut_before_an_answer, Cause.UNREACHABLE),
        (cut_in_the_middle, Cause.UNREACHABLE),
        (cut_between_chunks, Cause.UNREACHABLE),
        (a_drip_without_end, Cause.UNAVAILABLE),
        (silence, Cause.UNAVAILABLE),
        (a_gigabyte_announced, Cause.BAD_ANSWER),
        (a_gigabyte_unannounced, Cause.BAD_ANSWER),
        (chunks_without_end, Cause.BAD_ANSWER),
        (a_megabyte_of_header, Cause.BAD_ANSWER),
        (headers_without_end, Cause.BAD_ANSWER),
        (no_http_at_all, Cause.BAD_ANSWER),
        (broken_chunk, Cause.BAD_ANSWER),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
async def test_a_server_that_breaks_its_answer_leaves_a_write_in_doubt_and_a_read_to_repeat(
    behave, cause, read_only
):
    # only these two need a time-out; the others end by themselves, however slow the machine is
    timeout = 0.3 if cause is Cause.UNAVAILABLE else 60.0
    async with serving(behave) as server, server.client(timeout=timeout) as client:
        with pytest.raises(TryAgain if read_only else OutcomeUnknown) as caught:
            await client.request("POST", server.url, content=b'{"n":1}', read_only=read_only)
    assert caught.value.cause is cause
    assert len(server.requests) == 1
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "behave", [a_gigabyte_announced, a_gigabyte_unannounced, chunks_without_end, headers_without_end]
)
async def test_an_answer_without_measure_is_cut_and_memory_stays_flat(behave):
    async with serving(behave) as server, server.client() as client:
        before = psutil.Process().memory_info().rss
        for _ in range(5):
            with pytest.raises(TryAgain):
                await client.request("GET", server.url, read_only=True)
        grown = psutil.Process().memory_info().rss - before
    assert server.sent < 100 << 20, "the connection was closed, not drained"
    assert grown < 32 << 20


@pytest.mark.parametrize("behave", [redirect_to_metadata, redirect_with_body])
async def test_a_redirect_is_followed_nowhere(behave):
    async with serving(behave) as server, server.client() as client:
        with pytest.raises(ConnectionDown, match="redirect"):
            await client.request("POST", server.url, content=b"{}")
    assert len(server.requests) == 1


async def test_html_with_status_200_is_no_answer():
    async with serving(html) as server, server.client() as client:
        answer = await client.request("POST", server.url, content=b"{}")
    with pytest.raises(OutcomeUnknown, match="without JSON") as caught:
        json(answer, read_only=False)
    assert caught.value.cause is Cause.BAD_ANSWER
    assert "系统繁忙" in caught.value.detail


async def test_a_port_nobody_listens_on_was_not_sent_to():
    async with serving(ok) as server:
        pass
    async with server.client() as client:
        with pytest.raises(TryAgain, match="nothing was sent") as caught:
            await client.request("POST", server.url)
    assert caught.value.cause is Cause.UNREACHABLE


async def test_a_connection_is_reused_while_young_and_thrown_away_after_the_limit():
    async with serving(ok) as server, server.client(idle_limit=0.05) as client:
        for _ in range(3):
            await client.request("POST", server.url)
        assert server.connections == 1
        await asyncio.sleep(0.1)
        await client.request("POST", server.url)
        assert server.connections == 2


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
async def test_a_write_on_a_connection_that_turns_out_closed_is_sent_once(method):
    async def answers_one_then_cuts(server, writer):
        if len(server.requests) == 1:
            await server.put(writer, OK)
        return len(server.requests) == 1

    async with serving(answers_one_then_cuts) as server, server.client() as client:
        await client.request("GET", server.url, read_only=True)
        with pytest.raises(OutcomeUnknown):
            await client.request(method, server.url, content=b"x")
    assert len(server.requests) == 2


async def test_cookies_of_one_answer_are_not_sent_with_the_next_request():
    async def sets_a_cookie(server, writer):
        await server.put(writer, OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: kdservice-sessionid=1\r\n\r\n"))
        return True

    async with serving(sets_a_cookie) as server, server.client() as client:
        for _ in range(2):
            await client.request("POST", server.url)
    assert not any(b"cookie" in head.lower() for head in server.requests)


# Part: the deadline.


class ClockOnTheEdge(SystemClock):
    """Lets the deadline pass at a chosen moment."""

    late = False

    def monotonic(self):
        return super().monotonic() + (1000 if self.late else 0)


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 300_000])
async def test_a_deadline_that_passes_while_connecting_keeps_every_byte_back(body):
    clock = ClockOnTheEdge()

    async def slow_name(host, port):
        clock.late = True
        return ["127.0.0.1"]

    async with serving(ok) as server:
        entry = PrivateEntry.parse(f"erp.intra:{server.port}", "127.0.0.1/32", plain_http=True)
        async with client_for(entry, lookup=slow_name, clock=clock) as client:
            deadline = clock.monotonic() + 60
            with pytest.raises(NotSent):
                await client.request(
                    "POST", f"http://erp.intra:{server.port}/", content=body, deadline=deadline
                )
    assert (server.connections, server.requests) == (1, [])


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_a_deadline_that_passes_while_waiting_for_a_free_connection_keeps_every_byte_back(body):
    clock = ClockOnTheEdge()
    free = asyncio.Event()

    async def answers_when_told(server, writer):
        await free.wait()
        await server.put(writer, OK)
        return True

    async with serving(answers_when_told) as server, server.client(connections=1, clock=clock) as client:
        deadline = clock.monotonic() + 60
        first = asyncio.ensure_future(client.request("POST", server.url, content=body, deadline=deadline))
        while not server.requests:
            await asyncio.sleep(0.001)
        second = asyncio.ensure_future(client.request("POST", server.url, content=body, deadline=deadline))
        await asyncio.sleep(0.01)
        clock.late = True
        free.set()
        assert (await first).status == 200
        with pytest.raises(NotSent):
            await second
        clock.late = False
        assert (await client.request("POST", server.url, content=body, deadline=deadline)).status == 200
    assert len(server.requests) == 2


# Part: TLS (U4).


def certificate(folder, *, name="erp.intra", days=1):
    """Write a self-signed certificate; return its path and the server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "ca.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = folder / "key.pem"
    pem = serialization.Encoding.PEM
    secret.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, secret)
    return path, context


async def ask_over_tls(server, **limits):
    entry = PrivateEntry.parse(f"erp.intra:{server.port}", "127.0.0.0/8")
    async with client_for(entry, lookup=Resolver(["127.0.0.1"]), **limits) as client:
        return await client.request("POST", f"https://erp.intra:{server.port}/x", content=b"{}")


async def test_a_private_authority_is_trusted_by_name_and_the_name_is_asked_for(tmp_path):
    path, context = certificate(tmp_path)
    asked = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with serving(ok, context) as server:
        assert (await ask_over_tls(server, ca_file=path)).status == 200
    assert asked == ["erp.intra"]


@pytest.mark.parametrize(
    ("made", "trusted"),
    [({}, False), ({"name": "other.intra"}, True), ({"days": -1}, True)],
    ids=["self-signed", "name", "expired"],
)
async def test_a_certificate_that_does_not_fit_is_a_wrong_setting(tmp_path, made, trusted):
    path, context = certificate(tmp_path, **made)
    async with serving(ok, context) as server:
        with pytest.raises(ConnectionDown, match="TLS") as caught:
            await ask_over_tls(server, ca_file=path if trusted else None)
    assert caught.value.cause is Cause.SETTINGS
    assert server.requests == []


async def test_an_old_protocol_is_a_wrong_setting(tmp_path):
    path, _ = certificate(tmp_path)
    with pytest.raises(ConnectionDown, match="TLS"):
        await answering_the_hello_with(b"\x15\x03\x01\x00\x02\x02\x46", path)  # fatal alert: protocol version


async def test_a_handshake_that_is_cut_is_a_retry_and_nothing_was_sent(tmp_path):
    path, _ = certificate(tmp_path)
    with pytest.raises(TryAgain, match="nothing was sent"):
        await answering_the_hello_with(b"", path)


async def answering_the_hello_with(data, path):
    async def answer(reader, writer):
        await reader.read(65536)
        writer.write(data)
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    server = Server(ok)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        await ask_over_tls(server, ca_file=path)
    finally:
        listener.close()
        await listener.wait_closed()


async def test_a_request_goes_through_a_proxy_s_tunnel_with_tls_to_the_vendor(tmp_path):
    path, context = certificate(tmp_path)
    asked = []

    async def pipe(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def tunnel(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).lower())
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    async with serving(ok, context) as server:
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        address = f"http://user:pass@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        async with client_for(proxy=Secret(address), ca_file=path) as client:
            answer = await client.request("POST", "https://erp.intra/x", content=b"{}")
        proxy.close()
        await proxy.wait_closed()
        await asyncio.sleep(0.01)
    assert answer.status == 200
    assert asked[0].startswith(b"connect erp.intra:443 http/1.1")
    assert b"proxy-authorization: basic " in asked[0]
    assert b"proxy-authorization" not in server.requests[0].lower()


async def test_a_proxy_that_refuses_is_a_wrong_setting():
    async def refuse(server, writer):
        await server.put(writer, b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        return False

    async with serving(refuse) as proxy, client_for(proxy=Secret(f"http://127.0.0.1:{proxy.port}")) as client:
        with pytest.raises(ConnectionDown, match="proxy") as caught:
            await client.request("POST", PUBLIC, content=b"{}")
    assert caught.value.cause is Cause.SETTINGS


def test_the_lists_of_this_file_are_addresses():
    for address in BLOCKED_ADDRESSES + PUBLIC_ADDRESSES:
        ipaddress.ip_address(address)
