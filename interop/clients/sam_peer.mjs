// @diva.exchange/i2p-sam at a SAM bridge: `sam_peer.mjs LIBRARY serve`, or `sam_peer.mjs LIBRARY ask STREAM DESTINATION ...`.
// serve names a service of each kind, which send back what comes, and then says `ready`; ask asks them, and says `ok ...`.

import net from 'node:net';

const [library, role, ...rest] = process.argv.slice(2);
const { createStream, createForward, createDatagram, createRaw, lookup, toB32 } = await import(library);
const sam = { host: '127.0.0.1', portTCP: 7656, timeout: 240 };
// The library drops the end of a destination in base 64, without which i2pd does not take it.
const own = (peer) => peer.getPublicKey().padEnd(Math.ceil(peer.getPublicKey().length / 4) * 4, '=');
const pause = (ms) => new Promise((then) => setTimeout(then, ms));

async function serve() {
    const echo = net.createServer((socket) => {
        let first = true;
        socket.on('error', () => {});
        socket.on('data', (data) => {
            // The first line is who comes.
            if (first) data = data.subarray(data.indexOf(10) + 1);
            first = false;
            if (data.length) socket.write(data);
        });
    });
    await new Promise((then) => echo.listen(20222, '127.0.0.1', then));
    const stream = await createForward({ sam, forward: { host: '127.0.0.1', port: 20222 } });
    const datagram = await createDatagram({ sam, listen: { address: '127.0.0.1', port: 20202 } });
    datagram.on('data', (data, from) => datagram.send(from, data));
    const raw = await createRaw({ sam, listen: { address: '127.0.0.1', port: 20203 } });
    raw.on('data', (data) => raw.send(data.subarray(0, data.indexOf(10)).toString(), data));
    console.log('STREAM', own(stream));
    console.log('DATAGRAM', own(datagram));
    console.log('RAW', own(raw));
    console.log('ready');
}

async function askStream(to) {
    const stream = await createStream({ sam, stream: { destination: to } });
    const sent = Buffer.alloc(300_000, 'wild garlic ');
    let got = Buffer.alloc(0);
    const back = new Promise((then, no) => {
        setTimeout(() => no(new Error(`STREAM: ${got.length} bytes came back of ${sent.length}`)), 120_000);
        stream.on('data', (data) => {
            got = Buffer.concat([got, data]);
            if (got.length >= sent.length) then();
        });
    });
    stream.stream(sent);
    await back;
    if (!got.equals(sent)) throw new Error('STREAM: other bytes came back');
    stream.close();
    return 'STREAM 300 kB and back';
}

async function askDatagrams(what, create, to, port) {
    const peer = await create({ sam, listen: { address: '127.0.0.1', port } });
    const seen = new Set();
    peer.on('data', (data) => seen.add(data.toString().split('\n')[1]));
    let sent = 0;
    // The first ones are lost until both ends have found each other.
    for (let n = 0; n < 90 && !seen.size; n++) {
        peer.send(to, Buffer.from(`${own(peer)}\nfirst ${n}`));
        await pause(1000);
    }
    const before = seen.size;
    if (!before) throw new Error(`${what}: no answer in 90 s`);
    seen.clear();
    for (; sent < 20; sent++) {
        peer.send(to, Buffer.from(`${own(peer)}\n${sent}`));
        await pause(100);
    }
    for (let n = 0; n < 100 && [...seen].filter((word) => !word.startsWith('first')).length < sent; n++) await pause(100);
    const back = [...seen].filter((word) => !word.startsWith('first')).length;
    if (back < sent - 2) throw new Error(`${what}: ${back} of ${sent}`);
    peer.close();
    return `${what} ${back} of ${sent}`;
}

try {
    if (role === 'serve') {
        await serve();
    } else {
        const to = {};
        for (let n = 0; n + 1 < rest.length; n += 2) to[rest[n]] = rest[n + 1];
        const said = [await askStream(to.STREAM)];
        said.push(await askDatagrams('DATAGRAM', createDatagram, to.DATAGRAM, 20212));
        said.push(await askDatagrams('RAW', createRaw, to.RAW, 20213));
        const found = await lookup({ sam }, `${toB32(to.STREAM)}.b32.i2p`);
        if (found.replaceAll('=', '') !== to.STREAM.replaceAll('=', '')) throw new Error(`another destination was found: ${found}`);
        console.log(`ok ${said.join(', ')}, a look-up`);
        process.exit(0);
    }
} catch (why) {
    console.log(`bad ${why}`);
    process.exit(1);
}
