"""Many SAM sockets, sessions and streams: `load.py serve N` and `load.py ask IDLE SESSIONS STREAMS DESTINATION...`.

serve forwards the streams of N sessions to an echo. ask opens sockets that only say HELLO, sessions, and streams of all sessions to
all destinations, says after each step how it went, and goes on when it reads a line.
"""

import asyncio
import sys
import time

BRIDGE = ("127.0.0.1", 7656)
LIMIT = 240
AT_ONCE = 64
SHORT = "SIGNATURE_TYPE=7 i2cp.leaseSetEncType=4 inbound.length=1 outbound.length=1 inbound.quantity=1 outbound.quantity=1"
USUAL = "SIGNATURE_TYPE=7 i2cp.leaseSetEncType=4 inbound.length=1 outbound.length=1 inbound.quantity=3 outbound.quantity=3"


class Sam:
    async def dial(self):
        self.reader, self.writer = await asyncio.open_connection(*BRIDGE)
        assert "RESULT=OK" in await self.ask("HELLO VERSION MIN=3.1 MAX=3.3")
        return self

    async def ask(self, line):
        self.writer.write(line.encode() + b"\n")
        said = await asyncio.wait_for(self.reader.readline(), LIMIT)
        return said.decode().strip()

    async def session(self, name, options):
        await self.dial()
        said = await self.ask(f"SESSION CREATE STYLE=STREAM ID={name} DESTINATION=TRANSIENT {options}")
        assert "RESULT=OK" in said, said[:80]
        return self


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(count):
    server = await asyncio.start_server(echo, "127.0.0.1", 20300, backlog=4096)
    kept = []
    for n in range(count):
        session = await Sam().session(f"serves{n}", USUAL)
        own = (await session.ask("NAMING LOOKUP NAME=ME")).split("VALUE=")[1]
        forward = await Sam().dial()
        said = await forward.ask(f"STREAM FORWARD ID=serves{n} PORT=20300 SILENT=true")
        assert "RESULT=OK" in said, said
        kept += [session, forward]
        print("STREAM", own)
    print("ready", flush=True)
    await server.serve_forever()


async def each(work, items):
    """Does the work for all of them, some at once; what went well, and the first of what did not."""
    gate, failed = asyncio.Semaphore(AT_ONCE), []

    async def one(item):
        async with gate:
            try:
                return await work(item)
            except (OSError, AssertionError, asyncio.TimeoutError, asyncio.IncompleteReadError) as why:
                failed.append(f"{type(why).__name__} {why}")
                return None
    done = [got for got in await asyncio.gather(*map(one, items)) if got is not None]
    return done, failed


async def ask(idle, sessions, streams, destinations):
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)

    async def step(name, work, items):
        begin = time.time()
        done, failed = await each(work, items)
        print(name, len(done), len(failed), round(time.time() - begin, 1), (failed or [""])[0], flush=True)
        await stdin.readline()
        return done

    async def stream(n):
        for attempt in range(3):
            sam = await Sam().dial()
            said = await sam.ask(f"STREAM CONNECT ID=asks{n % sessions} DESTINATION={destinations[n % len(destinations)]}")
            if "RESULT=OK" in said:
                return sam
            sam.writer.close()
        raise AssertionError(said)

    async def talk(item):
        n, sam = item
        data = bytes([n % 251]) * 1000
        sam.writer.write(data)
        assert await asyncio.wait_for(sam.reader.readexactly(1000), LIMIT) == data, "other bytes"
        return n

    kept = await step("idle", lambda n: Sam().dial(), range(idle))
    kept += await step("sessions", lambda n: Sam().session(f"asks{n}", SHORT), range(sessions))
    opened = await step("streams", stream, range(streams))
    await step("talked", talk, list(enumerate(opened)))
    await step("again", talk, list(enumerate(opened)))


if sys.argv[1] == "serve":
    asyncio.run(serve(int(sys.argv[2])))
else:
    asyncio.run(ask(*map(int, sys.argv[2:5]), sys.argv[5:]))
