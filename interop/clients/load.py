"""Many SAM sockets, sessions and streams: `load.py serve N FILE` and `load.py ask IDLE SESSIONS STREAMS
DESTINATION...`.

serve forwards the streams of N sessions to an echo, and keeps in FILE how many of them have ended in order and how many by a
reset. ask opens sockets that only say HELLO, sessions, and streams of all sessions to
all destinations, says after each step how it went, and goes on when it reads a line. At last the streams talk without end, until
the router stops, and it says how many have seen a reset and how many an end in order.
"""

import asyncio
import sys
import time

BRIDGE = ("127.0.0.1", 7656)
LIMIT = 240
AT_ONCE = 64
TALKERS = 200
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


ENDS = {"whole": 0, "reset": 0}


async def echo(reader, writer, file):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        ENDS["whole"] += 1
    except OSError:
        ENDS["reset"] += 1
    writer.close()
    with open(file, "w") as f:
        print(ENDS["reset"], ENDS["whole"], file=f)


async def serve(count, file):
    server = await asyncio.start_server(lambda r, w: echo(r, w, file), "127.0.0.1", 20300, backlog=4096)
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
    await until_the_end(opened)


async def until_the_end(opened):
    """TALKERS of the streams carry data all the time, the others nothing; then the router stops."""
    ends, rounds = {"reset": 0, "whole": 0}, 0

    async def end_of(n, sam):
        nonlocal rounds
        try:
            while True:
                if n < TALKERS:
                    sam.writer.write(bytes([n % 251]) * 4000)
                    await sam.writer.drain()
                    await sam.reader.readexactly(4000)
                    rounds += 1
                elif not await sam.reader.read(1):
                    ends["whole"] += 1
                    return
        except OSError:
            ends["reset"] += 1
        except asyncio.IncompleteReadError:
            ends["whole"] += 1

    begin = time.time()
    tasks = [asyncio.create_task(end_of(n, sam)) for n, sam in enumerate(opened)]
    while rounds < TALKERS:
        await asyncio.sleep(0.1)
    print("flowing", rounds, 0, round(time.time() - begin, 1), "", flush=True)
    await asyncio.wait(tasks, timeout=LIMIT)
    print("ended", ends["reset"], ends["whole"], round(time.time() - begin, 1), "", flush=True)


if sys.argv[1] == "serve":
    asyncio.run(serve(int(sys.argv[2]), sys.argv[3]))
else:
    asyncio.run(ask(*map(int, sys.argv[2:5]), sys.argv[5:]))
