"""i2plib at a SAM bridge: `i2plib_peer.py serve`, or `i2plib_peer.py ask STREAM DESTINATION TUNNEL DESTINATION PORT`.

serve names two services, an acceptor that sends back what comes and a server tunnel to 127.0.0.1:8080, and then says `ready`. ask
comes to the first by its destination and by its b32 name, and to the second through a client tunnel at PORT, and says `ok ...`.
"""

import asyncio
import functools
import sys
import urllib.request

import i2plib


def without_loop(call):
    """i2plib hands its loop on, which Python does not take any more since 3.10."""
    @functools.wraps(call)
    def called(*args, loop=None, **options):
        return call(*args, **options)
    return called


for name in ("open_connection", "start_server", "wait_for"):
    setattr(asyncio, name, without_loop(getattr(asyncio, name)))


async def serve():
    own = await i2plib.new_destination()
    async with i2plib.Session("served", destination=own):
        tunnel = i2plib.ServerTunnel(("127.0.0.1", 8080))
        await tunnel.run()
        print("STREAM", own.base64)
        print("TUNNEL", tunnel.destination.base64)
        print("ready", flush=True)
        tasks = []
        while True:
            reader, writer = await i2plib.stream_accept("served")
            # Somebody has come when this line is there.
            i2plib.Destination((await reader.readline()).decode().strip())
            tasks.append(asyncio.ensure_future(echo(reader, writer)))


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def ask(stream, tunnel, port):
    async with i2plib.Session("asks"):
        for to in (i2plib.Destination(stream), i2plib.Destination(stream).base32 + ".b32.i2p"):
            async with i2plib.StreamConnection("asks", to) as connection:
                for n in range(10):
                    data = bytes(range(256)) * (40 * n + 1)
                    connection.write(data)
                    back = await asyncio.wait_for(connection.reader.readexactly(len(data)), 60)
                    assert back == data, "other bytes came back"
        try:
            await i2plib.stream_connect("asks", "nowhere.i2p")
            raise AssertionError("a name that nobody has was reached")
        except (i2plib.exceptions.KeyNotFound, i2plib.exceptions.InvalidKey) as why:
            unknown = type(why).__name__  # the second one is i2pd's
    client = i2plib.ClientTunnel(tunnel, ("127.0.0.1", port))
    await client.run()
    get = lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=60).read()
    page = await asyncio.get_running_loop().run_in_executor(None, get)
    assert page == b"pong\n", page
    client.stop()
    print(f"ok streams by destination and by name, an unknown name is {unknown}, a page through its two tunnels", flush=True)


if sys.argv[1] == "serve":
    asyncio.run(serve())
else:
    services = dict(zip(sys.argv[2:-1:2], sys.argv[3:-1:2]))
    asyncio.run(ask(services["STREAM"], services["TUNNEL"], int(sys.argv[-1])))
