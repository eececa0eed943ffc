"""Python's ssl at a SAM bridge that speaks TLS: `sam_tls.py stream CERTIFICATE DESTINATION` and `sam_tls.py generate FILE`.

stream makes a session over TLS, with no certificate trusted but the one of the file, connects to a service that echoes, and
compares 300 kB there and back. Before that it sees that who trusts others does not get in, and that words in the clear get no
answer. generate asks the plain bridge for keys, writes them as a program's key file, and says their destination.
"""

import base64
import hashlib
import socket
import ssl
import sys
import time

BRIDGE = ("127.0.0.1", 7656)
BYTES = 300_000
FIRST = 90
TUNNELS = "SIGNATURE_TYPE=7 i2cp.leaseSetEncType=4 inbound.length=2 outbound.length=2 inbound.quantity=2 outbound.quantity=2"


class Sam:
    def __init__(self, wrap):
        self.socket = wrap(socket.create_connection(BRIDGE, timeout=240))
        self.file = self.socket.makefile("rb")
        said = self.ask("HELLO VERSION MIN=3.1 MAX=3.3")
        assert "RESULT=OK" in said, said

    def ask(self, line):
        self.socket.sendall(line.encode() + b"\n")
        return self.file.readline().decode().strip()


def stranger_is_refused():
    try:
        ssl.create_default_context().wrap_socket(socket.create_connection(BRIDGE, timeout=20), server_hostname="localhost")
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("a certificate that nobody vouches for was taken")


def clear_text_gets_nothing():
    with socket.create_connection(BRIDGE, timeout=60) as plain:
        plain.sendall(b"HELLO VERSION MIN=3.1 MAX=3.3\n")
        got = b""
        try:
            while piece := plain.recv(1000):
                got += piece
        except ConnectionError:
            pass
    assert b"HELLO" not in got and b"SAM" not in got, got


def stream(certificate, to):
    stranger_is_refused()
    clear_text_gets_nothing()
    context = ssl.create_default_context(cafile=certificate)
    wrap = lambda plain: context.wrap_socket(plain, server_hostname="localhost")
    session = Sam(wrap)
    said = session.ask(f"SESSION CREATE STYLE=STREAM ID=tls DESTINATION=TRANSIENT {TUNNELS}")
    assert said.startswith("SESSION STATUS RESULT=OK"), said
    begin = time.time()
    while True:
        sam = Sam(wrap)
        said = sam.ask(f"STREAM CONNECT ID=tls DESTINATION={to}")
        if "RESULT=OK" in said:
            break
        assert time.time() - begin < FIRST, said
        time.sleep(2)
    content, got, sent = bytes(n * n % 251 for n in range(BYTES)), b"", 0
    while sent < BYTES:
        piece = content[sent:sent + 20_000]
        sam.socket.sendall(piece)
        sent += len(piece)
        got += sam.file.read(len(piece))
    assert got == content, f"{len(got)} bytes came back, and not those that were sent"
    session.socket.close()
    print(f"ok {BYTES} bytes and back by {sam.socket.version()} in {time.time() - begin:.1f} s")


def generate(file):
    said = Sam(lambda plain: plain).ask("DEST GENERATE SIGNATURE_TYPE=7")
    words = dict(word.split("=", 1) for word in said.split() if "=" in word)
    decode = lambda text: base64.b64decode(text.replace("-", "+").replace("~", "/") + "=" * (-len(text) % 4))
    with open(file, "wb") as out:
        out.write(decode(words["PRIV"]))
    name = base64.b32encode(hashlib.sha256(decode(words["PUB"])).digest()).decode().lower().rstrip("=")
    print(f"ok {name}.b32.i2p")


try:
    {"stream": stream, "generate": generate}[sys.argv[1]](*sys.argv[2:])
except (AssertionError, OSError) as why:
    print(f"bad {type(why).__name__} {why}")
